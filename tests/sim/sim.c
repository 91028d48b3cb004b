/*
 * sim: runs the store's engine on simulated disks, from seeds.
 *
 * sim [--total N] [--first S] [--jobs J]     every case's share of N seeds, from S on
 * sim --seeds A-B [--case C]                 these seeds of every case, or of one
 * sim-plant [--plant P] ...                  with a planted bug (all of them in turn): it must be
 *                                            caught
 *
 * On failure the line says which seed, and the command that replays it. The last line but TAP says
 * how many seeds ran.
 */
#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"
#include "tests/sim/cases.h"
#include "tests/sim/plants.h"
#include "tests/sim/report.h"
#include "tests/sim/schedule.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the case that sees a planted bug best, before all cases get their share. */
#define PLANT_SEEDS 2000u

struct options {
	uint64_t first, last; /* of --seeds; last 0: shares of total from first on */
	uint64_t total;
	uint64_t only; /* case, or UINT64_MAX */
	uint64_t plant, jobs;
};

static int usage(const char *text)
{
	fprintf(stderr,
		"sim: %s\nusage: sim [--seeds A-B | --total N [--first S]] [--case C] [--jobs J] "
		"[--plant P] [--verbose]\n",
		text);
	return 2;
}

static int parse_seeds(char *text, struct options *o)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash = 0;
	if (vs_parse_u64(text, UINT64_MAX, &o->first) < 0 ||
	    vs_parse_u64(dash ? dash + 1 : text, UINT64_MAX - 1, &o->last) < 0)
		return -1;
	return o->first && o->first <= o->last ? 0 : -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"seeds", required_argument, NULL, 's'}, {"total", required_argument, NULL, 't'},
	    {"first", required_argument, NULL, 'f'}, {"case", required_argument, NULL, 'c'},
	    {"jobs", required_argument, NULL, 'j'},  {"plant", required_argument, NULL, 'p'},
	    {"verbose", no_argument, NULL, 'v'},     {NULL, 0, NULL, 0}};
	int c, rc = 0;

	while (rc == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (c) {
		case 's':
			rc = parse_seeds(optarg, o);
			break;
		case 't':
			rc = vs_parse_u64(optarg, UINT64_C(1) << 40, &o->total);
			break;
		case 'f':
			rc = vs_parse_u64(optarg, UINT64_C(1) << 60, &o->first);
			break;
		case 'c':
			rc = vs_parse_u64(optarg, sim_case_count - 1, &o->only);
			break;
		case 'j':
			rc = vs_parse_u64(optarg, 1024, &o->jobs);
			break;
		case 'p':
			rc = vs_parse_u64(optarg, plants_count(), &o->plant);
			break;
		case 'v':
			sim_verbose++;
			break;
		default:
			return usage("unknown option");
		}
		if (rc < 0)
			return usage("an option's value is not what it takes");
	}
	return optind == argc ? 0 : usage("takes no arguments");
}

static void share_out(const struct options *o, struct schedule_share *share)
{
	uint64_t shares = 0;

	for (unsigned i = 0; i < sim_case_count; i++)
		shares += sim_cases[i].share;
	for (unsigned i = 0; i < sim_case_count; i++) {
		uint64_t n = VS_DIV_UP(o->total * sim_cases[i].share, shares);

		if (o->only < sim_case_count && o->only != i)
			n = 0;
		else if (o->last)
			n = o->last - o->first + 1;
		share[i] = (struct schedule_share){.first = o->first, .count = n};
	}
}

static void print_replay(const char *self, const struct options *o, unsigned i, uint64_t seed)
{
	printf("# replay: %s --case %u --seeds %llu", self, i, (unsigned long long)seed);
	if (o->plant)
		printf(" --plant %llu", (unsigned long long)o->plant);
	printf(" --verbose\n");
}

static bool run_honest(const char *self, const struct options *o, struct schedule_share *share,
		       struct schedule_result *r)
{
	uint64_t done = 0;
	bool good;

	share_out(o, share);
	good = schedule_run(share, (unsigned)o->jobs, false, r);

	if (!good)
		printf("not ok sim # cannot start processes\n");
	for (unsigned i = 0; i < sim_case_count; i++) {
		if (!share[i].count)
			continue;
		done += r[i].done;
		good &= !r[i].bad;
		printf("%s sim case %u %s (%llu seeds)\n", r[i].bad ? "not ok" : "ok", i,
		       sim_cases[i].name, (unsigned long long)r[i].done);
		if (r[i].bad)
			print_replay(self, o, i, r[i].failed);
	}
	printf("# %llu seeds ran\n", (unsigned long long)done);
	return good;
}

/* Whether one of these seeds catches it; done counts them. */
static bool caught_by(const char *self, const struct options *o, const struct schedule_share *share,
		      struct schedule_result *r, uint64_t *done)
{
	bool caught = false;

	if (!schedule_run(share, (unsigned)o->jobs, true, r)) {
		printf("# cannot start processes\n");
		return false;
	}
	for (unsigned i = 0; i < sim_case_count; i++)
		*done += r[i].done;
	for (unsigned i = 0; i < sim_case_count && !caught; i++) {
		caught = r[i].bad;
		if (caught)
			print_replay(self, o, i, r[i].failed);
	}
	return caught;
}

/* One planted bug: it must be caught by some seed. */
static bool run_planted(const char *self, const struct options *o, struct schedule_share *share,
			struct schedule_result *r)
{
	struct options first = *o;
	uint64_t done = 0;
	bool caught = false;

	plants_set((unsigned)o->plant);
	first.only = plants_case((unsigned)o->plant);
	first.last = o->last ? o->last : o->first + PLANT_SEEDS - 1;
	if (first.only < sim_case_count && o->only >= sim_case_count) {
		share_out(&first, share);
		caught = caught_by(self, o, share, r, &done);
	}
	share_out(o, share);
	caught = caught || caught_by(self, o, share, r, &done);
	printf("%s planted %llu, %s: %s after %llu seeds\n", caught ? "ok" : "not ok",
	       (unsigned long long)o->plant, plants_text((unsigned)o->plant),
	       caught ? "caught" : "not caught", (unsigned long long)done);
	return caught;
}

static bool run(const char *self, struct options *o)
{
	struct schedule_share *share = calloc(sim_case_count, sizeof(*share));
	struct schedule_result *result = calloc(sim_case_count, sizeof(*result));
	bool good = share && result;

	if (good && o->plant) {
		good = run_planted(self, o, share, result);
	} else if (good && plants_count()) {
		for (o->plant = 1; o->plant <= plants_count(); o->plant++)
			good &= run_planted(self, o, share, result);
	} else if (good) {
		good = run_honest(self, o, share, result);
	}
	free(share);
	free(result);
	return good;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1, .total = SIM_TOTAL, .only = UINT64_MAX};
	int rc = parse(argc, argv, &o);

	if (rc)
		return rc;
	if (!o.jobs)
		o.jobs = (uint64_t)VS_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	vs_log_set_level(sim_verbose ? VS_LOG_DEBUG : VS_LOG_ERROR);
	/* a store is opened many times: keep what it frees instead of faulting it in anew */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	return run(argv[0], &o) ? 0 : 1;
}
