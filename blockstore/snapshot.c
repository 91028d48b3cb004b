#include "blockstore/volume_int.h"

#include <stdlib.h>

static int do_snapshot_delete(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volume_change *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look(e, a->name, true, &v, c->err);
	if (rc == 0)
		rc = bs_volume_not_in_use(v, a->name, c->err);
	if (rc)
		return rc;
	op.rec.volume = v->ent.id;
	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_snapshot_delete(struct bs_store *s, const char *full, struct vs_error *err)
{
	struct bs_volume_change a = {.name = full};

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
	int rc = bs_volume_split_name(full, name, snap, true, err);

	if (rc == 0)
		rc = bs_volume_look_volume(e, name, &v, err);
	if (rc)
		return rc;
	if (bs_vol_by_name(e, name, snap))
		return vs_fail(err, VS_E_EXIST, "a snapshot named %s exists", full);
	*ent = v->ent;
	ent->kind = BS_VOL_SNAPSHOT;
	ent->id = id;
	ent->parent = v->ent.id;
	ent->flags &= ~BS_VOL_THICK;
	ent->origin = v->ent.uuid;
	ent->origin_set = 1;
	ent->created = e->env.unix_ns(e->env.arg);
	bs_volume_set_name(ent, snap);
	op->rec.type = BS_REC_VOL_SHARE;
	op->rec.other = v->ent.id;
	return vs_uuid_new(&ent->uuid) ? vs_fail(err, VS_E_IO, "cannot get random bytes") : 0;
}

/* Thick volumes must stay able to rewrite what the snapshots keep. */
static int keep_room(struct bs_engine *e, const struct bs_volop *ops, const struct snapshot_args *a,
		     struct vs_error *err)
{
	struct bs_vol *thick[BS_SNAPSHOT_GROUP_MAX];
	const char *first = NULL;
	uint64_t lacking;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < a->n; i++) {
		struct bs_vol *v = bs_vol_by_id(e, ops[i].rec.other);

		if (!(v->ent.flags & BS_VOL_THICK))
			continue;
		first = first ? first : a->fulls[i];
		thick[n++] = v;
	}
	rc = bs_thick_share(e, thick, n, &lacking);
	return rc ? bs_volume_no_room(rc, "the volume is thick and would have to be stored twice:",
				      first, lacking, err)
		  : 0;
}

static int do_snapshots(struct bs_engine *e, struct bs_call *c)
{
	struct snapshot_args *a = c->arg;
	uint32_t room = e->log.head_large - BS_UNIT_HEAD - 64;
	struct bs_volop *ops;
	int rc = bs_volume_writable(e, c->err);

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
		rc = keep_room(e, ops, a, c->err);
	if (rc == 0)
		rc = bs_volume_run(e, ops, a->n, BS_NEED_DELETE, c->err);
	bs_thick_settle(e);
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
	struct bs_volume_change *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_ROLLBACK}};
	struct bs_vol *snap;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look(e, a->name, true, &snap, c->err);
	if (rc)
		return rc;
	if (snap->parent->ent.kind != BS_VOL_VOLUME)
		return vs_fail(c->err, VS_E_NOENT, "the volume of %s was deleted: clone it instead",
			       a->name);
	rc = bs_volume_not_in_use(snap->parent, snap->parent->ent.name, c->err);
	if (rc)
		return rc;
	if ((snap->parent->ent.flags & BS_VOL_THICK) && snap->ent.size > snap->parent->ent.size)
		rc = bs_volume_reserve(e, snap->parent->ent.name,
				       bs_thick_bytes(snap->ent.size) -
					   bs_thick_bytes(snap->parent->ent.size),
				       c->err);
	if (rc)
		return rc;
	op.rec.volume = snap->parent->ent.id;
	op.rec.other = snap->ent.id;
	rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	bs_thick_settle(e);
	return rc;
}

int bs_snapshot_rollback(struct bs_store *s, const char *full, struct vs_error *err)
{
	struct bs_volume_change a = {.name = full};

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
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_look(e, a->full, true, &snap, c->err);
	if (rc == 0)
		rc = bs_volume_name_free(e, a->to, c->err);
	if (rc)
		return rc;
	*ent = snap->ent;
	ent->kind = BS_VOL_VOLUME;
	ent->flags &= ~BS_VOL_THICK;
	ent->id = e->vols.next_id;
	ent->parent = 0;
	ent->origin = snap->ent.uuid;
	ent->origin_set = 1;
	ent->created = e->env.unix_ns(e->env.arg);
	bs_volume_set_name(ent, a->to);
	op.rec.other = snap->ent.id;
	if (vs_uuid_new(&ent->uuid))
		return vs_fail(c->err, VS_E_IO, "cannot get random bytes");
	rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	if (rc == 0 && a->out)
		bs_volume_fill_info(e, bs_vol_by_id(e, ent->id), a->out);
	return rc;
}

int bs_volume_clone(struct bs_store *s, const char *full, const char *to,
		    struct bs_volume_info *out, struct vs_error *err)
{
	struct clone_args a = {full, to, out};

	return bs_store_call(s, true, do_clone, &a, err);
}
