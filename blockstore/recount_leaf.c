#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/recount_int.h"

#include <stdlib.h>

bool bs_recount_lost(const struct bs_count *c, unsigned tree, uint64_t leaf)
{
	for (unsigned i = 0; i < c->nlost; i++)
		if (c->lost[i].tree == tree && c->lost[i].leaf == leaf)
			return true;
	return false;
}

static bool place_lost(const struct bs_count *c, uint64_t slot)
{
	return bs_recount_lost(c, BS_TREE_PLACE, slot / BS_PLACES_PER_PAGE);
}

static bool digest_lost(const struct bs_count *c, uint64_t slot)
{
	return bs_recount_lost(c, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE);
}

static int put_digest(struct bs_engine *e, uint64_t slot, const struct dd_digest *d)
{
	struct bs_frame *f;
	int rc = bs_tree_get_w(e, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE, &f);

	if (rc == 0)
		rc = bs_frames_room(e, 8);
	if (rc)
		return rc;
	bs_frame_touch(e, f);
	memcpy(f->data + slot % BS_DIGESTS_PER_PAGE * 32, d->b, 32);
	return 0;
}

static int put_place(struct bs_count *c, const struct bs_place *p, uint64_t slot)
{
	struct bs_place fixed = *p;
	struct bs_frame *f;
	int rc = bs_tree_get_w(c->e, BS_TREE_PLACE, slot / BS_PLACES_PER_PAGE, &f);

	if (rc == 0)
		rc = bs_frames_room(c->e, 8);
	if (rc)
		return rc;
	bs_frame_touch(c->e, f);
	fixed.refs = c->place_refs[slot];
	fixed.aliased = bs_feature_used(c->e, BS_INCOMPAT_ALIAS); /* or was: the mark may stay */
	f->used++;
	bs_place_put(f->data + slot % BS_PLACES_PER_PAGE * BS_PLACE_SIZE, &fixed);
	return 0;
}

/*
 * A record of a content that is referred to and whose entry is lost: taken if its bytes have the
 * digest, the table's or, where that is lost too, the record's own.
 */
static int try_record(struct bs_count *c, const struct bs_rec *r, uint32_t seg, uint32_t off,
		      uint8_t *aside)
{
	uint64_t slot = bs_cid_slot(r->cid);
	struct bs_place p = {.seg = seg,
			     .off = off,
			     .len = r->len,
			     .coding = r->coding,
			     .private = r->private,
			     .gen = bs_cid_gen(r->cid),
			     .check = r->check},
			now;
	struct dd_digest want, have;
	uint8_t *buf = c->buf;
	int rc;

	if (slot >= c->nplaces || !place_lost(c, slot) || !c->place_refs[slot] ||
	    c->place_gens[slot] != c->place_refs[slot] * p.gen ||
	    bs_content_raw(c->e, slot, &now) != VS_E_NOENT)
		return 0;
	if (digest_lost(c, slot) && r->type != BS_REC_CONTENT)
		return 0;
	want = r->digest;
	if (!digest_lost(c, slot) && bs_content_digest(c->e, r->cid, &want))
		return 0;
	c->buf = aside; /* the segment is being read in the other */
	rc = bs_count_verify(c, &p, &have);
	c->buf = buf;
	if (rc || !dd_digest_equal(&want, &have))
		return 0;
	return put_place(c, &p, slot);
}

static int scan_unit(struct bs_count *c, const uint8_t *unit, const struct bs_unit_head *h,
		     uint32_t seg, uint32_t off, uint8_t *aside)
{
	uint32_t pos = 0, at = h->head_len;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < h->records; i++) {
		struct bs_rec r = {0};

		if (bs_rec_get(unit + BS_UNIT_HEAD, h->records_len, &pos, &r))
			return 0;
		if (r.type != BS_REC_CONTENT && r.type != BS_REC_MOVE)
			continue;
		if (r.len > h->head_len + h->payload_len - at)
			return 0;
		rc = try_record(c, &r, seg, off + at, aside);
		at += r.len;
	}
	return rc;
}

static int scan_segment(struct bs_count *c, uint32_t seg, uint8_t *aside)
{
	struct bs_engine *e = c->e;
	int rc = bs_engine_read(e, seg, 0, c->buf, e->segs.size);

	for (uint32_t off = 0; rc == 0 && off + BS_PAGE <= e->segs.size;) {
		uint32_t left = e->segs.size - off;
		struct bs_unit_head h;

		if (bs_unit_decode(c->buf + off, left, e->segs.size, e->tag, &h) ||
		    h.unit_len > left) {
			off += BS_PAGE;
			continue;
		}
		if (h.kind == BS_UNIT_LOG)
			rc = scan_unit(c, c->buf + off, &h, seg, off, aside);
		off += h.unit_len;
		bs_frames_unkeep(e);
	}
	return rc == VS_E_NOMEM ? rc : 0; /* what cannot be read holds nothing to be found */
}

/* What is referred to and was not found; digests of what was. */
static int finish(struct bs_count *c, unsigned i)
{
	unsigned each = c->lost[i].tree == BS_TREE_PLACE ? BS_PLACES_PER_PAGE : BS_DIGESTS_PER_PAGE;
	uint64_t slot = c->lost[i].leaf * each;
	int rc = 0;

	for (unsigned k = 0; k < each && slot < c->nplaces && rc == 0; k++, slot++) {
		struct dd_digest have;
		struct bs_place p;

		if (!c->place_refs[slot])
			continue;
		rc = bs_content_raw(c->e, slot, &p);
		if (rc == 0 && p.alias)
			rc = bs_content_look(c->e, bs_cid(slot, p.gen), &p);
		if (rc == VS_E_NOENT) {
			bs_count_problem(c, "content in slot %llu is lost",
					 (unsigned long long)slot);
			rc = 0;
			continue;
		}
		if (rc || c->lost[i].tree == BS_TREE_PLACE || p.coding >= BS_CODING_ORIGIN)
			continue;
		if (bs_count_verify(c, &p, &have))
			bs_count_problem(c, "the digest of content in slot %llu is lost",
					 (unsigned long long)slot);
		else
			rc = put_digest(c->e, slot, &have);
		bs_frames_unkeep(c->e);
	}
	return rc;
}

int bs_recount_rebuild(struct bs_count *c)
{
	bool places = false;
	uint8_t *aside;
	int rc = 0;

	for (unsigned i = 0; i < c->nlost; i++)
		places |= c->lost[i].tree == BS_TREE_PLACE;
	aside = places ? aligned_alloc(BS_PAGE, 4 * BS_PAGE) : NULL;
	if (places && !aside)
		return VS_E_NOMEM;
	for (uint32_t seg = 0; places && rc == 0 && seg < c->e->segs.count; seg++)
		if (c->e->segs.seg[seg].ent.state == BS_SEG_LOG)
			rc = scan_segment(c, seg, aside);
	free(aside);
	for (unsigned i = 0; i < c->nlost && rc == 0; i++)
		rc = finish(c, i);
	return rc;
}
