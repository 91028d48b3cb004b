#include "blockstore/engine.h"
#include "blockstore/super_format.h"
#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#define CUTS 12u /* of a run, per seed */

/* Which copies can be read, and each slot's checkpoint. */
struct supers {
	bool there[2][2];
	uint64_t number[2];
};

static void read_supers(const struct world *w, struct supers *out)
{
	*out = (struct supers){0};
	for (unsigned i = 0; i < 4; i++) {
		unsigned slot = i & 1, copy = i >> 1;
		uint8_t buf[BS_SUPER_SIZE];
		struct bs_super sb;

		sim_disk_peek(w->disk, bs_super_offset(w->disk_size, slot, copy), buf, sizeof(buf));
		if (bs_super_decode(buf, &sb) != 0)
			continue;
		out->there[slot][copy] = true;
		out->number[slot] = VS_MAX(out->number[slot], sb.checkpoint);
	}
}

/* A bit of one copy of a superblock, or of both; a cut may have torn others, one must be left. */
static void rot_super(struct world *w, unsigned slot, bool both)
{
	unsigned copy = sim_below(&w->rng, 2);
	struct supers s;

	read_supers(w, &s);
	if (!s.there[!slot][0] && !s.there[!slot][1]) {
		if (!s.there[slot][0] || !s.there[slot][1])
			return;
		both = false;
	}
	for (unsigned c = 0; c < 2; c++)
		if (both || c == copy)
			sim_disk_rot(w->disk,
				     bs_super_offset(w->disk_size, slot, c) +
					 sim_below(&w->rng, 128),
				     sim_below(&w->rng, 8));
}

static void rot_newest(struct world *w)
{
	struct supers s;

	read_supers(w, &s);
	rot_super(w, s.number[1] > s.number[0], true);
}

/* What goes on while checkpoints are made. */
static void busy_with_checkpoints(struct world *w)
{
	struct workload l;

	w->cfg.checkpoint_bytes = 262144;
	w->cfg.gen_mask = 3;
	sim_start(w);
	workload_default(w, &l);
	l.depth = 12;
	l.admin_one_in = 12;
	l.images = 6;
	l.max_blocks = 48;
	l.hot = 0;
	workload_run(w, &l, 150);
	world_settle(w);
	world_pin_all(w);
}

/*
 * 4: the same run again and again, cut after some of its I/Os: of every second seed all over the
 * run, of the others a dozen that follow each other; a superblock rots as well.
 */
void sim_every_cut(struct world *w)
{
	uint64_t seed = w->seed, size = w->disk_size, total, stride, first;
	struct world again;

	busy_with_checkpoints(w);
	total = sim_disk_events(w->disk);
	stride = VS_MAX((total - w->opened_at) / CUTS, 1u);
	first = w->opened_at + 1 + seed % stride;
	if (sim_one_in(&w->rng, 2)) {
		first += stride * sim_below(&w->rng, CUTS - 1);
		stride = 1;
	}
	for (uint64_t at = first; at < total && at < first + CUTS * stride; at += stride) {
		bool power = (at + seed) % 2 == 0;

		world_init(&again, seed, size);
		sim_trace("cut at %llu of %llu", (unsigned long long)at, (unsigned long long)total);
		again.cut_at = at;
		busy_with_checkpoints(&again);
		if (again.host && world_cut(&again)) {
			world_die(&again, power);
			if (sim_one_in(&again.rng, 3))
				rot_super(&again, sim_below(&again.rng, 2),
					  sim_one_in(&again.rng, 2));
			world_recover(&again, power, false);
			world_recount(&again, true);
		}
		world_free(&again);
	}
	sim_disk_silence_at(w->disk, 0);
	world_stop(w);
}

/* Checkpoints that are nearly always being written, page by page, under changes of every kind. */
static void slow_checkpoints(struct world *w, struct workload *l)
{
	w->cfg.checkpoint_bytes = 65536;
	w->cfg.checkpoint_step = 1;
	w->cfg.gen_mask = sim_one_in(&w->rng, 2) ? 1 : 3;
	w->cfg.fibers = BS_FIBERS_KEPT + 18;
	sim_start(w);
	workload_default(w, l);
	l->depth = sim_between(&w->rng, 8, 24);
	l->admin_one_in = sim_between(&w->rng, 3, 12);
	l->images = sim_between(&w->rng, 6, 14);
	l->max_blocks = sim_one_in(&w->rng, 2) ? 600 : 64;
	l->weight[WORK_TRIM] = 12;
	l->hot = 0;
}

/*
 * 21: what a checkpoint has yet to place changes, is freed, given out again; each round ends at
 * some I/O of all that.
 */
void sim_between_steps(struct world *w)
{
	struct workload l;

	slow_checkpoints(w, &l);
	for (unsigned i = 0; i < 8; i++) {
		bool power = sim_one_in(&w->rng, 2);

		sim_disk_silence_at(w->disk,
				    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 400));
		workload_run(w, &l, sim_between(&w->rng, 40, 160));
		world_crash(w, power, sim_one_in(&w->rng, 4));
		world_recount(w, false);
		workload_run(w, &l, sim_below(&w->rng, 40));
		if (sim_one_in(&w->rng, 3)) { /* what is evicted now is read from its new place */
			world_settle(w);
			sim_require(world_sync(w) == 0, "flush failed");
			world_pin_all(w);
			world_verify(w, w->model.now, false);
		}
	}
	world_stop(w);
	world_recount(w, true);
}

void sim_fill_up(struct world *w, struct model_image *v)
{
	uint64_t tags[1024];

	for (uint32_t s = 0; s < v->sectors; s += VS_ARRAY_LEN(tags)) {
		uint32_t n = VS_MIN(v->sectors - s, (uint32_t)VS_ARRAY_LEN(tags));
		int status = 1;

		for (uint32_t i = 0; i < n; i++) {
			if (i % SIM_BLOCK_SECTORS == 0)
				w->next_content += 3 - w->next_content % 3;
			tags[i] = sim_tag(w->next_content, s + i);
		}
		world_write(w, v, s, n, tags, 0)->status = &status;
		sim_require(world_await(w, &status) == 0, "filling: %s", vs_err_text(status));
	}
}

/* Writes noise over and over, large and small, several requests at once. */
static void churn(struct world *w, unsigned writes)
{
	uint64_t tags[512];

	while (writes-- && !world_cut(w)) {
		struct model_image *v = workload_pick(w, false);
		uint32_t most = sim_one_in(&w->rng, 3) ? VS_ARRAY_LEN(tags) / 8 : 2;
		uint32_t n = SIM_BLOCK_SECTORS * sim_between(&w->rng, 1, most);
		uint32_t s = SIM_BLOCK_SECTORS * sim_below(&w->rng, (v->sectors - n) / 8 + 1);

		for (uint32_t i = 0; i < n; i++) {
			if (i % SIM_BLOCK_SECTORS == 0)
				w->next_content += 3 - w->next_content % 3;
			tags[i] = sim_tag(w->next_content, s + i);
		}
		(void)world_write(w, v, s, n, tags, 0);
		while (w->in_flight > 4 && !world_cut(w))
			world_turns(w, 1);
	}
}

/*
 * The newest superblock rots after segments have come round several times: what the one before
 * needs must all be there, and the log from there on.
 */
void sim_newest_rots(struct world *w)
{
	unsigned full = sim_below(&w->rng, 4);

	w->cfg.checkpoint_bytes = UINT64_C(65536) * sim_between(&w->rng, 4, 120);
	sim_start(w);
	for (unsigned i = 0; i < full; i++)
		sim_fill_up(w, sim_volume(w, 600));
	(void)sim_volume(w, 300);
	for (unsigned i = 0; i < 3; i++) {
		bool power = sim_one_in(&w->rng, 2);

		sim_disk_silence_at(w->disk,
				    sim_disk_events(w->disk) + 200 + sim_below(&w->rng, 500));
		churn(w, 300);
		world_die(w, power);
		rot_newest(w);
		world_recover(w, power, false);
		world_recount(w, true);
	}
}
