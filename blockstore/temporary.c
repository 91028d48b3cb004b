/* Volumes that nobody sees and that go with their handle, or at the next opening. */
#include "blockstore/temporary.h"

#include "blockstore/volume_int.h"

#include <stdio.h>

struct temporary_args {
	struct bs_store *store;
	uint64_t size;
	struct bs_volume *out;
};

static int do_create(struct bs_engine *e, struct bs_call *c)
{
	struct temporary_args *a = c->arg;
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_PUT}};
	struct bs_volent *ent = &op.rec.vol;
	int rc = bs_volume_writable(e, c->err);

	if (rc == 0)
		rc = bs_volume_size_ok(a->size, c->err);
	if (rc)
		return rc;
	*ent = (struct bs_volent){.kind = BS_VOL_VOLUME,
				  .height = bs_map_height(a->size / BS_BLOCK),
				  .compression = e->sb.compression,
				  .sector = 512,
				  .flags = BS_VOL_TEMPORARY,
				  .id = e->vols.next_id,
				  .size = a->size,
				  .created = e->env.unix_ns(e->env.arg)};
	/* no name that anybody could give */
	(void)snprintf(ent->name, sizeof(ent->name), ".temporary-%llu",
		       (unsigned long long)ent->id);
	if (vs_uuid_new(&ent->uuid))
		return vs_fail(c->err, VS_E_IO, "cannot get random bytes");
	rc = bs_volume_run(e, &op, 1, BS_NEED_DELETE, c->err);
	return rc ? rc : bs_volume_handle(e, bs_vol_by_id(e, ent->id), a->store, &a->out, c->err);
}

int bs_volume_temporary(struct bs_store *s, uint64_t size, struct bs_volume **out,
			struct vs_error *err)
{
	struct temporary_args a = {.store = s, .size = size};
	int rc = bs_store_call(s, true, do_create, &a, err);

	*out = a.out;
	return rc;
}

int bs_temporary_delete(struct bs_engine *e, const struct bs_vol *v)
{
	struct bs_volop op = {.rec = {.type = BS_REC_VOL_DELETE, .volume = v->ent.id}};

	return bs_volops_run(e, &op, 1, BS_NEED_DELETE);
}

int bs_temporary_purge(struct bs_engine *e)
{
	uint64_t id = 0;
	int rc = 0;

	for (struct bs_vol *v; rc == 0 && (v = bs_vol_next(e, id));) {
		id = v->ent.id;
		if (v->ent.flags & BS_VOL_TEMPORARY)
			rc = bs_temporary_delete(e, v);
	}
	return rc;
}
