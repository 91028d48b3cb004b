#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdio.h>

#define TURNS 400000u

/* Until nothing is left at any origin. */
static void fetch_all(struct world *w)
{
	for (unsigned n = 0; sim_host_origins(w->host) && !world_cut(w); n++) {
		sim_require(n < TURNS, "what is at origins does not come");
		(void)world_turn(w);
	}
}

static void some_volume(struct world *w, const struct workload *l)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "o%u", ++w->names);
	(void)world_create_there(w, name, sim_between(&w->rng, l->min_blocks, l->max_blocks));
}

/* With guests, administrators, an array that is lost for a time, and an end of some kind. */
static void round_of(struct world *w, const struct workload *l)
{
	bool lost = sim_one_in(&w->rng, 4);

	if (sim_one_in(&w->rng, 2))
		sim_disk_silence_at(w->disk,
				    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 500));
	sim_host_lose(w->host, lost);
	workload_run(w, l, sim_between(&w->rng, 10, lost ? 40 : 120));
	sim_host_lose(w->host, false);
	if (world_cut(w) || sim_one_in(&w->rng, 4)) {
		world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 3));
		sim_disk_silence_at(w->disk, 0);
		return;
	}
	sim_disk_silence_at(w->disk, 0);
	if (sim_one_in(&w->rng, 3)) {
		world_settle(w);
		sim_require(world_sync(w) == 0, "flush failed");
		world_recount(w, true);
		world_pin_all(w);
		sim_diff_all(w);
	}
}

/*
 * 26: volumes whose blocks are fetched from elsewhere while guests use them: snapshots, clones,
 * writes and trims meet what is still there, is being brought, or has just come; the origin is lost
 * for a time, whoever fetches goes away and comes back, power is cut. At the end nothing is there.
 */
void sim_origins(struct world *w)
{
	struct workload l;

	world_with_origins(w);
	sim_start(w);
	workload_default(w, &l);
	l.weight[WORK_READ] = 30;
	l.weight[WORK_TRIM] = 10;
	l.images = sim_between(&w->rng, 3, 8);
	l.admin_one_in = sim_between(&w->rng, 4, 30);
	some_volume(w, &l);
	for (unsigned round = sim_between(&w->rng, 2, 5); round--;)
		round_of(w, &l);
	world_settle(w);
	if (sim_one_in(&w->rng, 2)) {
		fetch_all(w);
		world_pin_all(w);
		sim_diff_all(w);
		world_verify(w, w->model.now, false);
		world_recount(w, true);
	}
	workload_delete_all(w);
	(void)world_drain(w);
	fetch_all(w);
	sim_end_empty(w);
}
