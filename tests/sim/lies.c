#include "blockstore/super_format.h"
#include "common/bytes.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#define PAGE 4096u

static void choose(struct world *w, struct workload *l)
{
	w->cfg.checkpoint_bytes = UINT64_C(65536) * sim_between(&w->rng, 2, 40);
	w->cfg.cache_blocks = 4;
	sim_start(w);
	workload_default(w, l);
	l->images = 6;
	l->max_blocks = sim_one_in(&w->rng, 3) ? 600 : 64;
	l->weight[WORK_READ] = 40;
}

/* Some of the next reads, of whatever structure, deliver one bit that is not on the disk. */
static void flip_reads(struct world *w)
{
	struct sim_rule rule = {.op = BS_DEV_READ,
				.fate = SIM_FATE_FLIP,
				.skip = sim_below(&w->rng, 12),
				.count = sim_between(&w->rng, 1, 4)};

	(void)sim_disk_add_rule(w->disk, &rule);
}

static void damage(struct world *w)
{
	uint32_t first = BS_HEAD_AREA / PAGE;
	uint32_t end = (uint32_t)((w->disk_size - BS_TAIL_AREA) / PAGE);
	unsigned left = sim_between(&w->rng, 1, 4);

	for (unsigned tries = 0; left && tries < 1000; tries++) {
		uint64_t at = PAGE * (uint64_t)(first + sim_below(&w->rng, end - first));

		if (!sim_disk_written(w->disk, at))
			continue;
		sim_trace("damage at %llu", (unsigned long long)at);
		sim_disk_rot(w->disk, at + sim_below(&w->rng, PAGE), sim_below(&w->rng, 8));
		left--;
	}
}

/*
 * 17: reads that are wrong once do no lasting harm: all that was acknowledged is there after a
 * kill. Damage that stays is met as errors: what can be read is right, while guests and
 * administrators go on, and after that.
 */
void sim_lying_reads(struct world *w)
{
	struct workload l;

	choose(w, &l);
	workload_run(w, &l, 60);
	for (unsigned i = 0; i < 2; i++) {
		w->may_fail = true;
		flip_reads(w);
		workload_run(w, &l, 40);
		sim_disk_clear_rules(w->disk);
		world_die(w, false);
		w->may_fail = false;
		world_recover(w, false, false);
	}
	workload_run(w, &l, 30);
	world_settle(w);
	world_pin_all(w);
	sim_require(world_sync(w) == 0, "flush failed");
	world_verify(w, w->model.now, false);
	world_recount(w, true);
	w->may_fail = true;
	damage(w);
	workload_run(w, &l, 60);
	world_settle(w);
	sim_read_all(w);
	world_die(w, false);
	if (!world_try_open(w))
		return;
	if (sim_says_older(w))
		return;
	sim_read_all(w);
}
