/*
 * Changes of names, each into a transaction. What can refuse one is looked at first; only then
 * something is changed, so that a change that is refused leaves no trace in a transaction that
 * others share. One that fails later (VS_E_IO and the like, from the database) spoils it.
 */
#ifndef DS_CHANGE_H
#define DS_CHANGE_H

#include "datastore/task.h"

struct ds_change {
	struct ds_names *n;
	struct ds_txn *txn;
	struct ds_task *t;
	struct ds_req *req;
	int64_t now;
	bool careful; /* once more, after a failure: nothing that may be refused again */
	bool changed; /* out: something was */
};

/* A directory and what is in it. */
struct ds_place {
	struct ds_handle dir;
	unsigned at; /* its record */
	struct ds_perm perm;
	const char *name;
	size_t len;
	struct ds_name found; /* what the name means, or where it would stand */
	bool there;
	unsigned file; /* its record, when that has been looked at */
	struct ds_perm file_perm;
};

/* The place, which must be a directory that the caller may search; before: its attributes. */
int ds_place_find(struct ds_change *c, struct ds_handle dir, const char *name, size_t len,
		  struct ds_attr *before, struct ds_place *p) vs_must_check;
int ds_place_file(struct ds_change *c, struct ds_place *p) vs_must_check; /* p->file */
int ds_place_may_add(struct ds_change *c, const struct ds_place *p) vs_must_check;
int ds_place_may_remove(struct ds_change *c, const struct ds_place *p) vs_must_check;
/* An entry more or less, which is a directory or not. */
void ds_place_count(struct ds_change *c, const struct ds_place *p, int entries, int dirs);
void ds_place_after(struct ds_change *c, const struct ds_place *p, struct ds_attr *after);
/* The file has one name less; the last one takes it along. A directory goes at once. */
int ds_change_unname(struct ds_change *c, const struct ds_place *p) vs_must_check;
int ds_change_why(struct ds_change *c, enum ds_status why); /* VS_E_INVAL */

int ds_change_create(struct ds_change *c) vs_must_check;
int ds_change_link(struct ds_change *c) vs_must_check;
int ds_change_remove(struct ds_change *c) vs_must_check;
int ds_change_rmdir(struct ds_change *c) vs_must_check;
int ds_change_rename(struct ds_change *c) vs_must_check;

#endif
