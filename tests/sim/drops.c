#include "blockstore/table_format.h"
#include "tests/sim/craft.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#define SECOND UINT64_C(1000000000)

/* Lets time pass; nobody asks for anything that is not under way. */
static void rest(struct world *w, uint64_t ns)
{
	uint64_t until = w->clock.ns + ns;

	while (w->clock.ns < until && !world_cut(w) && world_turn(w))
		;
}

/* Nothing is left to hold content, and nobody waits for it: it goes all the same. */
static void goes_by_itself(struct world *w)
{
	struct bs_store_info info;

	world_settle(w);
	workload_delete_all(w);
	rest(w, 3 * SECOND);
	sim_host_info(w->host, &info);
	sim_require(info.unique_content_bytes == 0 && info.stored_content_bytes == 0,
		    "%llu unique bytes are left on an idle empty store",
		    (unsigned long long)info.unique_content_bytes);
}

static uint64_t unique_blocks(struct world *w)
{
	struct bs_store_info info;

	sim_host_info(w->host, &info);
	return info.unique_content_bytes / BS_BLOCK;
}

/*
 * A place leaf that cannot be read any more: all that overwrites let go goes but what it counts,
 * and nobody waits for that. So after a crash, when the log says it again.
 */
static void lost_leaf(struct world *w)
{
	uint32_t blocks = 3 * BS_PLACES_PER_PAGE;
	struct model_image *v;

	w->cfg.drops = sim_between(&w->rng, 2 * blocks, 3000);
	sim_start(w);
	v = sim_volume(w, blocks);
	sim_write_much(w, v, blocks);
	world_stop(w);
	sim_require(craft_rot_leaf(w->disk, BS_TREE_PLACE, 1), "no such leaf");
	sim_require(world_try_open(w), "a leaf that nobody needs keeps the store from opening");
	sim_write_much(w, v, blocks);
	for (unsigned i = 0; i < 3; i++) {
		sim_require(world_drain(w) == 0, "draining fails");
		sim_require(unique_blocks(w) == blocks + BS_PLACES_PER_PAGE, "%llu blocks are left",
			    (unsigned long long)unique_blocks(w));
		world_crash(w, false, false);
	}
}

/*
 * 14: references that are taken off late, in runs of a few: cut while they are gathered, turned and
 * drained, with checkpoints anywhere in between.
 */
void sim_late_drops(struct world *w)
{
	struct workload l;

	if (sim_one_in(&w->rng, 8)) {
		lost_leaf(w);
		return;
	}
	w->cfg.drops = sim_between(&w->rng, 1, 60);
	w->cfg.gen_mask = 3;
	w->cfg.checkpoint_bytes = UINT64_C(32768) * sim_between(&w->rng, 1, 16);
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	l.weight[WORK_WRITE] = 80;
	l.weight[WORK_TRIM] = 15;
	l.images = 4;
	if (sim_one_in(&w->rng, 2)) { /* over many leaves */
		l.min_blocks = 300;
		l.max_blocks = 600;
		l.largest_write = 600;
		l.alphabet = 200;
	}
	for (unsigned round = sim_between(&w->rng, 2, 5); round--;) {
		if (!sim_one_in(&w->rng, 4))
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 300));
		workload_run(w, &l, sim_between(&w->rng, 10, 150));
		if (sim_one_in(&w->rng, 2))
			rest(w, sim_below(&w->rng, 2) * SECOND);
		if (sim_one_in(&w->rng, 4) && !world_cut(w))
			(void)world_drain(w);
		world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 3));
		world_recount(w, true);
	}
	goes_by_itself(w);
	world_stop(w);
	world_recount(w, false);
}
