#include "tests/sim/schedule.h"

#include "common/bytes.h"
#include "tests/sim/cases.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define TASK_SEEDS 40u
/* Where the first failure ends all, few: the case that sees it should come soon. */
#define TASK_SEEDS_STOP 4u
#define JOBS_MAX 64u
/* Of processor time, for one seed: an endless loop, not a verdict on speed. */
#define SEED_SECONDS 60

struct progress {
	uint64_t seed, done;
};

struct task {
	pid_t pid; /* 0: none */
	unsigned which;
	uint64_t first, last;
	struct progress *progress; /* shared with the process */
	int out;
};

struct schedule {
	const struct schedule_share *share;
	struct schedule_result *result;
	uint64_t *next; /* seeds handed out, of each case */
	unsigned turn;
	bool stop, stopped;
};

static void run_seeds(const struct task *t)
{
	const struct sim_case *c = &sim_cases[t->which];
	const struct itimerval bound = {.it_value = {.tv_sec = SEED_SECONDS}};

	for (uint64_t seed = t->first; seed <= t->last; seed++) {
		struct world w;

		t->progress->seed = seed;
		setitimer(ITIMER_PROF, &bound, NULL);
		world_init(&w, seed, c->disk_size);
		c->run(&w);
		world_end(&w);
		world_free(&w);
		t->progress->done++;
	}
}

/* The next seeds of the cases in turn, so that an early stop has seen all of them. */
static bool next_task(struct schedule *s, struct task *t)
{
	for (unsigned n = 0; n < sim_case_count && !s->stopped; n++) {
		unsigned c = s->turn++ % sim_case_count;
		uint64_t left = s->share[c].count - s->next[c];

		if (left == 0 || s->result[c].bad)
			continue;
		t->which = c;
		t->first = s->share[c].first + s->next[c];
		s->next[c] += VS_MIN(left, (uint64_t)(s->stop ? TASK_SEEDS_STOP : TASK_SEEDS));
		t->last = s->share[c].first + s->next[c] - 1;
		return true;
	}
	return false;
}

static bool start(struct task *t)
{
	*t->progress = (struct progress){0};
	t->out = memfd_create("sim", MFD_CLOEXEC);
	if (t->out < 0)
		return false;
	fflush(stdout);
	t->pid = fork();
	if (t->pid == 0) {
		(void)dup2(t->out, STDOUT_FILENO);
		run_seeds(t);
		fflush(stdout);
		_exit(0);
	}
	if (t->pid > 0)
		return true;
	close(t->out);
	t->pid = 0;
	return false;
}

static void print_output(int fd)
{
	char buf[4096];
	ssize_t n;
	off_t at = 0;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		(void)fwrite(buf, 1, (size_t)n, stdout);
		at += n;
	}
}

static void ended(struct schedule *s, struct task *t, int status)
{
	struct schedule_result *r = &s->result[t->which];

	t->pid = 0;
	r->done += t->progress->done;
	if (s->stopped) {
		/* what was under way does not count */
	} else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		printf("# case %u seed %llu:\n", t->which, (unsigned long long)t->progress->seed);
		print_output(t->out);
		if (WIFSIGNALED(status))
			printf("# died of signal %d (%s)\n", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
		fflush(stdout);
		if (!r->bad || t->progress->seed < r->failed)
			r->failed = t->progress->seed;
		r->bad = true;
		s->stopped |= s->stop;
	} else if (sim_verbose) {
		print_output(t->out);
	}
	close(t->out);
}

static bool run_all(struct schedule *s, struct task *tasks, unsigned jobs)
{
	bool ok = true;

	for (;;) {
		unsigned running = 0;
		int status;
		pid_t pid;

		for (unsigned i = 0; i < jobs; i++) {
			if (ok && !tasks[i].pid && next_task(s, &tasks[i]))
				ok = start(&tasks[i]);
			running += tasks[i].pid != 0;
		}
		if (!running)
			return ok;
		for (unsigned i = 0; i < jobs && s->stopped; i++)
			if (tasks[i].pid)
				(void)kill(tasks[i].pid, SIGKILL);
		pid = wait(&status);
		for (unsigned i = 0; i < jobs && pid > 0; i++)
			if (tasks[i].pid == pid)
				ended(s, &tasks[i], status);
		if (pid < 0 && errno != EINTR)
			return false;
	}
}

bool schedule_run(const struct schedule_share *share, unsigned jobs, bool stop,
		  struct schedule_result *result)
{
	struct schedule s = {.share = share, .result = result, .stop = stop};
	struct task tasks[JOBS_MAX] = {0};
	struct progress *shared;
	bool ok = false;

	jobs = VS_MIN(jobs, JOBS_MAX);
	shared = mmap(NULL, jobs * sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s.next = calloc(sim_case_count, sizeof(*s.next));
	if (shared != MAP_FAILED && s.next) {
		memset(result, 0, sim_case_count * sizeof(*result));
		for (unsigned i = 0; i < jobs; i++)
			tasks[i].progress = &shared[i];
		ok = run_all(&s, tasks, jobs);
	}
	free(s.next);
	if (shared != MAP_FAILED)
		(void)munmap(shared, jobs * sizeof(*shared));
	return ok;
}
