#include "blockstore/feature.h"
#include "blockstore/map.h"
#include "blockstore/op.h"
#include "blockstore/plant.h"
#include "blockstore/port.h"
#include "blockstore/volume_int.h"

static int put_changed(struct bs_engine *e, struct bs_vol *v, const struct bs_volent *ent,
		       struct vs_error *err)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT, .vol = *ent}};

	(void)v;
	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, err);
}

static int do_rename(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = bs_volume_name_free(e, a->to, c->err);
	if (rc)
		return rc;
	ent = v->ent;
	bs_volume_set_name(&ent, a->to);
	return put_changed(e, v, &ent, c->err);
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

static int cut_off(struct bs_engine *e, struct bs_vol *v, uint64_t size, uint64_t end,
		   struct vs_error *err)
{
	int rc = bs_planted(UNCUT_SHRINK) ? 0 : bs_trim_blocks(e, v, size / BS_BLOCK, end);

	return rc ? vs_fail(err, rc, "cannot shrink %s: %s", v->ent.name, vs_err_text(rc)) : 0;
}

static int shrink(struct bs_engine *e, struct bs_vol *v, const struct bs_volume_change *a,
		  struct vs_error *err)
{
	uint64_t first = a->size / BS_BLOCK, end = v->ent.size / BS_BLOCK;
	bool any;
	int rc = any_mapped(e, v, first, end, &any);

	if (rc)
		return vs_fail(err, rc, "cannot shrink %s: %s", a->name, vs_err_text(rc));
	if (any && !a->force)
		return vs_fail(err, VS_E_INVAL,
			       "%s has data beyond the new size: add --force to cut it off",
			       a->name);
	return any ? cut_off(e, v, a->size, v->ent.size / BS_BLOCK, err) : 0;
}

static int do_resize(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	bool shrinks;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = bs_volume_size_ok(a->size, c->err);
	if (rc == 0 && a->size < v->ent.size)
		rc = shrink(e, v, a, c->err);
	if (rc)
		return rc;
	ent = v->ent;
	ent.size = a->size;
	ent.height = VS_MAX(ent.height, bs_map_height(a->size / BS_BLOCK));
	shrinks = ent.size < v->ent.size;
	rc = put_changed(e, v, &ent, c->err);
	/* what was written behind the new end before the size changed */
	return rc == 0 && shrinks ? cut_off(e, v, a->size, bs_map_span(v->ent.height - 1u), c->err)
				  : rc;
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
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, a->name, &v, c->err);
	if (rc == 0 && (a->compression < 0 || a->compression > BS_CODING_ZSTD))
		rc = vs_fail(c->err, VS_E_INVAL, "compression must be none, lz4 or zstd");
	if (rc)
		return rc;
	ent = v->ent;
	ent.compression = (uint8_t)a->compression;
	if (v->public_handle)
		atomic_store(&v->public_handle->compression, a->compression);
	return put_changed(e, v, &ent, c->err);
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
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, a->name, &v, c->err);
	if (rc == 0 && !a->dedup)
		rc = bs_feature_use(e, BS_INCOMPAT_PRIVATE);
	if (rc)
		return rc;
	ent = v->ent;
	ent.flags = a->dedup ? ent.flags & ~BS_VOL_NO_DEDUP : ent.flags | BS_VOL_NO_DEDUP;
	return put_changed(e, v, &ent, c->err);
}

int bs_volume_set_dedup(struct bs_store *s, const char *name, bool on, struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .dedup = on};

	return bs_store_call(s, true, do_dedup, &a, err);
}

/* All snapshots of v go before it does, each with a record of its own. */
static int delete_snapshots(struct bs_engine *e, struct bs_vol *v, const char *name,
			    struct vs_error *err)
{
	uint64_t id = v->ent.id, at = id;

	for (struct bs_vol *s = bs_vol_next(e, at); s; s = bs_vol_next(e, at)) {
		at = s->ent.id;
		if (s->ent.kind == BS_VOL_SNAPSHOT && s->ent.parent == id && s->handles)
			return vs_fail(err, VS_E_BUSY, "%s@%s is in use", name, s->ent.name);
	}
	at = id;
	for (struct bs_vol *s = bs_vol_next(e, at); s; s = bs_vol_next(e, at)) {
		struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE, .volume = s->ent.id}};
		int rc;

		at = s->ent.id;
		if (s->ent.kind != BS_VOL_SNAPSHOT || s->ent.parent != id)
			continue;
		rc = bs_volops_run(e, &op, 1, BS_NEED_DELETE);
		if (rc)
			return vs_fail(err, rc, "cannot delete a snapshot of %s: %s", name,
				       vs_err_text(rc));
	}
	return 0;
}

static int do_delete(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = bs_volume_not_in_use(v, a->name, c->err);
	if (rc)
		return rc;
	if (v->snapshots && a->mode == BS_DELETE_PLAIN)
		return vs_fail(c->err, VS_E_BUSY,
			       "%s has %u snapshots: add --with-snapshots or --keep-snapshots",
			       a->name, v->snapshots);
	if (v->snapshots && a->mode == BS_DELETE_WITH_SNAPSHOTS) {
		rc = delete_snapshots(e, v, a->name, c->err);
		if (rc)
			return rc;
	}
	op.rec.volume = v->ent.id;
	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_volume_delete(struct bs_store *s, const char *name, enum bs_delete_mode mode,
		     struct vs_error *err)
{
	struct bs_volume_change a = {.name = name, .mode = mode};

	return bs_store_call(s, true, do_delete, &a, err);
}
