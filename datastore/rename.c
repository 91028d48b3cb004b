/* RENAME: rename(2), across directories too. */
#include "datastore/change.h"
#include "datastore/permit.h"

#include <string.h>

#define DEPTH_MAX 4096u

static int parent_of(struct ds_change *c, uint32_t object, uint32_t *out)
{
	struct bs_object_change look = {.object = object, .check = BS_NO_WORD, .end = BS_NO_WORD};
	struct bs_req req = {
	    .op = BS_RECORDS, .volume = c->n->vfs.volume, .changes = &look, .nchanges = 1};
	int rc;

	for (unsigned i = 1; i < c->txn->n; i++) {
		if (c->txn->change[i].object == object) {
			*out = (uint32_t)c->txn->view[i][DS_W_PARENT];
			return 0;
		}
	}
	rc = bs_io_wait(c->n->port, &req);
	*out = (uint32_t)look.now[DS_W_PARENT];
	return rc;
}

/* A directory does not go into itself or below. */
static int not_below(struct ds_change *c, uint32_t dir, uint32_t moved)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && dir != DS_ROOT_OBJECT; i++) {
		if (dir == moved)
			return VS_E_INVAL;
		if (!dir || i == DEPTH_MAX)
			return VS_E_CORRUPT;
		rc = parent_of(c, dir, &dir);
	}
	return rc;
}

static int may_replace(struct ds_change *c, const struct ds_place *from, struct ds_place *to)
{
	bool dir = from->found.type == DS_DIR;
	int rc = ds_place_file(c, to);

	if (rc == 0)
		rc = ds_place_may_remove(c, to);
	if (rc)
		return rc;
	if (dir && to->found.type != DS_DIR)
		return ds_change_why(c, DS_NOT_DIR);
	if (!dir && to->found.type == DS_DIR)
		return ds_change_why(c, DS_IS_DIR);
	if (to->found.type == DS_DIR && c->txn->view[to->file][DS_W_SIZE])
		return ds_change_why(c, DS_NOT_EMPTY);
	return 0;
}

static int may_move(struct ds_change *c, struct ds_place *from, struct ds_place *to)
{
	bool dir = from->found.type == DS_DIR, across = from->dir.object != to->dir.object;
	int rc = ds_place_may_remove(c, from);

	if (rc == 0 && dir && across) { /* its ".." changes */
		rc = ds_may(c->req->cred, &from->file_perm, DS_W) ? 0 : VS_E_ACCESS;
		if (rc == 0)
			rc = not_below(c, to->dir.object, from->found.object);
	}
	if (rc == 0)
		rc = to->there ? may_replace(c, from, to) : ds_place_may_add(c, to);
	return rc;
}

static int move(struct ds_change *c, struct ds_place *from, struct ds_place *to)
{
	struct ds_db *db = &c->n->db;
	struct ds_name moved = from->found;
	int dir = from->found.type == DS_DIR, rc;

	rc = ds_db_remove(db, from->dir.object, from->found.cookie);
	ds_place_count(c, from, -1, -dir);
	moved.cookie = to->found.cookie;
	if (rc == 0 && to->there)
		rc = ds_change_unname(c, to);
	if (rc == 0 && to->there)
		rc = ds_db_replace(db, to->dir.object, &moved);
	else if (rc == 0)
		rc = ds_db_add(db, to->dir.object, to->name, to->len, &moved);
	/* one that replaces a directory has that one's ".." */
	ds_place_count(c, to, to->there ? 0 : 1, to->there ? 0 : dir);
	if (dir)
		ds_txn_set(c->txn, from->file, DS_W_PARENT,
			   ds_word_pair(to->dir.object, to->dir.generation));
	ds_txn_touch(c->txn, from->file, c->now);
	return rc;
}

int ds_change_rename(struct ds_change *c)
{
	struct ds_req *req = c->req;
	struct ds_place from, to;
	int rc = ds_place_find(c, req->file, req->name, req->name_len, &req->before, &from);

	if (rc == 0)
		rc = ds_place_find(c, req->other, req->other_name, req->other_name_len,
				   &req->before_other, &to);
	if (rc == 0)
		rc = ds_place_file(c, &from);
	if (rc)
		return rc;
	if (to.there && to.found.object == from.found.object) {
		ds_place_after(c, &from, &req->after); /* both are the file already: nothing */
		ds_place_after(c, &to, &req->after_other);
		return 0;
	}
	rc = may_move(c, &from, &to);
	if (rc == 0)
		rc = move(c, &from, &to);
	ds_place_after(c, &from, &req->after);
	ds_place_after(c, &to, &req->after_other);
	return rc;
}
