/* Volumes of objects that are the node's own (object.h). */
#include "blockstore/object.h"

#include "blockstore/feature.h"
#include "blockstore/map.h"
#include "blockstore/volume_int.h"

#include "common/text.h"

struct own_args {
	const char *name;
	struct bs_store *store;
	struct bs_volume *out;
	bool make, made;
};

static int look(struct bs_engine *e, const struct own_args *a, struct bs_vol **out,
		struct vs_error *err)
{
	if (a->name[0] != BS_OWN_MARK || !vs_name_ok(a->name + 1) || strlen(a->name) >= BS_NAME_MAX)
		return vs_fail(err, VS_E_INVAL, "%s is no name of a volume of the node's own",
			       a->name);
	*out = bs_vol_by_name(e, a->name, "");
	return 0;
}

static int make(struct bs_engine *e, struct own_args *a, struct bs_vol **out, struct vs_error *err)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT}};
	int rc = bs_volume_writable(e, err);

	if (rc)
		return rc;
	rc = bs_feature_use(e, BS_INCOMPAT_PRIVATE);
	if (rc)
		return vs_fail(err, rc, "%s", rc == VS_E_FAILED ? e->why : vs_err_text(rc));
	rc = bs_objects_entry(e, a->name, &op.rec.vol, err);
	op.rec.vol.flags |= BS_VOL_NO_DEDUP;
	if (rc == 0)
		rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, err);
	if (rc == 0) {
		*out = bs_vol_by_id(e, op.rec.vol.id);
		a->made = true;
	}
	return rc;
}

static int do_open(struct bs_engine *e, struct bs_call *c)
{
	struct own_args *a = c->arg;
	struct bs_vol *v = NULL;
	int rc = look(e, a, &v, c->err);

	if (rc == 0 && !v)
		rc = a->make ? make(e, a, &v, c->err)
			     : vs_fail(c->err, VS_E_NOENT, "the store has no %s", a->name);
	return rc ? rc : bs_volume_handle(e, v, a->store, &a->out, c->err);
}

int bs_own_open(struct bs_store *s, const char *name, bool *made, struct bs_volume **out,
		struct vs_error *err)
{
	struct own_args a = {.name = name, .store = s, .make = made};
	int rc = bs_store_call(s, true, do_open, &a, err);

	*out = a.out;
	if (made)
		*made = a.made;
	return rc;
}

struct info_args {
	const char *name;
	struct bs_volume_info *out;
};

static int do_info(struct bs_engine *e, struct bs_call *c)
{
	struct info_args *a = c->arg;
	const struct own_args own = {.name = a->name};
	struct bs_vol *v = NULL;
	int rc = look(e, &own, &v, c->err);

	if (rc == 0 && !v)
		rc = vs_fail(c->err, VS_E_NOENT, "the store has no %s", a->name);
	if (rc == 0)
		bs_volume_fill_info(e, v, a->out);
	return rc;
}

int bs_own_info(struct bs_store *s, const char *name, struct bs_volume_info *out,
		struct vs_error *err)
{
	struct info_args a = {name, out};

	return bs_store_call(s, true, do_info, &a, err);
}

static int do_delete(struct bs_engine *e, struct bs_call *c)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE}};
	struct bs_vol *v = NULL;
	int rc = look(e, c->arg, &v, c->err);

	if (rc == 0 && !v)
		return vs_fail(c->err, VS_E_NOENT, "the store has no such volume");
	if (rc == 0)
		rc = bs_volume_not_in_use(v, "a volume of the node's own", c->err);
	if (rc)
		return rc;
	op.rec.volume = v->ent.id;
	return bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
}

int bs_own_delete(struct bs_store *s, const char *name, struct vs_error *err)
{
	struct own_args a = {.name = name};

	return bs_store_call(s, true, do_delete, &a, err);
}
