/* READ, WRITE, COMMIT. A read brings the file's record along, a write changes it. */
#include "datastore/permit.h"
#include "datastore/task.h"

#include "common/bytes.h"

#define READ_MAX (1u << 20)

/* Who has opened a file goes on after its mode has changed: servers of NFSv3 see no open. */
static bool may(const struct ds_req *req, const struct ds_perm *p, unsigned want)
{
	return ds_may(req->cred, p, want) || (req->owner_may && ds_is_owner(req->cred, p));
}

static void read_done(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, req->file, &perm);
	uint64_t size = t->change[0].now[DS_W_SIZE];

	if (rc) {
		ds_task_finish(t, rc);
		return;
	}
	ds_task_attr(t, 0, req->file, NULL, &req->attr);
	if (perm.type != DS_REG) {
		ds_task_why(t, ds_not_regular(perm.type));
		return;
	}
	/* what may be executed may be read: clients read programs to run them */
	if (!may(req, &perm, DS_R) && !ds_may(req->cred, &perm, DS_X)) {
		ds_task_finish(t, VS_E_ACCESS);
		return;
	}
	if (req->offset < size)
		req->count = (size_t)VS_MIN(req->length, size - req->offset);
	req->eof = req->offset >= size || req->count == size - req->offset;
	ds_task_finish(t, 0);
}

void ds_do_read(struct ds_task *t)
{
	struct ds_req *req = t->req;
	uint64_t length = 0;

	if (req->length > READ_MAX) {
		ds_task_finish_soon(t, VS_E_TOOBIG);
		return;
	}
	if (req->offset < BS_OBJECT_MAX)
		length = VS_MIN(req->length, BS_OBJECT_MAX - req->offset);
	if (!length) { /* nothing to read, but the rest is the same */
		ds_task_look(t, t->volume, req->file.object, 0, 1, read_done);
		return;
	}
	(void)ds_task_change(t, 0, req->file.object);
	t->io = (struct bs_req){.op = BS_READ,
				.volume = t->volume,
				.object = req->file.object,
				.offset = req->offset,
				.length = length,
				.iov = req->iov,
				.iovcnt = req->iovcnt,
				.changes = t->change,
				.nchanges = 1};
	ds_task_submit(t, read_done);
}

/* ---- WRITE ---------------------------------------------------------------------------------- */

static void write_done(struct ds_task *t)
{
	struct ds_req *req = t->req;

	if (t->status == 0) {
		if (t->change[0].set & DS_BIT(DS_W_MODE)) {
			t->perm = ds_record_perm(t->change[0].now);
			ds_node_learn(&t->c->d->nodes, t->node, req->file.generation, &t->perm);
		}
		ds_task_attr(t, 0, req->file, &req->before, &req->after);
		req->attr = req->after;
		req->count = (size_t)req->length;
	}
	ds_task_finish(t, t->status);
}

static void write_nothing_done(struct ds_task *t)
{
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->req->file, &perm);

	if (rc == 0)
		ds_task_attr(t, 0, t->req->file, &t->req->before, &t->req->after);
	if (rc == 0)
		t->req->attr = t->req->after;
	ds_task_finish(t, rc);
}

static void write_bytes(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct bs_object_change *c = ds_task_change(t, 0, req->file.object);
	int64_t now = ds_now();
	uint32_t mode = ds_mode_written(req->cred, t->perm.mode);

	c->check = DS_W_GENERATION;
	c->is = req->file.generation;
	c->end = DS_W_SIZE;
	c->set = DS_BIT(DS_W_MTIME) | DS_BIT(DS_W_CTIME);
	c->word[DS_W_MTIME] = c->word[DS_W_CTIME] = (uint64_t)now;
	c->add = DS_BIT(DS_W_CHANGE);
	c->word[DS_W_CHANGE] = 1;
	if (mode != t->perm.mode) {
		c->set |= DS_BIT(DS_W_MODE);
		c->word[DS_W_MODE] = ds_word_mode(DS_REG, mode);
	}
	t->io = (struct bs_req){.op = BS_WRITE,
				.flags = req->stable ? BS_FUA : 0,
				.volume = t->volume,
				.object = req->file.object,
				.offset = req->offset,
				.length = req->length,
				.iov = req->iov,
				.iovcnt = req->iovcnt,
				.changes = t->change,
				.nchanges = 1};
	ds_task_submit(t, write_done);
}

static void write_allowed(struct ds_task *t, int rc)
{
	struct ds_req *req = t->req;

	if (rc) {
		ds_task_finish(t, rc);
	} else if (t->perm.type != DS_REG) {
		ds_task_why(t, ds_not_regular(t->perm.type));
	} else if (!may(req, &t->perm, DS_W)) {
		ds_task_finish(t, VS_E_ACCESS);
	} else if (!req->length) {
		ds_task_look(t, t->volume, req->file.object, 0, 1, write_nothing_done);
	} else {
		write_bytes(t);
	}
}

static void write_looked(struct ds_task *t)
{
	int rc = ds_task_check(t, 0, t->req->file, &t->perm);

	if (rc == 0)
		ds_node_learn(&t->c->d->nodes, t->node, t->req->file.generation, &t->perm);
	write_allowed(t, rc);
}

/* Mostly it is known who may write; else the record says it. */
static void write_entered(struct ds_task *t)
{
	const struct ds_handle *h = &t->req->file;
	int rc = ds_node_perm(&t->c->d->nodes, t->node, h->generation, &t->perm);

	if (rc)
		ds_task_look(t, t->volume, h->object, 0, 1, write_looked);
	else
		write_allowed(t, 0);
}

void ds_do_write(struct ds_task *t)
{
	const struct ds_req *req = t->req;

	if (!vs_range_ok(req->offset, req->length, DS_FILE_MAX) || req->length > READ_MAX) {
		ds_task_finish_soon(t, VS_E_TOOBIG);
		return;
	}
	ds_task_enter(t, req->file.object, false, write_entered);
}

/* ---- COMMIT --------------------------------------------------------------------------------- */

static void commit_done(struct ds_task *t)
{
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->req->file, &perm);

	if (rc == 0)
		ds_task_attr(t, 0, t->req->file, &t->req->before, &t->req->after);
	if (rc == 0)
		t->req->attr = t->req->after;
	ds_task_finish(t, rc);
}

static void commit_flushed(struct ds_task *t)
{
	if (t->status)
		ds_task_finish(t, t->status);
	else
		ds_task_look(t, t->volume, t->req->file.object, 0, 1, commit_done);
}

void ds_do_commit(struct ds_task *t)
{
	t->io = (struct bs_req){.op = BS_FLUSH, .volume = t->volume};
	ds_task_submit(t, commit_flushed);
}
