#include "blockstore/evacuate.h"

#include "blockstore/checkpoint.h"
#include "blockstore/feature.h"
#include "blockstore/log.h"
#include "blockstore/pool_change.h"

#define LOOKS_PER_STEP 4096u
#define LOOK_EVERY 8u /* segments that the cleaner has emptied */

struct rest {
	uint32_t count, nfree, freeing; /* segments of the groups that stay */
};

static struct rest without(struct bs_engine *e, uint16_t group)
{
	struct rest r = {0};

	for (uint32_t i = 0; i < e->segs.count; i++) {
		const struct bs_seg *g;

		if (i % LOOKS_PER_STEP == LOOKS_PER_STEP - 1)
			bs_fiber_yield(e->fibers);
		g = &e->segs.seg[i]; /* the store may have grown meanwhile */
		if (g->shut || bs_pool_range(e->pool, i)->group == group)
			continue;
		r.count++;
		r.nfree += g->ent.state == BS_SEG_FREE;
		r.freeing += g->ent.state == BS_SEG_FREEING;
	}
	return r;
}

/* The engine starts the cleaner between two turns of fibers, unless it has nothing to do. */
static void let_clean(struct bs_engine *e)
{
	e->segs.emptying = true;
	for (unsigned i = 0; i < 4 && !e->cleaning; i++)
		bs_fiber_yield(e->fibers);
}

/* The whole table is looked at anew only after every few segments. */
static bool is_enough(struct bs_engine *e, uint16_t group, uint32_t enough, uint64_t *seen)
{
	struct rest r;

	if (e->count.cleaned - *seen < LOOK_EVERY)
		return false;
	*seen = e->count.cleaned;
	r = without(e, group);
	return r.nfree + r.freeing > enough;
}

static int clean_some(struct bs_engine *e, uint16_t group, uint32_t enough)
{
	uint32_t before = without(e, group).nfree;
	uint64_t seen = e->count.cleaned;
	int rc = 0;

	let_clean(e);
	while (e->cleaning && e->segs.emptying && !e->stopping && !e->failed &&
	       !is_enough(e, group, enough, &seen))
		bs_fiber_block(e->fibers, &e->room_wait);
	e->segs.emptying = false;
	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = e->stopping ? VS_E_CANCELED : bs_checkpoint_run(e, false);
	return rc == 0 && without(e, group).nfree <= before ? VS_E_NOSPC : rc;
}

/*
 * What lives in the store must fit below the limit of the groups that stay, and these must have
 * free segments to begin with, or nothing could be moved to them.
 */
int bs_evacuate_shut(struct bs_engine *e, uint16_t group)
{
	uint32_t enough = e->segs.reserve[BS_NEED_DATA];
	int rc = 0;

	while (rc == 0) {
		struct rest r = without(e, group);

		if (e->segs.live > bs_segs_limit(e, r.count))
			return VS_E_NOSPC;
		if (r.nfree > enough) {
			bs_segs_shut(e, group);
			return 0;
		}
		rc = clean_some(e, group, enough);
	}
	return rc;
}

/* Where it is written next: the log and checkpoints go on elsewhere. */
static bool is_shut(const struct bs_engine *e, uint32_t seg)
{
	return seg != BS_SEG_NONE && e->segs.seg[seg].shut;
}

static bool log_is_there(const struct bs_engine *e)
{
	bool there = is_shut(e, e->log.seg);

	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		there |= is_shut(e, e->log.ahead[i]);
	return there;
}

/* One segment further; a checkpoint then begins the log there, so that none is left unnamed. */
static int move_log(struct bs_engine *e)
{
	while (!bs_log_leave(e)) {
		if (e->failed || e->stopping)
			return VS_E_CANCELED;
		bs_fiber_yield(e->fibers);
	}
	return bs_checkpoint_run(e, false);
}

static void move_checkpoints(struct bs_engine *e)
{
	bs_checkpoint_settle(e);
	for (unsigned i = 0; i < VS_ARRAY_LEN(e->log.meta); i++)
		if (is_shut(e, e->log.meta[i].seg))
			e->log.meta[i] = (struct bs_log_meta){.seg = BS_SEG_NONE};
}

struct left {
	uint32_t all, live, bad; /* segments that are not free; of them that hold something */
};

static struct left look(struct bs_engine *e)
{
	struct left n = {0};

	for (uint32_t i = 0; i < e->segs.count; i++) {
		const struct bs_seg *g;

		if (i % LOOKS_PER_STEP == LOOKS_PER_STEP - 1)
			bs_fiber_yield(e->fibers);
		g = &e->segs.seg[i];
		if (!g->shut || g->ent.state == BS_SEG_FREE)
			continue;
		n.all++;
		n.live += g->ent.live != 0;
		n.bad += g->ent.live != 0 && g->bad;
	}
	return n;
}

/* The cleaner moves contents; map and table pages leave with checkpoints. */
static int move_some(struct bs_engine *e, const struct left *n)
{
	if (n->live > n->bad)
		let_clean(e);
	while (e->segs.emptying && e->cleaning && !e->stopping)
		bs_fiber_block(e->fibers, &e->work_wait);
	e->segs.emptying = false;
	return e->stopping ? VS_E_CANCELED : bs_checkpoint_run(e, false);
}

static void give_up(struct bs_engine *e, const struct left *n)
{
	bs_engine_event(e, BS_ERROR, "device",
			"a device cannot leave: %u of its segments hold what cannot be read: scrub "
			"the store, then remove it again",
			n->bad);
	e->evacuate_stuck = true;
}

static int empty(struct bs_engine *e)
{
	int rc = 0;

	while (rc == 0 && !e->stopping && !e->failed) {
		struct left n;

		if (log_is_there(e)) {
			rc = move_log(e);
			continue;
		}
		move_checkpoints(e);
		n = look(e);
		if (!n.all)
			return 0;
		if (n.live && n.live == n.bad) {
			give_up(e, &n);
			return VS_E_CANCELED;
		}
		rc = move_some(e, &n);
	}
	return rc ? rc : VS_E_CANCELED;
}

static void evacuate_fiber(void *arg)
{
	struct bs_engine *e = arg;
	int rc = empty(e);

	if (rc == 0)
		rc = bs_feature_use(e, BS_INCOMPAT_HOLES);
	if (rc == 0) {
		bs_checkpoint_settle(e);
		bs_pool_part(e);
	}
	bs_frames_unkeep(e);
	e->evacuating = false;
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

void bs_evacuate_start(struct bs_engine *e)
{
	if (e->evacuating || e->evacuate_stuck || e->read_only || e->failed || e->stopping ||
	    !e->segs.shut || !bs_pool_parting(e->pool))
		return;
	e->evacuating = true;
	if (!bs_fiber_start(e->fibers, evacuate_fiber, e))
		e->evacuating = false;
}
