/* What tasks wait for, and what they look at. */
#include "datastore/task.h"

#include "common/bytes.h"

#include <time.h>

int64_t ds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void io_done(struct bs_req *io)
{
	struct ds_task *t = io->arg;

	t->status = io->status;
	t->step(t);
}

void ds_task_submit(struct ds_task *t, void (*step)(struct ds_task *))
{
	t->step = step;
	t->io.done = io_done;
	t->io.arg = t;
	bs_submit(t->c->port, &t->io);
}

struct bs_object_change *ds_task_change(struct ds_task *t, unsigned i, uint32_t object)
{
	struct bs_object_change *c = &t->change[i];

	c->object = object;
	c->check = c->end = BS_NO_WORD;
	c->set = c->add = 0;
	return c;
}

void ds_task_look(struct ds_task *t, struct bs_volume *v, uint32_t object, uint32_t other,
		  unsigned n, void (*step)(struct ds_task *))
{
	(void)ds_task_change(t, 0, object);
	(void)ds_task_change(t, 1, other);
	t->io = (struct bs_req){.op = BS_RECORDS, .volume = v, .changes = t->change, .nchanges = n};
	ds_task_submit(t, step);
}

static void back(struct vs_post *p)
{
	struct ds_task *t = p->arg;

	t->step(t);
}

void ds_task_ask(struct ds_task *t, void (*step)(struct ds_task *))
{
	struct ds_names *n = &t->c->d->names;

	t->step = step;
	t->post = (struct vs_post){.call = ds_names_take, .arg = t};
	vs_loop_post(n->loop, &t->post);
}

void ds_task_back(struct ds_task *t)
{
	t->post = (struct vs_post){.call = back, .arg = t};
	vs_loop_post(t->c->loop, &t->post);
}

static void granted(struct ds_wait *w)
{
	struct ds_task *t = vs_container_of(w, struct ds_task, wait);

	t->inside = true;
	t->step(t);
}

void ds_task_enter(struct ds_task *t, uint32_t object, bool alone, void (*step)(struct ds_task *))
{
	struct ds_nodes *nodes = &t->c->d->nodes;

	t->node = ds_node_get(nodes, object);
	if (!t->node) {
		ds_task_finish_soon(t, VS_E_NOMEM);
		return;
	}
	t->step = step;
	t->wait = (struct ds_wait){.loop = t->c->loop, .granted = granted, .alone = alone};
	if (!ds_node_enter(nodes, t->node, &t->wait))
		return;
	t->inside = true;
	step(t);
}

/* ---- records -------------------------------------------------------------------------------- */

int ds_task_check(struct ds_task *t, unsigned i, struct ds_handle h, struct ds_perm *out)
{
	int rc = t->status ? t->status : ds_record_check(t->change[i].now, h);

	if (rc == 0)
		*out = ds_record_perm(t->change[i].now);
	return rc;
}

void ds_task_attr(const struct ds_task *t, unsigned i, struct ds_handle h, struct ds_attr *before,
		  struct ds_attr *after)
{
	const struct bs_object_change *c = &t->change[i];

	if (before)
		ds_record_attr(c->was, c->mapped, h, before);
	if (after)
		ds_record_attr(c->now, c->mapped, h, after);
}
