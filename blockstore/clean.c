#include "blockstore/clean_int.h"

#include "blockstore/checkpoint.h"
#include "blockstore/drop.h"
#include "blockstore/mem.h"

#include <stdlib.h>

#define STEP (64u << 10)   /* bytes that are moved before others run */
#define BURST (512u << 10) /* bytes that may be moved, or written, ahead of the pace */

int bs_clean_init(struct bs_engine *e)
{
	struct bs_cleaner *c = calloc(1, sizeof(*c));

	e->cleaner = c;
	if (!c)
		return VS_E_NOMEM;
	c->npieces = VS_DIV_UP(e->sb.segment_size, BS_CLEAN_PIECE);
	c->buf = bs_mem_new(e->sb.segment_size);
	c->pieces = malloc(c->npieces);
	return c->buf && c->pieces ? 0 : VS_E_NOMEM;
}

void bs_clean_destroy(struct bs_engine *e)
{
	if (!e->cleaner)
		return;
	bs_mem_free(e->cleaner->buf, e->sb.segment_size);
	free(e->cleaner->pieces);
	free(e->cleaner);
}

static uint64_t client_bytes(const struct bs_engine *e)
{
	return e->log.bytes - VS_MIN(e->log.bytes, e->count.bytes_cleaner);
}

/*
 * As many bytes for each one that clients write as keep the number of free segments where it is,
 * and half as many again; no bound once half of the margin is gone. Without clients no bound.
 */
static bool ahead_of_pace(const struct bs_engine *e)
{
	const struct bs_cleaner *c = e->cleaner;
	uint64_t wrote = client_bytes(e) - c->clients_at;

	return !bs_segs_scarce(&e->segs) && !e->stopping && !e->failed && bs_log_serves(&e->log) &&
	       c->moved > BURST + wrote * c->percent / 100;
}

/*
 * For what is moved data may write as much when segments have just become scarce, and less the
 * fewer are left above its reserve. So it slows down to what cleaning gains, wherever that is, and
 * does not run into the reserve.
 */
static void share(struct bs_engine *e, uint32_t len)
{
	const struct bs_segs *s = &e->segs;
	uint32_t coming = bs_segs_coming(s), least = s->reserve[BS_NEED_DATA];
	uint64_t left = coming > least ? coming - least : 0;
	uint64_t part = len * left / (bs_segs_margin(s) / 2);

	e->cleaner->data_until = VS_MIN(e->cleaner->data_until + part, client_bytes(e) + BURST);
}

bool bs_clean_holds_data(struct bs_engine *e)
{
	if (e->cleaning && bs_segs_scarce(&e->segs))
		return client_bytes(e) >= e->cleaner->data_until;
	e->cleaner->data_until = client_bytes(e) + BURST;
	return false;
}

void bs_clean_pace(struct bs_engine *e, uint32_t len)
{
	struct bs_cleaner *c = e->cleaner;

	share(e, len);
	c->moved += len;
	c->step += len;
	if (c->step < STEP)
		return;
	c->step = 0;
	bs_frames_unkeep(e);
	bs_fiber_yield(e->fibers);
	while (ahead_of_pace(e))
		bs_fiber_block(e->fibers, &e->room_wait);
}

static void set_pace(struct bs_engine *e, uint32_t seg)
{
	struct bs_cleaner *c = e->cleaner;
	uint64_t live = e->segs.seg[seg].ent.live, size = e->segs.size;

	c->percent = 150 * live / (size - VS_MIN(live, size - 1)) + 1;
	c->clients_at = client_bytes(e);
	c->moved = c->step = 0;
}

/* Nothing can be done until a checkpoint frees segments or more content dies. */
static void rest(struct bs_engine *e)
{
	e->cleaner->rest_checkpoint = e->sb.checkpoint + 1;
	e->cleaner->rest_live = e->segs.live;
}

/* A running one may free some when it ends; no other can be asked for before. */
static void rest_until_checkpoint(struct bs_engine *e)
{
	e->cleaner->rest_running = e->checkpointing;
	if (e->checkpointing)
		return;
	bs_checkpoint_want(e);
	rest(e);
}

static void nothing_to_clean(struct bs_engine *e)
{
	e->segs.emptying = false; /* evacuate.c looks again after a checkpoint */
	if (!bs_segs_low(e))
		return;
	bs_drops_ask(e);
	e->clean_stuck = !e->checkpointing && !e->segs.nfreeing && !e->segs.emptied && !e->works &&
			 !bs_drops_pending(e) && e->cleaner->leaves <= e->sb.checkpoint &&
			 !bs_clean_wants_checkpoint(e);
	if (e->clean_stuck)
		rest(e);
	else
		rest_until_checkpoint(e);
	bs_engine_room(e);
}

/* What became of it, once all that could be moved is. */
static void cleaned(struct bs_engine *e, uint32_t seg, int rc)
{
	struct bs_seg *g = &e->segs.seg[seg];

	if (rc == 0 && g->ent.state == BS_SEG_META && !g->leaves && g->ent.live) {
		g->leaves = e->sb.checkpoint + 1 + e->checkpointing;
		e->cleaner->leaves = VS_MAX(e->cleaner->leaves, g->leaves);
	} else if (g->ent.live) {
		g->bad = true;
		bs_engine_event(e, BS_WARNING, "cleaner",
				"segment %u keeps %u bytes that cannot be moved", seg, g->ent.live);
		return;
	}
	e->count.cleaned++;
}

static bool wanted(const struct bs_engine *e)
{
	return bs_segs_low(e) || e->segs.emptying;
}

static void clean_fiber(void *arg)
{
	struct bs_engine *e = arg;

	while (wanted(e) && !e->failed && !e->stopping && !e->read_only) {
		uint32_t seg = bs_clean_pick(e);
		int rc;

		if (seg == BS_SEG_NONE) {
			nothing_to_clean(e);
			break;
		}
		e->clean_stuck = false;
		set_pace(e, seg);
		e->cleaner->need =
		    e->segs.nfree > e->segs.reserve[BS_NEED_CLEAN] ? BS_NEED_CLEAN : BS_NEED_SYSTEM;
		e->segs.seg[seg].readers++; /* not reused while its records are gone through */
		rc = bs_clean_move(e, seg);
		e->segs.seg[seg].readers--;
		if (rc == VS_E_FAILED || rc == VS_E_ROFS)
			break;
		if (rc == VS_E_NOSPC && !bs_clean_may_append(e))
			continue; /* segments of pages can still be chosen */
		if (rc == VS_E_NOSPC) {
			rest_until_checkpoint(e);
			break;
		}
		cleaned(e, seg, rc);
		bs_engine_room(e);
		bs_fiber_yield(e->fibers);
	}
	bs_frames_unkeep(e);
	e->cleaning = false;
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

void bs_clean_start(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;

	if (e->cleaning || e->read_only || e->failed || e->stopping || e->recovering ||
	    !wanted(e)) {
		if (!bs_segs_low(e))
			e->clean_stuck = false;
		return;
	}
	if (c->rest_running && e->checkpointing)
		return;
	c->rest_running = false;
	if (c->rest_checkpoint == e->sb.checkpoint + 1 && c->rest_live <= e->segs.live)
		return;
	e->cleaning = true;
	if (!bs_fiber_start(e->fibers, clean_fiber, e))
		e->cleaning = false;
}
