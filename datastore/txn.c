#include "datastore/txn.h"

#include <string.h>

int ds_txn_begin(struct ds_txn *t, struct ds_db *db)
{
	t->db = db;
	t->n = 1;
	t->flags = 0;
	t->change[0] =
	    (struct bs_object_change){.object = DS_BASE, .check = BS_NO_WORD, .end = BS_NO_WORD};
	memcpy(t->view[0], db->vfs->base, sizeof(t->view[0]));
	return ds_db_begin(db);
}

static int look(struct ds_txn *t, unsigned at)
{
	struct bs_req req = {.op = BS_RECORDS,
			     .volume = t->db->vfs->volume,
			     .changes = &t->change[at],
			     .nchanges = 1};
	int rc = bs_io_wait(t->db->vfs->port, &req);

	memcpy(t->view[at], t->change[at].now, sizeof(t->view[at]));
	return rc;
}

int ds_txn_get(struct ds_txn *t, uint32_t object, unsigned *at)
{
	int rc;

	for (*at = 0; *at < t->n; ++*at)
		if (t->change[*at].object == object)
			return 0;
	if (t->n == BS_CHANGES_MAX)
		return VS_E_LIMIT;
	t->change[*at] =
	    (struct bs_object_change){.object = object, .check = BS_NO_WORD, .end = BS_NO_WORD};
	rc = look(t, *at);
	t->n += rc == 0;
	return rc;
}

int ds_txn_file(struct ds_txn *t, struct ds_handle h, unsigned *at)
{
	int rc;

	if (h.object < DS_ROOT_OBJECT || h.object >= BS_OBJECTS)
		return VS_E_STALE;
	rc = ds_txn_get(t, h.object, at);
	return rc ? rc : ds_record_check(t->view[*at], h);
}

void ds_txn_set(struct ds_txn *t, unsigned at, unsigned word, uint64_t value)
{
	struct bs_object_change *c = &t->change[at];

	c->set |= DS_BIT(word);
	c->add &= (uint16_t)~DS_BIT(word);
	c->word[word] = t->view[at][word] = value;
}

void ds_txn_add(struct ds_txn *t, unsigned at, unsigned word, int64_t delta)
{
	struct bs_object_change *c = &t->change[at];

	if (!((c->set | c->add) & DS_BIT(word)))
		c->add |= DS_BIT(word);
	c->word[word] += (uint64_t)delta;
	t->view[at][word] += (uint64_t)delta;
}

void ds_txn_clear(struct ds_txn *t, unsigned at)
{
	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++)
		ds_txn_set(t, at, i, 0);
}

void ds_txn_touch(struct ds_txn *t, unsigned at, int64_t now)
{
	ds_txn_set(t, at, DS_W_CTIME, (uint64_t)now);
	ds_txn_add(t, at, DS_W_CHANGE, 1);
}

int ds_txn_commit(struct ds_txn *t)
{
	struct ds_vfs *v = t->db->vfs;
	int rc;

	v->change = t->change;
	v->nchanges = t->n;
	v->flags = t->flags;
	rc = ds_db_commit(t->db);
	v->change = NULL;
	v->nchanges = v->flags = 0;
	return rc;
}

void ds_txn_rollback(struct ds_txn *t)
{
	ds_db_rollback(t->db);
}
