#include "blockstore/super_format.h"
#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdlib.h>

#define PAGE 4096u

/* A page that was written, outside the superblocks' areas; 0 when none is found. */
static uint64_t find_used_page(struct world *w, uint64_t size)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		uint64_t first = BS_HEAD_AREA / PAGE, end = (size - BS_TAIL_AREA) / PAGE;
		uint64_t at = PAGE * (first + sim_below(&w->rng, (uint32_t)(end - first)));

		if (sim_disk_written(w->disk, at))
			return at;
	}
	return 0;
}

/* Every block from a sector on either reads right or gives an error. Returns how many gave one. */
static unsigned read_tolerantly(struct world *w, struct model_image *img, uint32_t from)
{
	unsigned errors = 0;

	for (uint32_t s = from; s < img->sectors; s += 8) {
		int status = 1;
		struct world_req *q = world_read(w, img, s, 8);

		if (!q)
			return img->sectors / 8;
		q->status = &status;
		errors += world_await(w, &status) != 0;
	}
	return errors;
}

unsigned sim_read_all(struct world *w)
{
	unsigned errors = 0;

	world_check_list(w);
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		if (w->model.images[i].live)
			errors += read_tolerantly(w, &w->model.images[i], 0);
	return errors;
}

bool sim_says_older(struct world *w)
{
	struct bs_store_info info;

	sim_host_info(w->host, &info);
	sim_require(!info.read_only || sim_host_complaints(w->host) > 0,
		    "read-only without a word");
	return info.read_only;
}

/* 3: damage below what was flushed is an error where it is met, and never an older state. */
void sim_rot(struct world *w)
{
	struct vs_error err = {0};
	struct bs_check_result res = {0};
	struct model_image *v;
	struct workload l;
	unsigned errors = 0;
	uint64_t at;

	w->cfg.checkpoint_bytes = sim_one_in(&w->rng, 2) ? 8u << 20 : 256u << 10;
	sim_start(w);
	workload_default(w, &l);
	l.depth = 6;
	l.admin_one_in = 60;
	l.images = 4;
	l.max_blocks = 64;
	l.no_delete = true;
	v = sim_volume(w, 64);
	workload_run(w, &l, 120);
	world_settle(w);
	world_pin_all(w);
	sim_require(world_sync(w) == 0, "flush failed");
	world_verify(w, w->model.now, false);
	/*
	 * One more unit, flushed as well, so that nothing above is the last. Damage in the last one
	 * is taken for a torn write, and block 0 reads as before.
	 */
	sim_write_much(w, v, 1);
	sim_require(world_sync(w) == 0, "flush failed");
	world_die(w, sim_one_in(&w->rng, 2));
	at = find_used_page(w, w->disk_size);
	sim_disk_rot(w->disk, at + sim_below(&w->rng, PAGE), sim_below(&w->rng, 8));
	w->may_fail = true;
	if (sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err) < 0) {
		sim_trace("refused: %s", err.text);
		sim_require(err.code == VS_E_CORRUPT || err.code == VS_E_CHECKSUM ||
				err.code == VS_E_IO,
			    "damage at %llu: open says %s", (unsigned long long)at, err.text);
		return;
	}
	if (sim_says_older(w))
		return;
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		if (w->model.images[i].live)
			errors += read_tolerantly(w, &w->model.images[i],
						  &w->model.images[i] == v ? 8 : 0);
	sim_trace("damage at %llu: %u blocks unreadable", (unsigned long long)at, errors);
	if (errors && sim_host_check(w->disk, true, &res, &err) == 0)
		sim_require(res.problems > 0, "%u blocks are unreadable and check finds nothing",
			    errors);
}

/* Some guests' reads are held back at the device. */
static void stall_reads(struct world *w, struct model_image *v)
{
	struct sim_rule rule = {.op = BS_DEV_READ, .fate = SIM_FATE_STALL, .count = 3};

	(void)sim_disk_add_rule(w->disk, &rule);
	for (unsigned k = 0; k < 6; k++)
		(void)world_read(w, v, 8 * sim_below(&w->rng, v->sectors / 8), 8);
	world_turns(w, 30);
	sim_disk_clear_rules(w->disk);
}

/* 5: reads held back while what they read is overwritten, cleaned, freed and reused. */
void sim_stalled_reads(struct world *w)
{
	struct model_image *v;
	struct workload l;

	w->cfg.gen_mask = 3;
	w->cfg.cache_blocks = 4;
	w->cfg.checkpoint_bytes = 262144;
	w->cfg.max_contents = 4096;
	w->may_nospc = true;
	w->trims_may_drop = true;
	sim_start(w);
	workload_default(w, &l);
	l.admin_one_in = 0; /* would wait for the reads */
	l.depth = 16;
	l.largest_write = 512;
	l.weight[WORK_READ] = 5;
	v = sim_volume(w, sim_between(&w->rng, 40, 128));
	sim_write_much(w, v, v->sectors / 8);
	for (unsigned i = 0; i < 4; i++) {
		world_settle(w);
		stall_reads(w, v);
		for (unsigned k = sim_below(&w->rng, 5); k; k--)
			sim_fill_up(w, v); /* nothing stays in the segments that are being read */
		workload_run(w, &l, 150);
		sim_disk_release(w->disk);
		world_settle(w);
		sim_require(sim_host_mended(w->host) == 0, "a read got what was written later");
		if (sim_one_in(&w->rng, 2))
			(void)world_snapshot(w, v, i % 2 ? "a" : "b");
		if (sim_one_in(&w->rng, 2) && workload_pick(w, true))
			(void)world_delete(w, workload_pick(w, true), BS_DELETE_PLAIN);
	}
	world_verify(w, w->model.now, false);
	world_recount(w, true);
}

static void add_fault(struct world *w, uint32_t within)
{
	struct sim_rule rule = {.skip = sim_below(&w->rng, within),
				.count = sim_between(&w->rng, 1, 2)};

	switch (sim_below(&w->rng, 5)) {
	case 0:
		rule.op = BS_DEV_FLUSH;
		rule.skip /= 6;
		rule.durable = sim_one_in(&w->rng, 2);
		break;
	case 1:
		rule.op = BS_DEV_READ;
		break;
	case 2: /* of a superblock */
		rule.op = BS_DEV_WRITE;
		rule.skip /= 20;
		rule.from = sim_one_in(&w->rng, 2) ? 0 : w->disk_size - BS_TAIL_AREA;
		rule.to = rule.from ? w->disk_size : 2 * BS_SUPER_SIZE;
		break;
	default:
		rule.op = BS_DEV_WRITE;
		break;
	}
	(void)sim_disk_add_rule(w->disk, &rule);
}

static void add_faults(struct world *w)
{
	for (unsigned n = sim_between(&w->rng, 1, 3); n; n--)
		add_fault(w, 60);
}

/* Whatever is there: some content that was written once, or an error. */
static void read_anything(struct world *w, struct model_image *img)
{
	uint64_t tags[8];

	for (uint32_t s = 0; s < img->sectors; s += 8) {
		int status = 1;
		struct world_req *q = world_read(w, img, s, 8);

		if (!q)
			return;
		q->out = tags;
		q->status = &status;
		(void)world_await(w, &status);
	}
}

/* Nobody can keep what a lying disk loses; nothing worse may come of it. */
static void lying_flushes(struct world *w, const struct workload *l)
{
	struct sim_rule rule = {
	    .op = BS_DEV_FLUSH, .fate = SIM_FATE_LIE, .skip = sim_below(&w->rng, 8), .count = 1000};

	(void)sim_disk_add_rule(w->disk, &rule);
	w->may_lie = true;
	workload_run(w, l, 150);
	world_die(w, true);
	w->may_fail = true;
	if (!world_try_open(w))
		return;
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		if (w->model.images[i].live)
			read_anything(w, &w->model.images[i]);
}

/*
 * A request fails while the store is opened: it may refuse, but must not lose what it cannot read,
 * nor what it could not write again.
 */
static void recover_on_bad_disk(struct world *w)
{
	for (unsigned n = sim_between(&w->rng, 1, 3); n && !w->host; n--) {
		add_fault(w, 40);
		if (!world_try_open(w))
			sim_disk_kill(w->disk);
		sim_disk_clear_rules(w->disk);
	}
}

/* 10: errors on single requests, failed flushes; then flushes that lie. No success is false. */
void sim_bad_disk(struct world *w)
{
	bool often = sim_one_in(&w->rng, 2);
	struct workload l;

	if (often) /* a checkpoint is under way most of the time */
		w->cfg.checkpoint_bytes = UINT64_C(16384) * sim_between(&w->rng, 1, 8);
	sim_start(w);
	workload_default(w, &l);
	l.images = 5;
	l.max_blocks = 64;
	l.synced |= often && sim_one_in(&w->rng, 2);
	workload_run(w, &l, 60);
	for (unsigned i = 0; i < 3; i++) {
		world_settle(w);
		w->may_fail = true;
		add_faults(w);
		workload_run(w, &l, 120);
		sim_disk_clear_rules(w->disk);
		world_die(w, sim_one_in(&w->rng, 2));
		w->may_fail = false;
		if (sim_one_in(&w->rng, 2))
			recover_on_bad_disk(w);
		world_recover(w, true, false);
		workload_run(w, &l, 30);
		world_settle(w);
		world_recount(w, true);
	}
	if (sim_one_in(&w->rng, 3))
		lying_flushes(w, &l);
}
