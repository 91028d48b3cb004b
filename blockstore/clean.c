#include "blockstore/clean.h"

#include "blockstore/checkpoint.h"
#include "blockstore/content.h"
#include "blockstore/drop.h"
#include "blockstore/mend.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

#include <stdlib.h>

/* The segment with the fewest live bytes; BS_SEG_NONE when none is worth it. */
static uint32_t choose(const struct bs_engine *e)
{
	uint32_t best = BS_SEG_NONE, least = e->segs.size / 100 * BS_CLEAN_WORTH;

	for (uint32_t i = 0; i < e->segs.count; i++) {
		const struct bs_seg *g = &e->segs.seg[i];

		/* pages of a running checkpoint have their place but may not have been written */
		if (g->ent.state == BS_SEG_META && e->checkpointing)
			continue;
		if ((g->ent.state != BS_SEG_LOG && g->ent.state != BS_SEG_META) || g->bad ||
		    bs_seg_busy(e, i) || g->ent.live == 0 || g->ent.live >= least)
			continue;
		least = g->ent.live;
		best = i;
	}
	return best;
}

static bool lies_at(const struct bs_place *p, uint32_t seg, uint32_t off, uint32_t len)
{
	return p->seg == seg && p->off == off && p->len == len;
}

/* The bytes from a mirror's other side, which also heals this one. */
static int mend_content(struct bs_engine *e, const struct bs_place *place, uint8_t *bytes)
{
	struct bs_mend m = {.seg = place->seg,
			    .off = place->off,
			    .len = place->len,
			    .check = place->check,
			    .mask = BS_CHECK56};
	uint32_t skip = m.off % BS_PAGE;
	uint8_t *pages = aligned_alloc(BS_PAGE, VS_ALIGN_UP(skip + m.len, BS_PAGE));
	int rc = pages ? bs_mend_read(e, &m, pages) : VS_E_NOMEM;

	if (rc == 0)
		memcpy(bytes, pages + skip, m.len);
	else
		bs_engine_event(e, BS_ERROR, "damage", "content in segment %u at %u is damaged",
				m.seg, m.off);
	free(pages);
	return rc;
}

/* Appends one content that still lies at seg, off; passes over one that does not. */
static int move_content(struct bs_engine *e, const struct bs_rec *rec, uint32_t seg, uint32_t off,
			uint8_t *bytes)
{
	struct bs_rec move = {.type = BS_REC_MOVE, .cid = rec->cid, .len = rec->len};
	struct bs_place place, to;
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_content_look(e, rec->cid, &place);
		if (rc == VS_E_NOENT || (rc == 0 && !lies_at(&place, seg, off, rec->len) &&
					 !(bs_planted(UNCHECKED_MOVE) && place.len == rec->len)))
			return 0;
		if (rc == 0)
			rc = bs_content_ready(e, rec->cid);
		if (rc == 0)
			rc = bs_frames_room(e, 8);
		if (rc == 0)
			rc = bs_log_room(e, BS_NEED_CLEAN, BS_REC_MOVE_SIZE, rec->len, 0);
		if (rc)
			return rc;
		if ((bs_checksum(bytes, rec->len) & BS_CHECK56) != place.check &&
		    !bs_planted(UNCHECKED_MOVE)) {
			rc = mend_content(e, &place, bytes);
			if (rc)
				return rc;
		}
	} while (blocks != bs_fiber_blocks(e->fibers));
	move.coding = place.coding;
	move.check = place.check;
	bs_rec_put(bs_log_record(e, BS_REC_MOVE_SIZE), &move);
	bs_log_payload(e, bytes, rec->len, &to);
	bs_content_move(e, rec->cid, to.seg, to.off);
	e->count.bytes_cleaner += rec->len;
	return 0;
}

/* A page that lies here is only marked as changed: the next checkpoint writes it elsewhere. */
static int move_map_page(struct bs_engine *e, uint64_t cid, uint32_t seg, uint32_t off)
{
	struct bs_frame *f;
	uint64_t blocks;

	do {
		struct bs_mapent ent;
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_page_ent(e, cid, &ent);
		if (rc == VS_E_CORRUPT || (rc == 0 && !lies_at(&ent.place, seg, off, BS_PAGE)))
			return 0;
		if (rc == 0)
			rc = bs_page_get(e, cid, &f);
		if (rc == 0)
			rc = bs_page_ready(e, cid);
		if (rc == 0)
			rc = bs_frames_room(e, 4);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_frame_touch(e, f);
	return 0;
}

static bool ptr_at(const struct bs_ptr *ptr, uint32_t seg, uint32_t off)
{
	return (ptr->seg[0] == seg && ptr->off[0] == off) ||
	       (ptr->seg[1] == seg && ptr->off[1] == off);
}

static int move_table_page(struct bs_engine *e, const struct bs_rec *r, uint32_t seg, uint32_t off)
{
	struct bs_frame *f;
	struct bs_ptr ptr;
	uint64_t blocks;

	if (r->tree >= BS_TREES)
		return 0;
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_tree_ptr(e, r->tree, r->level, r->block, &ptr);
		if (rc)
			return rc;
		if (!ptr_at(&ptr, seg, off))
			return 0;
		if (r->tree == BS_TREE_SEGMENT) { /* from memory, at the next checkpoint */
			if (r->level == 0 &&
			    r->block < VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE))
				e->segs.dirty[r->block] = 1;
			return 0;
		}
		rc = bs_tree_get_path(e, r->tree, r->level, r->block, &f);
		if (rc == 0)
			rc = bs_frames_room(e, 8);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_frame_touch(e, f);
	return 0;
}

static int clean_unit(struct bs_engine *e, uint8_t *buf, const struct bs_unit_head *h, uint32_t seg,
		      uint32_t off)
{
	uint32_t pos = 0, at = h->head_len;
	int worst = 0;

	for (uint32_t i = 0; i < h->records; i++) {
		struct bs_rec r;
		int rc = bs_rec_get(buf + BS_UNIT_HEAD, h->records_len, &pos, &r);

		if (rc)
			return rc;
		switch (r.type) {
		case BS_REC_CONTENT:
		case BS_REC_MOVE:
			if (r.len > h->head_len + h->payload_len - at)
				return VS_E_CORRUPT;
			rc = move_content(e, &r, seg, off + at, buf + at);
			at += r.len;
			break;
		case BS_REC_MAPPAGE:
			rc = move_map_page(e, r.cid, seg, off + at);
			at += BS_PAGE;
			break;
		case BS_REC_PAGE:
			rc = move_table_page(e, &r, seg, off + at);
			at += BS_PAGE;
			break;
		default:
			break;
		}
		bs_frames_unkeep(e);
		if (rc == VS_E_FAILED || rc == VS_E_NOSPC || rc == VS_E_ROFS)
			return rc;
		if (rc)
			worst = rc;
	}
	return worst;
}

/* Reads the segment unit by unit; where none is recognised it looks at the next page. */
static int clean_segment(struct bs_engine *e, uint32_t seg, uint16_t side, uint8_t *buf)
{
	int worst = 0, rc;

	e->segs.seg[seg].readers++;
	rc = bs_engine_dev_sides(e, BS_DEV_READ, bs_engine_where(e, seg, 0), buf, e->segs.size,
				 side, NULL);
	e->segs.seg[seg].readers--;
	if (rc)
		return rc;
	for (uint32_t off = 0; off + BS_PAGE <= e->segs.size;) {
		struct bs_unit_head h;

		rc = bs_unit_decode(buf + off, e->segs.size - off, e->segs.size, e->tag, &h);
		if (rc || h.unit_len > e->segs.size - off) {
			off += BS_PAGE;
			continue;
		}
		rc = clean_unit(e, buf + off, &h, seg, off);
		if (rc == VS_E_FAILED || rc == VS_E_NOSPC || rc == VS_E_ROFS)
			return rc;
		if (rc)
			worst = rc;
		off += h.unit_len;
	}
	return worst;
}

/* What one side of a mirror hides behind a damaged header another may show. */
static int clean_sides(struct bs_engine *e, uint32_t seg, uint8_t *buf)
{
	uint16_t sides = bs_pool_in_sync(e->pool, seg);
	int rc = clean_segment(e, seg, 0, buf);

	if ((sides & (sides - 1)) == 0)
		return rc;
	for (; sides && e->segs.seg[seg].ent.live && e->segs.seg[seg].ent.state == BS_SEG_LOG;
	     sides &= (uint16_t)(sides - 1)) {
		if (rc == VS_E_FAILED || rc == VS_E_NOSPC || rc == VS_E_ROFS)
			break;
		rc = clean_segment(e, seg, (uint16_t)(sides & -sides), buf);
	}
	return rc;
}

static bool only_pages_left(const struct bs_engine *e, uint32_t seg)
{
	return e->segs.seg[seg].ent.state == BS_SEG_META;
}

/* Nothing can be done until a checkpoint frees segments or more content dies. */
static void rest(struct bs_engine *e)
{
	e->clean_rest = e->sb.checkpoint + 1;
	e->clean_live = e->segs.live;
}

static void clean_fiber(void *arg)
{
	struct bs_engine *e = arg;
	uint8_t *buf = e->clean_buf;

	while (bs_segs_low(e) && !e->failed && !e->stopping && !e->read_only) {
		uint32_t seg = choose(e);
		int rc;

		if (seg == BS_SEG_NONE) {
			bs_drops_ask(e);
			e->clean_stuck = !e->checkpointing && !e->segs.nfreeing &&
					 !e->segs.emptied && !e->works && !bs_drops_pending(e);
			if (!e->clean_stuck)
				bs_checkpoint_want(e);
			rest(e);
			bs_engine_room(e);
			break;
		}
		e->clean_stuck = false;
		rc = clean_sides(e, seg, buf);
		if (rc == VS_E_FAILED || rc == VS_E_ROFS)
			break;
		if (rc == VS_E_NOSPC) {
			bs_checkpoint_want(e);
			rest(e);
			break;
		}
		if (rc == 0 && only_pages_left(e, seg)) { /* its pages leave with a checkpoint */
			if (bs_checkpoint_run(e, false))
				break;
			bs_frames_unkeep(e);
		}
		if (e->segs.seg[seg].ent.live) {
			e->segs.seg[seg].bad = true;
			bs_engine_event(e, BS_WARNING, "cleaner",
					"segment %u keeps %u bytes that cannot be moved", seg,
					e->segs.seg[seg].ent.live);
		} else {
			e->count.cleaned++;
		}
		bs_engine_room(e);
		bs_fiber_yield(e->fibers);
	}
	bs_frames_unkeep(e);
	e->cleaning = false;
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

void bs_clean_start(struct bs_engine *e)
{
	if (e->cleaning || e->read_only || e->failed || e->stopping || e->recovering ||
	    !bs_segs_low(e)) {
		if (!bs_segs_low(e))
			e->clean_stuck = false;
		return;
	}
	if (e->clean_rest == e->sb.checkpoint + 1 && e->clean_live <= e->segs.live)
		return;
	e->cleaning = true;
	if (!bs_fiber_start(e->fibers, clean_fiber, e))
		e->cleaning = false;
}
