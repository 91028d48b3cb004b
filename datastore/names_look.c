/* What requests that change nothing ask of the names. */
#include "datastore/batch.h"

#include "common/bytes.h"

#include <string.h>

/* Where the names of the request's directory are. */
static int database(struct ds_names *n, struct ds_task *t, struct ds_db **db)
{
	*db = &n->db;
	return t->req->file.snapshot ? ds_snap_db(n, t->snap, db) : 0;
}

static int find_snapshot(struct ds_names *n, struct ds_task *t)
{
	uint32_t id = 0;
	int rc = ds_snap_find(n, t->req->name, t->req->name_len, &id);

	t->found = (struct ds_handle){DS_ROOT_OBJECT, DS_ROOT_GENERATION, id};
	return rc ? rc : ds_snap_open(n, id, &t->snap);
}

static int find(struct ds_names *n, struct ds_task *t)
{
	const struct ds_req *req = t->req;
	struct ds_name found;
	struct ds_db *db;
	int rc;

	if (ds_is_snaps_dir(req->file))
		return find_snapshot(n, t);
	rc = database(n, t, &db);
	if (rc == 0)
		rc = ds_db_find(db, req->file.object, req->name, req->name_len, &found);
	if (rc == 0)
		t->found = (struct ds_handle){found.object, found.generation, req->file.snapshot};
	return rc;
}

static bool add_entry(void *arg, const struct ds_name *name, const char *bytes, size_t len)
{
	struct ds_batch *b = arg;
	uint16_t at = b->n ? (uint16_t)(b->entry[b->n - 1].at + b->entry[b->n - 1].len) : 0;

	if (len > DS_NAME_MAX || b->n == DS_BATCH_MAX)
		return false;
	b->entry[b->n].name = *name;
	b->entry[b->n].at = at;
	b->entry[b->n].len = (uint16_t)len;
	memcpy(b->names + at, bytes, len);
	b->n++;
	return true;
}

static int list(struct ds_names *n, struct ds_task *t)
{
	struct ds_batch *b = t->batch;
	struct ds_db *db;
	int rc;

	b->n = 0;
	if (ds_is_snaps_dir(t->req->file)) {
		rc = ds_snap_list(n, t->at, DS_BATCH_MAX, add_entry, b);
	} else {
		rc = database(n, t, &db);
		if (rc == 0)
			rc = ds_db_list(db, t->req->file.object, t->at, DS_BATCH_MAX, add_entry, b);
	}
	b->last = b->n < DS_BATCH_MAX;
	return rc;
}

static int target(struct ds_names *n, struct ds_task *t)
{
	struct ds_req *req = t->req;
	char bytes[DS_LINK_MAX];
	size_t len = 0, done = 0;
	struct ds_db *db;
	int rc = database(n, t, &db);

	if (rc == 0)
		rc = ds_db_target_get(db, req->file.object, bytes, &len);
	if (rc)
		return rc == VS_E_NOENT ? VS_E_STALE : rc;
	for (int i = 0; i < req->iovcnt && done < len; i++) {
		size_t part = VS_MIN(req->iov[i].iov_len, len - done);

		memcpy(req->iov[i].iov_base, bytes + done, part);
		done += part;
	}
	req->count = done;
	return done < len ? VS_E_TOOBIG : 0;
}

static int space(struct ds_names *n, struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct bs_store_info info;
	uint64_t files = n->vfs.base[DS_B_FILES], quota = atomic_load(&n->d->quota), used;
	int rc;

	bs_store_info(n->d->store, &info);
	req->fs_total = info.capacity_bytes;
	req->fs_free = info.capacity_bytes - VS_MIN(info.capacity_bytes, info.physical_used_bytes);
	req->fs_files = BS_OBJECTS - DS_FIRST_OBJECT;
	req->fs_files_free = req->fs_files - VS_MIN(req->fs_files, files);
	if (!quota)
		return 0;
	rc = bs_objects_mapped(n->d->volume, &used, NULL);
	if (rc)
		return rc;
	used *= BS_BLOCK;
	req->fs_total = quota;
	req->fs_free = VS_MIN(req->fs_free, quota - VS_MIN(quota, used));
	return 0;
}

void ds_names_look(struct ds_names *n, struct ds_task *t)
{
	if (t->opening) {
		t->status = ds_snap_open(
		    n, t->req->file.snapshot ? t->req->file.snapshot : t->req->other.snapshot,
		    &t->snap);
		ds_task_back(t);
		return;
	}
	switch (t->req->op) {
	case DS_READDIR:
		t->status = list(n, t);
		break;
	case DS_READLINK:
		t->status = target(n, t);
		break;
	case DS_STATFS:
		t->status = space(n, t);
		break;
	default:
		t->status = find(n, t);
	}
	ds_task_back(t);
}
