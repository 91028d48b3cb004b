/* Snapshots made, deleted and rolled back to: calls of management, which wait. */
#include "datastore/task.h"

#include <stdio.h>
#include <time.h>

static int full_name(struct ds_store *d, const char *name, char full[BS_FULL_NAME_MAX],
		     struct bs_volume_info *volume, struct vs_error *err)
{
	int rc = bs_volume_find_uuid(d->store, &d->uuid, volume, err);

	if (rc)
		return rc;
	if (snprintf(full, BS_FULL_NAME_MAX, "%s@%s", volume->name, name) >= BS_FULL_NAME_MAX)
		return vs_fail(err, VS_E_INVAL, "the snapshot's name is too long");
	return 0;
}

static void changed(struct ds_store *d)
{
	int64_t now = ds_now(), before = atomic_load(&d->snaps_changed);

	atomic_store(&d->snaps_changed, now > before ? now : before + 1);
}

/* Between two commits, and with nothing staged: so it can be looked into without a redo. */
static int create(struct ds_names *n, void *arg, struct vs_error *err)
{
	char full[BS_FULL_NAME_MAX];
	const char *fulls[] = {full};
	struct bs_volume_info volume;
	int rc = full_name(n->d, arg, full, &volume, err);

	if (rc)
		return rc;
	if (n->vfs.staged) {
		rc = ds_vfs_settle(&n->vfs);
		if (rc)
			return vs_fail(err, rc, "the last change of names cannot be finished: %s",
				       vs_err_text(rc));
	}
	rc = bs_snapshot_create(n->d->store, fulls, 1, err);
	if (rc == 0)
		changed(n->d);
	return rc;
}

int ds_snapshot_create(struct ds_store *d, const char *name, struct vs_error *err)
{
	return ds_names_call(&d->names, create, (void *)(uintptr_t)name, err);
}

static int delete (struct ds_names *n, void *arg, struct vs_error *err)
{
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info info;
	int rc = full_name(n->d, arg, full, &info, err);

	if (rc == 0)
		rc = bs_volume_find(n->d->store, full, &info, err);
	if (rc == 0)
		rc = ds_snap_close(n, (uint32_t)info.id);
	if (rc)
		return rc;
	rc = bs_snapshot_delete(n->d->store, full, err);
	if (rc == 0)
		changed(n->d);
	return rc;
}

int ds_snapshot_delete(struct ds_store *d, const char *name, struct vs_error *err)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	int rc;

	do { /* requests that look into it end, and no new ones begin */
		rc = ds_names_call(&d->names, delete, (void *)(uintptr_t)name, err);
		if (rc == VS_E_AGAIN)
			(void)nanosleep(&moment, NULL);
	} while (rc == VS_E_AGAIN);
	return rc;
}

/* Nothing is under way. If the volume cannot be opened again all requests fail. */
static int roll_back(struct ds_names *n, void *arg, struct vs_error *err)
{
	struct ds_store *d = n->d;
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info volume;
	uint64_t quota = atomic_load(&d->quota);
	int rc = full_name(d, arg, full, &volume, err), again;

	if (rc == 0)
		rc = bs_volume_find(d->store, full, NULL, err);
	if (rc)
		return rc;
	ds_names_shut(n);
	bs_volume_close(d->volume);
	d->volume = NULL;
	rc = bs_snapshot_rollback(d->store, full, err);
	again = bs_objects_open(d->store, volume.name, &d->volume, rc ? NULL : err);
	if (again == 0) {
		again = ds_names_reopen(n, rc ? NULL : err);
		bs_objects_limit(d->volume, quota / BS_BLOCK);
	}
	ds_nodes_forget(&d->nodes);
	d->failed = again != 0;
	return rc ? rc : again;
}

int ds_snapshot_rollback(struct ds_store *d, const char *name, struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&d->rollback);
	ds_clients_pause(d);
	rc = ds_names_call(&d->names, roll_back, (void *)(uintptr_t)name, err);
	ds_clients_resume(d);
	pthread_mutex_unlock(&d->rollback);
	return rc;
}
