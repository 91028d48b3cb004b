#include "blockstore/page.h"

#include "blockstore/mend.h"
#include "blockstore/origin_int.h"
#include "blockstore/replay.h"
#include "blockstore/work.h"

static uint64_t leaf_of(uint64_t cid)
{
	return bs_cid_slot(cid) / BS_MAPENTS_PER_PAGE;
}

static unsigned at(uint64_t cid)
{
	return (unsigned)(bs_cid_slot(cid) % BS_MAPENTS_PER_PAGE) * BS_MAPENT_SIZE;
}

int bs_page_ent(struct bs_engine *e, uint64_t cid, struct bs_mapent *out)
{
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_MAP, 0, leaf_of(cid), true, &f);

	if (rc)
		return rc;
	if (!f)
		return VS_E_CORRUPT;
	bs_mapent_get(f->data + at(cid), out);
	return out->live && out->place.gen == bs_cid_gen(cid) ? 0 : VS_E_CORRUPT;
}

static int read_page(struct bs_engine *e, const struct bs_place *p, uint8_t *data)
{
	struct bs_mend m = {
	    .seg = p->seg, .off = p->off, .len = BS_PAGE, .check = p->check, .mask = BS_CHECK56};

	if (p->seg >= e->segs.count || p->off % BS_PAGE || p->len != BS_PAGE ||
	    !vs_range_ok(p->off, BS_PAGE, e->segs.size))
		return VS_E_CORRUPT;
	return bs_mend_read(e, &m, data);
}

static int load(struct bs_engine *e, uint64_t cid, struct bs_frame **out)
{
	struct bs_mapent ent;
	struct bs_frame *f;
	int rc;

	if (!bs_fiber_here(e->fibers))
		return VS_E_AGAIN;
	rc = bs_frames_reserve(e, 1);
	if (rc == 0)
		rc = bs_page_ent(e, cid, &ent);
	if (rc == 0 && bs_place_at_origin(&ent.place)) {
		rc = bs_origin_page(e, cid, NULL);
		return rc == 0 || rc == VS_E_NOENT ? VS_E_AGAIN : rc;
	}
	if (rc)
		return rc;
	if (bs_frame_find(e, bs_key_map(cid)))
		return VS_E_AGAIN;
	f = bs_frame_new(e, bs_key_map(cid));
	if (!f)
		return VS_E_AGAIN;
	f->cid = cid;
	f->base = ent.base;
	f->era = ent.era;
	f->level = ent.level;
	f->records = ent.records;
	f->pins++;
	rc = read_page(e, &ent.place, f->data);
	f->pins--;
	f->state = BS_FRAME_VALID;
	f->failed = rc;
	bs_fiber_wake_all(e->fibers, &f->waiters);
	if (rc) {
		bs_engine_event(e, BS_ERROR, "metadata", "map page %llu in segment %u at %u: %s",
				(unsigned long long)bs_cid_slot(cid), ent.place.seg, ent.place.off,
				vs_err_text(rc));
		bs_frame_drop(e, f);
	}
	*out = f;
	return rc;
}

int bs_page_get(struct bs_engine *e, uint64_t cid, struct bs_frame **out)
{
	for (;;) {
		struct bs_frame *f = bs_frame_find(e, bs_key_map(cid));
		int rc;

		if (f && f->state == BS_FRAME_VALID) {
			if (f->cid != cid)
				return VS_E_CORRUPT;
			bs_frame_keep(e, f);
			*out = f;
			return 0;
		}
		if (f) {
			if (!bs_fiber_here(e->fibers))
				return VS_E_AGAIN;
			rc = bs_frame_wait(e, f);
			if (rc)
				return rc;
			continue;
		}
		rc = load(e, cid, out);
		if (rc == 0)
			bs_frame_keep(e, *out);
		if (rc != VS_E_AGAIN || !bs_fiber_here(e->fibers))
			return rc;
	}
}

int bs_page_ready(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent;
	struct bs_frame *f;

	if (leaf_of(cid) >= e->trees[BS_TREE_MAP].root.leaves)
		return VS_E_CORRUPT;
	int rc = bs_tree_get_w(e, BS_TREE_MAP, leaf_of(cid), &f);

	return rc ? rc : bs_page_ent(e, cid, &ent);
}

int bs_page_ready_new(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent;
	struct bs_frame *f;
	int rc;

	if (bs_cid_slot(cid) == 0 ||
	    leaf_of(cid) >= (uint64_t)e->segs.count * (e->segs.size / BS_PAGE))
		return VS_E_CORRUPT;
	rc = bs_tree_get_w(e, BS_TREE_MAP, leaf_of(cid), &f);
	if (rc)
		return rc;
	bs_mapent_get(f->data + at(cid), &ent);
	return ent.live || bs_frame_find(e, bs_key_map(cid)) ? VS_E_CORRUPT : 0;
}

int bs_page_get_at(struct bs_engine *e, uint64_t cid, unsigned level, struct bs_frame **out)
{
	int rc = bs_page_get(e, cid, out);

	return rc == 0 && (*out)->level != level ? VS_E_CORRUPT : rc;
}

int bs_page_get_base(struct bs_engine *e, const struct bs_frame *f, struct bs_frame **out)
{
	*out = NULL;
	if (!f->base)
		return 0;
	if (f->base == f->cid)
		return VS_E_CORRUPT;
	int rc = bs_page_get_at(e, f->base, f->level, out);

	return rc == 0 && (*out)->records != f->records ? VS_E_CORRUPT : rc;
}

struct bs_frame *bs_page_now(struct bs_engine *e, uint64_t cid)
{
	struct bs_frame *f = bs_frame_find(e, bs_key_map(cid));

	VS_ASSERT(f && f->state == BS_FRAME_VALID && f->cid == cid);
	return f;
}

struct bs_mapent bs_page_ent_now(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent;

	bs_mapent_get(bs_tree_now(e, BS_TREE_MAP, leaf_of(cid))->data + at(cid), &ent);
	if (!ent.live || ent.place.gen != bs_cid_gen(cid))
		bs_engine_damaged(e, "map page %llx is referred to and not alive",
				  (unsigned long long)cid);
	return ent;
}

void bs_page_ent_make(struct bs_engine *e, uint64_t cid, const struct bs_mapent *ent)
{
	bs_page_ent_put(e, cid, ent);
	bs_tree_now(e, BS_TREE_MAP, leaf_of(cid))->used++;
}

void bs_page_ent_put(struct bs_engine *e, uint64_t cid, const struct bs_mapent *ent)
{
	struct bs_frame *f = bs_tree_now(e, BS_TREE_MAP, leaf_of(cid));

	bs_frame_touch(e, f);
	bs_mapent_put(f->data + at(cid), ent);
}

struct bs_frame *bs_page_new(struct bs_engine *e, struct bs_frame *base, uint8_t level,
			     bool records)
{
	uint64_t cid = e->recovering ? bs_replay_page(e) : bs_ids_take(e, &e->mappages);
	struct bs_mapent ent = {.place = {.seg = BS_SEG_NONE, .gen = bs_cid_gen(cid)},
				.era = e->era,
				.level = level,
				.records = records,
				.live = true};
	struct bs_frame *f = bs_frame_new(e, bs_key_map(cid));

	VS_ASSERT(f);
	f->state = BS_FRAME_VALID;
	f->cid = cid;
	f->era = e->era;
	f->level = level;
	f->records = records;
	if (base) {
		struct bs_mapent b = bs_page_ent_now(e, base->cid);

		memcpy(f->data, base->data, BS_PAGE);
		ent.base = f->base = base->cid;
		ent.count = b.count;
		ent.blank = b.blank;
		b.place.refs++;
		b.xors ^= cid;
		bs_page_ent_put(e, base->cid, &b);
	} else {
		memset(f->data, 0, BS_PAGE);
	}
	bs_page_ent_make(e, cid, &ent);
	bs_frame_touch(e, f);
	bs_log_note_page(e, cid);
	return f;
}

void bs_page_ref(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent = bs_page_ent_now(e, cid);

	if (ent.place.refs == UINT32_MAX)
		bs_engine_damaged(e, "map page %llx has too many references",
				  (unsigned long long)cid);
	ent.place.refs++;
	bs_page_ent_put(e, cid, &ent);
}

void bs_page_unref(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent = bs_page_ent_now(e, cid);

	if (!ent.place.refs) {
		bs_engine_damaged(e, "map page %llx has fewer references than are dropped",
				  (unsigned long long)cid);
		return;
	}
	ent.place.refs--;
	bs_page_ent_put(e, cid, &ent);
	if (ent.place.refs == 0)
		bs_work_push(e, cid, BS_WORK_RELEASE);
	else if (ent.place.refs == 1 && ent.xors)
		bs_work_push(e, cid, BS_WORK_ABSORB);
}

void bs_page_free(struct bs_engine *e, uint64_t cid)
{
	struct bs_mapent ent = bs_page_ent_now(e, cid);
	struct bs_frame *f = bs_frame_find(e, bs_key_map(cid));

	if (ent.place.seg != BS_SEG_NONE)
		bs_seg_live(e, ent.place.seg, -(int64_t)BS_PAGE);
	bs_thick_freed(e, BS_PAGE);
	ent = (struct bs_mapent){.place = {.seg = BS_SEG_NONE, .gen = ent.place.gen}};
	bs_page_ent_put(e, cid, &ent);
	bs_tree_now(e, BS_TREE_MAP, leaf_of(cid))->used--;
	if (f)
		bs_frame_drop(e, f);
}

void bs_page_count(struct bs_engine *e, uint64_t cid, int64_t delta)
{
	struct bs_mapent ent = bs_page_ent_now(e, cid);

	ent.count += (uint64_t)delta;
	bs_page_ent_put(e, cid, &ent);
}

bool bs_page_owns(struct bs_engine *e, const struct bs_frame *f, unsigned i)
{
	uint64_t cid = bs_map_entry(f->data, i);

	if (!cid || f->records)
		return false;
	return !f->base || bs_map_entry(bs_page_now(e, f->base)->data, i) != cid;
}
