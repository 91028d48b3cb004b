#include "blockstore/clean_int.h"

#include "blockstore/checkpoint.h"

#include <string.h>

#define PAGES_EACH 3u /* moving a content takes as long as reading so many pages */
#define LOOK 2048u    /* segments that are looked at in one step, and for one choice on average */

/* A checkpoint of what is changed and by emptying a segment, and the log while it is made. */
static uint32_t least_reserve(const struct bs_engine *e, unsigned changed)
{
	uint64_t pages = 2 * ((uint64_t)changed + e->segs.size / BS_PAGE) + 16;

	return (uint32_t)VS_DIV_UP(pages * BS_PAGE, e->segs.size) + 2;
}

static bool short_of_segments(const struct bs_engine *e)
{
	return e->segs.nfree <= e->segs.reserve[BS_NEED_CLEAN];
}

/*
 * Contents are appended to the log, pages leave with a checkpoint, which has its own reserve. When
 * the cleaner's own is used up and no checkpoint will free anything, one segment at a time may use
 * the checkpoints' as far as they surely do not need it: else a store that has room would stand.
 */
bool bs_clean_may_append(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	if (!short_of_segments(e))
		return true;
	return !s->nfreeing && !s->emptied && !e->checkpointing &&
	       e->cleaner->leaves <= e->sb.checkpoint &&
	       s->nfree > least_reserve(e, e->frames.ndirty);
}

/*
 * Only what a checkpoint of many changed pages needs keeps the cleaner from appending, and when
 * that one is made there is room. With few changed pages it takes more than it gives: not for ever.
 */
bool bs_clean_wants_checkpoint(const struct bs_engine *e)
{
	uint64_t pages = e->frames.ndirty + e->frames.ndirty / BS_CK_UNIT_PAGES + 1;
	uint64_t cost = VS_DIV_UP(pages * BS_PAGE, e->segs.size) + 2;

	return e->segs.nfree <= least_reserve(e, e->frames.ndirty) &&
	       e->segs.nfree > least_reserve(e, 0) + cost;
}

/* It is to be empty, whatever that gains. */
static bool leaves(const struct bs_engine *e, const struct bs_seg *g)
{
	return g->shut && e->segs.emptying && !short_of_segments(e);
}

static bool worth(const struct bs_engine *e, uint32_t seg)
{
	const struct bs_seg *g = &e->segs.seg[seg];

	if (g->ent.state == BS_SEG_LOG && !bs_clean_may_append(e))
		return false;
	/* pages of the running checkpoint have their place but may not have been written */
	if (g->ent.state == BS_SEG_META &&
	    (g->paged > e->sb.checkpoint || g->leaves > e->sb.checkpoint))
		return false;
	return (g->ent.state == BS_SEG_LOG || g->ent.state == BS_SEG_META) && !g->bad &&
	       !bs_seg_busy(e, seg) && g->ent.live != 0 &&
	       (leaves(e, g) || g->ent.live < e->segs.size / 100 * BS_CLEAN_WORTH);
}

bool bs_clean_sparse(const struct bs_engine *e, uint32_t seg)
{
	const struct bs_segent *ent = &e->segs.seg[seg].ent;

	return ent->state == BS_SEG_META || ent->live < e->segs.size / BS_CLEAN_SPARSE;
}

/* What it costs beyond its bytes, in pages: small contents take more time than what they hold. */
static uint64_t small_contents(const struct bs_engine *e, const struct bs_segent *ent)
{
	uint64_t each = e->contents ? e->stored_bytes / e->contents + 1 : BS_PAGE;

	return ent->state == BS_SEG_LOG && each < BS_PAGE
		   ? PAGES_EACH * (ent->live / each - ent->live / BS_PAGE)
		   : 0;
}

/*
 * What cleaning gains for what it costs: free bytes times age, for the bytes read and written. What
 * has not been overwritten for long will not be soon, so cleaning old segments pays for longer. Age
 * is counted in units of the log, so it survives a restart and does not grow while nothing happens.
 * When segments run short the emptiest comes first: each must give back more than it takes.
 */
static uint64_t score(const struct bs_engine *e, uint32_t seg)
{
	const struct bs_segent *ent = &e->segs.seg[seg].ent;
	uint64_t now = e->log.next_seq, age = now > ent->stamp ? now - ent->stamp : 1;
	uint64_t read = bs_clean_sparse(e, seg) ? ent->live + BS_PAGE : e->segs.size;
	uint64_t gain = (e->segs.size - ent->live) / 1024 + 1;

	if (short_of_segments(e))
		return gain;
	if (leaves(e, &e->segs.seg[seg]))
		return UINT64_MAX;
	return gain * VS_MIN(age, UINT64_C(1) << 48) /
	       ((read + ent->live) / BS_PAGE + small_contents(e, ent) + 1);
}

static void offer(struct bs_cleaner *c, uint32_t seg, uint64_t value)
{
	unsigned at = c->npicks;

	if (c->npicks == BS_CLEAN_PICKS) {
		if (value <= c->picks[--at].score)
			return;
	} else {
		c->npicks++;
	}
	while (at > 0 && c->picks[at - 1].score < value) {
		c->picks[at] = c->picks[at - 1];
		at--;
	}
	c->picks[at] = (struct bs_clean_pick){seg, value};
}

static void look(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;

	c->npicks = c->next = c->taken = 0;
	for (uint32_t i = 0; i < e->segs.count; i++) {
		if (i && i % LOOK == 0)
			bs_fiber_yield(e->fibers);
		if (worth(e, i))
			offer(c, i, score(e, i));
	}
}

uint32_t bs_clean_pick(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;

	for (unsigned pass = 0; pass < 2; pass++) {
		if (pass || short_of_segments(e) || c->taken >= e->segs.count / LOOK + 1)
			look(e);
		while (c->next < c->npicks) {
			uint32_t seg = c->picks[c->next++].seg;

			if (!worth(e, seg))
				continue;
			c->taken++;
			return seg;
		}
	}
	return BS_SEG_NONE;
}
