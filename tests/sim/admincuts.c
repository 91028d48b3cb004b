#include "tests/sim/rng.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

/* Few volumes of any size, or many small ones: several pages of the volume table. */
static void choose(struct world *w, struct workload *l)
{
	workload_default(w, l);
	l->depth = sim_between(&w->rng, 1, 8);
	l->admin_one_in = 3;
	if (sim_one_in(&w->rng, 4)) {
		l->images = 30;
		l->min_blocks = 1;
		l->max_blocks = 8;
	} else {
		l->images = 8;
		l->max_blocks = sim_one_in(&w->rng, 2) ? 600 : 40;
	}
}

/* 16: administration cut off at any of its I/Os has happened wholly or not at all. */
void sim_cut_administration(struct world *w)
{
	struct workload l;

	w->cfg.checkpoint_bytes = UINT64_C(65536) * sim_between(&w->rng, 1, 16);
	sim_start(w);
	choose(w, &l);
	workload_run(w, &l, l.images * 4);
	for (unsigned i = 0; i < 6; i++) {
		l.admin_one_in = 0;
		workload_run(w, &l, sim_below(&w->rng, 12));
		sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 30));
		if (!w->admin_busy && !w->admin_unsure)
			workload_administer(w, &l);
		workload_run(w, &l, sim_below(&w->rng, 10));
		if (world_cut(w) || sim_one_in(&w->rng, 4))
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
		sim_disk_silence_at(w->disk, 0);
		l.admin_one_in = 3;
		workload_run(w, &l, sim_below(&w->rng, 8));
	}
	sim_end_empty(w);
}
