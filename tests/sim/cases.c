#include "tests/sim/cases.h"

#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#define MIB (UINT64_C(1) << 20)

/* Some writes and flushes are held back for as long as anything else can be done. */
static void hold_back(struct world *w)
{
	for (unsigned n = sim_between(&w->rng, 1, 3); n; n--) {
		struct sim_rule rule = {.op = sim_one_in(&w->rng, 3) ? BS_DEV_FLUSH : BS_DEV_WRITE,
					.fate = SIM_FATE_STALL,
					.skip = sim_below(&w->rng, 80),
					.count = sim_between(&w->rng, 1, 4)};

		(void)sim_disk_add_rule(w->disk, &rule);
	}
}

/* Everything at once, with cuts, kills and clean stops between. */
static void mix(struct world *w)
{
	unsigned rounds = sim_between(&w->rng, 1, 4);
	struct workload l;

	sim_start(w);
	workload_default(w, &l);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned how = sim_below(&w->rng, 8);

		if (how < 6)
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 600));
		if (sim_one_in(&w->rng, 3))
			hold_back(w);
		workload_run(w, &l, sim_between(&w->rng, 20, 400));
		if (how == 7) {
			world_stop(w);
			if (sim_one_in(&w->rng, 4))
				world_recount(w, true);
			world_default_config(w);
			world_open(w);
			continue;
		}
		world_crash(w, how < 4, sim_one_in(&w->rng, 3));
	}
	workload_run(w, &l, 40);
	sim_end_empty(w);
}

/* 1: every acknowledged write survives a kill; once flushed, by the next daemon too, a power cut.
 */
static void acknowledged(struct world *w)
{
	struct model_image *v;
	struct workload l;

	sim_start(w);
	workload_default(w, &l);
	l.admin_one_in = 0;
	v = sim_volume(w, 64);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20; i++) {
			int status = 1;
			struct world_req *q = world_write_block(w, v, sim_below(&w->rng, 64),
								workload_content(w, &l), 0);

			q->status = &status;
			world_await(w, &status);
		}
		workload_run(w, &l, sim_below(&w->rng, 30));
		world_crash(w, false, sim_one_in(&w->rng, 2));
		workload_run(w, &l, sim_below(&w->rng, 30));
		world_settle(w);
		sim_require(world_sync(w) == 0, "flush failed");
		world_crash(w, true, false);
	}
	sim_end_empty(w);
}

/*
 * 2: of several units in flight one is torn and later ones are whole; after recovery the same
 * writes are made again and power is cut again: what the first recovery dropped stays dropped.
 */
static void resurrection(struct world *w)
{
	struct model_image *v;

	w->cfg.units = 8;
	w->cfg.checkpoint_bytes = 4 * MIB;
	sim_start(w);
	v = sim_volume(w, 32);
	for (unsigned round = 0; round < 4; round++) {
		uint64_t same = world_new_content(w), other = world_new_content(w);

		for (unsigned again = 0; again < 2; again++) {
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 16));
			for (uint32_t b = 0; b < 4; b++)
				(void)world_write_block(w, v, b, same + b * 7, 0);
			for (uint32_t b = 4; b < 12 && !again; b++)
				(void)world_write_block(w, v, b, other + b * 11, 0);
			world_turns(w, 60);
			world_crash(w, true, false);
		}
		w->next_content += 200;
	}
	sim_end_empty(w);
}

/* 6: everything that can happen to one block, on all ports at once. */
static void one_block(struct world *w)
{
	struct workload l;

	w->cfg.ports = SIM_PORTS;
	sim_start(w);
	(void)sim_volume(w, 2);
	workload_default(w, &l);
	l.hot = 1;
	l.depth = sim_between(&w->rng, 2, 30);
	l.images = 5;
	l.min_blocks = 1;
	l.max_blocks = 4;
	l.largest_write = 8;
	l.admin_one_in = 30;
	l.weight[WORK_WRITE] = 20;
	l.weight[WORK_WRITE_PART] = 40;
	l.weight[WORK_COMPARE] = 40;
	l.weight[WORK_TRIM] = 15;
	workload_run(w, &l, 250);
	if (sim_one_in(&w->rng, 2))
		world_crash(w, sim_one_in(&w->rng, 2), false);
	world_settle(w);
	sim_compare_race(w, sim_volume(w, 1));
	sim_end_empty(w);
}

/* 7: a tree of clones, deleted in any order with cuts on the way. */
static void clones(struct world *w)
{
	struct workload l;

	w->cfg.checkpoint_bytes = UINT64_C(65536) * sim_between(&w->rng, 1, 8);
	sim_start(w);
	workload_default(w, &l);
	l.admin_one_in = 0;
	l.alphabet = 30;
	(void)sim_volume(w, sim_one_in(&w->rng, 2) ? 600 : 20);
	for (unsigned i = 0; i < 12; i++) {
		workload_run(w, &l, sim_below(&w->rng, 30));
		sim_grow_tree(w);
	}
	world_settle(w);
	world_pin_all(w);
	sim_diff_all(w);
	for (unsigned i = 0; i < 30; i++) {
		sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 80));
		sim_prune_tree(w);
		workload_run(w, &l, sim_below(&w->rng, 8));
		if (sim_one_in(&w->rng, 2) && !world_cut(w))
			(void)world_drain(w);
		if (world_cut(w))
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
		sim_disk_silence_at(w->disk, 0);
		if (sim_one_in(&w->rng, 4)) {
			world_settle(w);
			world_recount(w, false);
		}
	}
	world_settle(w);
	sim_diff_all(w);
	sim_end_empty(w);
}

/* 8: contents that reach their reference cap, and few numbers for them. */
static void scarce_numbers(struct world *w)
{
	struct workload l;

	w->cfg.ref_cap = 3;
	w->cfg.gen_mask = 3;
	w->cfg.max_contents = sim_between(&w->rng, 2, 12) * 128;
	w->may_nospc = true;
	w->trims_may_drop = true;
	sim_start(w);
	workload_default(w, &l);
	l.alphabet = 3;
	l.images = 6;
	for (unsigned i = 0; i < 3; i++) {
		workload_run(w, &l, 120);
		world_crash(w, sim_one_in(&w->rng, 2), false);
	}
	sim_end_empty(w);
}

/* 9: a store that is full and must not lock up, and whose space comes back. */
static void full_store(struct world *w)
{
	struct workload l;

	w->may_nospc = true;
	w->trims_may_drop = true;
	sim_start(w);
	workload_default(w, &l);
	l.alphabet = 4;
	l.min_blocks = 100;
	l.max_blocks = 600;
	l.largest_write = 1200;
	l.weight[WORK_WRITE] = 90;
	l.images = 8;
	for (unsigned i = 0; i < 3; i++) {
		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 +
							 sim_below(&w->rng, 3000));
		workload_run(w, &l, 200);
		if (world_cut(w) || sim_one_in(&w->rng, 3))
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
		sim_disk_silence_at(w->disk, 0);
	}
	world_settle(w);
	workload_delete_all(w);
	(void)world_drain(w);
	w->may_nospc = w->trims_may_drop = false;
	sim_write_much(w, sim_volume(w, 256), 256);
	sim_end_empty(w);
}

const struct sim_case sim_cases[] = {
    {"general mix", 24 * MIB, 2400, mix},
    {"kill after acknowledge, then flush", 24 * MIB, 1700, acknowledged},
    {"a torn unit with whole ones behind it", 24 * MIB, 2600, resurrection},
    {"bits flipped in flushed units", 24 * MIB, 2600, sim_rot},
    {"cuts at every I/O of checkpoints", 24 * MIB, 160, sim_every_cut},
    {"reads stalled across reuse", 24 * MIB, 250, sim_stalled_reads},
    {"everything on one block", 24 * MIB, 2200, one_block},
    {"clones deleted in any order", 24 * MIB, 700, clones},
    {"reference cap and few content numbers", 24 * MIB, 1100, scarce_numbers},
    {"a full store", 18 * MIB, 180, full_store},
    {"device errors and lying flushes", 24 * MIB, 1440, sim_bad_disk},
    {"the newest superblock rots", 18 * MIB, 200, sim_newest_rots},
    {"deletions free what was said before", 24 * MIB, 500, sim_exact_space},
    {"tables that cannot be", 24 * MIB, 1000, sim_crafted},
    {"references dropped late", 24 * MIB, 800, sim_late_drops},
    {"a saved dedup index that is damaged or lies", 24 * MIB, 900, sim_saved_index},
    {"administration cut off", 24 * MIB, 800, sim_cut_administration},
    {"reads that lie, damage that must not spread", 24 * MIB, 800, sim_lying_reads},
    {"scrubs beside everything else", 24 * MIB, 150, sim_scrubbed},
    {"a mirror with a bad side", 24 * MIB, 300, sim_mirror},
    {"a mirror made and unmade under load", 24 * MIB, 400, sim_joined},
    {"duplicates merged under load", 24 * MIB, 800, sim_merge},
    {"changes between a checkpoint's steps", 24 * MIB, 250, sim_between_steps},
    {"thick volumes in a full store", 24 * MIB, 80, sim_thick},
    {"a store filled again and again", 18 * MIB, 50, sim_filled_again},
    {"a second disk comes and one goes", 24 * MIB, 300, sim_extended},
    {"volumes fetched from origins", 24 * MIB, 900, sim_origins},
    {"objects and their records", 24 * MIB, 300, sim_objects},
};
const unsigned sim_case_count = VS_ARRAY_LEN(sim_cases);
