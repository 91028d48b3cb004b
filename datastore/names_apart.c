/*
 * Files that have lost their last name, and that nobody holds, are taken apart: first the record
 * says that the file is gone, so that nobody writes to it or reads zeros, then its blocks go, then
 * its row and its record. Whatever comes between, its row is there and the next opening goes on.
 */
#include "datastore/task.h"

#include "common/bytes.h"

#define LISTED 64u
#define AGAIN_NS UINT64_C(1000000000)

static void again(struct vs_timer *timer)
{
	struct ds_names *n = timer->arg;

	n->last_orphan = 0;
	n->orphans_known = false;
}

/* Its row is there still: it is looked for once more after a while, or at the next opening. */
static void failed(struct ds_names *n)
{
	n->again.fired = again;
	n->again.arg = n;
	(void)!vs_loop_timer(n->loop, &n->again, AGAIN_NS);
}

static void leave(struct ds_apart *a)
{
	struct ds_nodes *nodes = &a->names->d->nodes;

	ds_node_leave(nodes, a->node, &a->wait);
	ds_node_apart(nodes, a->node);
	ds_node_put(nodes, a->node);
	a->node = NULL;
	a->names->napart--;
}

static void emptied(struct bs_req *io)
{
	struct ds_apart *a = io->arg;

	if (io->status) {
		failed(a->names);
		leave(a);
		return;
	}
	a->emptied = true;
	a->names->nemptied++;
}

static void marked(struct bs_req *io)
{
	struct ds_apart *a = io->arg;
	struct ds_perm nobody = {0};

	if (io->status) {
		failed(a->names);
		leave(a);
		return;
	}
	ds_node_learn(&a->names->d->nodes, a->node, 0, &nobody);
	a->io = (struct bs_req){.op = BS_TRIM,
				.volume = a->names->vfs.volume,
				.object = a->node->object,
				.length = BS_OBJECT_MAX,
				.done = emptied,
				.arg = a};
	bs_submit(a->names->port, &a->io);
}

static void entered(struct ds_wait *w)
{
	struct ds_apart *a = vs_container_of(w, struct ds_apart, wait);

	a->change = (struct bs_object_change){.object = a->node->object,
					      .check = BS_NO_WORD,
					      .end = BS_NO_WORD,
					      .set = DS_BIT(DS_W_GENERATION)};
	a->io = (struct bs_req){.op = BS_RECORDS,
				.volume = a->names->vfs.volume,
				.changes = &a->change,
				.nchanges = 1,
				.done = marked,
				.arg = a};
	bs_submit(a->names->port, &a->io);
}

static void begin(struct ds_names *n, struct ds_apart *a, struct ds_node *node)
{
	a->names = n;
	a->node = node;
	a->emptied = false;
	a->wait = (struct ds_wait){.loop = n->loop, .granted = entered, .alone = true};
	n->napart++;
	if (ds_node_enter(&n->d->nodes, node, &a->wait))
		entered(&a->wait);
}

/* What an earlier run has left, a few at a time. */
static void list_more(struct ds_names *n)
{
	uint32_t object[LISTED];
	unsigned found;

	n->orphans_known = true;
	if (ds_db_orphans(&n->db, n->last_orphan, object, LISTED, &found)) {
		failed(n);
		return;
	}
	for (unsigned i = 0; i < found; i++) {
		if (ds_node_orphan(&n->d->nodes, object[i])) {
			failed(n);
			return;
		}
		n->last_orphan = object[i];
	}
	n->orphans_known = found < LISTED;
}

static int bury(struct ds_names *n, bool done[DS_APART_MAX])
{
	struct ds_txn *txn = &n->txn;
	int rc = ds_txn_begin(txn, &n->db);

	txn->flags = BS_SPARE;
	for (unsigned i = 0; rc == 0 && i < DS_APART_MAX; i++) {
		struct ds_apart *a = &n->apart[i];
		unsigned at;

		done[i] = a->node && a->emptied;
		if (!done[i])
			continue;
		rc = ds_txn_get(txn, a->node->object, &at);
		if (rc == 0)
			rc = ds_db_object(&n->db, DS_ST_ORPHAN_REMOVE, a->node->object);
		if (rc == 0)
			ds_txn_clear(txn, at);
	}
	if (rc) {
		ds_txn_rollback(txn);
		return rc;
	}
	return ds_txn_commit(txn);
}

/* Rows and records of all that are empty, in one commit. */
static void bury_all(struct ds_names *n)
{
	bool done[DS_APART_MAX] = {0};
	int rc = bury(n, done);

	if (rc)
		failed(n);
	for (unsigned i = 0; i < DS_APART_MAX; i++) {
		uint32_t object;

		if (!done[i])
			continue;
		object = n->apart[i].node->object;
		n->nemptied--;
		leave(&n->apart[i]);
		if (rc == 0)
			ds_names_id_free(n, object);
	}
}

bool ds_names_apart(struct ds_names *n)
{
	for (unsigned i = 0; i < DS_APART_MAX; i++) {
		struct ds_node *node;

		if (n->apart[i].node)
			continue;
		node = ds_node_next_orphan(&n->d->nodes);
		if (!node && !n->orphans_known) {
			list_more(n);
			node = ds_node_next_orphan(&n->d->nodes);
		}
		if (!node)
			break;
		begin(n, &n->apart[i], node);
	}
	if (n->nemptied && (n->nemptied == n->napart || n->nemptied > DS_APART_MAX / 2)) {
		bury_all(n);
		return true;
	}
	return false;
}

void ds_names_apart_stop(struct ds_names *n)
{
	while (n->napart > n->nemptied)
		vs_loop_turn(n->loop, -1);
	for (unsigned i = 0; i < DS_APART_MAX; i++)
		if (n->apart[i].node)
			leave(&n->apart[i]);
	n->nemptied = 0;
	vs_loop_cancel(n->loop, &n->again);
}
