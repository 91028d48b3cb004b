/*
 * Changes of names that wait together go into one transaction: an operation that is refused has
 * changed nothing, one that the database fails spoils the whole, and then each is tried by itself,
 * as they are when the commit fails: it may be that only one asks for more space than there is.
 */
#include "datastore/change.h"
#include "datastore/name.h"

#include "common/bytes.h"

#define GROUP_MAX 16u

/* needs: records beside the base record. spare: it makes room. */
static const struct {
	int (*change)(struct ds_change *c);
	unsigned needs;
	bool spare;
} ops[] = {
    [DS_CREATE] = {ds_change_create, 2, false}, [DS_LINK] = {ds_change_link, 3, false},
    [DS_REMOVE] = {ds_change_remove, 2, true},	[DS_RMDIR] = {ds_change_rmdir, 2, true},
    [DS_RENAME] = {ds_change_rename, 4, false},
};

bool ds_names_changes(const struct ds_task *t)
{
	return !t->opening && t->req->op < VS_ARRAY_LEN(ops) && ops[t->req->op].change;
}

struct group {
	struct ds_task *task[GROUP_MAX];
	unsigned n;
	bool changed, spare;
	bool careful; /* ds_change.careful */
	bool durable; /* out: the commit was */
};

static int apply(struct ds_names *n, struct group *g, struct ds_task *t)
{
	struct ds_change c = {
	    .n = n, .txn = &n->txn, .t = t, .req = t->req, .now = ds_now(), .careful = g->careful};
	int rc;

	t->fresh = t->orphan = t->freed = 0;
	t->seized = NULL;
	t->req->created = false;
	t->found = (struct ds_handle){0};
	rc = ops[t->req->op].change(&c);
	if (c.changed) {
		g->changed = true;
		g->spare &= ops[t->req->op].spare;
	}
	t->status = rc;
	return c.changed ? rc : 0;
}

static bool fits(const struct ds_names *n, const struct group *g, const struct ds_task *t)
{
	return g->n < GROUP_MAX && n->txn.n + ops[t->req->op].needs <= BS_CHANGES_MAX;
}

/* What a commit has brought about beside it. */
static void settle(struct ds_names *n, struct ds_task *t, bool committed)
{
	if (t->seized)
		ds_node_yield(&n->d->nodes, t->seized);
	if (!committed || t->status) {
		if (t->fresh)
			ds_names_id_free(n, t->fresh);
		return;
	}
	if (t->freed)
		ds_names_id_free(n, t->freed);
	if (t->orphan) /* without memory it goes at the next opening */
		(void)!ds_node_orphan(&n->d->nodes, t->orphan);
}

/* A flush of its own is one trip more, which pays where the thread can go on meanwhile. */
static bool nobody_else(const struct ds_names *n)
{
	return !n->changes.head && !n->committed.head && !n->flushing.head;
}

static int commit(struct ds_names *n, struct group *g)
{
	if (!g->changed) {
		ds_txn_rollback(&n->txn);
		return 0;
	}
	g->durable = nobody_else(n);
	n->txn.flags |= (g->spare ? BS_SPARE : 0) | (g->durable ? BS_FUA : 0);
	return ds_txn_commit(&n->txn);
}

/* What was done, or had been done already, is told when it is durable. */
static void answer(struct ds_names *n, const struct group *g, struct ds_task *t)
{
	if (t->status || g->durable)
		ds_task_back(t);
	else
		ds_line_put(&n->committed, t);
}

static void alone(struct ds_names *n, struct ds_task *t)
{
	struct group g = {.spare = true, .careful = true};
	int rc = ds_txn_begin(&n->txn, &n->db);

	if (rc == 0) {
		rc = apply(n, &g, t);
		if (rc)
			ds_txn_rollback(&n->txn);
		else
			rc = commit(n, &g);
	}
	settle(n, t, rc == 0);
	if (rc)
		t->status = rc;
	answer(n, &g, t);
}

void ds_names_change(struct ds_names *n)
{
	struct group g = {.spare = true};
	int rc = ds_txn_begin(&n->txn, &n->db);

	do {
		struct ds_task *t = ds_line_take(&n->changes);

		g.task[g.n++] = t;
		if (rc == 0)
			rc = apply(n, &g, t);
	} while (rc == 0 && n->changes.head && fits(n, &g, n->changes.head));
	if (rc)
		ds_txn_rollback(&n->txn);
	else
		rc = commit(n, &g);
	for (unsigned i = 0; i < g.n; i++) {
		settle(n, g.task[i], rc == 0);
		if (rc == 0)
			answer(n, &g, g.task[i]);
	}
	for (unsigned i = 0; rc && i < g.n; i++)
		alone(n, g.task[i]);
}

/* ---- the client's side ---------------------------------------------------------------------- */

static void changed(struct ds_task *t)
{
	struct ds_req *req = t->req;

	if (t->status == 0 && req->op == DS_CREATE && !req->created && req->how == DS_UNCHECKED &&
	    req->set.what & DS_SET_SIZE)
		ds_setattr_size(t, t->found);
	else
		ds_task_finish(t, t->status);
}

void ds_do_change(struct ds_task *t)
{
	struct ds_req *req = t->req;

	if (req->op == DS_CREATE && (req->type <= DS_NONE || req->type > DS_BLK)) {
		ds_task_finish_soon(t, VS_E_INVAL);
		return;
	}
	ds_task_ask(t, changed);
}
