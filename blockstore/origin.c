#include "blockstore/content.h"
#include "blockstore/origin_int.h"
#include "blockstore/volume_int.h"

#include <stdlib.h>

#define LEAVES_A_CALL 64u
/* A cursor's bit: pages are done, contents are looked for. */
#define CONTENTS (UINT64_C(1) << 63)

static struct bs_vol *by_uuid(struct bs_engine *e, const struct vs_uuid *uuid)
{
	for (size_t i = 0; i <= e->vols.mask; i++)
		for (struct bs_vol *v = e->vols.by_id[i]; v; v = v->id_next)
			if (v->ent.kind == BS_VOL_ORIGIN && vs_uuid_equal(&v->ent.uuid, uuid))
				return v;
	return NULL;
}

static void describe(const struct bs_vol *v, struct bs_origin_info *out)
{
	*out = (struct bs_origin_info){.uuid = v->ent.uuid,
				       .id = v->ent.id,
				       .size = v->ent.size,
				       .created_ns = v->ent.created,
				       .contents_left = v->ent.contents_left,
				       .pages_left = v->ent.pages_left,
				       .attached = v->origin != NULL};
}

struct list_args {
	uint64_t after;
	const struct vs_uuid *uuid;
	struct bs_origin_info *out;
	size_t max, n;
};

static int do_list(struct bs_engine *e, struct bs_call *c)
{
	struct list_args *a = c->arg;

	for (uint64_t id = a->after + 1; id < e->vols.next_id && a->n < a->max; id++) {
		const struct bs_vol *v = id <= UINT32_MAX ? bs_vol_origin(e, (uint32_t)id) : NULL;

		if (v)
			describe(v, &a->out[a->n++]);
	}
	return 0;
}

int bs_origin_list(struct bs_store *s, uint64_t after, struct bs_origin_info *out, size_t max,
		   size_t *n, struct vs_error *err)
{
	struct list_args a = {.after = after, .out = out, .max = max};
	int rc = bs_store_call(s, false, do_list, &a, err);

	*n = rc ? 0 : a.n;
	return rc;
}

static int no_such(struct vs_error *err)
{
	return vs_fail(err, VS_E_NOENT, "the store has no blocks left at such an origin");
}

static int do_find(struct bs_engine *e, struct bs_call *c)
{
	struct list_args *a = c->arg;
	const struct bs_vol *v = by_uuid(e, a->uuid);

	if (!v)
		return no_such(c->err);
	describe(v, a->out);
	return 0;
}

int bs_origin_find(struct bs_store *s, const struct vs_uuid *uuid, struct bs_origin_info *out,
		   struct vs_error *err)
{
	struct list_args a = {.uuid = uuid, .out = out};

	return bs_store_call(s, false, do_find, &a, err);
}

struct attach_args {
	const struct vs_uuid *uuid;
	struct bs_origin *o;
};

static int do_attach(struct bs_engine *e, struct bs_call *c)
{
	struct attach_args *a = c->arg;
	struct bs_vol *v = by_uuid(e, a->uuid);
	int rc = bs_volume_writable(e, c->err);

	if (rc)
		return rc;
	if (!v)
		return no_such(c->err);
	if (v->origin)
		return vs_fail(c->err, VS_E_BUSY, "somebody else fetches from this origin");
	a->o->as_volume.engine = e;
	a->o->as_volume.vol = v;
	a->o->as_volume.uuid = v->ent.uuid;
	a->o->as_volume.sector = BS_BLOCK;
	atomic_init(&a->o->as_volume.compression, v->ent.compression);
	v->origin = a->o;
	v->handles++;
	bs_origin_forget_asked(e, (uint32_t)v->ent.id);
	return 0;
}

int bs_origin_attach(struct bs_store *s, const struct vs_uuid *uuid, void (*wake)(void *arg),
		     void *arg, struct bs_origin **out, struct vs_error *err)
{
	struct attach_args a = {.uuid = uuid, .o = calloc(1, sizeof(*a.o))};
	int rc;

	*out = NULL;
	if (!a.o)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	a.o->as_volume.store = s;
	a.o->wake = wake;
	a.o->arg = arg;
	rc = bs_store_call(s, true, do_attach, &a, err);
	if (rc)
		free(a.o);
	else
		*out = a.o;
	return rc;
}

static void let_go(struct bs_vol *v)
{
	VS_ASSERT(v->handles == 1);
	v->origin = NULL;
	v->handles = 0;
}

static int do_detach(struct bs_engine *e, struct bs_call *c)
{
	const struct bs_origin *o = c->arg;

	(void)e;
	if (o->as_volume.vol)
		let_go(o->as_volume.vol);
	return 0;
}

void bs_origin_detach(struct bs_origin *o)
{
	if (!o)
		return;
	(void)!bs_store_call(o->as_volume.store, true, do_detach, o, NULL);
	free(o);
}

struct bs_volume *bs_origin_volume(struct bs_origin *o)
{
	return &o->as_volume;
}

struct wants_args {
	struct bs_origin *o;
	struct bs_want *out;
	const struct bs_want *lost;
	size_t max, n;
};

/* Its entry has gone where a removal did not reach the device: the store has failed then. */
static int is_there(const struct bs_engine *e, const struct bs_origin *o, struct vs_error *err)
{
	return o->as_volume.vol ? 0
				: vs_fail(err, VS_E_FAILED,
					  "the store has failed: %s; restart the node", e->why);
}

static int do_wants(struct bs_engine *e, struct bs_call *c)
{
	struct wants_args *a = c->arg;
	int rc = is_there(e, a->o, c->err);

	if (rc)
		return rc;
	a->n = bs_origin_ask(e, (uint32_t)a->o->as_volume.vol->ent.id, a->out, a->max);
	return 0;
}

int bs_origin_wants(struct bs_origin *o, struct bs_want *out, size_t max, size_t *n,
		    struct vs_error *err)
{
	struct wants_args a = {.o = o, .out = out, .max = max};
	int rc = bs_store_call(o->as_volume.store, false, do_wants, &a, err);

	*n = rc ? 0 : a.n;
	return rc;
}

static int do_fail(struct bs_engine *e, struct bs_call *c)
{
	const struct wants_args *a = c->arg;

	for (size_t i = 0; i < a->n; i++)
		bs_origin_lost(e, a->lost[i].cid);
	return 0;
}

int bs_origin_fail(struct bs_origin *o, const struct bs_want *wants, size_t n, struct vs_error *err)
{
	struct wants_args a = {.o = o, .lost = wants, .n = n};

	return bs_store_call(o->as_volume.store, false, do_fail, &a, err);
}

static int do_hold(struct bs_engine *e, struct bs_call *c)
{
	e->cfg.origin_hold_ns = *(const uint64_t *)c->arg * 1000000;
	if (!e->cfg.origin_hold_ns)
		bs_origin_expire_all(e);
	return 0;
}

int bs_origin_set_hold(struct bs_store *s, uint64_t ms, struct vs_error *err)
{
	return bs_store_call(s, false, do_hold, &ms, err);
}

/* ---- what is left ------------------------------------------------------------------------ */

struct next_args {
	const struct bs_origin *o;
	uint64_t *cursor;
	struct bs_origin_part *out;
};

static void found_page(const struct bs_vol *o, uint64_t cid, const struct bs_mapent *ent,
		       struct bs_origin_part *out)
{
	out->kind = BS_ORIGIN_PAGE;
	out->cid = cid;
	out->block = ent->place.block;
	out->blocks = bs_origin_below(o, ent->place.block, ent->level);
	out->each = ent->level ? bs_map_span(ent->level - 1u) : 1;
}

/* The first page of the leaf, from *slot on, that is at the origin. */
static int next_page(struct bs_engine *e, const struct bs_vol *o, uint64_t *slot,
		     struct bs_origin_part *out)
{
	uint64_t leaf = *slot / BS_MAPENTS_PER_PAGE;
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_MAP, 0, leaf, true, &f);

	for (unsigned i = *slot % BS_MAPENTS_PER_PAGE; rc == 0 && f && i < BS_MAPENTS_PER_PAGE;
	     i++) {
		struct bs_mapent ent;

		*slot = leaf * BS_MAPENTS_PER_PAGE + i + 1;
		bs_mapent_get(f->data + i * BS_MAPENT_SIZE, &ent);
		if (!ent.live || !bs_place_at_origin(&ent.place) || !ent.place.refs ||
		    bs_origin_of_page(e, &ent) != o)
			continue;
		found_page(o, bs_cid(*slot - 1, ent.place.gen), &ent, out);
		return 0;
	}
	*slot = (leaf + 1) * BS_MAPENTS_PER_PAGE;
	return rc;
}

/* What the leaf has of the origin's. */
static int next_contents(struct bs_engine *e, const struct bs_vol *o, uint64_t *slot,
			 struct bs_origin_part *out)
{
	uint64_t leaf = *slot / BS_PLACES_PER_PAGE;
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_PLACE, 0, leaf, true, &f);

	for (unsigned i = 0; rc == 0 && f && i < BS_PLACES_PER_PAGE; i++) {
		struct bs_place p;

		bs_place_get(f->data + i * BS_PLACE_SIZE, &p);
		if (p.refs && bs_place_at_origin(&p) && bs_origin_of(e, &p) == o)
			out->wants[out->n++] =
			    (struct bs_want){bs_cid(leaf * BS_PLACES_PER_PAGE + i, p.gen), p.block};
	}
	if (out->n)
		out->kind = BS_ORIGIN_CONTENTS;
	*slot = (leaf + 1) * BS_PLACES_PER_PAGE;
	return rc;
}

static int look_on(struct bs_engine *e, const struct bs_vol *o, uint64_t *cursor,
		   struct bs_origin_part *out)
{
	bool contents = *cursor & CONTENTS;
	uint64_t slot = *cursor & ~CONTENTS, end;
	int rc = 0;

	end = contents ? e->trees[BS_TREE_PLACE].root.leaves * BS_PLACES_PER_PAGE
		       : e->trees[BS_TREE_MAP].root.leaves * BS_MAPENTS_PER_PAGE;
	for (unsigned n = 0; n < LEAVES_A_CALL && out->kind == BS_ORIGIN_LOOKED && slot < end;
	     n++) {
		rc = contents ? next_contents(e, o, &slot, out) : next_page(e, o, &slot, out);
		bs_frames_unkeep(e);
		if (rc)
			return rc;
	}
	*cursor = slot | (contents ? CONTENTS : 0);
	if (out->kind != BS_ORIGIN_LOOKED || slot < end)
		return 0;
	/* pages first: expanded, they may leave contents anywhere */
	if (!contents && o->ent.pages_left == 0)
		*cursor = CONTENTS;
	else
		out->kind = BS_ORIGIN_PASS;
	return 0;
}

static int do_next(struct bs_engine *e, struct bs_call *c)
{
	struct next_args *a = c->arg;
	const struct bs_vol *o = a->o->as_volume.vol;
	int rc = is_there(e, a->o, c->err);

	a->out->kind = BS_ORIGIN_LOOKED;
	a->out->n = 0;
	if (rc)
		return rc;
	if (!o->ent.contents_left && !o->ent.pages_left) {
		a->out->kind = BS_ORIGIN_END;
		return 0;
	}
	rc = look_on(e, o, a->cursor, a->out);
	return rc ? vs_fail(c->err, rc, "cannot look for what is left at an origin: %s",
			    vs_err_text(rc))
		  : 0;
}

int bs_origin_next(struct bs_origin *o, uint64_t *cursor, struct bs_origin_part *out,
		   struct vs_error *err)
{
	struct next_args a = {o, cursor, out};

	return bs_store_call(o->as_volume.store, false, do_next, &a, err);
}

struct expand_args {
	const struct bs_origin *o;
	uint64_t cid;
	const uint8_t *zeros;
	struct bs_want *out;
	size_t *n;
};

/* The contents of a bottom page that are at the origin still. */
static int list_page(struct bs_engine *e, const struct expand_args *a)
{
	const struct bs_vol *o = a->o->as_volume.vol;
	uint8_t entries[BS_PAGE];
	struct bs_frame *f;
	int rc = bs_page_get(e, a->cid, &f);

	if (rc || f->level)
		return rc;
	memcpy(entries, f->data, BS_PAGE); /* looking may wait */
	for (unsigned i = 0; i < BS_MAP_FAN; i++) {
		uint64_t cid = bs_map_entry(entries, i);
		struct bs_place p;

		rc = cid ? bs_content_look(e, cid, &p) : VS_E_NOENT;
		if (rc == 0 && bs_place_at_origin(&p) && bs_origin_of(e, &p) == o)
			a->out[(*a->n)++] = (struct bs_want){cid, p.block};
		if (rc && rc != VS_E_NOENT)
			return rc;
	}
	return 0;
}

static int do_expand(struct bs_engine *e, struct bs_call *c)
{
	struct expand_args *a = c->arg;
	struct bs_mapent ent;
	int rc = is_there(e, a->o, c->err);

	*a->n = 0;
	if (rc)
		return rc;
	rc = bs_page_ent(e, a->cid, &ent);
	if (rc == VS_E_CORRUPT) /* not alive any more */
		return 0;
	if (rc == 0 && bs_place_at_origin(&ent.place) && ent.place.refs)
		rc = bs_origin_page(e, a->cid, a->zeros);
	if (rc == 0 || rc == VS_E_NOENT) {
		bs_frames_unkeep(e);
		rc = bs_page_ent(e, a->cid, &ent);
		if (rc == VS_E_CORRUPT || (rc == 0 && bs_place_at_origin(&ent.place)))
			return 0;
	}
	if (rc == 0)
		rc = list_page(e, a);
	return rc ? vs_fail(c->err, rc, "cannot take a page of an origin in: %s", vs_err_text(rc))
		  : 0;
}

int bs_origin_expand(struct bs_origin *o, uint64_t cid, const uint8_t zeros[BS_ORIGIN_FAN / 8],
		     struct bs_want out[BS_ORIGIN_FAN], size_t *n, struct vs_error *err)
{
	struct expand_args a = {o, cid, zeros, out, n};
	int rc = bs_store_call(o->as_volume.store, false, do_expand, &a, err);

	if (rc)
		*n = 0;
	return rc;
}

static int do_remove(struct bs_engine *e, struct bs_call *c)
{
	struct bs_origin *o = c->arg;
	struct bs_vol *v = o->as_volume.vol;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = is_there(e, o, c->err);
	if (rc)
		return rc;
	op.rec.volume = v->ent.id;
	if (v->ent.contents_left || v->ent.pages_left)
		return vs_fail(c->err, VS_E_BUSY, "blocks are left at the origin");
	let_go(v);
	rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	o->as_volume.vol = v = bs_vol_by_id(e, op.rec.volume);
	if (v) { /* it stays, and attached */
		v->origin = o;
		v->handles = 1;
	}
	return rc;
}

int bs_origin_remove(struct bs_origin *o, struct vs_error *err)
{
	int rc = bs_store_call(o->as_volume.store, true, do_remove, o, err);

	if (rc == 0)
		free(o);
	return rc;
}
