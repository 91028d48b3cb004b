#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdio.h>

#define RACERS 8

void sim_compare_race(struct world *w, struct model_image *v)
{
	for (unsigned round = 0; round < 6; round++) {
		uint64_t before[8], after[8];
		int status[RACERS];
		unsigned won = 0;

		for (uint32_t i = 0; i < 8; i++)
			sim_require(model_only(&w->model, v, i, w->model.now, &before[i]),
				    "the race begins on a known block");
		for (unsigned i = 0; i < RACERS; i++) {
			uint64_t content = world_new_content(w);
			struct world_req *q;

			for (uint32_t k = 0; k < 8; k++)
				after[k] = sim_tag(content, k);
			q = world_compare_write(w, v, 0, 8, before, after, 0);
			status[i] = 1;
			q->status = &status[i];
			world_turns(w, sim_below(&w->rng, 3));
		}
		for (unsigned i = 0; i < RACERS; i++)
			won += world_await(w, &status[i]) == 0;
		sim_require(won == 1, "%u of %u compare-and-writes that expect the same succeeded",
			    won, RACERS);
	}
}

void sim_grow_tree(struct world *w)
{
	struct model_image *vol = workload_pick(w, false), *snap = workload_pick(w, true);
	char name[64];

	(void)snprintf(name, sizeof(name), "t%u", ++w->names);
	if (!vol)
		(void)world_create(w, name, 20);
	else if (!snap || sim_one_in(&w->rng, 2))
		(void)world_snapshot(w, vol, name);
	else
		(void)world_clone(w, snap, name);
}

void sim_prune_tree(struct world *w)
{
	struct model_image *img = workload_pick(w, sim_one_in(&w->rng, 2));

	if (img)
		(void)world_delete(w, img, BS_DELETE_KEEP_SNAPSHOTS);
}

void sim_diff_all(struct world *w)
{
	for (unsigned i = 0; i < 6; i++) {
		struct model_image *a = workload_pick(w, true), *b = workload_pick(w, true);

		if (b && b->pinned && a->pinned)
			world_check_diff(w, sim_one_in(&w->rng, 4) ? NULL : a, b);
	}
}

void sim_write_much(struct world *w, struct model_image *v, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++) {
		int status = 1;
		struct world_req *q = world_write_block(w, v, b, world_new_content(w), 0);

		q->status = &status;
		sim_require(world_await(w, &status) == 0, "block %u of an empty store: %s", b,
			    vs_err_text(status));
	}
}
