/*
 * Snapshots that are looked into: the volume's handle, and its database of names once somebody asks
 * for one. The directory ".snapshots" of the root, whose entries they are, is of object 0, which no
 * file has; it is not listed in the root, so that what walks a tree does not walk all snapshots.
 *
 * Threads: opened and closed by the names' thread; found by any, with the datastore's lock.
 * Bounds: DS_SNAPS_MAX are open, the one that was used longest ago makes room.
 */
#ifndef DS_SNAP_H
#define DS_SNAP_H

#include "datastore/db.h"

#define DS_SNAPS_MAX 8u
#define DS_SNAPS_NAME ".snapshots"
#define DS_SNAPS_COOKIE 3u /* and the snapshot's id: where it stands in the directory */

struct ds_store;
struct ds_names;
struct ds_task;

struct ds_snap {
	uint32_t id; /* 0: none */
	unsigned users;
	bool closing; /* nobody gets it any more */
	uint64_t used;
	struct bs_volume *volume;
	bool named; /* the database is open */
	struct ds_vfs vfs;
	struct ds_db db;
};

extern const struct ds_handle ds_snaps_dir;
static inline bool ds_is_snaps_dir(struct ds_handle h)
{
	return h.object == ds_snaps_dir.object && h.generation == ds_snaps_dir.generation &&
	       !h.snapshot;
}
bool ds_is_snaps_name(struct ds_handle dir, const char *name, size_t len);
void ds_snaps_attr(struct ds_store *d, struct ds_attr *out);

/* Any thread. NULL: it is not open. Until ds_snap_put. */
struct ds_snap *ds_snap_get(struct ds_store *d, uint32_t id);
void ds_snap_put(struct ds_store *d, struct ds_snap *snap);

/* Names' thread. VS_E_STALE: there is none, VS_E_AGAIN: too many are in use. */
int ds_snap_open(struct ds_names *n, uint32_t id, struct ds_snap **out) vs_must_check;
int ds_snap_db(struct ds_names *n, struct ds_snap *snap, struct ds_db **out) vs_must_check;
int ds_snap_find(struct ds_names *n, const char *name, size_t len, uint32_t *id) vs_must_check;
/* Up to max ids and names behind the cookie. */
int ds_snap_list(struct ds_names *n, uint64_t after, unsigned max,
		 bool (*each)(void *arg, const struct ds_name *n, const char *name, size_t len),
		 void *arg) vs_must_check;
/* VS_E_AGAIN: it is in use. It is closed if it was open. */
int ds_snap_close(struct ds_names *n, uint32_t id) vs_must_check;
void ds_snap_close_all(struct ds_names *n); /* nobody uses them */

/* What is asked of the directory. */
void ds_do_snaps(struct ds_task *t);

#endif
