#include "datastore/task.h"

#include "common/bytes.h"

#include <stdlib.h>

static const struct {
	void (*start)(struct ds_task *t);
	bool changes;
} ops[] = {
    [DS_GETATTR] = {ds_do_getattr, false},
    [DS_LOOKUP] = {ds_do_lookup, false},
    [DS_SETATTR] = {ds_do_setattr, true},
    [DS_ACCESS] = {ds_do_access, false},
    [DS_READ] = {ds_do_read, false},
    [DS_WRITE] = {ds_do_write, true},
    [DS_COMMIT] = {ds_do_commit, false},
    [DS_CREATE] = {ds_do_change, true},
    [DS_REMOVE] = {ds_do_change, true},
    [DS_RMDIR] = {ds_do_change, true},
    [DS_RENAME] = {ds_do_change, true},
    [DS_LINK] = {ds_do_change, true},
    [DS_READLINK] = {ds_do_readlink, false},
    [DS_READDIR] = {ds_do_readdir, false},
    [DS_STATFS] = {ds_do_statfs, false},
    [DS_ALLOCATE] = {ds_do_allocate, true},
    [DS_DEALLOCATE] = {ds_do_deallocate, true},
    [DS_SEEK] = {ds_do_seek, false},
    [DS_CLONE] = {ds_do_clone, true},
};

/* ---- life of a task ------------------------------------------------------------------------- */

static void in_snapshot(struct ds_task *t)
{
	struct ds_req *req = t->req;

	t->opening = false;
	if (t->status) {
		ds_task_finish(t, t->status);
		return;
	}
	if (req->file.snapshot)
		t->volume = t->snap->volume;
	else
		t->other_volume = t->snap->volume;
	ops[req->op].start(t);
}

/* One of a request's files is in a snapshot; what changes that one is refused. */
static void find_snapshot(struct ds_task *t)
{
	const struct ds_req *req = t->req;
	uint32_t id = req->file.snapshot ? req->file.snapshot : req->other.snapshot;

	if (req->op == DS_LINK && req->file.snapshot && !req->other.snapshot) {
		t->req->why = DS_CROSSES;
		ds_task_finish_soon(t, VS_E_INVAL);
		return;
	}
	if (ops[req->op].changes && (req->file.snapshot || req->op != DS_CLONE)) {
		ds_task_finish_soon(t, VS_E_ROFS);
		return;
	}
	t->snap = ds_snap_get(t->c->d, id);
	t->opening = !t->snap;
	if (t->snap)
		in_snapshot(t);
	else
		ds_task_ask(t, in_snapshot);
}

static void begin(struct ds_client *c, struct ds_req *req)
{
	struct ds_task *t = c->free;
	bool two = req->op == DS_RENAME || req->op == DS_LINK || req->op == DS_CLONE;

	c->free = t->next;
	c->busy++;
	*t = (struct ds_task){
	    .c = c, .req = req, .volume = c->d->volume, .other_volume = c->d->volume};
	req->status = 0;
	req->why = DS_OK;
	req->count = 0;
	req->eof = req->created = false;
	req->attr.type = req->before.type = req->after.type = DS_NONE;
	req->before_other.type = req->after_other.type = DS_NONE;
	if (!two)
		req->other.snapshot = 0;
	if ((unsigned)req->op >= VS_ARRAY_LEN(ops))
		ds_task_finish_soon(t, VS_E_INVAL);
	else if (c->d->failed)
		ds_task_finish_soon(t, VS_E_FAILED);
	else if (ds_is_snaps_dir(req->file))
		ds_do_snaps(t);
	else if (req->file.object == DS_BASE || req->file.object >= BS_OBJECTS)
		ds_task_finish_soon(t, VS_E_STALE);
	else if (req->file.snapshot || req->other.snapshot)
		find_snapshot(t);
	else
		ops[req->op].start(t);
}

static void begin_waiting(struct ds_client *c)
{
	if (c->beginning)
		return;
	c->beginning = true;
	while (c->head && c->free && !c->paused) {
		struct ds_req *req = c->head;

		c->head = req->state_;
		begin(c, req);
	}
	c->beginning = false;
}

/* A paused client has nothing under way. */
static void tell_idle(struct ds_client *c)
{
	if (c->busy || !c->asked)
		return;
	c->asked = false;
	pthread_mutex_lock(&c->d->lock);
	c->d->asked--;
	pthread_cond_signal(&c->d->answered);
	pthread_mutex_unlock(&c->d->lock);
}

static void leave(struct ds_task *t)
{
	struct ds_nodes *nodes = &t->c->d->nodes;

	if (t->snap)
		ds_snap_put(t->c->d, t->snap);
	if (t->inside)
		ds_node_leave(nodes, t->node, &t->wait);
	if (t->other_inside)
		ds_node_leave(nodes, t->other, &t->other_wait);
	if (t->node)
		ds_node_put(nodes, t->node);
	if (t->other)
		ds_node_put(nodes, t->other);
}

void ds_task_finish(struct ds_task *t, int status)
{
	struct ds_client *c = t->c;
	struct ds_req *req = t->req;

	if (c->beginning) {
		ds_task_finish_soon(t, status);
		return;
	}
	leave(t);
	free(t->map);
	req->status = status;
	t->next = c->free;
	c->free = t;
	c->busy--;
	req->done(req);
	begin_waiting(c);
	tell_idle(c);
}

static void finish_posted(struct vs_post *p)
{
	struct ds_task *t = p->arg;

	ds_task_finish(t, t->status);
}

void ds_task_finish_soon(struct ds_task *t, int status)
{
	t->status = status;
	t->post = (struct vs_post){.call = finish_posted, .arg = t};
	vs_loop_post(t->c->loop, &t->post);
}

void ds_task_why(struct ds_task *t, enum ds_status why)
{
	t->req->why = why;
	ds_task_finish(t, VS_E_INVAL);
}

/* ---- clients, and the rollback that has all of them wait ---------------------------------------
 */

static void pause_comes(struct vs_post *p)
{
	struct ds_client *c = p->arg;

	c->paused = c->asked = true;
	tell_idle(c);
}

static void resume_comes(struct vs_post *p)
{
	struct ds_client *c = p->arg;

	c->paused = false;
	pthread_mutex_lock(&c->d->lock);
	c->pausing = false;
	c->d->asked--;
	pthread_cond_signal(&c->d->answered);
	pthread_mutex_unlock(&c->d->lock);
	begin_waiting(c);
}

/* Each client answers, so none has a post of an earlier time under way. */
static void ask_all(struct ds_store *d, bool pause)
{
	pthread_mutex_lock(&d->lock);
	d->paused = pause;
	for (struct ds_client *c = d->clients; c; c = c->next) {
		c->pausing = true;
		c->pause = (struct vs_post){.call = pause ? pause_comes : resume_comes, .arg = c};
		vs_loop_post(c->loop, &c->pause);
		d->asked++;
	}
	while (d->asked)
		pthread_cond_wait(&d->answered, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

void ds_clients_pause(struct ds_store *d)
{
	ask_all(d, true);
}

void ds_clients_resume(struct ds_store *d)
{
	ask_all(d, false);
}

static int take_port(struct ds_client *c, struct ds_client *beside, unsigned depth,
		     struct vs_error *err)
{
	int rc;

	if (beside) {
		c->port = beside->port;
		c->sharing = beside->sharing;
		++*c->sharing;
		return 0;
	}
	c->sharing = malloc(sizeof(*c->sharing));
	if (!c->sharing)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	*c->sharing = 1;
	rc = bs_port_open(c->d->store, c->loop, depth, &c->port, err);
	if (rc)
		free(c->sharing);
	return rc;
}

static void give_port(struct ds_client *c)
{
	if (--*c->sharing)
		return;
	bs_port_close(c->port);
	free(c->sharing);
}

static int open_client(struct ds_store *d, struct vs_loop *loop, struct ds_client *beside,
		       unsigned depth, struct ds_client **out, struct vs_error *err)
{
	struct ds_client *c;
	int rc;

	if (depth < 1 || depth > 256)
		return vs_fail(err, VS_E_INVAL, "1 to 256 requests at once, not %u", depth);
	c = calloc(1, sizeof(*c));
	if (c)
		c->tasks = calloc(depth, sizeof(*c->tasks));
	if (!c || !c->tasks) {
		free(c);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	c->d = d;
	c->loop = loop;
	for (unsigned i = 0; i < depth; i++) {
		c->tasks[i].next = c->free;
		c->free = &c->tasks[i];
	}
	rc = take_port(c, beside, depth, err);
	if (rc) {
		free(c->tasks);
		free(c);
		return rc;
	}
	pthread_mutex_lock(&d->lock);
	c->next = d->clients;
	d->clients = c;
	c->paused = c->pausing = d->paused;
	pthread_mutex_unlock(&d->lock);
	*out = c;
	return 0;
}

int ds_client_open(struct ds_store *d, struct vs_loop *loop, unsigned depth, struct ds_client **out,
		   struct vs_error *err)
{
	return open_client(d, loop, NULL, depth, out, err);
}

int ds_client_open_beside(struct ds_store *d, struct ds_client *beside, unsigned depth,
			  struct ds_client **out, struct vs_error *err)
{
	VS_ASSERT(beside->d->store == d->store);
	return open_client(d, beside->loop, beside, depth, out, err);
}

/* Leaves the store's list, unless a rollback still has something to tell it. */
static bool leaves(struct ds_client *c)
{
	struct ds_client **at = &c->d->clients;
	bool can;

	pthread_mutex_lock(&c->d->lock);
	can = !c->busy && !c->head && !c->pausing;
	while (can && *at != c)
		at = &(*at)->next;
	if (can)
		*at = c->next;
	pthread_mutex_unlock(&c->d->lock);
	return can;
}

void ds_client_close(struct ds_client *c)
{
	while (!leaves(c))
		vs_loop_turn(c->loop, -1);
	give_port(c);
	free(c->tasks);
	free(c);
}

void ds_submit(struct ds_client *c, struct ds_req *req)
{
	req->state_ = NULL;
	if (c->head)
		c->tail->state_ = req;
	else
		c->head = req;
	c->tail = req;
	begin_waiting(c);
}

static void waited(struct ds_req *req)
{
	*(bool *)req->arg = true;
}

int ds_wait(struct ds_client *c, struct ds_req *req)
{
	bool done = false;

	req->done = waited;
	req->arg = &done;
	ds_submit(c, req);
	while (!done)
		vs_loop_turn(c->loop, -1);
	return req->status;
}
