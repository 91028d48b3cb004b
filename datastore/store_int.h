/*
 * An open datastore. Its fields are set when it is opened, or have a lock of their own; the names
 * belong to their thread.
 */
#ifndef DS_STORE_INT_H
#define DS_STORE_INT_H

#include "datastore/names.h"
#include "datastore/node.h"
#include "datastore/snap.h"

struct ds_tune {
	uint64_t cache;	      /* bytes that the database may keep in memory */
	unsigned scatter_max; /* pages of a commit by the short way */
	unsigned hash_bits;   /* of cookies */
};
extern const struct ds_tune ds_tune_default;

struct ds_store {
	struct bs_store *store;
	struct bs_volume *volume; /* another one after a rollback, during which all wait */
	struct vs_uuid uuid;
	struct ds_tune tune;
	struct ds_nodes nodes;
	struct ds_names names;
	_Atomic uint64_t quota;	       /* bytes; 0: none */
	pthread_mutex_t rollback;      /* one at a time */
	bool failed;		       /* the volume could not be opened after one */
	_Atomic int64_t snaps_changed; /* grows with each snapshot that comes or goes */
	pthread_mutex_t lock;	       /* of what follows */
	struct ds_client *clients;
	bool paused; /* by a rollback: clients begin nothing */
	unsigned
	    asked; /* clients that have not answered yet: that they are idle, that they go on */
	pthread_cond_t answered; /* one has */
	struct ds_snap snap[DS_SNAPS_MAX];
	uint64_t snaps_used;
};

/* For tests: with other figures. */
int ds_open_tuned(struct bs_store *s, const char *name, const struct ds_tune *tune,
		  struct ds_store **out, struct vs_error *err) vs_must_check;

#endif
