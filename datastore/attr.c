/* Requests about attributes: GETATTR, ACCESS, SETATTR, ALLOCATE. */
#include "datastore/permit.h"
#include "datastore/task.h"

#include "common/bytes.h"

static void getattr_done(struct ds_task *t)
{
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->req->file, &perm);

	if (rc == 0)
		ds_task_attr(t, 0, t->req->file, NULL, &t->req->attr);
	ds_task_finish(t, rc);
}

void ds_do_getattr(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->req->file.object, 0, 1, getattr_done);
}

static void access_done(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, req->file, &perm);

	if (rc == 0) {
		ds_task_attr(t, 0, req->file, NULL, &req->attr);
		req->access = ds_access(req->cred, &perm, req->access);
	}
	ds_task_finish(t, rc);
}

void ds_do_access(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->req->file.object, 0, 1, access_done);
}

/* ---- SETATTR -------------------------------------------------------------------------------- */

/* What everybody inside knows of the file has changed with its record. */
static void set_done(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_handle h = t->found;

	if (t->status == VS_E_STALE && req->guarded) {
		ds_task_why(t, DS_NOT_SYNC);
		return;
	}
	if (t->status == 0) {
		struct ds_perm perm = ds_record_perm(t->change[0].now);

		ds_node_learn(&t->c->d->nodes, t->node, h.generation, &perm);
		ds_task_attr(t, 0, h, req->op == DS_CREATE ? NULL : &req->before, &req->attr);
		if (req->op != DS_CREATE)
			req->after = req->attr;
	}
	ds_task_finish(t, t->status);
}

static void set_word(struct ds_task *t, enum ds_word w, uint64_t value)
{
	t->change[0].set |= DS_BIT(w);
	t->change[0].word[w] = value;
}

static int64_t time_set(const struct ds_set *set, uint32_t now_bit, int64_t now, int64_t given)
{
	return set->what & now_bit ? now : given;
}

/* The record: all that was asked for, at once. */
static void set_record(struct ds_task *t)
{
	struct ds_req *req = t->req;
	const struct ds_set *set = &req->set;
	struct bs_object_change *c, *guard;
	int64_t now = ds_now();

	if (t->status) {
		ds_task_finish(t, t->status);
		return;
	}
	c = ds_task_change(t, 0, t->found.object);
	c->check = DS_W_GENERATION;
	c->is = t->found.generation;
	set_word(t, DS_W_MODE, ds_word_mode(t->perm.type, t->perm.mode));
	set_word(t, DS_W_OWNER, ds_word_pair(t->perm.uid, t->perm.gid));
	set_word(t, DS_W_CTIME, (uint64_t)now);
	if (set->what & DS_SET_SIZE) {
		set_word(t, DS_W_SIZE, set->size);
		set_word(t, DS_W_MTIME, (uint64_t)now);
	}
	if (set->what & (DS_SET_ATIME | DS_SET_ATIME_NOW))
		set_word(t, DS_W_ATIME, (uint64_t)time_set(set, DS_SET_ATIME_NOW, now, set->atime));
	if (set->what & (DS_SET_MTIME | DS_SET_MTIME_NOW))
		set_word(t, DS_W_MTIME, (uint64_t)time_set(set, DS_SET_MTIME_NOW, now, set->mtime));
	c->add = DS_BIT(DS_W_CHANGE);
	c->word[DS_W_CHANGE] = 1;
	guard = ds_task_change(t, 1, t->found.object);
	if (req->guarded) {
		guard->check = DS_W_CTIME;
		guard->is = (uint64_t)req->guard_ctime;
	}
	t->io = (struct bs_req){.op = BS_RECORDS,
				.flags = BS_FUA,
				.volume = t->volume,
				.changes = t->change,
				.nchanges = req->guarded ? 2 : 1};
	ds_task_submit(t, set_done);
}

/* What lies behind the new end goes first: bytes behind the end are always zeros. */
static void set_size(struct ds_task *t)
{
	uint64_t old = t->change[0].now[DS_W_SIZE], size = t->req->set.size;

	if (size >= old) {
		set_record(t);
		return;
	}
	t->io = (struct bs_req){.op = BS_ZERO,
				.volume = t->volume,
				.object = t->found.object,
				.offset = size,
				.length = old - size};
	ds_task_submit(t, set_record);
}

static void set_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->found, &perm);

	if (rc == 0 && req->guarded && (int64_t)t->change[0].now[DS_W_CTIME] != req->guard_ctime) {
		ds_task_why(t, DS_NOT_SYNC);
		return;
	}
	if (rc == 0)
		rc = ds_may_set(req->cred, &perm, &req->set, req->owner_may, &t->perm, &req->why);
	if (rc) {
		ds_task_finish(t, rc);
	} else if (!(req->set.what & DS_SET_SIZE)) {
		set_record(t);
	} else if (perm.type != DS_REG) {
		ds_task_why(t, ds_not_regular(perm.type));
	} else if (req->set.size > DS_FILE_MAX) {
		ds_task_finish(t, VS_E_TOOBIG);
	} else {
		set_size(t);
	}
}

static void set_entered(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->found.object, 0, 1, set_looked);
}

void ds_do_setattr(struct ds_task *t)
{
	t->found = t->req->file;
	ds_task_enter(t, t->found.object, true, set_entered);
}

void ds_setattr_size(struct ds_task *t, struct ds_handle file)
{
	t->found = file;
	t->req->set.what = DS_SET_SIZE;
	ds_task_enter(t, file.object, true, set_entered);
}

/* ---- ALLOCATE ------------------------------------------------------------------------------- */

static void allocate_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->found, &perm);
	uint64_t end = req->offset + req->length;

	if (rc) {
		ds_task_finish(t, rc);
		return;
	}
	if (perm.type != DS_REG) {
		ds_task_why(t, ds_not_regular(perm.type));
		return;
	}
	req->set = (struct ds_set){.what = DS_SET_SIZE, .size = end};
	rc = ds_may_set(req->cred, &perm, &req->set, req->owner_may, &t->perm, &req->why);
	if (rc == 0 && t->change[0].now[DS_W_SIZE] < end) {
		set_record(t);
		return;
	}
	if (rc == 0)
		ds_task_attr(t, 0, req->file, NULL, &req->attr);
	ds_task_finish(t, rc);
}

static void allocate_entered(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->found.object, 0, 1, allocate_looked);
}

void ds_do_allocate(struct ds_task *t)
{
	if (!vs_range_ok(t->req->offset, t->req->length, DS_FILE_MAX)) {
		ds_task_finish_soon(t, VS_E_TOOBIG);
		return;
	}
	t->found = t->req->file;
	ds_task_enter(t, t->found.object, true, allocate_entered);
}
