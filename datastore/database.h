/*
 * A SQLite database in a volume of the node's own (blockstore/object.h), through the VFS of
 * datastores: each commit is one atomic request, durable when it returns, and of at most 16 MiB.
 *
 * Ownership: ds_database_open gives what ds_database_close takes back; the store outlives it. The
 * connection is the database's, its statements are the caller's. Threads: one at a time, under a
 * lock of the caller's; ds_database_rest before it is given up. Errors: VS_E_*.
 */
#ifndef DS_DATABASE_H
#define DS_DATABASE_H

#include "blockstore/store.h"

#include <sqlite3.h>

struct ds_database;

/*
 * Makes it where there is none, unless read_only. magic: whose it is; not 0, nor a datastore's.
 * cache: bytes that SQLite may keep. VS_E_NOENT: there is none; VS_E_NOTSUP: the volume has
 * something else in it.
 */
int ds_database_open(struct bs_store *s, const char *name, uint64_t magic, uint64_t cache,
		     bool read_only, struct ds_database **out, struct vs_error *err) vs_must_check;
void ds_database_close(struct ds_database *d); /* after the statements */
sqlite3 *ds_database_sqlite(struct ds_database *d);
/* VS_E_* of the store in the last call that failed; 0: it was SQLite's own. */
const int *ds_database_status(const struct ds_database *d);
/*
 * Before each transaction that changes something. spare: it may take from what a full store keeps
 * for deletions. After each one that failed and was rolled back: recovered.
 */
void ds_database_begin(struct ds_database *d, bool spare);
void ds_database_recovered(struct ds_database *d);
/* Tells the engine what it gets back; else it might wait for the next call. */
void ds_database_rest(struct ds_database *d);

#endif
