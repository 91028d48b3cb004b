#include "blockstore/segment.h"

#include "blockstore/engine.h"
#include "blockstore/plant.h"

#include <stdlib.h>

int bs_segs_init(struct bs_engine *e, uint32_t count, uint32_t size)
{
	struct bs_segs *s = &e->segs;

	s->count = count;
	s->size = size;
	s->seg = calloc(count, sizeof(*s->seg));
	s->dirty = calloc(VS_DIV_UP(count, BS_SEGENTS_PER_PAGE), 1);
	if (!s->seg || !s->dirty)
		return VS_E_NOMEM;
	/* where the table's own pages are found before it is read: in segments of this kind only */
	for (uint32_t i = 0; i < count; i++)
		bs_pool_place(e->pool, i, &s->seg[i].ent);
	return 0;
}

void bs_segs_destroy(struct bs_segs *s)
{
	free(s->seg);
	free(s->dirty);
}

/*
 * The last segments are for checkpoints and for the log and checkpoints of a recovery; the cleaner
 * may use all but those, deletions all but what the cleaner needs too, data all but a little more.
 */
void bs_segs_reserves(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;
	uint64_t pages = 2u * (uint64_t)e->frames.dirty_limit + 64;
	uint64_t meta = VS_DIV_UP(pages * BS_PAGE, s->size) + 3;
	uint64_t system = 2 * meta + 4;
	uint64_t data = system + system / 2 + 4;

	s->reserve[BS_NEED_SYSTEM] = 0;
	s->reserve[BS_NEED_CLEAN] = (uint32_t)VS_MIN(meta + 7, s->count / 5);
	s->reserve[BS_NEED_DELETE] = (uint32_t)VS_MIN(system, s->count / 4);
	s->reserve[BS_NEED_DATA] = (uint32_t)VS_MIN(data, s->count / 3);
	/*
	 * Below the limit there is either room for data or a segment that the cleaner empties with
	 * gain: those that it does not touch are filled to BS_CLEAN_WORTH, and a few are busy.
	 */
	s->live_limit = (uint64_t)(s->count - s->reserve[BS_NEED_DATA] - BS_SEGS_BUSY) * s->size /
			100 * BS_CLEAN_WORTH;
}

static void mark(struct bs_segs *s, uint32_t seg)
{
	s->dirty[seg / BS_SEGENTS_PER_PAGE] = 1;
}

void bs_seg_set_state(struct bs_engine *e, uint32_t seg, enum bs_seg_state state, uint64_t stamp)
{
	struct bs_segs *s = &e->segs;
	struct bs_seg *g = &s->seg[seg];

	s->nfree -= g->ent.state == BS_SEG_FREE;
	s->nfreeing -= g->ent.state == BS_SEG_FREEING;
	g->ent.state = (uint8_t)state;
	g->ent.stamp = stamp;
	s->nfree += state == BS_SEG_FREE;
	s->nfreeing += state == BS_SEG_FREEING;
	if (state == BS_SEG_FREE) { /* all that is written to it from now on goes to all sides */
		s->behind -= g->behind;
		g->behind = false;
	}
	s->discards -= g->discard;
	g->discard = state == BS_SEG_FREE && e->cfg.discard && !e->recovering;
	s->discards += g->discard;
	mark(s, seg);
}

uint32_t bs_seg_take(struct bs_engine *e, enum bs_seg_state state, enum bs_need need)
{
	struct bs_segs *s = &e->segs;

	if (s->nfree <= s->reserve[need])
		return BS_SEG_NONE;
	for (uint32_t n = 0; n < s->count; n++) {
		uint32_t i = s->hint;

		s->hint = (s->hint + 1) % s->count;
		if (s->seg[i].ent.state != BS_SEG_FREE || s->seg[i].writers ||
		    (s->seg[i].readers && !bs_planted(REUSE_UNDER_READ)))
			continue;
		if (s->seg[i].ent.live) {
			bs_engine_damaged(e, "segment %u is free and holds %u bytes", i,
					  s->seg[i].ent.live);
			continue;
		}
		s->seg[i].bad = false;
		bs_seg_set_state(e, i, state, 0);
		return i;
	}
	return BS_SEG_NONE;
}

void bs_seg_live(struct bs_engine *e, uint32_t seg, int64_t delta)
{
	struct bs_segs *s = &e->segs;
	int64_t live;

	if (seg >= s->count) {
		bs_engine_damaged(e, "something lies in segment %u of %u", seg, s->count);
		return;
	}
	live = (int64_t)s->seg[seg].ent.live + delta;
	if (live < 0 || live > s->size) {
		bs_engine_damaged(e, "segment %u would hold %lld bytes", seg, (long long)live);
		return;
	}
	s->seg[seg].ent.live = (uint32_t)live;
	s->emptied += live == 0 && delta < 0;
	s->live += (uint64_t)delta;
	mark(s, seg);
}

bool bs_segs_low(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	return s->nfree + s->nfreeing < s->reserve[BS_NEED_DATA] + VS_MAX(8u, s->count / 16);
}

bool bs_seg_busy(const struct bs_engine *e, uint32_t seg)
{
	const struct bs_log *l = &e->log;

	if (seg == l->seg || seg == l->meta[0].seg || seg == l->meta[1].seg ||
	    e->segs.seg[seg].writers)
		return true;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		if (seg == l->ahead[i])
			return true;
	return false;
}

void bs_segs_retire(struct bs_engine *e, uint64_t n)
{
	struct bs_segs *s = &e->segs;

	s->emptied = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		struct bs_segent *ent = &s->seg[i].ent;

		if ((ent->state == BS_SEG_LOG || ent->state == BS_SEG_META) && ent->live == 0 &&
		    !bs_seg_busy(e, i))
			bs_seg_set_state(e, i, BS_SEG_FREEING, n);
	}
}

void bs_segs_reuse(struct bs_engine *e, uint64_t n)
{
	struct bs_segs *s = &e->segs;

	for (uint32_t i = 0; i < s->count; i++) {
		struct bs_segent *ent = &s->seg[i].ent;

		if (ent->state != BS_SEG_FREEING || ent->stamp >= n + bs_planted(EARLY_REUSE) ||
		    (s->seg[i].readers && !bs_planted(REUSE_UNDER_READ)))
			continue;
		bs_seg_set_state(e, i, BS_SEG_FREE, 0);
	}
}
