#include "blockstore/replay_int.h"

#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/merge.h"
#include "blockstore/origin_int.h"
#include "blockstore/volop.h"
#include "blockstore/work.h"

#include <stdlib.h>

uint64_t bs_replay_page(struct bs_engine *e)
{
	struct bs_replay *r = e->replay;

	VS_ASSERT(r->page_at < r->npages); /* counted by count_pages before the step */
	return vs_get_le64(r->pages + 8 * r->page_at++);
}
void bs_replay_use(struct bs_engine *e, uint32_t seg)
{
	if (e->segs.seg[seg].ent.state != BS_SEG_LOG)
		bs_seg_set_state(e, seg, BS_SEG_LOG, e->log.next_seq);
}

/* The bytes of what was at an origin. Its pages are kept: nothing moves while this waits. */
static int replay_fill(struct bs_engine *e, const struct bs_rec *rec, const struct bs_place *old,
		       const struct bs_place *place)
{
	int rc = VS_E_CORRUPT;

	if (bs_place_at_origin(old) && old->gen == bs_cid_gen(rec->cid))
		rc = bs_content_ready_fill(e, rec->cid, old);
	if (rc == 0)
		bs_content_fill(e, rec->cid, place, &rec->digest);
	return rc;
}

static int replay_content(struct bs_engine *e, const struct bs_rec *rec, uint32_t seg, uint32_t off)
{
	struct bs_place place = {.seg = seg,
				 .off = off,
				 .len = rec->len,
				 .coding = rec->coding,
				 .private = rec->private,
				 .check = rec->check},
			old;
	struct bs_frame *f;
	uint64_t slot = bs_cid_slot(rec->cid);
	int rc;

	if (slot / BS_PLACES_PER_PAGE >= e->places.max_leaves || slot == 0 || rec->len == 0 ||
	    rec->len > BS_BLOCK || rec->coding > BS_CODING_ZSTD)
		return VS_E_CORRUPT;
	rc = bs_tree_get_w(e, BS_TREE_PLACE, slot / BS_PLACES_PER_PAGE, &f);
	if (rc == 0)
		rc = bs_tree_get_w(e, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE, &f);
	if (rc)
		return rc;
	rc = bs_content_raw(e, slot, &old);
	if (rc == 0)
		return replay_fill(e, rec, &old, &place);
	if (rc != VS_E_NOENT)
		return rc;
	bs_content_put(e, rec->cid, &place, &rec->digest);
	return 0;
}

static int replay_move(struct bs_engine *e, const struct bs_rec *rec, uint32_t seg, uint32_t off)
{
	struct bs_place place;
	int rc = bs_content_ready(e, rec->cid);

	if (rc == 0)
		rc = bs_content_look(e, rec->cid, &place);
	if (rc)
		return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	if (!bs_place_stored(&place))
		return VS_E_CORRUPT;
	if (place.len == rec->len && place.coding == rec->coding && place.check == rec->check) {
		bs_content_move(e, rec->cid, seg, off);
		return 0;
	}
	if (!bs_feature_used(e, BS_INCOMPAT_REPLACED) || rec->len == 0 || rec->len > BS_BLOCK ||
	    rec->coding > BS_CODING_ZSTD)
		return VS_E_CORRUPT;
	place.seg = seg;
	place.off = off;
	place.len = rec->len;
	place.coding = rec->coding;
	place.check = rec->check;
	bs_content_replace(e, rec->cid, &place);
	return 0;
}

/* New map pages that the record will take must be in the unit's list, with their table page. */
static int count_pages(struct bs_engine *e, unsigned pages, unsigned drops)
{
	struct bs_replay *r = e->replay;
	uint64_t end = VS_MIN(r->npages, r->page_at + pages);
	int rc = 0;

	for (uint64_t i = r->page_at; rc == 0 && i < end; i++) {
		uint64_t cid = vs_get_le64(r->pages + 8 * i);

		rc = bs_page_ready_new(e, cid);
		for (uint64_t k = r->page_at; k < i; k++)
			if (bs_cid_slot(vs_get_le64(r->pages + 8 * k)) == bs_cid_slot(cid))
				return VS_E_CORRUPT;
	}
	if (rc == 0)
		rc = bs_drop_ready(e, drops);
	return rc ? rc : bs_frames_reserve(e, pages + 8);
}

static bool pages_left(const struct bs_engine *e, unsigned pages)
{
	return e->replay->npages - e->replay->page_at >= pages;
}

static int replay_map(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_vol *v = bs_vol_by_id(e, rec->volume);
	uint64_t old[BS_MAP_FAN], cids[BS_MAP_FAN], blocks;
	unsigned n = (unsigned)rec->count;
	struct bs_map_need need;

	if (!v || v->ent.kind != BS_VOL_VOLUME || n == 0 || n > BS_MAP_FAN ||
	    rec->block / BS_MAP_FAN != (rec->block + n - 1) / BS_MAP_FAN ||
	    !vs_range_ok(rec->block, n, bs_volent_blocks(&v->ent)))
		return VS_E_CORRUPT;
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_map_prepare(e, v, rec->block, n, &need, old);
		for (unsigned i = 0; rc == 0 && i < n; i++) {
			struct bs_place place = {0};

			cids[i] = vs_get_le64(rec->array + 16 * i + 8);
			if (old[i] != vs_get_le64(rec->array + 16 * i))
				return VS_E_CORRUPT;
			if (!cids[i] || cids[i] == old[i])
				continue;
			rc = bs_content_ready(e, cids[i]);
			if (rc == 0)
				rc = bs_content_look_slot(e, bs_cid_slot(cids[i]), &place);
			/* new content has no reference yet, so only its generation counts */
			if (rc == 0 || rc == VS_E_NOENT)
				rc = place.gen == bs_cid_gen(cids[i]) ? 0 : VS_E_CORRUPT;
		}
		if (rc == 0)
			rc = count_pages(e, need.pages, need.drops);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!pages_left(e, need.pages))
		return VS_E_CORRUPT;
	bs_map_apply(e, v, rec->block, n, cids);
	return 0;
}

static int replay_trim(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_vol *v = bs_vol_by_id(e, rec->volume);
	struct bs_map_need need;
	uint64_t blocks, end;
	bool nothing;

	if (!v || v->ent.kind != BS_VOL_VOLUME || rec->count == 0 ||
	    !vs_range_ok(rec->block, rec->count,
			 VS_MIN(bs_map_span(v->ent.height - 1u), BS_RECORDS_FROM)))
		return VS_E_CORRUPT;
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_map_trim_prepare(e, v, rec->block, rec->block + rec->count, &end, &nothing,
					 &need);
		if (rc == 0)
			rc = count_pages(e, need.pages, need.drops);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (nothing || end != rec->block + rec->count || !pages_left(e, need.pages))
		return VS_E_CORRUPT;
	bs_map_trim_apply(e, v, rec->block, end);
	return 0;
}

static bool takes_objects(const struct bs_vol *v, uint32_t object)
{
	return v && v->ent.kind == BS_VOL_VOLUME && v->ent.flags & BS_VOL_OBJECTS &&
	       object < BS_OBJECTS;
}

static int replay_words(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_vol *v = bs_vol_by_id(e, rec->volume);
	uint64_t word[BS_OBJECT_WORDS] = {0}, blocks;
	struct bs_map_need need;
	const uint8_t *b = rec->array;

	if (!takes_objects(v, rec->object) || !rec->count)
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++) {
		if (!(rec->count & 1u << i))
			continue;
		word[i] = vs_get_le64(b);
		b += 8;
	}
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_map_words_prepare(e, v, rec->object, &need);
		if (rc == 0)
			rc = bs_work_ready(e, 2 * (BS_MAP_LEVELS + 1));
		if (rc == 0)
			rc = count_pages(e, need.pages, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!pages_left(e, need.pages))
		return VS_E_CORRUPT;
	bs_map_words_apply(e, v, rec->object, bs_planted(LOST_WORDS) ? 0 : (uint16_t)rec->count,
			   word);
	return 0;
}

static int replay_graft(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_map_graft g = {.to = bs_vol_by_id(e, rec->volume),
				 .from = bs_vol_by_id(e, rec->other),
				 .to_object = rec->object,
				 .from_object = rec->other_object};
	struct bs_map_need need;
	uint64_t blocks;

	if (!takes_objects(g.to, g.to_object) || !g.from || g.from->ent.kind == BS_VOL_GONE ||
	    !(g.from->ent.flags & BS_VOL_OBJECTS) || g.from_object >= BS_OBJECTS)
		return VS_E_CORRUPT;
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_map_graft_prepare(e, &g, &need);
		if (rc == 0)
			rc = count_pages(e, need.pages, 0);
		if (rc)
			return rc == VS_E_EXIST ? VS_E_CORRUPT : rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!pages_left(e, need.pages) || !g.page)
		return VS_E_CORRUPT;
	bs_map_graft_apply(e, &g);
	return 0;
}

static int replay_volop(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_volop op = {.rec = *rec};
	bool origin = rec->type == BS_REC_ORIGIN;
	bool fresh = rec->type == BS_REC_VOL_SHARE || origin ||
		     (rec->type == BS_REC_VOL_PUT && !bs_vol_by_id(e, rec->vol.id));
	uint64_t blocks;
	int rc;

	/* ids are given in order */
	if ((origin && rec->other != e->vols.next_id) ||
	    (fresh && rec->vol.id != e->vols.next_id + origin))
		return VS_E_CORRUPT;
	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_volop_prepare(e, &op);
		if (rc == 0)
			rc = bs_work_ready(e, 4);
		if (rc == 0)
			rc = count_pages(e, op.pages, 0);
	} while (rc == 0 && blocks != bs_fiber_blocks(e->fibers));
	if (rc == 0 && !pages_left(e, op.pages))
		rc = VS_E_CORRUPT;
	if (rc == 0)
		bs_volop_apply(e, &op);
	bs_volop_free(&op);
	return rc;
}

static int replay_record(struct bs_engine *e, const struct bs_rec *rec, uint32_t seg, uint32_t at)
{
	switch (rec->type) {
	case BS_REC_CONTENT:
		return replay_content(e, rec, seg, at);
	case BS_REC_MOVE:
		return replay_move(e, rec, seg, at);
	case BS_REC_MAP:
		return replay_map(e, rec);
	case BS_REC_TRIM:
		return replay_trim(e, rec);
	case BS_REC_VOL_PUT:
	case BS_REC_VOL_DELETE:
	case BS_REC_VOL_SHARE:
	case BS_REC_VOL_ROLLBACK:
	case BS_REC_ORIGIN:
		return replay_volop(e, rec);
	case BS_REC_WORDS:
		return replay_words(e, rec);
	case BS_REC_GRAFT:
		return replay_graft(e, rec);
	case BS_REC_EXPAND:
		return bs_origin_page_replay(e, rec);
	case BS_REC_ZEROS:
		return bs_origin_zeros_replay(e, rec);
	case BS_REC_RELEASE:
	case BS_REC_ABSORB:
		return bs_work_replay(e, rec);
	case BS_REC_DROP_TURN:
	case BS_REC_DROP_DRAIN:
		return bs_drop_replay(e, rec);
	case BS_REC_ALIAS:
		return bs_merge_replay(e, rec);
	case BS_REC_PAGES:
		return 0;
	default:
		return VS_E_CORRUPT;
	}
}

static void find_pages(struct bs_replay *r, const struct bs_unit_head *h)
{
	struct bs_rec rec;
	uint32_t pos = 0;

	r->npages = r->page_at = 0;
	for (uint32_t i = 0; i < h->records; i++) {
		if (bs_rec_get(r->buf + BS_UNIT_HEAD, h->records_len, &pos, &rec))
			return;
		if (rec.type == BS_REC_PAGES) {
			r->pages = rec.array;
			r->npages = rec.count;
		}
	}
}

int bs_replay_unit(struct bs_engine *e, struct bs_replay *r, const struct bs_unit_head *h)
{
	uint32_t pos = 0, at = r->off + h->head_len;
	int rc = 0;

	bs_replay_use(e, r->seg);
	find_pages(r, h);
	for (uint32_t i = 0; rc == 0 && i < h->records; i++) {
		struct bs_rec rec = {0};

		rc = bs_rec_get(r->buf + BS_UNIT_HEAD, h->records_len, &pos, &rec);
		if (rc == 0)
			rc = replay_record(e, &rec, r->seg, at);
		if (rc == 0 && r->settle)
			rc = bs_drops_settle(e);
		if (rc == 0 && e->damaged)
			rc = VS_E_CORRUPT;
		if (rec.type == BS_REC_CONTENT || rec.type == BS_REC_MOVE)
			at += rec.len;
		bs_frames_unkeep(e);
	}
	return rc;
}
