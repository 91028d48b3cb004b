#include "blockstore/volume.h"

#include "blockstore/map.h"
#include "blockstore/op.h"
#include "blockstore/port.h"
#include "blockstore/store_int.h"
#include "blockstore/volop.h"
#include "common/log.h"
#include "common/text.h"

#include <stdlib.h>

static int split_name(const char *full, char name[BS_NAME_MAX], char snap[BS_NAME_MAX],
		      bool want_snap, struct vs_error *err)
{
	if (vs_split_snapshot(full, name, snap))
		return vs_fail(err, VS_E_INVAL,
			       "%s is not a valid name: letters, digits, '.', '_' and '-', at most "
			       "63, beginning with a letter or digit",
			       full);
	if (want_snap && !snap[0])
		return vs_fail(err, VS_E_INVAL, "%s does not name a snapshot: use VOLUME@SNAP",
			       full);
	return 0;
}

static int find(struct bs_engine *e, const char *full, bool want_snap, struct bs_vol **out,
		struct vs_error *err)
{
	char name[BS_NAME_MAX], snap[BS_NAME_MAX];
	int rc = split_name(full, name, snap, want_snap, err);

	if (rc)
		return rc;
	*out = bs_vol_by_name(e, name, snap);
	if (!*out || (*out)->ent.kind == BS_VOL_GONE)
		return vs_fail(err, VS_E_NOENT, "no %s named %s", snap[0] ? "snapshot" : "volume",
			       full);
	return 0;
}

static int find_volume(struct bs_engine *e, const char *name, struct bs_vol **out,
		       struct vs_error *err)
{
	int rc = find(e, name, false, out, err);

	if (rc == 0 && (*out)->ent.kind != BS_VOL_VOLUME)
		return vs_fail(err, VS_E_INVAL, "%s is a snapshot: name a volume", name);
	return rc;
}

static int name_free(struct bs_engine *e, const char *name, struct vs_error *err)
{
	struct bs_vol *v;

	if (!vs_name_ok(name))
		return vs_fail(err, VS_E_INVAL,
			       "%s is not a valid name: letters, digits, '.', '_' and '-', at most "
			       "63, beginning with a letter or digit",
			       name);
	v = bs_vol_by_name(e, name, "");
	if (v && v->ent.kind == BS_VOL_GONE)
		return vs_fail(err, VS_E_EXIST,
			       "%s still has snapshots of a deleted volume: delete them first",
			       name);
	return v ? vs_fail(err, VS_E_EXIST, "a volume named %s exists", name) : 0;
}

static int writable(const struct bs_engine *e, struct vs_error *err)
{
	if (e->failed)
		return vs_fail(err, VS_E_FAILED, "the store has failed: %s; restart the node",
			       e->why);
	if (e->read_only)
		return vs_fail(err, VS_E_ROFS, "the store is read-only: %s", e->why);
	return 0;
}

static int size_ok(uint64_t size, struct vs_error *err)
{
	if (size == 0 || size % BS_BLOCK || size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL,
			       "size %llu is not a multiple of 4096 from 4096 to %llu",
			       (unsigned long long)size, (unsigned long long)BS_VOLUME_MAX_SIZE);
	return 0;
}

/* Runs the changes, makes them durable, and gives a plain message for what can fail on the way. */
static int run_ops(struct bs_engine *e, struct bs_volop *ops, size_t n, enum bs_need need,
		   struct vs_error *err)
{
	int rc = bs_volops_run(e, ops, n, need);

	if (rc == 0)
		rc = bs_log_commit(e);
	return rc ? vs_fail(err, rc, "%s", rc == VS_E_FAILED ? e->why : vs_err_text(rc)) : 0;
}

static void fill_info(struct bs_engine *e, const struct bs_vol *v, struct bs_volume_info *out)
{
	const struct bs_volent *ent = &v->ent;
	uint64_t count;
	int rc;

	*out = (struct bs_volume_info){.uuid = ent->uuid,
				       .id = ent->id,
				       .snapshot = ent->kind == BS_VOL_SNAPSHOT,
				       .kept = v->parent && v->parent->ent.kind == BS_VOL_GONE,
				       .origin = ent->origin,
				       .has_origin = ent->origin_set,
				       .size = ent->size,
				       .sector = ent->sector,
				       .compression = ent->compression,
				       .created_ns = ent->created,
				       .snapshots = v->snapshots,
				       .open_handles = v->handles};
	memcpy(out->name, v->parent ? v->parent->ent.name : ent->name, BS_NAME_MAX);
	if (v->parent)
		memcpy(out->snap, ent->name, BS_NAME_MAX);
	count = bs_map_count(e, v, &rc); /* may block: v is not used behind it */
	out->logical_bytes = rc ? 0 : count * BS_BLOCK;
}

static void set_name(struct bs_volent *ent, const char *name)
{
	memset(ent->name, 0, sizeof(ent->name));
	memcpy(ent->name, name, strnlen(name, BS_NAME_MAX - 1));
}

struct create_args {
	const struct bs_volume_spec *spec;
	struct bs_volume_info *out;
};

static int do_create(struct bs_engine *e, struct bs_call *c)
{
	struct create_args *a = c->arg;
	const struct bs_volume_spec *s = a->spec;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT}};
	struct bs_volent *ent = &op.rec.vol;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = name_free(e, s->name, c->err);
	if (rc == 0)
		rc = size_ok(s->size, c->err);
	if (rc == 0 && s->sector != 0 && s->sector != 512 && s->sector != 4096)
		rc = vs_fail(c->err, VS_E_INVAL, "sector size must be 512 or 4096");
	if (rc == 0 && (s->compression < -1 || s->compression > BS_CODING_ZSTD))
		rc = vs_fail(c->err, VS_E_INVAL, "compression must be none, lz4 or zstd");
	if (rc)
		return rc;
	*ent = (struct bs_volent){.kind = BS_VOL_VOLUME,
				  .height = bs_map_height(s->size / BS_BLOCK),
				  .compression = s->compression < 0 ? e->sb.compression
								    : (uint8_t)s->compression,
				  .sector = s->sector ? s->sector : 512,
				  .id = e->vols.next_id,
				  .size = s->size,
				  .created = e->env.unix_ns(e->env.arg)};
	set_name(ent, s->name);
	if (vs_uuid_new(&ent->uuid))
		return vs_fail(c->err, VS_E_IO, "cannot get random bytes");
	rc = run_ops(e, &op, 1, BS_NEED_DELETE, c->err);
	if (rc == 0 && a->out)
		fill_info(e, bs_vol_by_id(e, ent->id), a->out);
	return rc;
}

int bs_volume_create(struct bs_store *s, const struct bs_volume_spec *spec,
		     struct bs_volume_info *out, struct vs_error *err)
{
	struct create_args a = {spec, out};

	return bs_store_call(s, true, do_create, &a, err);
}

struct find_args {
	const char *full;
	const struct vs_uuid *uuid;
	struct bs_volume_info *out;
};

static int do_find(struct bs_engine *e, struct bs_call *c)
{
	struct find_args *a = c->arg;
	struct bs_volume_info info;
	struct bs_vol *v;
	int rc = 0;

	if (a->uuid) {
		v = bs_vol_by_uuid(e, a->uuid);
		if (!v)
			rc = vs_fail(c->err, VS_E_NOENT, "no volume with this UUID");
	} else {
		rc = find(e, a->full, false, &v, c->err);
	}
	if (rc == 0)
		fill_info(e, v, a->out ? a->out : &info);
	return rc;
}

int bs_volume_find(struct bs_store *s, const char *full, struct bs_volume_info *out,
		   struct vs_error *err)
{
	struct find_args a = {.full = full, .out = out};

	return bs_store_call(s, false, do_find, &a, err);
}

int bs_volume_find_uuid(struct bs_store *s, const struct vs_uuid *uuid, struct bs_volume_info *out,
			struct vs_error *err)
{
	struct find_args a = {.uuid = uuid, .out = out};

	return bs_store_call(s, false, do_find, &a, err);
}

struct list_args {
	uint64_t after;
	struct bs_volume_info *out;
	size_t max, n;
};

static int do_list(struct bs_engine *e, struct bs_call *c)
{
	struct list_args *a = c->arg;
	struct bs_vol *v;

	while (a->n < a->max && (v = bs_vol_next(e, a->after))) {
		a->after = v->ent.id;
		fill_info(e, v, &a->out[a->n++]);
	}
	return 0;
}

int bs_volume_list(struct bs_store *s, uint64_t after, struct bs_volume_info *out, size_t max,
		   size_t *n, struct vs_error *err)
{
	struct list_args a = {.after = after, .out = out, .max = max};
	int rc = bs_store_call(s, false, do_list, &a, err);

	*n = rc ? 0 : a.n;
	return rc;
}

struct change_args {
	const char *name, *to;
	uint64_t size;
	bool force;
	int compression;
	enum bs_delete_mode mode;
};

static int put_changed(struct bs_engine *e, struct bs_vol *v, const struct bs_volent *ent,
		       struct vs_error *err)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT, .vol = *ent}};

	(void)v;
	return run_ops(e, &op, 1, BS_NEED_DELETE, err);
}

static int do_rename(struct bs_engine *e, struct bs_call *c)
{
	struct change_args *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = name_free(e, a->to, c->err);
	if (rc)
		return rc;
	ent = v->ent;
	set_name(&ent, a->to);
	return put_changed(e, v, &ent, c->err);
}

int bs_volume_rename(struct bs_store *s, const char *name, const char *to, struct vs_error *err)
{
	struct change_args a = {.name = name, .to = to};

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
	int rc = bs_trim_blocks(e, v, size / BS_BLOCK, end);

	return rc ? vs_fail(err, rc, "cannot shrink %s: %s", v->ent.name, vs_err_text(rc)) : 0;
}

static int shrink(struct bs_engine *e, struct bs_vol *v, const struct change_args *a,
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
	struct change_args *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	bool shrinks;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = size_ok(a->size, c->err);
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
	struct change_args a = {.name = name, .size = size, .force = force};

	return bs_store_call(s, true, do_resize, &a, err);
}

static int do_compression(struct bs_engine *e, struct bs_call *c)
{
	struct change_args *a = c->arg;
	struct bs_volent ent;
	struct bs_vol *v;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find_volume(e, a->name, &v, c->err);
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
	struct change_args a = {.name = name, .compression = compression};

	return bs_store_call(s, true, do_compression, &a, err);
}

static int not_in_use(const struct bs_vol *v, const char *name, struct vs_error *err)
{
	return v->handles
		   ? vs_fail(err, VS_E_BUSY,
			     "%s is in use: stop its virtual machine, sessions and exports", name)
		   : 0;
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
	struct change_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find_volume(e, a->name, &v, c->err);
	if (rc == 0)
		rc = not_in_use(v, a->name, c->err);
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
	return run_ops(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_volume_delete(struct bs_store *s, const char *name, enum bs_delete_mode mode,
		     struct vs_error *err)
{
	struct change_args a = {.name = name, .mode = mode};

	return bs_store_call(s, true, do_delete, &a, err);
}

static int do_snapshot_delete(struct bs_engine *e, struct bs_call *c)
{
	struct change_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find(e, a->name, true, &v, c->err);
	if (rc == 0)
		rc = not_in_use(v, a->name, c->err);
	if (rc)
		return rc;
	op.rec.volume = v->ent.id;
	return run_ops(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_snapshot_delete(struct bs_store *s, const char *full, struct vs_error *err)
{
	struct change_args a = {.name = full};

	return bs_store_call(s, true, do_snapshot_delete, &a, err);
}

struct snapshot_args {
	const char *const *fulls;
	size_t n;
};

static int plan_snapshot(struct bs_engine *e, const char *full, uint64_t id, struct bs_volop *op,
			 struct vs_error *err)
{
	char name[BS_NAME_MAX], snap[BS_NAME_MAX];
	struct bs_volent *ent = &op->rec.vol;
	struct bs_vol *v;
	int rc = split_name(full, name, snap, true, err);

	if (rc == 0)
		rc = find_volume(e, name, &v, err);
	if (rc)
		return rc;
	if (bs_vol_by_name(e, name, snap))
		return vs_fail(err, VS_E_EXIST, "a snapshot named %s exists", full);
	*ent = v->ent;
	ent->kind = BS_VOL_SNAPSHOT;
	ent->id = id;
	ent->parent = v->ent.id;
	ent->origin = v->ent.uuid;
	ent->origin_set = 1;
	ent->created = e->env.unix_ns(e->env.arg);
	set_name(ent, snap);
	op->rec.type = BS_REC_VOL_SHARE;
	op->rec.other = v->ent.id;
	return vs_uuid_new(&ent->uuid) ? vs_fail(err, VS_E_IO, "cannot get random bytes") : 0;
}

static int do_snapshots(struct bs_engine *e, struct bs_call *c)
{
	struct snapshot_args *a = c->arg;
	uint32_t room = e->log.head_large - BS_UNIT_HEAD - 64;
	struct bs_volop *ops;
	int rc = writable(e, c->err);

	if (rc)
		return rc;
	if (a->n == 0 || a->n > BS_SNAPSHOT_GROUP_MAX || a->n * BS_REC_SHARE_SIZE > room)
		return vs_fail(c->err, VS_E_LIMIT,
			       "%zu snapshots at one instant: 1 to %u can be made", a->n,
			       VS_MIN(BS_SNAPSHOT_GROUP_MAX, room / BS_REC_SHARE_SIZE));
	ops = calloc(a->n, sizeof(*ops));
	if (!ops)
		return vs_fail(c->err, VS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < a->n && rc == 0; i++) {
		rc = plan_snapshot(e, a->fulls[i], e->vols.next_id + i, &ops[i], c->err);
		for (size_t k = 0; k < i && rc == 0; k++)
			if (strcmp(a->fulls[i], a->fulls[k]) == 0)
				rc = vs_fail(c->err, VS_E_EXIST, "%s is named twice", a->fulls[i]);
	}
	if (rc == 0)
		rc = run_ops(e, ops, a->n, BS_NEED_DELETE, c->err);
	free(ops);
	return rc;
}

int bs_snapshot_create(struct bs_store *s, const char *const *fulls, size_t n, struct vs_error *err)
{
	struct snapshot_args a = {fulls, n};

	return bs_store_call(s, true, do_snapshots, &a, err);
}

static int do_rollback(struct bs_engine *e, struct bs_call *c)
{
	struct change_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_ROLLBACK}};
	struct bs_vol *snap;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find(e, a->name, true, &snap, c->err);
	if (rc)
		return rc;
	if (snap->parent->ent.kind != BS_VOL_VOLUME)
		return vs_fail(c->err, VS_E_NOENT, "the volume of %s was deleted: clone it instead",
			       a->name);
	rc = not_in_use(snap->parent, snap->parent->ent.name, c->err);
	if (rc)
		return rc;
	op.rec.volume = snap->parent->ent.id;
	op.rec.other = snap->ent.id;
	return run_ops(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_snapshot_rollback(struct bs_store *s, const char *full, struct vs_error *err)
{
	struct change_args a = {.name = full};

	return bs_store_call(s, true, do_rollback, &a, err);
}

struct clone_args {
	const char *full, *to;
	struct bs_volume_info *out;
};

static int do_clone(struct bs_engine *e, struct bs_call *c)
{
	struct clone_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_SHARE}};
	struct bs_volent *ent = &op.rec.vol;
	struct bs_vol *snap;
	int rc = writable(e, c->err);

	if (rc == 0)
		rc = find(e, a->full, true, &snap, c->err);
	if (rc == 0)
		rc = name_free(e, a->to, c->err);
	if (rc)
		return rc;
	*ent = snap->ent;
	ent->kind = BS_VOL_VOLUME;
	ent->id = e->vols.next_id;
	ent->parent = 0;
	ent->origin = snap->ent.uuid;
	ent->origin_set = 1;
	ent->created = e->env.unix_ns(e->env.arg);
	set_name(ent, a->to);
	op.rec.other = snap->ent.id;
	if (vs_uuid_new(&ent->uuid))
		return vs_fail(c->err, VS_E_IO, "cannot get random bytes");
	rc = run_ops(e, &op, 1, BS_NEED_DELETE, c->err);
	if (rc == 0 && a->out)
		fill_info(e, bs_vol_by_id(e, ent->id), a->out);
	return rc;
}

int bs_volume_clone(struct bs_store *s, const char *full, const char *to,
		    struct bs_volume_info *out, struct vs_error *err)
{
	struct clone_args a = {full, to, out};

	return bs_store_call(s, true, do_clone, &a, err);
}

struct open_args {
	const char *full;
	struct bs_store *store;
	struct bs_volume *out;
};

static int do_open(struct bs_engine *e, struct bs_call *c)
{
	struct open_args *a = c->arg;
	struct bs_vol *v;
	int rc = find(e, a->full, false, &v, c->err);

	if (rc)
		return rc;
	if (!v->public_handle) {
		struct bs_volume *h = calloc(1, sizeof(*h));

		if (!h)
			return vs_fail(c->err, VS_E_NOMEM, "out of memory");
		h->engine = e;
		h->store = a->store;
		h->vol = v;
		h->uuid = v->ent.uuid;
		h->sector = v->ent.sector;
		h->read_only = v->ent.kind == BS_VOL_SNAPSHOT || e->read_only;
		atomic_init(&h->compression, v->ent.compression);
		v->public_handle = h;
	}
	v->handles++;
	a->out = v->public_handle;
	return 0;
}

int bs_volume_open(struct bs_store *s, const char *full, struct bs_volume **out,
		   struct vs_error *err)
{
	struct open_args a = {.full = full, .store = s};
	int rc = bs_store_call(s, true, do_open, &a, err);

	*out = a.out;
	return rc;
}

static int do_close(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume *h = c->arg;

	(void)e;
	VS_ASSERT(h->vol->handles);
	if (--h->vol->handles == 0) {
		h->vol->public_handle = NULL;
		free(h);
	}
	return 0;
}

void bs_volume_close(struct bs_volume *v)
{
	if (v && bs_store_call(v->store, true, do_close, v, NULL))
		vs_err("cannot close a volume");
}

uint64_t bs_volume_size(const struct bs_volume *v)
{
	return atomic_load(&v->vol->size);
}

uint32_t bs_volume_sector(const struct bs_volume *v)
{
	return v->sector;
}

bool bs_volume_read_only(const struct bs_volume *v)
{
	return v->read_only;
}

const struct vs_uuid *bs_volume_uuid(const struct bs_volume *v)
{
	return &v->uuid;
}

struct diff_args {
	struct bs_volume *a, *b;
	uint64_t *cursor;
	struct bs_diff_entry *out;
	size_t max, *n;
};

static int do_diff(struct bs_engine *e, struct bs_call *c)
{
	struct diff_args *a = c->arg;
	int rc =
	    bs_map_diff(e, a->a ? a->a->vol : NULL, a->b->vol, a->cursor, a->out, a->max, a->n);

	return rc ? vs_fail(c->err, rc, "cannot compare volumes: %s", vs_err_text(rc)) : 0;
}

int bs_volume_diff(struct bs_volume *a, struct bs_volume *b, uint64_t *cursor,
		   struct bs_diff_entry *out, size_t max, size_t *n, struct vs_error *err)
{
	struct diff_args args = {a, b, cursor, out, max, n};

	*n = 0;
	if (max == 0 || *cursor == UINT64_MAX)
		return 0;
	return bs_store_call(b->store, false, do_diff, &args, err);
}
