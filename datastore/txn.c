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

static bool find(const struct ds_txn *t, uint32_t object, unsigned *at)
{
	for (*at = 0; *at < t->n; ++*at)
		if (t->change[*at].object == object)
			return true;
	return false;
}

static int add(struct ds_txn *t, uint32_t object)
{
	if (t->n == BS_CHANGES_MAX)
		return VS_E_LIMIT;
	memset(t->view[t->n], 0, sizeof(t->view[t->n]));
	t->change[t->n++] =
	    (struct bs_object_change){.object = object, .check = BS_NO_WORD, .end = BS_NO_WORD};
	return 0;
}

/* At all records from the place on; they leave the transaction if that fails. */
static int look(struct ds_txn *t, unsigned from)
{
	struct bs_req req = {.op = BS_RECORDS,
			     .volume = t->db->vfs->volume,
			     .changes = &t->change[from],
			     .nchanges = t->n - from};
	int rc = t->n > from ? bs_io_wait(t->db->vfs->port, &req) : 0;

	if (rc)
		t->n = from;
	for (unsigned i = from; i < t->n; i++)
		memcpy(t->view[i], t->change[i].now, sizeof(t->view[i]));
	return rc;
}

int ds_txn_get(struct ds_txn *t, uint32_t object, unsigned *at)
{
	int rc;

	if (find(t, object, at))
		return 0;
	rc = add(t, object);
	return rc ? rc : look(t, *at);
}

int ds_txn_fresh(struct ds_txn *t, uint32_t object, unsigned *at)
{
	return find(t, object, at) ? 0 : add(t, object);
}

static bool is_file(uint32_t object)
{
	return object >= DS_ROOT_OBJECT && object < BS_OBJECTS;
}

int ds_txn_ahead(struct ds_txn *t, uint32_t object, uint32_t other)
{
	unsigned from = t->n, at;
	int rc = 0;

	if (is_file(object) && !find(t, object, &at))
		rc = add(t, object);
	if (rc == 0 && is_file(other) && !find(t, other, &at))
		rc = add(t, other);
	if (rc == 0)
		return look(t, from);
	t->n = from; /* none stays that was not looked at */
	return rc;
}

int ds_txn_file(struct ds_txn *t, struct ds_handle h, unsigned *at)
{
	int rc;

	if (!is_file(h.object))
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
