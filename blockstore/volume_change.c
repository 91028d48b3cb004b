#include "blockstore/feature.h"
#include "blockstore/map.h"
#include "blockstore/op.h"
#include "blockstore/port.h"
#include "blockstore/volume_int.h"

#include <stdlib.h>

/* The volume that a call is about, where it may be changed. */
static int look(struct bs_engine *e, struct bs_call *c, struct bs_vol **v)
{
	const struct bs_volume_change *a = c->arg;
	int rc = bs_volume_writable(e, c->err);

	return rc ? rc : bs_volume_look_volume(e, a->name, v, c->err);
}

/* What has a size. */
static int look_sized(struct bs_engine *e, struct bs_call *c, struct bs_vol **v)
{
	const struct bs_volume_change *a = c->arg;
	int rc = look(e, c, v);

	return rc == 0 && (*v)->ent.flags & BS_VOL_OBJECTS
		   ? vs_fail(c->err, VS_E_NOTSUP,
			     "%s is a datastore: it has no size, and space is not reserved for it",
			     a->name)
		   : rc;
}

static int put_changed(struct bs_engine *e, const struct bs_volent *ent, struct vs_error *err)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT, .vol = *ent}};

	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, err);
}

static int do_rename(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = look(e, c, &v);

	if (rc == 0)
		rc = bs_volume_name_free(e, a->to, c->err);
	if (rc)
		return rc;
	ent = v->ent;
	bs_volume_set_name(&ent, a->to);
	return put_changed(e, &ent, c->err);
}

int bs_volume_rename(struct bs_store *s, const char *name, const char *to, struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .to = to};

	return bs_store_call(s, true, do_rename, &a, err);
}

/* Whether anything is mapped in blocks [first, end): looks at pages, not at blocks. */
static int any_mapped(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t end,
		      bool *any)
{
	*any = false;
	for (uint64_t b = first; b < end && !*any;) {
		struct bs_map_need need;
		bool nothing;
		uint64_t to;
		int rc = bs_map_trim_prepare(e, v, b, end, &to, &nothing, &need);

		if (rc)
			return rc;
		*any = !nothing;
		b = to;
	}
	bs_frames_unkeep(e);
	return 0;
}

/* Refuses to cut data off that nobody said may go. */
static int may_shrink(struct bs_engine *e, struct bs_vol *v, const struct bs_volume_change *a,
		      struct vs_error *err)
{
	uint64_t first = a->size / BS_BLOCK, end = v->ent.size / BS_BLOCK;
	bool any;
	int rc = a->force ? 0 : any_mapped(e, v, first, end, &any);

	if (rc)
		return vs_fail(err, rc, "cannot shrink %s: %s", a->name, vs_err_text(rc));
	if (!a->force && any)
		return vs_fail(err, VS_E_INVAL,
			       "%s has data beyond the new size: add --force to cut it off",
			       a->name);
	return 0;
}

static int do_resize(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = look_sized(e, c, &v);

	if (rc == 0)
		rc = bs_volume_size_ok(a->size, c->err);
	if (rc == 0 && a->size < v->ent.size)
		rc = may_shrink(e, v, a, c->err);
	if (rc == 0 && (v->ent.flags & BS_VOL_THICK) && a->size > v->ent.size)
		rc = bs_volume_reserve(
		    e, a->name, bs_thick_bytes(a->size) - bs_thick_bytes(v->ent.size), c->err);
	if (rc)
		return rc;
	ent = v->ent;
	ent.size = a->size;
	ent.height = VS_MAX(ent.height, bs_map_height(a->size / BS_BLOCK));
	if (ent.size >= v->ent.size) {
		rc = put_changed(e, &ent, c->err);
		bs_thick_settle(e);
		return rc;
	}
	rc = bs_volops_shrink(e, v, &ent);
	if (rc == 0)
		rc = bs_log_commit(e);
	return rc ? vs_fail(c->err, rc, "cannot shrink %s: %s", a->name,
			    rc == VS_E_FAILED ? e->why : vs_err_text(rc))
		  : 0;
}

int bs_volume_resize(struct bs_store *s, const char *name, uint64_t size, bool force,
		     struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .size = size, .force = force};

	return bs_store_call(s, true, do_resize, &a, err);
}

static int do_compression(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = look(e, c, &v);

	if (rc == 0 && (a->compression < 0 || a->compression > BS_CODING_ZSTD))
		rc = vs_fail(c->err, VS_E_INVAL, "compression must be none, lz4 or zstd");
	if (rc)
		return rc;
	ent = v->ent;
	ent.compression = (uint8_t)a->compression;
	if (v->public_handle)
		atomic_store(&v->public_handle->compression, a->compression);
	return put_changed(e, &ent, c->err);
}

int bs_volume_set_compression(struct bs_store *s, const char *name, int compression,
			      struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .compression = compression};

	return bs_store_call(s, true, do_compression, &a, err);
}

static int do_dedup(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = look(e, c, &v);

	if (rc == 0 && !a->dedup)
		rc = bs_feature_use(e, BS_INCOMPAT_PRIVATE);
	if (rc)
		return rc;
	ent = v->ent;
	ent.flags = a->dedup ? ent.flags & ~BS_VOL_NO_DEDUP : ent.flags | BS_VOL_NO_DEDUP;
	return put_changed(e, &ent, c->err);
}

int bs_volume_set_dedup(struct bs_store *s, const char *name, bool on, struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .dedup = on};

	return bs_store_call(s, true, do_dedup, &a, err);
}

static int do_thick(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = look_sized(e, c, &v);

	if (rc == 0 && a->thick && bs_vol_origin(e, v->ent.origin_id))
		rc = vs_fail(c->err, VS_E_BUSY,
			     "blocks of %s are still being fetched from where they come from",
			     a->name);
	if (rc == 0 && a->thick && !(v->ent.flags & BS_VOL_THICK))
		rc = bs_feature_use(e, BS_INCOMPAT_PRIVATE);
	if (rc == 0 && a->thick && !(v->ent.flags & BS_VOL_THICK))
		rc = bs_volume_reserve(e, a->name, bs_thick_bytes(v->ent.size), c->err);
	if (rc)
		return rc;
	ent = v->ent;
	ent.flags = a->thick ? ent.flags | BS_VOL_THICK : ent.flags & ~BS_VOL_THICK;
	rc = put_changed(e, &ent, c->err);
	bs_thick_settle(e);
	return rc;
}

int bs_volume_set_thick(struct bs_store *s, const char *name, bool thick, struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .thick = thick};

	return bs_store_call(s, true, do_thick, &a, err);
}

/* Deletions of up to max snapshots of v, then, where that was all of them, of v. */
static int plan_delete(struct bs_engine *e, const struct bs_vol *v, const char *name,
		       struct bs_volop *ops, size_t max, size_t *n, struct vs_error *err)
{
	uint64_t id = v->ent.id;

	*n = 0;
	for (struct bs_vol *s = bs_vol_next(e, id); s; s = bs_vol_next(e, s->ent.id)) {
		if (s->ent.kind != BS_VOL_SNAPSHOT || s->ent.parent != id)
			continue;
		if (s->handles)
			return vs_fail(err, VS_E_BUSY, "%s@%s is in use", name, s->ent.name);
		if (*n < max)
			ops[(*n)++].rec =
			    (struct bs_rec){.type = BS_REC_VOL_DELETE, .volume = s->ent.id};
	}
	if (*n < max && *n == v->snapshots)
		ops[(*n)++].rec = (struct bs_rec){.type = BS_REC_VOL_DELETE, .volume = id};
	return 0;
}

/*
 * In one step, so that a crash leaves all or nothing. Where there are very many snapshots, steps of
 * as many as fit; the volume goes with the last, so that the same call can be made again.
 */
static int delete_with_snapshots(struct bs_engine *e, struct bs_vol *v, const char *name,
				 struct vs_error *err)
{
	size_t max = bs_volops_most(e), n;
	struct bs_volop *ops = calloc(max, sizeof(*ops));
	uint64_t id = v->ent.id;
	int rc = ops ? 0 : vs_fail(err, VS_E_NOMEM, "cannot delete %s: out of memory", name);

	while (rc == 0 && (v = bs_vol_by_id(e, id))) {
		rc = plan_delete(e, v, name, ops, max, &n, err);
		if (rc == 0)
			rc = bs_volume_run(e, ops, n, BS_NEED_DELETE, err);
	}
	free(ops);
	return rc;
}

static int do_delete(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v;
	int rc = look(e, c, &v);

	if (rc == 0)
		rc = bs_volume_not_in_use(v, a->name, c->err);
	if (rc)
		return rc;
	if (v->snapshots && a->mode == BS_DELETE_PLAIN)
		return vs_fail(c->err, VS_E_BUSY,
			       "%s has %u snapshots: add --with-snapshots or --keep-snapshots",
			       a->name, v->snapshots);
	if (v->snapshots && a->mode == BS_DELETE_WITH_SNAPSHOTS)
		return delete_with_snapshots(e, v, a->name, c->err);
	op.rec.volume = v->ent.id;
	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_volume_delete(struct bs_store *s, const char *name, enum bs_delete_mode mode,
		     struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .mode = mode};

	return bs_store_call(s, true, do_delete, &a, err);
}
