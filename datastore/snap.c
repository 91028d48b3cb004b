#include "datastore/snap.h"

#include "datastore/task.h"

#include "common/bytes.h"

#include <stdio.h>
#include <string.h>

#define CACHE_SHARE 8u /* of what the datastore's own database may keep */
#define PAGE 32u       /* volumes listed at once */

const struct ds_handle ds_snaps_dir = {DS_BASE, 1, 0};

bool ds_is_snaps_name(struct ds_handle dir, const char *name, size_t len)
{
	return ds_same(dir, ds_root) && len == sizeof(DS_SNAPS_NAME) - 1 &&
	       memcmp(name, DS_SNAPS_NAME, len) == 0;
}

void ds_snaps_attr(struct ds_store *d, struct ds_attr *out)
{
	int64_t changed = atomic_load(&d->snaps_changed);

	*out = (struct ds_attr){.handle = ds_snaps_dir,
				.type = DS_DIR,
				.mode = 0555,
				.links = 2,
				.atime = changed,
				.mtime = changed,
				.ctime = changed,
				.btime = changed,
				.change = (uint64_t)changed};
}

struct ds_snap *ds_snap_get(struct ds_store *d, uint32_t id)
{
	struct ds_snap *found = NULL;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < DS_SNAPS_MAX && !found; i++)
		if (d->snap[i].id == id && !d->snap[i].closing)
			found = &d->snap[i];
	if (found) {
		found->users++;
		found->used = ++d->snaps_used;
	}
	pthread_mutex_unlock(&d->lock);
	return found;
}

void ds_snap_put(struct ds_store *d, struct ds_snap *snap)
{
	pthread_mutex_lock(&d->lock);
	VS_ASSERT(snap->users > 0);
	snap->users--;
	pthread_mutex_unlock(&d->lock);
}

static void shut(struct ds_store *d, struct ds_snap *snap)
{
	if (snap->named) {
		ds_db_close(&snap->db);
		ds_vfs_close(&snap->vfs);
	}
	snap->named = false;
	bs_volume_close(snap->volume);
	pthread_mutex_lock(&d->lock);
	snap->id = 0;
	snap->closing = false;
	pthread_mutex_unlock(&d->lock);
}

/* A free place: the one whose snapshot was used longest ago gives way. */
static struct ds_snap *room(struct ds_store *d)
{
	struct ds_snap *best = NULL;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < DS_SNAPS_MAX; i++) {
		struct ds_snap *s = &d->snap[i];

		if (s->users)
			continue;
		if (!best || (best->id && (!s->id || s->used < best->used)))
			best = s;
	}
	if (best && best->id)
		best->closing = true;
	pthread_mutex_unlock(&d->lock);
	if (best && best->id)
		shut(d, best);
	return best;
}

static bool is_ours(const struct ds_store *d, const struct bs_volume_info *info)
{
	return info->snapshot && info->objects && info->id <= UINT32_MAX &&
	       vs_uuid_equal(&info->origin, &d->uuid);
}

static int full_name(struct ds_names *n, uint32_t id, char full[BS_FULL_NAME_MAX])
{
	struct bs_volume_info info;
	size_t found;
	int rc = bs_volume_list(n->d->store, id - 1, &info, 1, &found, NULL);

	if (rc == 0 && (!found || info.id != id || !is_ours(n->d, &info)))
		rc = VS_E_STALE;
	if (rc == 0)
		(void)snprintf(full, BS_FULL_NAME_MAX, "%s@%s", info.name, info.snap);
	return rc;
}

int ds_snap_open(struct ds_names *n, uint32_t id, struct ds_snap **out)
{
	struct ds_snap *snap = ds_snap_get(n->d, id);
	char full[BS_FULL_NAME_MAX];
	struct bs_volume *volume;
	int rc = 0;

	*out = snap;
	if (snap)
		return 0;
	rc = full_name(n, id, full);
	if (rc)
		return rc;
	snap = room(n->d);
	if (!snap)
		return VS_E_AGAIN;
	rc = bs_objects_open(n->d->store, full, &volume, NULL);
	if (rc)
		return rc == VS_E_NOENT ? VS_E_STALE : rc;
	pthread_mutex_lock(&n->d->lock);
	*snap =
	    (struct ds_snap){.id = id, .users = 1, .used = ++n->d->snaps_used, .volume = volume};
	pthread_mutex_unlock(&n->d->lock);
	*out = snap;
	return 0;
}

int ds_snap_db(struct ds_names *n, struct ds_snap *snap, struct ds_db **out)
{
	int rc = 0;

	*out = &snap->db;
	if (snap->named)
		return 0;
	rc = ds_vfs_open(&snap->vfs, n->port, snap->volume, DS_MAGIC, true, false, NULL);
	if (rc == 0) {
		rc = ds_db_open(&snap->db, &snap->vfs, n->d->tune.cache / CACHE_SHARE, false, NULL);
		if (rc)
			ds_db_close(&snap->db);
	}
	if (rc)
		ds_vfs_close(&snap->vfs);
	snap->named = rc == 0;
	snap->db.hash_bits = n->db.hash_bits;
	return rc;
}

int ds_snap_find(struct ds_names *n, const char *name, size_t len, uint32_t *id)
{
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info info;
	int rc = bs_volume_find_uuid(n->d->store, &n->d->uuid, &info, NULL);

	if (rc)
		return rc;
	if (len >= BS_NAME_MAX || memchr(name, '@', len))
		return VS_E_NOENT;
	(void)snprintf(full, sizeof(full), "%s@%.*s", info.name, (int)len, name);
	rc = bs_volume_find(n->d->store, full, &info, NULL);
	if (rc == 0 && !is_ours(n->d, &info))
		rc = VS_E_NOENT;
	*id = (uint32_t)info.id;
	return rc == VS_E_INVAL ? VS_E_NOENT : rc;
}

int ds_snap_list(struct ds_names *n, uint64_t after, unsigned max,
		 bool (*each)(void *arg, const struct ds_name *n, const char *name, size_t len),
		 void *arg)
{
	struct bs_volume_info info[PAGE];
	uint64_t id = after > DS_SNAPS_COOKIE ? after - DS_SNAPS_COOKIE : 0;
	unsigned given = 0;
	size_t found;

	do {
		int rc = bs_volume_list(n->d->store, id, info, PAGE, &found, NULL);

		if (rc)
			return rc;
		for (size_t i = 0; i < found && given < max; i++) {
			struct ds_name name = {.cookie = DS_SNAPS_COOKIE + info[i].id,
					       .object = DS_ROOT_OBJECT,
					       .generation = DS_ROOT_GENERATION,
					       .type = DS_DIR};

			id = info[i].id;
			if (!is_ours(n->d, &info[i]))
				continue;
			if (!each(arg, &name, info[i].snap, strlen(info[i].snap)))
				return 0;
			given++;
		}
	} while (found == PAGE && given < max);
	return 0;
}

int ds_snap_close(struct ds_names *n, uint32_t id)
{
	struct ds_snap *found = NULL;
	bool busy = false;

	pthread_mutex_lock(&n->d->lock);
	for (unsigned i = 0; i < DS_SNAPS_MAX; i++) {
		if (n->d->snap[i].id != id)
			continue;
		found = &n->d->snap[i];
		found->closing = true;
		busy = found->users > 0;
	}
	pthread_mutex_unlock(&n->d->lock);
	if (busy)
		return VS_E_AGAIN;
	if (found)
		shut(n->d, found);
	return 0;
}

void ds_snap_close_all(struct ds_names *n)
{
	for (unsigned i = 0; i < DS_SNAPS_MAX; i++)
		if (n->d->snap[i].id)
			shut(n->d, &n->d->snap[i]);
}
