/* The directory of snapshots: what can be asked of it. */
#include "datastore/name.h"
#include "datastore/task.h"

static void root_looked(struct ds_task *t)
{
	struct ds_perm perm;
	int rc = ds_task_check(t, 0, t->found, &perm);

	if (rc == 0)
		ds_task_attr(t, 0, t->found, NULL, &t->req->attr);
	ds_task_finish(t, rc);
}

static void found(struct ds_task *t)
{
	if (t->status) {
		ds_task_finish(t, t->status == VS_E_STALE ? VS_E_NOENT : t->status);
		return;
	}
	t->volume = t->snap->volume;
	ds_task_look(t, t->volume, DS_ROOT_OBJECT, 0, 1, root_looked);
}

static void lookup(struct ds_task *t)
{
	struct ds_req *req = t->req;

	ds_snaps_attr(t->c->d, &req->after);
	if (ds_name_is_dotdot(req->name, req->name_len)) {
		t->found = ds_root;
		ds_task_look(t, t->volume, DS_ROOT_OBJECT, 0, 1, root_looked);
	} else if (ds_name_is_dot(req->name, req->name_len)) {
		req->attr = req->after;
		ds_task_finish_soon(t, 0);
	} else if (ds_name_check(req->name, req->name_len, &req->why)) {
		ds_task_finish_soon(t, VS_E_INVAL);
	} else {
		ds_task_ask(t, found);
	}
}

void ds_do_snaps(struct ds_task *t)
{
	struct ds_req *req = t->req;

	ds_snaps_attr(t->c->d, &req->attr);
	switch (req->op) {
	case DS_LOOKUP:
		lookup(t);
		return;
	case DS_ACCESS:
		req->access &= DS_MAY_READ | DS_MAY_LOOKUP;
		ds_task_finish_soon(t, 0);
		return;
	case DS_READDIR:
		ds_do_readdir(t);
		return;
	case DS_STATFS:
		ds_do_statfs(t);
		return;
	case DS_GETATTR:
	case DS_COMMIT:
		ds_task_finish_soon(t, 0);
		return;
	case DS_READ:
	case DS_SEEK:
	case DS_READLINK:
		req->why = req->op == DS_READLINK ? DS_WRONG_TYPE : DS_IS_DIR;
		ds_task_finish_soon(t, VS_E_INVAL);
		return;
	default:
		ds_task_finish_soon(t, VS_E_ROFS);
	}
}
