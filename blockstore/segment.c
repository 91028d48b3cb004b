#include "blockstore/segment.h"

#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"
#include "blockstore/plant.h"
#include "blockstore/stock.h"

#include <stdlib.h>

int bs_segs_init(struct bs_engine *e, uint32_t count, uint32_t size)
{
	struct bs_segs *s = &e->segs;

	s->count = count;
	s->size = size;
	s->seg = calloc(count, sizeof(*s->seg));
	s->dirty = calloc(VS_DIV_UP(count, BS_SEGENTS_PER_PAGE), 1);
	if (!s->seg || !s->dirty || bs_segcut_fit(e, count))
		return VS_E_NOMEM;
	/* where the table's own pages are found before it is read: in segments of this kind only */
	for (uint32_t i = 0; i < count; i++) {
		bs_pool_place(e->pool, i, &s->seg[i].ent);
		s->seg[i].shut = bs_pool_shut(e->pool, bs_pool_range(e->pool, i)->group);
		s->shut += s->seg[i].shut;
	}
	return 0;
}

void bs_segs_destroy(struct bs_segs *s)
{
	free(s->seg);
	free(s->dirty);
	free(s->cut.ent);
	free(s->cut.kept);
	free(s->cut.dirty);
}

/*
 * The last segments are for checkpoints and for the log and checkpoints of a recovery; the cleaner
 * may use all but those, deletions all but what the cleaner needs too, data all but a little more.
 */
static void reserves(const struct bs_engine *e, uint32_t count, uint32_t reserve[BS_NEEDS])
{
	uint64_t pages = 2u * (uint64_t)e->frames.dirty_limit + 64;
	uint64_t heads = VS_DIV_UP(pages, BS_CK_UNIT_PAGES);
	uint64_t meta = VS_DIV_UP((pages + heads) * BS_PAGE, e->segs.size) + 3;
	uint64_t system = 2 * meta + 4;
	uint64_t data = system + system / 2 + 4;

	reserve[BS_NEED_SYSTEM] = 0;
	reserve[BS_NEED_CLEAN] = (uint32_t)VS_MIN(meta + 7, count / 5);
	reserve[BS_NEED_DELETE] = (uint32_t)VS_MIN(system, count / 4);
	reserve[BS_NEED_DATA] = (uint32_t)VS_MIN(data, count / 3);
	reserve[BS_NEED_THICK] = reserve[BS_NEED_DATA];
}

/*
 * Below the limit there is either room for data or a segment that the cleaner empties with gain:
 * those that it does not touch are filled to BS_CLEAN_WORTH, and a few are busy.
 */
uint64_t bs_segs_limit(const struct bs_engine *e, uint32_t count)
{
	uint32_t reserve[BS_NEEDS], busy;

	reserves(e, count, reserve);
	busy = reserve[BS_NEED_DATA] + BS_SEGS_BUSY;
	return count <= busy ? 0 : (uint64_t)(count - busy) * e->segs.size / 100 * BS_CLEAN_WORTH;
}

void bs_segs_reserves(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	reserves(e, s->count - s->shut, s->reserve);
	s->live_limit = bs_segs_limit(e, s->count - s->shut);
}

void bs_segs_shut(struct bs_engine *e, uint16_t group)
{
	struct bs_segs *s = &e->segs;

	for (uint32_t i = 0; i < s->count; i++) {
		struct bs_seg *g = &s->seg[i];

		if (g->shut || bs_pool_range(e->pool, i)->group != group)
			continue;
		g->shut = true;
		s->shut++;
		s->nfree -= g->ent.state == BS_SEG_FREE;
		s->nfreeing -= g->ent.state == BS_SEG_FREEING;
		s->discards -= g->discard;
		g->discard = false;
		bs_stock_drop(s, i);
	}
	bs_segs_reserves(e);
}

/* The table as of the cut keeps the leaf of seg as it is. */
static void keep_leaf(struct bs_segs *s, uint32_t seg)
{
	uint32_t leaf = seg / BS_SEGENTS_PER_PAGE, first = leaf * BS_SEGENTS_PER_PAGE;

	if (!s->cut.running || s->cut.kept[leaf] || bs_planted(NEWER_TABLE))
		return;
	for (uint32_t i = first; i < s->count && i < first + BS_SEGENTS_PER_PAGE; i++)
		s->cut.ent[i] = s->seg[i].ent;
	s->cut.kept[leaf] = 1;
}

static void set_state(struct bs_engine *e, uint32_t seg, enum bs_seg_state state, uint64_t stamp)
{
	struct bs_segs *s = &e->segs;
	struct bs_seg *g = &s->seg[seg];

	s->nfree -= !g->shut && g->ent.state == BS_SEG_FREE;
	s->nfreeing -= !g->shut && g->ent.state == BS_SEG_FREEING;
	g->ent.state = (uint8_t)state;
	g->ent.stamp = stamp;
	s->nfree += !g->shut && state == BS_SEG_FREE;
	s->nfreeing += !g->shut && state == BS_SEG_FREEING;
	if (state == BS_SEG_FREE) { /* all that is written to it from now on goes to all sides */
		s->behind -= g->behind;
		g->behind = false;
	}
	s->discards -= g->discard;
	g->discard =
	    (state == BS_SEG_FREE || (bs_planted(HASTY_DISCARD) && state == BS_SEG_FREEING)) &&
	    e->cfg.discard && !e->recovering && !g->shut;
	s->discards += g->discard;
	g->freed = s->period;
	if (state == BS_SEG_FREE && !e->recovering && !g->shut)
		bs_stock_put(s, seg);
	else
		bs_stock_drop(s, seg);
}

/* What the tables say of a segment's live bytes may be damaged: then it stays as it is. */
static bool add_to(struct bs_engine *e, uint32_t seg, uint32_t *live, int64_t delta)
{
	int64_t n = (int64_t)*live + delta;

	if (n < 0 || n > e->segs.size) {
		bs_engine_damaged(e, "segment %u would hold %lld bytes", seg, (long long)n);
		return false;
	}
	*live = (uint32_t)n;
	return true;
}

static bool in_range(struct bs_engine *e, uint32_t seg)
{
	if (seg >= e->segs.count)
		bs_engine_damaged(e, "something lies in segment %u of %u", seg, e->segs.count);
	return seg < e->segs.count;
}

void bs_seg_set_state(struct bs_engine *e, uint32_t seg, enum bs_seg_state state, uint64_t stamp)
{
	struct bs_segs *s = &e->segs;

	keep_leaf(s, seg);
	set_state(e, seg, state, stamp);
	s->dirty[seg / BS_SEGENTS_PER_PAGE] = 1;
}

static bool usable(struct bs_engine *e, uint32_t seg)
{
	const struct bs_seg *g = &e->segs.seg[seg];

	if (g->ent.state != BS_SEG_FREE || g->shut || g->writers ||
	    (g->readers && !bs_planted(REUSE_UNDER_READ)))
		return false;
	if (g->ent.live)
		bs_engine_damaged(e, "segment %u is free and holds %u bytes", seg, g->ent.live);
	return !g->ent.live;
}

uint32_t bs_seg_take(struct bs_engine *e, enum bs_seg_state state, enum bs_need need)
{
	struct bs_segs *s = &e->segs;

	if (s->nfree <= s->reserve[need])
		return BS_SEG_NONE;
	for (uint32_t n = 0; n < s->count;) {
		uint32_t i = bs_stock_take(s);

		if (i == BS_SEG_NONE) {
			i = s->hint;
			s->hint = (s->hint + 1) % s->count;
			n++;
		}
		if (!usable(e, i))
			continue;
		s->seg[i].bad = false;
		s->seg[i].leaves = 0;
		bs_seg_set_state(e, i, state, e->log.next_seq);
		return i;
	}
	return BS_SEG_NONE;
}

void bs_seg_live(struct bs_engine *e, uint32_t seg, int64_t delta)
{
	struct bs_segs *s = &e->segs;

	if (!in_range(e, seg))
		return;
	keep_leaf(s, seg);
	if (!add_to(e, seg, &s->seg[seg].ent.live, delta))
		return;
	s->live += (uint64_t)delta;
	s->emptied += s->seg[seg].ent.live == 0 && delta < 0;
	s->dirty[seg / BS_SEGENTS_PER_PAGE] = 1;
}

bool bs_segs_low(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	return bs_segs_coming(s) < s->reserve[BS_NEED_DATA] + bs_segs_margin(s);
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

void bs_segs_unhold(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	if (s->held && (s->nfree < s->reserve[BS_NEED_DATA] + bs_segs_margin(s) ||
			e->env.now_ns(e->env.arg) > s->held_until))
		s->held = 0;
}

static bool is_held(const struct bs_segs *s, const struct bs_segent *ent)
{
	return s->held && ent->stamp > s->held && !bs_planted(UNHELD);
}

void bs_segs_reuse(struct bs_engine *e, uint64_t n, uint32_t first, uint32_t end)
{
	struct bs_segs *s = &e->segs;

	for (uint32_t i = first; i < end; i++) {
		struct bs_segent *ent = &s->seg[i].ent;

		if (ent->state != BS_SEG_FREEING || ent->stamp >= n + bs_planted(EARLY_REUSE) ||
		    (s->seg[i].readers && !bs_planted(REUSE_UNDER_READ)) || is_held(s, ent))
			continue;
		bs_seg_set_state(e, i, BS_SEG_FREE, 0);
	}
}

int bs_segcut_fit(struct bs_engine *e, uint32_t count)
{
	uint32_t leaves = (uint32_t)VS_DIV_UP(count, BS_SEGENTS_PER_PAGE);
	struct bs_segs *s = &e->segs;
	struct bs_segent *ent = calloc(count, sizeof(*ent));
	uint8_t *kept = calloc(leaves, 1), *dirty = calloc(leaves, 1);

	VS_ASSERT(!s->cut.running);
	if (!ent || !kept || !dirty) {
		free(ent);
		free(kept);
		free(dirty);
		return VS_E_NOMEM;
	}
	free(s->cut.ent);
	free(s->cut.kept);
	free(s->cut.dirty);
	s->cut.ent = ent;
	s->cut.kept = kept;
	s->cut.dirty = dirty;
	return 0;
}

/* Nothing is being written, so what is busy is only where writing goes on. */
void bs_segcut_begin(struct bs_engine *e)
{
	uint32_t leaves = (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);
	struct bs_segs *s = &e->segs;
	const struct bs_log *l = &e->log;
	uint8_t *dirty = s->cut.dirty;

	VS_ASSERT(!s->cut.running);
	memset(s->cut.kept, 0, leaves);
	s->cut.dirty = s->dirty;
	s->dirty = dirty;
	s->cut.nbusy = 0;
	s->cut.busy[s->cut.nbusy++] = l->seg;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		s->cut.busy[s->cut.nbusy++] = l->ahead[i];
	for (unsigned i = 0; i < 2; i++)
		s->cut.busy[s->cut.nbusy++] = l->meta[i].seg;
	s->cut.retired = false;
	s->cut.running = true;
	s->emptied = 0;
}

void bs_segcut_end(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	memset(s->cut.dirty, 0, VS_DIV_UP(s->count, BS_SEGENTS_PER_PAGE));
	s->cut.running = false;
}

const struct bs_segent *bs_segcut(const struct bs_segs *s, uint32_t seg)
{
	return s->cut.kept[seg / BS_SEGENTS_PER_PAGE] ? &s->cut.ent[seg] : &s->seg[seg].ent;
}

/* The entry that the table as of the cut has for itself; NULL: both have the same. */
static struct bs_segent *own_ent(struct bs_segs *s, uint32_t seg)
{
	uint32_t leaf = seg / BS_SEGENTS_PER_PAGE;

	s->cut.dirty[leaf] = 1;
	return s->cut.kept[leaf] ? &s->cut.ent[seg] : NULL;
}

static void segcut_state(struct bs_engine *e, uint32_t seg, enum bs_seg_state state, uint64_t stamp)
{
	struct bs_segent *own = own_ent(&e->segs, seg);

	if (own) {
		own->state = (uint8_t)state;
		own->stamp = stamp;
	}
	set_state(e, seg, state, stamp);
}

uint32_t bs_segcut_take(struct bs_engine *e)
{
	uint32_t seg = bs_seg_take(e, BS_SEG_META, BS_NEED_SYSTEM);

	if (seg != BS_SEG_NONE)
		segcut_state(e, seg, BS_SEG_META, e->segs.seg[seg].ent.stamp);
	return seg;
}

void bs_segcut_live(struct bs_engine *e, uint32_t seg, int64_t delta, bool in_force)
{
	struct bs_segs *s = &e->segs;
	struct bs_segent *own;

	if (!in_range(e, seg))
		return;
	if (!in_force)
		keep_leaf(s, seg);
	own = own_ent(s, seg);
	if (own && !add_to(e, seg, &own->live, delta))
		return;
	if (!in_force || !add_to(e, seg, &s->seg[seg].ent.live, delta))
		return;
	s->live += (uint64_t)delta;
	/* one that is empty in both tables is not waiting for the next checkpoint */
	s->emptied +=
	    s->seg[seg].ent.live == 0 && delta < 0 && (s->cut.retired || bs_segcut(s, seg)->live);
}

static bool was_busy(const struct bs_segs *s, uint32_t seg)
{
	for (unsigned i = 0; i < s->cut.nbusy; i++)
		if (s->cut.busy[i] == seg)
			return true;
	return false;
}

void bs_segcut_retire(struct bs_engine *e, uint64_t n, uint32_t first, uint32_t end)
{
	struct bs_segs *s = &e->segs;

	s->cut.retired = true;
	for (uint32_t i = first; i < end; i++) {
		const struct bs_segent *ent = bs_segcut(s, i);

		if ((ent->state != BS_SEG_LOG && ent->state != BS_SEG_META) || ent->live ||
		    was_busy(s, i) || bs_seg_busy(e, i))
			continue;
		if (s->seg[i].ent.live) {
			bs_engine_damaged(e, "something lies in segment %u, which was empty", i);
			continue;
		}
		segcut_state(e, i, BS_SEG_FREEING, n);
	}
}
