/* Requests about names that change nothing: what is found by the names, and records looked at. */
#include "datastore/batch.h"

#include "common/bytes.h"
#include "datastore/name.h"
#include "datastore/permit.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 4u /* what was found may be gone when its record is looked at */

const struct ds_handle ds_root = {DS_ROOT_OBJECT, DS_ROOT_GENERATION, 0};

/* Whether change[0] is a directory that may be used so; finishes if not. */
static bool directory(struct ds_task *t, unsigned want)
{
	struct ds_req *req = t->req;
	int rc = ds_task_check(t, 0, req->file, &t->perm);

	if (rc == 0)
		ds_task_attr(t, 0, req->file, NULL, &req->after);
	if (rc == 0 && t->perm.type != DS_DIR) {
		ds_task_why(t, DS_NOT_DIR);
		return false;
	}
	if (rc == 0 && !ds_may(req->cred, &t->perm, want))
		rc = VS_E_ACCESS;
	if (rc)
		ds_task_finish(t, rc);
	return rc == 0;
}

/* ---- LOOKUP --------------------------------------------------------------------------------- */

static void lookup_asked(struct ds_task *t);

static void lookup_looked(struct ds_task *t)
{
	struct ds_perm perm;
	int rc;

	if (!directory(t, DS_X))
		return;
	rc = ds_task_check(t, 1, t->found, &perm);
	if (rc == VS_E_STALE && ++t->tries < TRIES) {
		ds_task_ask(t, lookup_asked);
		return;
	}
	if (rc == 0)
		ds_task_attr(t, 1, t->found, NULL, &t->req->attr);
	ds_task_finish(t, rc == VS_E_STALE ? VS_E_NOENT : rc);
}

static void lookup_nothing(struct ds_task *t)
{
	if (directory(t, DS_X))
		ds_task_finish(t, VS_E_NOENT);
}

static void lookup_asked(struct ds_task *t)
{
	if (t->status == VS_E_NOENT)
		ds_task_look(t, t->volume, t->req->file.object, 0, 1, lookup_nothing);
	else if (t->status)
		ds_task_finish(t, t->status);
	else
		ds_task_look(t, t->volume, t->req->file.object, t->found.object, 2, lookup_looked);
}

/* The directory of snapshots, from above or from below. */
static void lookup_snaps(struct ds_task *t)
{
	if (!directory(t, DS_X))
		return;
	ds_snaps_attr(t->c->d, &t->req->attr);
	ds_task_finish(t, 0);
}

static void lookup_parent(struct ds_task *t)
{
	if (t->req->file.snapshot && t->req->file.object == DS_ROOT_OBJECT) {
		lookup_snaps(t);
		return;
	}
	if (!directory(t, DS_X))
		return;
	t->found = ds_record_parent(t->change[0].now, t->req->file.snapshot);
	t->tries = TRIES;
	ds_task_look(t, t->volume, t->req->file.object, t->found.object, 2, lookup_looked);
}

void ds_do_lookup(struct ds_task *t)
{
	const struct ds_req *req = t->req;

	if (ds_name_is_dotdot(req->name, req->name_len)) {
		ds_task_look(t, t->volume, req->file.object, 0, 1, lookup_parent);
	} else if (ds_name_is_dot(req->name, req->name_len)) {
		t->found = req->file;
		ds_task_look(t, t->volume, req->file.object, req->file.object, 2, lookup_looked);
	} else if (ds_name_check(req->name, req->name_len, &t->req->why)) {
		ds_task_finish_soon(t, VS_E_INVAL);
	} else if (ds_is_snaps_name(req->file, req->name, req->name_len)) {
		ds_task_look(t, t->volume, req->file.object, 0, 1, lookup_snaps);
	} else {
		ds_task_ask(t, lookup_asked);
	}
}

/* ---- READLINK, STATFS ----------------------------------------------------------------------- */

static void readlink_asked(struct ds_task *t)
{
	ds_task_finish(t, t->status);
}

static void readlink_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	int rc = ds_task_check(t, 0, req->file, &t->perm);

	if (rc == 0)
		ds_task_attr(t, 0, req->file, NULL, &req->attr);
	if (rc)
		ds_task_finish(t, rc);
	else if (t->perm.type != DS_LNK)
		ds_task_why(t, DS_WRONG_TYPE);
	else
		ds_task_ask(t, readlink_asked);
}

void ds_do_readlink(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->req->file.object, 0, 1, readlink_looked);
}

static void statfs_looked(struct ds_task *t)
{
	int rc = ds_task_check(t, 0, t->req->file, &t->perm);

	if (rc == 0)
		ds_task_attr(t, 0, t->req->file, NULL, &t->req->attr);
	ds_task_finish(t, rc);
}

static void statfs_asked(struct ds_task *t)
{
	if (t->status || ds_is_snaps_dir(t->req->file))
		ds_task_finish(t, t->status);
	else
		ds_task_look(t, t->volume, t->req->file.object, 0, 1, statfs_looked);
}

void ds_do_statfs(struct ds_task *t)
{
	ds_task_ask(t, statfs_asked);
}

/* ---- READDIR -------------------------------------------------------------------------------- */

static void readdir_asked(struct ds_task *t);

static struct ds_handle entry_handle(const struct ds_task *t, const struct ds_name *n)
{
	struct ds_handle h = {n->object, n->generation, t->req->file.snapshot};

	if (ds_is_snaps_dir(t->req->file))
		h.snapshot = (uint32_t)(n->cookie - DS_SNAPS_COOKIE);
	return h;
}

/* One entry to the caller. */
static bool give(struct ds_task *t, unsigned i)
{
	const struct ds_batch *b = t->batch;
	struct ds_req *req = t->req;
	struct ds_attr attr;
	struct ds_entry e = {.cookie = b->entry[i].name.cookie,
			     .handle = entry_handle(t, &b->entry[i].name),
			     .type = b->entry[i].name.type,
			     .name = b->names + b->entry[i].at,
			     .name_len = b->entry[i].len};

	if (req->plus && !ds_is_snaps_dir(req->file)) {
		if (ds_record_check(b->change[i].now, e.handle))
			return true; /* gone meanwhile */
		ds_record_attr(b->change[i].now, b->change[i].mapped, e.handle, &attr);
		e.attr = &attr;
	}
	if (!req->entry(req, &e))
		return false;
	req->count++;
	return true;
}

static void readdir_give(struct ds_task *t)
{
	struct ds_batch *b = t->batch;

	for (unsigned i = 0; i < b->n; i++) {
		if (!give(t, i)) {
			ds_task_finish(t, 0);
			return;
		}
		t->at = b->entry[i].name.cookie;
	}
	if (b->last) {
		t->req->eof = true;
		ds_task_finish(t, 0);
		return;
	}
	ds_task_ask(t, readdir_asked);
}

static void record_done(struct bs_req *io)
{
	struct ds_task *t = io->arg;

	if (io->status)
		t->batch->status = io->status;
	if (--t->batch->pending)
		return;
	if (t->batch->status)
		ds_task_finish(t, t->batch->status);
	else
		readdir_give(t);
}

static void readdir_records(struct ds_task *t)
{
	struct ds_batch *b = t->batch;
	unsigned reqs = VS_DIV_UP(b->n, BS_CHANGES_MAX);

	for (unsigned i = 0; i < b->n; i++) {
		b->change[i].object = b->entry[i].name.object;
		b->change[i].check = b->change[i].end = BS_NO_WORD;
		b->change[i].set = b->change[i].add = 0;
	}
	b->pending = reqs;
	b->status = 0;
	for (unsigned i = 0; i < reqs; i++) {
		b->io[i] =
		    (struct bs_req){.op = BS_RECORDS,
				    .volume = t->volume,
				    .changes = b->change + i * BS_CHANGES_MAX,
				    .nchanges = VS_MIN(b->n - i * BS_CHANGES_MAX, BS_CHANGES_MAX),
				    .done = record_done,
				    .arg = t};
		bs_submit(t->c->port, &b->io[i]);
	}
}

static void readdir_asked(struct ds_task *t)
{
	if (t->status)
		ds_task_finish(t, t->status);
	else if (t->req->plus && t->batch->n && !ds_is_snaps_dir(t->req->file))
		readdir_records(t);
	else
		readdir_give(t);
}

static struct ds_handle parent(const struct ds_task *t)
{
	struct ds_handle h = t->req->file;

	if (ds_is_snaps_dir(h))
		return ds_root;
	if (h.snapshot && h.object == DS_ROOT_OBJECT)
		return ds_snaps_dir;
	return ds_record_parent(t->change[0].now, h.snapshot);
}

/* "." and "..", whose attributes the caller knows or can ask for. */
static bool give_dots(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_entry dot = {.cookie = DS_COOKIE_DOT,
			       .handle = req->file,
			       .type = DS_DIR,
			       .name = ".",
			       .name_len = 1,
			       .attr = &req->attr};
	struct ds_entry dotdot = {.cookie = DS_COOKIE_DOTDOT,
				  .handle = parent(t),
				  .type = DS_DIR,
				  .name = "..",
				  .name_len = 2};

	if (req->cookie < DS_COOKIE_DOT && !req->entry(req, &dot))
		return false;
	req->count += req->cookie < DS_COOKIE_DOT;
	if (req->cookie < DS_COOKIE_DOTDOT && !req->entry(req, &dotdot))
		return false;
	req->count += req->cookie < DS_COOKIE_DOTDOT;
	return true;
}

static void readdir_entries(struct ds_task *t)
{
	if (!give_dots(t)) {
		ds_task_finish(t, 0);
		return;
	}
	t->batch = malloc(sizeof(*t->batch));
	if (!t->batch) {
		ds_task_finish(t, VS_E_NOMEM);
		return;
	}
	t->at = VS_MAX(t->req->cookie, DS_COOKIE_DOTDOT);
	ds_task_ask(t, readdir_asked);
}

static void readdir_looked(struct ds_task *t)
{
	if (!directory(t, DS_R))
		return;
	t->req->attr = t->req->after;
	readdir_entries(t);
}

void ds_do_readdir(struct ds_task *t)
{
	if (t->req->cookie > INT64_MAX) { /* never given out */
		ds_task_finish_soon(t, VS_E_INVAL);
		t->req->why = DS_BAD_COOKIE;
		return;
	}
	if (ds_is_snaps_dir(t->req->file)) /* its attributes are there already */
		readdir_entries(t);
	else
		ds_task_look(t, t->volume, t->req->file.object, 0, 1, readdir_looked);
}
