#include "blockstore/resilver.h"

#include "blockstore/plant.h"
#include "blockstore/pool_change.h"

#include <stdlib.h>

/* One read or write of so much is in flight at a time: guests' requests go in between. */
#define CHUNK (256u << 10)
/* Segments between two notes of the progress on the devices. */
#define NOTE_EVERY 64u

static bool is_ahead(const struct bs_engine *e, uint32_t seg)
{
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		if (e->log.ahead[i] == seg)
			return true;
	return false;
}

void bs_resilver_mark(struct bs_engine *e, unsigned i)
{
	const struct bs_pool *p = e->pool;

	for (uint32_t seg = p->side[i].resilver; seg < e->segs.count; seg++) {
		struct bs_seg *g = &e->segs.seg[seg];

		/* what is named ahead is empty, and all of it will go to the side */
		if (g->behind || g->ent.state == BS_SEG_FREE || is_ahead(e, seg) ||
		    bs_pool_range(p, seg)->group != p->tab.dev[i].group)
			continue;
		g->behind = true;
		e->segs.behind++;
	}
	e->resilver_at = 0;
}

static uint16_t targets(const struct bs_engine *e, uint32_t seg)
{
	return bs_pool_written(e->pool, seg) & (uint16_t)~bs_pool_in_sync(e->pool, seg);
}

static bool wanted(const struct bs_engine *e)
{
	const struct bs_pool *p = e->pool;

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->side[i].dev && p->tab.dev[i].state == BS_MEMBER_RESILVER)
			return !e->stopping && !e->failed && !e->read_only;
	return false;
}

static void write_all(struct bs_engine *e, uint32_t seg, uint32_t off, uint8_t *buf, uint32_t len)
{
	for (uint16_t bits = targets(e, seg); bits; bits &= (uint16_t)(bits - 1)) {
		uint16_t bit = (uint16_t)(bits & -bits);
		unsigned i = (unsigned)__builtin_ctz(bit);

		if (bs_engine_dev_sides(e, BS_DEV_WRITE, bs_engine_where(e, seg, off), buf, len,
					bit, NULL) &&
		    bs_pool_can_drop(e->pool, i))
			bs_pool_drop(e->pool, i, "failed a write");
	}
}

/* One that leaves may do so because it is damaged: another is preferred. */
static uint16_t sources(const struct bs_engine *e, uint32_t seg)
{
	uint16_t bits = bs_pool_in_sync(e->pool, seg);

	for (unsigned i = 0; i < e->pool->tab.ndevs; i++)
		if (e->pool->tab.dev[i].state == BS_MEMBER_LEAVING)
			bits &= (uint16_t) ~(1u << i);
	return bits;
}

static int copy_bytes(struct bs_engine *e, uint32_t seg, uint32_t off, uint8_t *buf, uint32_t len)
{
	uint64_t at = bs_engine_where(e, seg, off);
	uint16_t from = sources(e, seg);
	int rc = bs_engine_dev_sides(e, BS_DEV_READ, at, buf, len, from, NULL);

	if (rc && from)
		rc = bs_engine_dev(e, BS_DEV_READ, at, buf, len);
	if (rc == 0)
		write_all(e, seg, off, buf, len);
	return rc;
}

/* What no side in sync can read stays as it is on the new one. */
static void copy_chunk(struct bs_engine *e, uint32_t seg, uint32_t off, uint8_t *buf, uint32_t len)
{
	bool said = false;

	if (copy_bytes(e, seg, off, buf, len) == 0)
		return;
	for (uint32_t at = off; at < off + len && !e->failed && !e->stopping; at += BS_PAGE) {
		if (copy_bytes(e, seg, at, buf, BS_PAGE) == 0 || said)
			continue;
		said = true;
		bs_engine_event(e, BS_ERROR, "damage",
				"segment %u cannot be read at %u and is not copied there", seg, at);
	}
}

static void copied(struct bs_engine *e, uint32_t seg)
{
	if (e->segs.seg[seg].behind)
		e->segs.behind--;
	e->segs.seg[seg].behind = false;
}

static void copy_segment(struct bs_engine *e, uint32_t seg, uint8_t *buf)
{
	e->segs.seg[seg].readers++;
	for (uint32_t off = bs_planted(UNCOPIED) ? e->segs.size : 0;
	     off < e->segs.size && e->segs.seg[seg].behind && wanted(e); off += CHUNK)
		copy_chunk(e, seg, off, buf, CHUNK);
	e->segs.seg[seg].readers--;
	if (wanted(e))
		copied(e, seg);
}

static bool being_written(const struct bs_engine *e, uint32_t seg)
{
	return bs_seg_busy(e, seg) ||
	       (e->segs.seg[seg].ent.state == BS_SEG_META && e->checkpointing);
}

static uint32_t next(struct bs_engine *e)
{
	for (uint32_t n = 0; n < e->segs.count && e->segs.behind; n++) {
		uint32_t seg = e->resilver_at;

		e->resilver_at = (seg + 1) % e->segs.count;
		if (e->segs.seg[seg].behind && !being_written(e, seg))
			return seg;
	}
	return BS_SEG_NONE;
}

static uint32_t lowest(const struct bs_engine *e)
{
	uint32_t seg = 0;

	while (seg < e->segs.count && !e->segs.seg[seg].behind)
		seg++;
	return seg;
}

/* All that was copied is durable before the table says so. */
static void note_progress(struct bs_engine *e)
{
	uint32_t upto = lowest(e);
	struct bs_pool *p = e->pool;
	bool any = false;

	if (bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0))
		return;
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state != BS_MEMBER_RESILVER || p->tab.dev[i].resilver >= upto)
			continue;
		p->tab.dev[i].resilver = p->side[i].resilver = upto;
		any = true;
	}
	if (any)
		bs_pool_settle(p);
}

static void end(struct bs_engine *e)
{
	struct bs_pool *p = e->pool;

	if (bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0) || e->segs.behind)
		return;
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state != BS_MEMBER_RESILVER || !p->side[i].dev)
			continue;
		p->tab.dev[i].state = BS_MEMBER_SYNC;
		p->tab.dev[i].resilver = p->side[i].resilver = 0;
		bs_pool_settle(p);
		bs_engine_event(e, BS_INFO, "device", "%s is in sync", bs_pool_name(p, i));
	}
	bs_pool_release(e);
}

/* Segments that are still being written are left, so that they can be copied. */
static void leave_busy(struct bs_engine *e)
{
	uint32_t seg = e->log.seg;

	if (seg != BS_SEG_NONE && e->segs.seg[seg].behind && bs_log_leave(e))
		return;
	for (unsigned i = 0; i < 2 && !e->checkpointing; i++) {
		seg = e->log.meta[i].seg;
		if (seg != BS_SEG_NONE && e->segs.seg[seg].behind)
			e->log.meta[i] = (struct bs_log_meta){.seg = BS_SEG_NONE};
	}
	if (lowest(e) < e->segs.count && being_written(e, lowest(e)))
		bs_fiber_block(e->fibers, &e->room_wait);
}

static void resilver_fiber(void *arg)
{
	struct bs_engine *e = arg;
	uint8_t *buf = aligned_alloc(BS_PAGE, CHUNK);
	unsigned n = 0;

	while (buf && wanted(e)) {
		uint32_t seg = next(e);

		if (seg != BS_SEG_NONE) {
			copy_segment(e, seg, buf);
			if (++n % NOTE_EVERY == 0)
				note_progress(e);
		} else if (e->segs.behind) {
			leave_busy(e);
		} else {
			end(e);
		}
		bs_fiber_yield(e->fibers);
	}
	free(buf);
	e->resilvering = false;
}

void bs_resilver_start(struct bs_engine *e)
{
	if (e->resilvering || !wanted(e))
		return;
	e->resilvering = true;
	if (!bs_fiber_start(e->fibers, resilver_fiber, e))
		e->resilvering = false;
}

void bs_resilver_progress(const struct bs_engine *e, unsigned i, uint32_t *left, uint32_t *used)
{
	const struct bs_pool *p = e->pool;

	*left = *used = 0;
	for (uint32_t seg = 0; seg < e->segs.count; seg++) {
		if (bs_pool_range(p, seg)->group != p->tab.dev[i].group)
			continue;
		*used += e->segs.seg[seg].ent.state != BS_SEG_FREE;
		*left += e->segs.seg[seg].behind;
	}
}
