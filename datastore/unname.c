/* Names that go: REMOVE, RMDIR. */
#include "datastore/change.h"

static int remove_name(struct ds_change *c, bool dir)
{
	struct ds_req *req = c->req;
	struct ds_place p;
	int rc = ds_place_find(c, req->file, req->name, req->name_len, &req->before, &p);

	if (rc == 0)
		rc = ds_place_file(c, &p);
	if (rc == 0)
		rc = ds_place_may_remove(c, &p);
	if (rc)
		return rc;
	if (dir && p.found.type != DS_DIR)
		return ds_change_why(c, DS_NOT_DIR);
	if (!dir && p.found.type == DS_DIR)
		return ds_change_why(c, DS_IS_DIR);
	if (dir && c->txn->view[p.file][DS_W_SIZE])
		return ds_change_why(c, DS_NOT_EMPTY);
	ds_place_count(c, &p, -1, dir ? -1 : 0);
	rc = ds_db_remove(&c->n->db, p.dir.object, p.found.cookie);
	if (rc == 0)
		rc = ds_change_unname(c, &p);
	ds_place_after(c, &p, &req->after);
	return rc;
}

int ds_change_remove(struct ds_change *c)
{
	return remove_name(c, false);
}

int ds_change_rmdir(struct ds_change *c)
{
	return remove_name(c, true);
}
