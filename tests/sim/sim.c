/*
 * sim: runs the store's engine on simulated disks, from seeds.
 *
 * sim [--seeds A-B] [--case N] [--expect-failure] [--verbose]. Each case runs in a process of its
 * own, so that a crash or an endless loop is that case's failure; on failure the line says which
 * seed, and the command that replays it.
 */
#include "common/log.h"
#include "common/text.h"
#include "tests/sim/cases.h"
#include "tests/sim/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
	uint64_t first, last;
	int only; /* case, or -1 */
	bool expect_failure;
};

struct shared {
	uint64_t seed, done;
};

static int usage(const char *text)
{
	fprintf(stderr,
		"sim: %s\nusage: sim [--seeds A-B] [--case N] [--expect-failure] [--verbose]\n",
		text);
	return 2;
}

static int parse_seeds(char *text, struct options *o)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash = 0;
	if (vs_parse_u64(text, UINT64_MAX, &o->first) < 0 ||
	    vs_parse_u64(dash ? dash + 1 : text, UINT64_MAX, &o->last) < 0)
		return -1;
	return o->first <= o->last ? 0 : -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"seeds", required_argument, NULL, 's'},
					      {"case", required_argument, NULL, 'c'},
					      {"expect-failure", no_argument, NULL, 'x'},
					      {"verbose", no_argument, NULL, 'v'},
					      {NULL, 0, NULL, 0}};
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (c) {
		case 's':
			if (parse_seeds(optarg, o) < 0)
				return usage("--seeds takes A-B or one number");
			break;
		case 'c':
			if (vs_parse_u64(optarg, sim_case_count - 1, &n) < 0)
				return usage("--case takes the number of a case");
			o->only = (int)n;
			break;
		case 'x':
			o->expect_failure = true;
			break;
		case 'v':
			sim_verbose++;
			break;
		default:
			return usage("unknown option");
		}
	}
	return optind == argc ? 0 : usage("takes no arguments");
}

static void run_seeds(const struct sim_case *c, const struct options *o, struct shared *s)
{
	for (uint64_t seed = o->first;; seed++) {
		struct world w;

		s->seed = seed;
		world_init(&w, seed, c->disk_size);
		c->run(&w);
		world_free(&w);
		s->done++;
		if (seed == o->last)
			return;
	}
}

/* Whether all seeds passed. */
static bool run_case(const char *self, unsigned i, const struct options *o, struct shared *s)
{
	const struct sim_case *c = &sim_cases[i];
	int status = 0;
	pid_t pid;

	memset(s, 0, sizeof(*s));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		run_seeds(c, o, s);
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		printf("not ok sim case %u %s # cannot start a process\n", i, c->name);
		return false;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		printf("ok sim case %u %s (%llu seeds)\n", i, c->name, (unsigned long long)s->done);
		return true;
	}
	if (WIFSIGNALED(status))
		printf("# died of signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	printf("%s sim case %u %s\n# replay: %s --case %u --seeds %llu --verbose\n",
	       o->expect_failure ? "# caught:" : "not ok", i, c->name, self, i,
	       (unsigned long long)s->seed);
	return false;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1, .last = 200, .only = -1};
	struct shared *s;
	unsigned failed = 0;
	int rc = parse(argc, argv, &o);

	if (rc)
		return rc;
	vs_log_set_level(sim_verbose ? VS_LOG_DEBUG : VS_LOG_ERROR);
	/* a store is opened many times: keep what it frees instead of faulting it in anew */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) {
		perror("sim: mmap");
		return 1;
	}
	for (unsigned i = 0; i < sim_case_count; i++) {
		if (o.only >= 0 && (unsigned)o.only != i)
			continue;
		failed += !run_case(argv[0], i, &o, s);
		if (o.expect_failure && failed) {
			printf("ok planted bug is caught\n");
			return 0;
		}
	}
	if (o.expect_failure)
		printf("not ok planted bug is not caught\n");
	return o.expect_failure || failed ? 1 : 0;
}
