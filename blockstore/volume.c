#include "blockstore/feature.h"
#include "blockstore/volume_int.h"

#include "blockstore/map.h"
#include "blockstore/port.h"
#include "blockstore/temporary.h"
#include "common/log.h"
#include "common/text.h"

#include <stdlib.h>

int bs_volume_split_name(const char *full, char name[BS_NAME_MAX], char snap[BS_NAME_MAX],
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

int bs_volume_look(struct bs_engine *e, const char *full, bool want_snap, struct bs_vol **out,
		   struct vs_error *err)
{
	char name[BS_NAME_MAX], snap[BS_NAME_MAX];
	int rc = bs_volume_split_name(full, name, snap, want_snap, err);

	if (rc)
		return rc;
	*out = bs_vol_by_name(e, name, snap);
	if (!*out || (*out)->ent.kind == BS_VOL_GONE)
		return vs_fail(err, VS_E_NOENT, "no %s named %s", snap[0] ? "snapshot" : "volume",
			       full);
	return 0;
}

int bs_volume_look_volume(struct bs_engine *e, const char *name, struct bs_vol **out,
			  struct vs_error *err)
{
	int rc = bs_volume_look(e, name, false, out, err);

	if (rc == 0 && (*out)->ent.kind != BS_VOL_VOLUME)
		return vs_fail(err, VS_E_INVAL, "%s is a snapshot: name a volume", name);
	return rc;
}

int bs_volume_name_free(struct bs_engine *e, const char *name, struct vs_error *err)
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

int bs_volume_writable(const struct bs_engine *e, struct vs_error *err)
{
	if (e->failed)
		return vs_fail(err, VS_E_FAILED, "the store has failed: %s; restart the node",
			       e->why);
	if (e->read_only)
		return vs_fail(err, VS_E_ROFS, "the store is read-only: %s", e->why);
	return 0;
}

int bs_volume_size_ok(uint64_t size, struct vs_error *err)
{
	if (size == 0 || size % BS_BLOCK || size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL,
			       "size %llu is not a multiple of 4096 from 4096 to %llu",
			       (unsigned long long)size, (unsigned long long)BS_VOLUME_MAX_SIZE);
	return 0;
}

/* Runs the changes, makes them durable, and gives a plain message for what can fail on the way. */
int bs_volume_run(struct bs_engine *e, struct bs_volop *ops, size_t n, enum bs_need need,
		  struct vs_error *err)
{
	int rc = bs_volops_run(e, ops, n, need);

	if (rc == 0)
		rc = bs_log_commit(e);
	return rc ? vs_fail(err, rc, "%s", rc == VS_E_FAILED ? e->why : vs_err_text(rc)) : 0;
}

/* An origin's id is the one before that of the volume made with it; ids are never reused. */
static bool made_with_origin(const struct bs_volent *ent)
{
	return ent->origin_id && ent->id == ent->origin_id + UINT64_C(1);
}

void bs_volume_fill_info(struct bs_engine *e, const struct bs_vol *v, struct bs_volume_info *out)
{
	const struct bs_volent *ent = &v->ent;
	uint64_t count;
	int rc;

	*out = (struct bs_volume_info){
	    .uuid = ent->uuid,
	    .id = ent->id,
	    .snapshot = ent->kind == BS_VOL_SNAPSHOT,
	    .kept = v->parent && v->parent->ent.kind == BS_VOL_GONE,
	    .origin = ent->origin,
	    .has_origin =
		ent->origin_set && (!made_with_origin(ent) || bs_vol_origin(e, ent->origin_id)),
	    .fetching = bs_vol_origin(e, ent->origin_id) != NULL,
	    .size = ent->size,
	    .sector = ent->sector,
	    .compression = ent->compression,
	    .dedup = !(ent->flags & (BS_VOL_NO_DEDUP | BS_VOL_THICK)),
	    .thick = ent->flags & BS_VOL_THICK,
	    .objects = ent->flags & BS_VOL_OBJECTS,
	    .created_ns = ent->created,
	    .snapshots = v->snapshots,
	    .open_handles = v->handles};
	if (out->thick)
		out->reserved_bytes = bs_thick_bytes(ent->size);
	memcpy(out->name, v->parent ? v->parent->ent.name : ent->name, BS_NAME_MAX);
	if (v->parent)
		memcpy(out->snap, ent->name, BS_NAME_MAX);
	count = bs_map_count(e, v, &rc); /* may block: v is not used behind it */
	out->logical_bytes = rc ? 0 : count * BS_BLOCK;
}

void bs_volume_set_name(struct bs_volent *ent, const char *name)
{
	memset(ent->name, 0, sizeof(ent->name));
	memcpy(ent->name, name, strnlen(name, BS_NAME_MAX - 1));
}

int bs_volume_not_in_use(const struct bs_vol *v, const char *name, struct vs_error *err)
{
	return v->handles
		   ? vs_fail(err, VS_E_BUSY,
			     "%s is in use: stop its virtual machine, sessions and exports", name)
		   : 0;
}

int bs_volume_no_room(int rc, const char *what, const char *name, uint64_t lacking,
		      struct vs_error *err)
{
	char size[16];

	if (rc != VS_E_NOSPC)
		return vs_fail(err, rc, "%s %s: %s", what, name, vs_err_text(rc));
	(void)vs_format_size(lacking, size, sizeof(size));
	return vs_fail(err, rc,
		       "%s %s: %s of room are lacking; delete snapshots or volumes, or grow the "
		       "store",
		       what, name, size);
}

int bs_volume_reserve(struct bs_engine *e, const char *name, uint64_t bytes, struct vs_error *err)
{
	uint64_t lacking;
	int rc = bs_thick_reserve(e, bytes, &lacking);

	return rc ? bs_volume_no_room(rc, "cannot reserve space for", name, lacking, err) : 0;
}

struct create_args {
	const struct bs_volume_spec *spec;
	struct bs_volume_info *out;
};

static int may_have_origin(struct bs_engine *e, const struct bs_volume_spec *s,
			   struct vs_error *err)
{
	int rc;

	if (s->thick)
		return vs_fail(err, VS_E_INVAL,
			       "%s cannot be thick before all of it is here: make it so then",
			       s->name);
	if (e->vols.next_id >= UINT32_MAX)
		return vs_fail(err, VS_E_LIMIT, "too many volumes were ever made");
	rc = bs_feature_use(e, BS_INCOMPAT_ORIGIN | BS_INCOMPAT_ALIAS);
	return rc ? vs_fail(err, rc, "%s", rc == VS_E_FAILED ? e->why : vs_err_text(rc)) : 0;
}

static int do_create(struct bs_engine *e, struct bs_call *c)
{
	struct create_args *a = c->arg;
	const struct bs_volume_spec *s = a->spec;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT}};
	struct bs_volent *ent = &op.rec.vol;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_name_free(e, s->name, c->err);
	if (rc == 0)
		rc = bs_volume_size_ok(s->size, c->err);
	if (rc == 0 && s->sector != 0 && s->sector != 512 && s->sector != 4096)
		rc = vs_fail(c->err, VS_E_INVAL, "sector size must be 512 or 4096");
	if (rc == 0 && (s->compression < -1 || s->compression > BS_CODING_ZSTD))
		rc = vs_fail(c->err, VS_E_INVAL, "compression must be none, lz4 or zstd");
	if (rc == 0 && s->origin)
		rc = may_have_origin(e, s, c->err);
	if (rc == 0 && (s->no_dedup || s->thick))
		rc = bs_feature_use(e, BS_INCOMPAT_PRIVATE);
	if (rc == 0 && s->thick)
		rc = bs_volume_reserve(e, s->name, bs_thick_bytes(s->size), c->err);
	if (rc)
		return rc;
	*ent = (struct bs_volent){
	    .kind = BS_VOL_VOLUME,
	    .height = bs_map_height(s->size / BS_BLOCK),
	    .compression = s->compression < 0 ? e->sb.compression : (uint8_t)s->compression,
	    .sector = s->sector ? s->sector : 512,
	    .flags = (s->no_dedup ? BS_VOL_NO_DEDUP : 0) | (s->thick ? BS_VOL_THICK : 0),
	    .id = e->vols.next_id,
	    .size = s->size,
	    .created = e->env.unix_ns(e->env.arg)};
	bs_volume_set_name(ent, s->name);
	if (s->origin) {
		op.rec.type = BS_REC_ORIGIN;
		op.rec.other = ent->id++;
		ent->origin = *s->origin;
		ent->origin_set = 1;
	}
	rc = vs_uuid_new(&ent->uuid) ? vs_fail(c->err, VS_E_IO, "cannot get random bytes")
				     : bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	bs_thick_settle(e);
	if (rc == 0 && a->out)
		bs_volume_fill_info(e, bs_vol_by_id(e, ent->id), a->out);
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
		if (!v || bs_vol_hidden(&v->ent))
			rc = vs_fail(c->err, VS_E_NOENT, "no volume with this UUID");
	} else {
		rc = bs_volume_look(e, a->full, false, &v, c->err);
	}
	if (rc == 0)
		bs_volume_fill_info(e, v, a->out ? a->out : &info);
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
		if (bs_vol_hidden(&v->ent))
			continue;
		bs_volume_fill_info(e, v, &a->out[a->n++]);
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

struct open_args {
	const char *full;
	bool objects;
	struct bs_store *store;
	struct bs_volume *out;
};

int bs_volume_handle(struct bs_engine *e, struct bs_vol *v, struct bs_store *s,
		     struct bs_volume **out, struct vs_error *err)
{
	if (!v->public_handle) {
		struct bs_volume *h = calloc(1, sizeof(*h));

		if (!h)
			return vs_fail(err, VS_E_NOMEM, "out of memory");
		h->engine = e;
		h->store = s;
		h->vol = v;
		h->uuid = v->ent.uuid;
		h->sector = v->ent.sector;
		h->objects = v->ent.flags & BS_VOL_OBJECTS;
		h->read_only = v->ent.kind == BS_VOL_SNAPSHOT || e->read_only;
		atomic_init(&h->compression, v->ent.compression);
		v->public_handle = h;
	}
	v->handles++;
	*out = v->public_handle;
	return 0;
}

static int do_open(struct bs_engine *e, struct bs_call *c)
{
	struct open_args *a = c->arg;
	struct bs_vol *v;
	int rc = bs_volume_look(e, a->full, false, &v, c->err);

	if (rc == 0 && a->objects != ((v->ent.flags & BS_VOL_OBJECTS) != 0))
		rc = vs_fail(c->err, VS_E_NOTSUP,
			     a->objects ? "%s is a volume, not a datastore"
					: "%s is a datastore, not a volume",
			     a->full);
	return rc ? rc : bs_volume_handle(e, v, a->store, &a->out, c->err);
}

int bs_volume_open_as(struct bs_store *s, const char *full, bool objects, struct bs_volume **out,
		      struct vs_error *err)
{
	struct open_args a = {.full = full, .objects = objects, .store = s};
	int rc = bs_store_call(s, true, do_open, &a, err);

	*out = a.out;
	return rc;
}

int bs_volume_open(struct bs_store *s, const char *full, struct bs_volume **out,
		   struct vs_error *err)
{
	return bs_volume_open_as(s, full, false, out, err);
}

static int do_close(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume *h = c->arg;
	struct bs_vol *v = h->vol;

	VS_ASSERT(v->handles);
	if (--v->handles)
		return 0;
	v->public_handle = NULL;
	atomic_store(&v->limit, 0);
	free(h);
	if (v->ent.flags & BS_VOL_TEMPORARY && !e->read_only && !e->failed)
		return bs_temporary_delete(e, v);
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

	if (a->b->objects || (a->a && a->a->objects))
		return vs_fail(c->err, VS_E_NOTSUP, "a datastore cannot be compared as a volume");
	int rc =
	    bs_map_diff(e, a->a ? a->a->vol : NULL, a->b->vol, a->cursor, a->out, a->max, a->n);

	if (rc == VS_E_BUSY)
		return vs_fail(c->err, rc,
			       "cannot compare volumes: blocks are still being fetched from where "
			       "they come from; wait until that is done");
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
