/*
 * A change of names and the records that belong to it, on its way to one commit. Records are looked
 * at when they are first needed; what view says holds what this transaction has changed so far.
 *
 * Threads: that of names. Bounds: BS_CHANGES_MAX records, the base record among them.
 */
#ifndef DS_TXN_H
#define DS_TXN_H

#include "datastore/db.h"

struct ds_txn {
	struct ds_db *db;
	unsigned n;
	struct bs_object_change change[BS_CHANGES_MAX]; /* [0]: base */
	uint64_t view[BS_CHANGES_MAX][BS_OBJECT_WORDS];
	unsigned flags; /* of the commit's request: BS_SPARE */
};

int ds_txn_begin(struct ds_txn *t, struct ds_db *db) vs_must_check;
/* Where the record stands; looked at, if it was not yet. VS_E_LIMIT: no room. */
int ds_txn_get(struct ds_txn *t, uint32_t object, unsigned *at) vs_must_check;
/* The same of a record that is known to be empty. */
int ds_txn_fresh(struct ds_txn *t, uint32_t object, unsigned *at) vs_must_check;
/* Looks at two records at once, where they are ones and were not looked at. */
int ds_txn_ahead(struct ds_txn *t, uint32_t object, uint32_t other) vs_must_check;
/* ds_txn_get of a file that the handle names. VS_E_STALE */
int ds_txn_file(struct ds_txn *t, struct ds_handle h, unsigned *at) vs_must_check;
void ds_txn_set(struct ds_txn *t, unsigned at, unsigned word, uint64_t value);
void ds_txn_add(struct ds_txn *t, unsigned at, unsigned word, int64_t delta);
void ds_txn_clear(struct ds_txn *t, unsigned at);	       /* all words */
void ds_txn_touch(struct ds_txn *t, unsigned at, int64_t now); /* ctime, change */
int ds_txn_commit(struct ds_txn *t) vs_must_check;	       /* else nothing has changed */
void ds_txn_rollback(struct ds_txn *t);

#endif
