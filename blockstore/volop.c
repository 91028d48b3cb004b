#include "blockstore/volop.h"

#include "blockstore/drop.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"
#include "blockstore/work.h"

#include <stdlib.h>

static int ready_root(struct bs_engine *e, const struct bs_vol *v)
{
	struct bs_mapent ent;
	struct bs_frame *f;
	int rc;

	if (!v->ent.root)
		return 0;
	rc = bs_page_ready(e, v->ent.root);
	if (rc == 0)
		rc = bs_page_ent(e, v->ent.root, &ent);
	if (rc)
		return rc;
	if (bs_place_at_origin(&ent.place)) /* it stays there */
		return ent.level + 1u == v->ent.height ? 0 : VS_E_CORRUPT;
	return bs_page_get_at(e, v->ent.root, v->ent.height - 1u, &f);
}

static int prepare_fresh(struct bs_engine *e, struct bs_volop *op)
{
	if (!op->fresh)
		op->fresh = bs_vol_new(e, &op->rec.vol);
	return op->fresh ? bs_vol_ready_id(e, op->rec.vol.id) : VS_E_NOMEM;
}

static int prepare_put(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *v = bs_vol_by_id(e, op->rec.vol.id);
	int rc;

	if (op->rec.vol.kind != BS_VOL_VOLUME || op->rec.vol.parent ||
	    (v && v->ent.kind != BS_VOL_VOLUME))
		return VS_E_CORRUPT;
	if (!v)
		return prepare_fresh(e, op);
	if (op->rec.vol.height > v->ent.height && v->ent.root)
		op->pages = op->rec.vol.height - v->ent.height;
	rc = bs_vol_ready(e, v);
	return rc ? rc : ready_root(e, v);
}

static int prepare_delete(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *v = bs_vol_by_id(e, op->rec.volume);
	int rc;

	if (!v || v->ent.kind == BS_VOL_GONE ||
	    (v->ent.kind == BS_VOL_ORIGIN && (v->ent.contents_left || v->ent.pages_left)))
		return VS_E_CORRUPT;
	rc = bs_vol_ready(e, v);
	if (rc == 0 && v->parent)
		rc = bs_vol_ready(e, v->parent);
	return rc ? rc : ready_root(e, v);
}

static int prepare_share(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *src = bs_vol_by_id(e, op->rec.other);
	int rc;

	if (!src || src->ent.kind == BS_VOL_GONE || src->ent.kind == BS_VOL_ORIGIN ||
	    bs_vol_by_id(e, op->rec.vol.id))
		return VS_E_CORRUPT;
	if (op->rec.vol.kind == BS_VOL_SNAPSHOT
		? src->ent.kind != BS_VOL_VOLUME || op->rec.vol.parent != src->ent.id
		: op->rec.vol.kind != BS_VOL_VOLUME || op->rec.vol.parent)
		return VS_E_CORRUPT;
	rc = prepare_fresh(e, op);
	if (rc == 0)
		rc = bs_vol_ready(e, src);
	return rc ? rc : ready_root(e, src);
}

static int prepare_rollback(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *v = bs_vol_by_id(e, op->rec.volume);
	struct bs_vol *snap = bs_vol_by_id(e, op->rec.other);
	int rc;

	if (!v || !snap || v->ent.kind != BS_VOL_VOLUME || snap->ent.kind != BS_VOL_SNAPSHOT ||
	    snap->parent != v)
		return VS_E_CORRUPT;
	rc = bs_vol_ready(e, v);
	if (rc == 0)
		rc = ready_root(e, v);
	return rc ? rc : ready_root(e, snap);
}

/* Live, the top page's id is one that was prepared; in replay the record says it. */
static int prepare_origin(struct bs_engine *e, struct bs_volop *op)
{
	const struct bs_volent *ent = &op->rec.vol;
	int rc;

	if (ent->kind != BS_VOL_VOLUME || ent->parent || op->rec.other > UINT32_MAX ||
	    bs_vol_by_id(e, op->rec.other) || bs_vol_by_id(e, ent->id) || !ent->size)
		return VS_E_CORRUPT;
	if (!op->fresh_origin)
		op->fresh_origin = bs_vol_new(e, ent);
	if (!op->fresh_origin)
		return VS_E_NOMEM;
	rc = prepare_fresh(e, op);
	if (rc == 0)
		rc = bs_vol_ready_id(e, op->rec.other);
	return rc == 0 && e->recovering ? bs_page_ready_new(e, ent->root) : rc;
}

int bs_volop_prepare(struct bs_engine *e, struct bs_volop *op)
{
	op->pages = 0;
	switch (op->rec.type) {
	case BS_REC_VOL_PUT:
		return prepare_put(e, op);
	case BS_REC_VOL_DELETE:
		return prepare_delete(e, op);
	case BS_REC_VOL_SHARE:
		return prepare_share(e, op);
	case BS_REC_VOL_ROLLBACK:
		return prepare_rollback(e, op);
	case BS_REC_ORIGIN:
		return prepare_origin(e, op);
	default:
		return VS_E_CORRUPT;
	}
}

static void apply_put(struct bs_engine *e, struct bs_volop *op)
{
	const struct bs_volent *to = &op->rec.vol;
	struct bs_vol *v = bs_vol_by_id(e, to->id);

	if (!v) {
		v = op->fresh;
		op->fresh = NULL;
		v->ent.root = v->ent.frozen = 0;
		bs_vol_enter(e, v);
		return;
	}
	v->ent.size = to->size;
	v->ent.sector = to->sector;
	v->ent.compression = to->compression;
	v->ent.flags = to->flags;
	if (strcmp(v->ent.name, to->name) != 0)
		bs_vol_rename(e, v, to->name);
	bs_map_raise(e, v, to->height);
}

static void apply_delete(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *v = bs_vol_by_id(e, op->rec.volume);
	uint64_t root = v->ent.root;

	VS_ASSERT(!v->handles);
	bs_vol_remove(e, v);
	if (root)
		bs_page_unref(e, root);
}

/* Both go on copy-on-write from here: the era that begins is later than all their pages. */
static void apply_share(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *src = bs_vol_by_id(e, op->rec.other), *v = op->fresh;

	op->fresh = NULL;
	e->era++;
	src->ent.frozen = e->era;
	bs_vol_changed(e, src);
	v->ent.root = src->ent.root;
	v->ent.height = src->ent.height;
	v->ent.size = src->ent.size;
	v->ent.frozen = e->era;
	atomic_store(&v->size, v->ent.size);
	if (v->ent.root)
		bs_page_ref(e, v->ent.root);
	bs_vol_enter(e, v);
}

static void apply_rollback(struct bs_engine *e, struct bs_volop *op)
{
	struct bs_vol *v = bs_vol_by_id(e, op->rec.volume);
	struct bs_vol *snap = bs_vol_by_id(e, op->rec.other);
	uint64_t old = v->ent.root;

	VS_ASSERT(!v->handles);
	e->era++;
	if (snap->ent.root)
		bs_page_ref(e, snap->ent.root);
	v->ent.root = snap->ent.root;
	v->ent.height = snap->ent.height;
	v->ent.size = snap->ent.size;
	v->ent.frozen = bs_planted(THAWED_ROLLBACK) ? 0 : e->era;
	bs_vol_changed(e, v);
	if (old)
		bs_page_unref(e, old);
}

static void apply_origin(struct bs_engine *e, struct bs_volop *op)
{
	const struct bs_volent *ent = &op->rec.vol;
	struct bs_vol *v = op->fresh, *o = op->fresh_origin;

	op->fresh = op->fresh_origin = NULL;
	o->ent = (struct bs_volent){.kind = BS_VOL_ORIGIN,
				    .compression = ent->compression,
				    .flags = ent->flags & BS_VOL_NO_DEDUP,
				    .id = op->rec.other,
				    .size = ent->size,
				    .created = ent->created,
				    .uuid = ent->origin,
				    .pages_left = 1};
	bs_vol_enter(e, o);
	v->ent.root = ent->root;
	v->ent.frozen = 0;
	v->ent.origin_id = (uint32_t)op->rec.other;
	bs_origin_root(e, o, ent->root, ent->height - 1u);
	bs_vol_enter(e, v);
}

/* Whether the volume that is changed, deleted or shared is a thick one before. */
static bool is_thick(struct bs_engine *e, const struct bs_volop *op)
{
	const struct bs_rec *r = &op->rec;
	uint64_t id = r->type == BS_REC_VOL_PUT	    ? r->vol.id
		      : r->type == BS_REC_VOL_SHARE ? r->other
						    : r->volume;
	const struct bs_vol *v = bs_vol_by_id(e, id);

	return v && (v->ent.flags & BS_VOL_THICK);
}

void bs_volop_apply(struct bs_engine *e, struct bs_volop *op)
{
	bool was_thick = is_thick(e, op);

	e->changes++;
	switch (op->rec.type) {
	case BS_REC_VOL_PUT:
		apply_put(e, op);
		break;
	case BS_REC_VOL_DELETE:
		apply_delete(e, op);
		break;
	case BS_REC_VOL_SHARE:
		apply_share(e, op);
		break;
	case BS_REC_ORIGIN:
		apply_origin(e, op);
		break;
	default:
		apply_rollback(e, op);
		break;
	}
	if (was_thick || (op->rec.type == BS_REC_VOL_PUT && (op->rec.vol.flags & BS_VOL_THICK)))
		bs_thick_changed(e, was_thick);
}

uint32_t bs_volop_size(const struct bs_volop *op)
{
	switch (op->rec.type) {
	case BS_REC_VOL_PUT:
		return BS_REC_VOL_SIZE;
	case BS_REC_VOL_DELETE:
		return BS_REC_RELEASE_SIZE;
	case BS_REC_VOL_SHARE:
		return BS_REC_SHARE_SIZE;
	case BS_REC_ORIGIN:
		return BS_REC_ORIGIN_SIZE;
	default:
		return BS_REC_ROLLBACK_SIZE;
	}
}

void bs_volop_free(struct bs_volop *op)
{
	free(op->fresh);
	free(op->fresh_origin);
	op->fresh = op->fresh_origin = NULL;
}

static int prepare_all(struct bs_engine *e, struct bs_volop *ops, size_t n, enum bs_need need)
{
	unsigned pages = 0, roots = 0;
	uint32_t bytes = 0;
	int rc = bs_frames_reserve(e, 2 * BS_MAP_LEVELS + 8);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = bs_volop_prepare(e, &ops[i]);
		pages += ops[i].pages;
		roots += ops[i].rec.type == BS_REC_ORIGIN;
		bytes += bs_volop_size(&ops[i]);
	}
	if (rc == 0)
		rc = bs_work_ready(e, 2 * (unsigned)n + 2);
	if (rc == 0)
		rc = bs_ids_prepare(e, &e->mappages, pages + roots);
	if (rc == 0)
		rc = bs_frames_room(e, 6 * (unsigned)n + 4 * pages + 8);
	if (rc == 0)
		rc = bs_log_room(e, need, bytes, 0, pages);
	return rc;
}

int bs_volops_run(struct bs_engine *e, struct bs_volop *ops, size_t n, enum bs_need need)
{
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = prepare_all(e, ops, n, need);
		if (rc == VS_E_NOSPC)
			rc = bs_drops_relieve(e);
	} while (rc == 0 && blocks != bs_fiber_blocks(e->fibers));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (ops[i].rec.type == BS_REC_ORIGIN)
			ops[i].rec.vol.root = bs_ids_take(e, &e->mappages);
		bs_rec_put(bs_log_record(e, bs_volop_size(&ops[i])), &ops[i].rec);
		bs_volop_apply(e, &ops[i]);
	}
	for (size_t i = 0; i < n; i++)
		bs_volop_free(&ops[i]);
	bs_frames_unkeep(e);
	return rc;
}

/* Roots and their entries stay resident together, and all records lie in one unit. */
size_t bs_volops_most(const struct bs_engine *e)
{
	uint32_t room = e->log.head_large - BS_UNIT_HEAD - 64;

	return VS_MIN(e->frames.count / 16, room / BS_REC_RELEASE_SIZE);
}

/* What lies behind a volume's new end: at most one range of entries for each level of its map. */
struct cut {
	uint64_t first[BS_MAP_LEVELS], end[BS_MAP_LEVELS];
	unsigned n, pages, drops;
};

static int prepare_cut(struct bs_engine *e, struct bs_vol *v, uint64_t first, struct cut *c)
{
	uint64_t limit = bs_map_span(v->ent.height - 1u), end;

	for (c->n = c->pages = c->drops = 0; first < limit; first = end) {
		struct bs_map_need need;
		bool nothing;
		int rc = bs_map_trim_prepare(e, v, first, limit, &end, &nothing, &need);

		if (rc)
			return rc;
		if (nothing)
			continue;
		VS_ASSERT(c->n < BS_MAP_LEVELS);
		c->first[c->n] = first;
		c->end[c->n++] = end;
		c->pages += need.pages;
		c->drops += need.drops;
	}
	return 0;
}

static int prepare_shrink(struct bs_engine *e, struct bs_vol *v, struct bs_volop *op, struct cut *c)
{
	uint32_t bytes = bs_volop_size(op);
	int rc = bs_frames_reserve(e, BS_MAP_LEVELS * (2 * BS_MAP_LEVELS + 8));

	if (rc == 0)
		rc = bs_volop_prepare(e, op);
	if (rc == 0)
		rc = prepare_cut(e, v, op->rec.vol.size / BS_BLOCK, c);
	if (rc == 0)
		rc = bs_work_ready(e, c->n * (BS_MAP_FAN + BS_MAP_LEVELS + 1) + 4);
	if (rc == 0)
		rc = bs_ids_prepare(e, &e->mappages, c->pages);
	if (rc == 0)
		rc = bs_drop_ready(e, c->drops);
	if (rc == 0)
		rc = bs_frames_room(e, c->n * (BS_MAP_FAN + 16) + 4 * c->pages + 16);
	if (rc == 0)
		rc = bs_log_room(e, BS_NEED_DELETE, bytes + c->n * BS_REC_TRIM_SIZE, 0, c->pages);
	return rc;
}

int bs_volops_shrink(struct bs_engine *e, struct bs_vol *v, const struct bs_volent *ent)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT, .vol = *ent}};
	uint64_t blocks;
	struct cut c;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = prepare_shrink(e, v, &op, &c);
	} while (rc == 0 && blocks != bs_fiber_blocks(e->fibers));
	if (rc == 0) {
		bs_rec_put(bs_log_record(e, bs_volop_size(&op)), &op.rec);
		bs_volop_apply(e, &op);
	}
	for (unsigned i = 0; rc == 0 && i < c.n && !bs_planted(UNCUT_SHRINK); i++) {
		struct bs_rec r = {.type = BS_REC_TRIM,
				   .volume = ent->id,
				   .block = c.first[i],
				   .count = c.end[i] - c.first[i]};

		bs_rec_put(bs_log_record(e, BS_REC_TRIM_SIZE), &r);
		bs_map_trim_apply(e, v, c.first[i], c.end[i]);
	}
	bs_frames_unkeep(e);
	return rc;
}
