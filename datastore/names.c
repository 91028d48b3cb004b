#include "datastore/task.h"

#define TURN 64u /* tasks before the loop looks at what else there is */
#define PORT_DEPTH 64u

static void close_database(struct ds_names *n)
{
	ds_db_close(&n->db);
	ds_vfs_close(&n->vfs);
	n->opened = false;
}

static int open_database(struct ds_names *n, struct vs_error *err)
{
	struct ds_store *d = n->d;
	int rc = ds_vfs_open(&n->vfs, n->port, d->volume, DS_MAGIC, false, false, err);

	n->opened = true;
	if (rc == 0) {
		n->vfs.scatter_max = d->tune.scatter_max;
		rc = ds_db_open(&n->db, &n->vfs, d->tune.cache, false, err);
	}
	if (rc) {
		close_database(n);
		return rc;
	}
	n->db.hash_bits = d->tune.hash_bits;
	n->next_id = (uint32_t)n->vfs.base[DS_B_NEXT];
	n->nids = 0;
	n->orphans_known = false;
	n->last_orphan = 0;
	return 0;
}

int ds_names_reopen(struct ds_names *n, struct vs_error *err)
{
	return open_database(n, err);
}

void ds_names_shut(struct ds_names *n)
{
	ds_names_apart_stop(n);
	ds_snap_close_all(n);
	if (n->opened)
		close_database(n);
}

static int begin(struct ds_names *n, void *arg, struct vs_error *err)
{
	int rc = bs_port_open(n->d->store, n->loop, PORT_DEPTH, &n->port, err);

	(void)arg;
	return rc ? rc : open_database(n, err);
}

static void run_calls(struct ds_names *n)
{
	while (n->calls) {
		struct ds_call *c = n->calls;

		n->calls = c->next;
		c->rc = c->fn(n, c->arg, c->err);
		pthread_mutex_lock(&n->lock);
		c->done = true;
		pthread_cond_broadcast(&n->called);
		pthread_mutex_unlock(&n->lock);
	}
}

static void work(struct ds_names *n)
{
	struct ds_task *t;

	for (unsigned i = 0; i < TURN && (t = ds_line_take(&n->looks)); i++)
		ds_names_look(n, t);
	if (n->changes.head)
		ds_names_change(n);
	ds_names_flush(n);
}

static bool waits(const struct ds_names *n)
{
	return n->looks.head || n->changes.head || n->calls;
}

static void *run(void *arg)
{
	struct ds_names *n = arg;
	bool more = false;

	while (!n->stop) {
		vs_loop_turn(n->loop, more || waits(n) ? 0 : -1);
		run_calls(n);
		work(n);
		more = n->opened && ds_names_apart(n);
	}
	return NULL;
}

void ds_line_put(struct ds_line *l, struct ds_task *t)
{
	t->next = NULL;
	*(l->head ? &l->tail->next : &l->head) = t;
	l->tail = t;
}

struct ds_task *ds_line_take(struct ds_line *l)
{
	struct ds_task *t = l->head;

	if (t)
		l->head = t->next;
	return t;
}

void ds_names_take(struct vs_post *p)
{
	struct ds_task *t = p->arg;
	struct ds_names *n = &t->c->d->names;

	ds_line_put(ds_names_changes(t) ? &n->changes : &n->looks, t);
}

static void flushed(struct bs_req *req)
{
	struct ds_names *n = req->arg;
	struct ds_task *t;

	while ((t = ds_line_take(&n->flushing))) {
		if (req->status)
			t->status = req->status;
		ds_task_back(t);
	}
}

void ds_names_flush(struct ds_names *n)
{
	if (n->flushing.head || !n->committed.head)
		return;
	n->flushing = n->committed;
	n->committed.head = NULL;
	n->flush =
	    (struct bs_req){.op = BS_FLUSH, .volume = n->vfs.volume, .done = flushed, .arg = n};
	bs_submit(n->port, &n->flush);
}

static void call_comes(struct vs_post *p)
{
	struct ds_call *c = p->arg, **at = &c->names->calls;

	while (*at)
		at = &(*at)->next;
	*at = c;
}

int ds_names_call(struct ds_names *n, int (*fn)(struct ds_names *, void *, struct vs_error *),
		  void *arg, struct vs_error *err)
{
	struct ds_call c = {.fn = fn, .arg = arg, .err = err, .names = n};

	c.post = (struct vs_post){.call = call_comes, .arg = &c};
	vs_loop_post(n->loop, &c.post);
	pthread_mutex_lock(&n->lock);
	while (!c.done)
		pthread_cond_wait(&n->called, &n->lock);
	pthread_mutex_unlock(&n->lock);
	return c.rc;
}

static void orphans_come(struct vs_post *p)
{
	struct ds_names *n = p->arg;

	atomic_store(&n->orphan_posted, false);
}

void ds_names_orphans(struct ds_names *n)
{
	if (!atomic_exchange(&n->orphan_posted, true))
		vs_loop_post(n->loop, &n->orphan_post);
}

static int end(struct ds_names *n, void *arg, struct vs_error *err)
{
	(void)arg;
	(void)err;
	n->stop = true;
	ds_names_shut(n);
	if (n->port)
		bs_port_close(n->port);
	return 0;
}

static void release(struct ds_names *n)
{
	vs_loop_free(n->loop);
	pthread_cond_destroy(&n->called);
	pthread_mutex_destroy(&n->lock);
}

void ds_names_stop(struct ds_names *n)
{
	(void)!ds_names_call(n, end, NULL, NULL);
	pthread_join(n->thread, NULL);
	release(n);
}

int ds_names_start(struct ds_names *n, struct ds_store *d, struct vs_error *err)
{
	int rc;

	*n = (struct ds_names){.d = d};
	n->orphan_post = (struct vs_post){.call = orphans_come, .arg = n};
	rc = vs_loop_new(&n->loop, err);
	if (rc)
		return rc;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->called, NULL);
	if (pthread_create(&n->thread, NULL, run, n)) {
		release(n);
		return vs_fail(err, VS_E_NOMEM, "cannot start a thread");
	}
	rc = ds_names_call(n, begin, NULL, err);
	if (rc)
		ds_names_stop(n);
	return rc;
}
