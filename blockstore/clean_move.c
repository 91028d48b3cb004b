#include "blockstore/clean_int.h"

#include "blockstore/content.h"
#include "blockstore/mend.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

#include <stdlib.h>

#define HEADS_AHEAD 4u
#define RECORDS_AHEAD 64u /* what they need is read while those before are moved */

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
			rc = bs_log_room(e, e->cleaner->need, BS_REC_MOVE_SIZE, rec->len, 0);
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
	e->count.bytes_cleaner += rec->len + BS_REC_MOVE_SIZE;
	bs_clean_pace(e, rec->len);
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
	if (!bs_frame_leaves(&e->frames, f))
		bs_frame_touch(e, f);
	bs_clean_pace(e, BS_PAGE);
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

	if (r->tree >= BS_TREES || !bs_key_fits(r->block))
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
	if (!bs_frame_leaves(&e->frames, f))
		bs_frame_touch(e, f);
	bs_clean_pace(e, BS_PAGE);
	return 0;
}

static bool is_fatal(int rc)
{
	return rc == VS_E_FAILED || rc == VS_E_NOSPC || rc == VS_E_ROFS;
}

/* The record that stands at pos; *at and the next record's bytes behind it. */
static int next_rec(const uint8_t *buf, const struct bs_unit_head *h, uint32_t *pos, uint32_t *at,
		    struct bs_rec *r)
{
	int rc = bs_rec_get(buf + BS_UNIT_HEAD, h->records_len, pos, r);
	uint32_t len = 0;

	if (rc)
		return rc;
	if (r->type == BS_REC_CONTENT || r->type == BS_REC_MOVE)
		len = r->len;
	else if (r->type == BS_REC_MAPPAGE || r->type == BS_REC_PAGE)
		len = BS_PAGE;
	if (len > h->head_len + h->payload_len - *at)
		return VS_E_CORRUPT;
	*at += len;
	return 0;
}

/* Asks for the page of the tables that the record needs. False: not now. */
static bool ask(struct bs_engine *e, const struct bs_rec *r, uint32_t seg, uint32_t end)
{
	if (r->type == BS_REC_CONTENT || r->type == BS_REC_MOVE)
		return bs_ahead_leaf(e, BS_TREE_PLACE, bs_cid_slot(r->cid) / BS_PLACES_PER_PAGE);
	if (r->type == BS_REC_PAGE && r->tree < BS_TREES && r->tree != BS_TREE_SEGMENT && !r->level)
		return bs_ahead_leaf_at(e, r->tree, r->block, seg, end - BS_PAGE);
	return true;
}

/* Of a unit's records: how far what they need has been asked for. */
struct asked {
	uint32_t n, pos, at;
};

/* The mover stands at the given place. */
static void ask_ahead(struct bs_engine *e, const uint8_t *buf, const struct bs_unit_head *h,
		      uint32_t seg, uint32_t off, struct asked mover, struct asked *ahead)
{
	if (ahead->n < mover.n)
		*ahead = mover;
	while (ahead->n < h->records && ahead->n < mover.n + RECORDS_AHEAD) {
		struct asked next = *ahead;
		struct bs_rec r;

		next.n++;
		if (next_rec(buf, h, &next.pos, &next.at, &r) || !ask(e, &r, seg, off + next.at))
			return;
		*ahead = next;
	}
}

/* Has those bytes of the unit read that something refers to. */
static int fetch(struct bs_engine *e, const uint8_t *buf, const struct bs_unit_head *h,
		 uint32_t seg, uint32_t off)
{
	uint32_t pos = 0, at = h->head_len;
	struct asked ahead = {0, 0, at};

	for (uint32_t i = 0; e->cleaner->sparse && i < h->records; i++) {
		struct bs_place place;
		struct bs_rec r;
		int rc;

		ask_ahead(e, buf, h, seg, off, (struct asked){i, pos, at}, &ahead);
		rc = next_rec(buf, h, &pos, &at, &r);
		if (rc)
			return rc;
		if (r.type != BS_REC_CONTENT && r.type != BS_REC_MOVE)
			continue;
		if (bs_content_look(e, r.cid, &place) == 0 &&
		    lies_at(&place, seg, off + at - r.len, r.len))
			bs_clean_read_want(e, off + at - r.len, r.len);
		bs_frames_unkeep(e);
	}
	return bs_clean_read_load(e, off, h->unit_len);
}

static int move_record(struct bs_engine *e, const struct bs_rec *r, uint32_t seg, uint32_t end)
{
	switch (r->type) {
	case BS_REC_CONTENT:
	case BS_REC_MOVE:
		if (!bs_clean_read_has(e, end - r->len, r->len))
			return 0; /* it did not live when the unit was looked at */
		return move_content(e, r, seg, end - r->len, e->cleaner->buf + end - r->len);
	case BS_REC_MAPPAGE:
		return move_map_page(e, r->cid, seg, end - BS_PAGE);
	case BS_REC_PAGE:
		return move_table_page(e, r, seg, end - BS_PAGE);
	default:
		return 0;
	}
}

static int move_unit(struct bs_engine *e, const struct bs_unit_head *h, uint32_t seg, uint32_t off)
{
	const uint8_t *buf = e->cleaner->buf + off;
	uint32_t pos = 0, at = h->head_len;
	struct asked ahead = {0, 0, at};
	int worst = fetch(e, buf, h, seg, off);

	if (worst)
		return worst;
	for (uint32_t i = 0; i < h->records; i++) {
		struct bs_rec r;
		int rc;

		ask_ahead(e, buf, h, seg, off, (struct asked){i, pos, at}, &ahead);
		rc = next_rec(buf, h, &pos, &at, &r);
		if (rc)
			return rc;
		rc = move_record(e, &r, seg, off + at);
		bs_frames_unkeep(e);
		if (is_fatal(rc))
			return rc;
		if (rc)
			worst = rc;
	}
	return worst;
}

/* The header of the unit at off, its records included. VS_E_NOENT, VS_E_CORRUPT: there is none. */
static int read_head(struct bs_engine *e, uint32_t off, struct bs_unit_head *h)
{
	const uint8_t *buf = e->cleaner->buf + off;
	uint32_t have = BS_PAGE;
	int rc;

	bs_clean_read_want(e, off, have);
	rc = bs_clean_read_load(e, off, have);
	if (rc)
		return rc;
	rc = bs_unit_decode(buf, have, e->segs.size, e->tag, h);
	if (rc == VS_E_RANGE && h->head_len <= e->segs.size - off) {
		have = h->head_len;
		bs_clean_read_want(e, off, have);
		rc = bs_clean_read_load(e, off, have);
		if (rc == 0)
			rc = bs_unit_decode(buf, have, e->segs.size, e->tag, h);
	}
	if (rc == 0 && h->unit_len > e->segs.size - off)
		return VS_E_CORRUPT;
	return rc;
}

/* Where the next headers are if those units are as long; most are. */
static void heads_ahead(struct bs_engine *e, uint32_t off, uint32_t unit_len)
{
	for (unsigned i = 1; i <= HEADS_AHEAD; i++)
		if (unit_len <= BS_CLEAN_AHEAD / HEADS_AHEAD && off + i * unit_len < e->segs.size)
			bs_clean_read_want(e, off + i * unit_len, BS_PAGE);
}

/* Unit by unit; where none is recognised it looks at the next page. */
static int move_units(struct bs_engine *e, uint32_t seg)
{
	int worst = 0;

	for (uint32_t off = 0; off + BS_PAGE <= e->segs.size && e->segs.seg[seg].ent.live;) {
		struct bs_unit_head h;
		int rc = read_head(e, off, &h);

		if (rc == VS_E_IO)
			return rc;
		if (rc) {
			off += BS_PAGE;
			continue;
		}
		if (e->cleaner->sparse)
			heads_ahead(e, off, h.unit_len);
		rc = move_unit(e, &h, seg, off);
		if (is_fatal(rc))
			return rc;
		if (rc)
			worst = rc;
		off += h.unit_len;
	}
	return worst;
}

static int move_segment(struct bs_engine *e, uint32_t seg, uint16_t side)
{
	int rc;

	bs_clean_read_begin(e, seg, side);
	rc = move_units(e, seg);
	bs_clean_read_end(e);
	return rc;
}

/* What one side of a mirror hides behind a damaged header another may show. */
int bs_clean_move(struct bs_engine *e, uint32_t seg)
{
	uint16_t sides = bs_pool_in_sync(e->pool, seg);
	int rc = move_segment(e, seg, 0);

	if ((sides & (sides - 1)) == 0)
		return rc;
	for (; sides && e->segs.seg[seg].ent.live && e->segs.seg[seg].ent.state == BS_SEG_LOG;
	     sides &= (uint16_t)(sides - 1)) {
		if (is_fatal(rc))
			break;
		rc = move_segment(e, seg, (uint16_t)(sides & -sides));
	}
	return rc;
}
