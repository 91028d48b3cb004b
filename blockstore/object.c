#include "blockstore/object.h"

#include "blockstore/feature.h"
#include "blockstore/map.h"
#include "blockstore/port.h"
#include "blockstore/volume_int.h"

struct create_args {
	const char *name;
	struct bs_volume_info *out;
};

int bs_objects_entry(struct bs_engine *e, const char *name, struct bs_volent *ent,
		     struct vs_error *err)
{
	int rc = bs_feature_use(e, BS_INCOMPAT_OBJECTS);

	if (rc)
		return vs_fail(err, rc, "%s", rc == VS_E_FAILED ? e->why : vs_err_text(rc));
	*ent = (struct bs_volent){.kind = BS_VOL_VOLUME,
				  .height = BS_OBJECTS_HEIGHT,
				  .compression = e->sb.compression,
				  .sector = 512,
				  .flags = BS_VOL_OBJECTS,
				  .id = e->vols.next_id,
				  .created = e->env.unix_ns(e->env.arg)};
	bs_volume_set_name(ent, name);
	return vs_uuid_new(&ent->uuid) ? vs_fail(err, VS_E_IO, "cannot get random bytes") : 0;
}

static int do_create(struct bs_engine *e, struct bs_call *c)
{
	struct create_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT}};
	struct bs_volent *ent = &op.rec.vol;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_name_free(e, a->name, c->err);
	if (rc)
		return rc;
	rc = bs_objects_entry(e, a->name, ent, c->err);
	if (rc == 0)
		rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	if (rc == 0 && a->out)
		bs_volume_fill_info(e, bs_vol_by_id(e, ent->id), a->out);
	return rc;
}

int bs_objects_create(struct bs_store *s, const char *name, struct bs_volume_info *out,
		      struct vs_error *err)
{
	struct create_args a = {name, out};

	return bs_store_call(s, true, do_create, &a, err);
}

int bs_objects_open(struct bs_store *s, const char *full, struct bs_volume **out,
		    struct vs_error *err)
{
	return bs_volume_open_as(s, full, true, out, err);
}

void bs_objects_limit(struct bs_volume *v, uint64_t blocks)
{
	atomic_store(&v->vol->limit, blocks);
}

struct mapped_args {
	const struct bs_volume *v;
	uint64_t blocks;
};

static int do_mapped(struct bs_engine *e, struct bs_call *c)
{
	struct mapped_args *a = c->arg;
	int rc;

	a->blocks = bs_map_count(e, a->v->vol, &rc);
	return rc;
}

int bs_objects_mapped(struct bs_volume *v, uint64_t *blocks, struct vs_error *err)
{
	struct mapped_args a = {.v = v};
	int rc = bs_store_call(v->store, false, do_mapped, &a, err);

	*blocks = a.blocks;
	return rc;
}
