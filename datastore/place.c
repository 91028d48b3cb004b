#include "datastore/change.h"
#include "datastore/name.h"
#include "datastore/permit.h"

int ds_change_why(struct ds_change *c, enum ds_status why)
{
	c->req->why = why;
	return VS_E_INVAL;
}

static void attr_now(const struct ds_change *c, unsigned at, struct ds_handle h,
		     struct ds_attr *out)
{
	ds_record_attr(c->txn->view[at], c->txn->change[at].mapped, h, out);
}

int ds_place_find(struct ds_change *c, struct ds_handle dir, const char *name, size_t len,
		  struct ds_attr *before, struct ds_place *p)
{
	int rc = ds_name_check(name, len, &c->req->why), found;

	*p = (struct ds_place){.dir = dir, .name = name, .len = len};
	if (rc == 0 && ds_is_snaps_dir(dir))
		return VS_E_ROFS;
	if (rc == 0 && ds_is_snaps_name(dir, name, len))
		return c->req->op == DS_CREATE ? VS_E_EXIST : VS_E_ROFS;
	if (rc)
		return rc;
	/* whether the caller may know it is seen when both records are there */
	found = ds_db_find(&c->n->db, dir.object, name, len, &p->found);
	rc = ds_txn_ahead(c->txn, dir.object, found == 0 ? p->found.object : 0);
	if (rc == 0)
		rc = ds_txn_file(c->txn, dir, &p->at);
	if (rc)
		return rc;
	p->perm = ds_record_perm(c->txn->view[p->at]);
	attr_now(c, p->at, dir, before);
	if (p->perm.type != DS_DIR)
		return ds_change_why(c, DS_NOT_DIR);
	if (!ds_may(c->req->cred, &p->perm, DS_X))
		return VS_E_ACCESS;
	p->there = found == 0;
	return found == VS_E_NOENT ? 0 : found;
}

int ds_place_file(struct ds_change *c, struct ds_place *p)
{
	struct ds_handle h = {p->found.object, p->found.generation, 0};
	int rc = p->there ? ds_txn_file(c->txn, h, &p->file) : VS_E_NOENT;

	if (rc == 0)
		p->file_perm = ds_record_perm(c->txn->view[p->file]);
	return rc == VS_E_STALE ? VS_E_CORRUPT : rc; /* a name without its file */
}

int ds_place_may_add(struct ds_change *c, const struct ds_place *p)
{
	if (!ds_may(c->req->cred, &p->perm, DS_W | DS_X))
		return VS_E_ACCESS;
	return p->found.cookie ? 0 : VS_E_LIMIT;
}

int ds_place_may_remove(struct ds_change *c, const struct ds_place *p)
{
	return ds_may_unname(c->req->cred, &p->perm, &p->file_perm) ? 0 : VS_E_ACCESS;
}

void ds_place_count(struct ds_change *c, const struct ds_place *p, int entries, int dirs)
{
	if (entries)
		ds_txn_add(c->txn, p->at, DS_W_SIZE, entries);
	if (dirs)
		ds_txn_add(c->txn, p->at, DS_W_LINKS, dirs);
	ds_txn_set(c->txn, p->at, DS_W_MTIME, (uint64_t)c->now);
	ds_txn_touch(c->txn, p->at, c->now);
	c->changed = true;
}

void ds_place_after(struct ds_change *c, const struct ds_place *p, struct ds_attr *after)
{
	attr_now(c, p->at, p->dir, after);
}

static int forget(struct ds_change *c, const struct ds_place *p)
{
	int rc = 0;

	if (p->found.type == DS_LNK)
		rc = ds_db_object(&c->n->db, DS_ST_TARGET_REMOVE, p->found.object);
	ds_txn_clear(c->txn, p->file);
	c->t->freed = p->found.object;
	return rc;
}

/*
 * A file without blocks that nobody uses can go with its name. What was written to it since its
 * record was looked at has changed that, and then the commit is refused.
 */
static bool goes_at_once(struct ds_change *c, const struct ds_place *p)
{
	struct bs_object_change *change = &c->txn->change[p->file];

	if (c->careful || change->mapped)
		return false;
	c->t->seized = ds_node_seize(&c->n->d->nodes, p->found.object);
	if (c->t->seized && change->check == BS_NO_WORD) {
		change->check = DS_W_CHANGE;
		change->is = change->now[DS_W_CHANGE];
	}
	return c->t->seized;
}

/* Bytes go later (names_apart.c), and who holds the file has it until then. */
int ds_change_unname(struct ds_change *c, const struct ds_place *p)
{
	uint64_t *word = c->txn->view[p->file];

	if (p->found.type != DS_DIR && word[DS_W_LINKS] > 1) {
		ds_txn_add(c->txn, p->file, DS_W_LINKS, -1);
		ds_txn_touch(c->txn, p->file, c->now);
		return 0;
	}
	ds_txn_add(c->txn, 0, DS_B_FILES, -1);
	if (p->found.type != DS_REG || goes_at_once(c, p))
		return forget(c, p);
	ds_txn_set(c->txn, p->file, DS_W_LINKS, 0);
	ds_txn_touch(c->txn, p->file, c->now);
	c->t->orphan = p->found.object;
	return ds_db_object(&c->n->db, DS_ST_ORPHAN_ADD, p->found.object);
}
