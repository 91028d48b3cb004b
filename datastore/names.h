/*
 * The thread of a datastore that has its database: what is asked of names is done here. Changes
 * that wait together are committed together; while what was committed becomes durable, and before
 * it is answered, the thread goes on.
 *
 * Threads: tasks come by a post to its loop and go back by a post to theirs. Bounds: as many as all
 * clients have tasks.
 */
#ifndef DS_NAMES_H
#define DS_NAMES_H

#include "common/loop.h"
#include "datastore/node.h"
#include "datastore/txn.h"

#include <pthread.h>
#include <stdatomic.h>

#define DS_IDS_AHEAD 256u /* free objects that are known */
#define DS_APART_MAX 12u  /* files taken apart at once */

struct ds_task;
struct ds_store;
struct ds_names;

struct ds_line {
	struct ds_task *head, *tail;
};
void ds_line_put(struct ds_line *l, struct ds_task *t);
struct ds_task *ds_line_take(struct ds_line *l); /* NULL: nobody */

/* A call of another thread, which waits for it. */
struct ds_call {
	int (*fn)(struct ds_names *n, void *arg, struct vs_error *err);
	void *arg;
	struct vs_error *err;
	int rc;
	struct ds_names *names;
	struct vs_post post;
	struct ds_call *next;
	bool done; /* with the names' lock */
};

/* A file that has lost its last name, on its way out. */
struct ds_apart {
	struct ds_names *names;
	struct ds_node *node; /* NULL: free */
	struct ds_wait wait;
	struct bs_req io;
	struct bs_object_change change;
	bool emptied; /* its row and record can go */
};

struct ds_names {
	struct ds_store *d;
	pthread_t thread;
	struct vs_loop *loop;
	struct bs_port *port;
	struct ds_vfs vfs;
	struct ds_db db;
	struct ds_txn txn;
	bool opened;
	struct ds_line looks, changes; /* waiting */
	struct ds_line committed;      /* they are to be made durable */
	struct ds_line flushing;       /* by this request */
	struct bs_req flush;
	struct ds_call *calls;
	pthread_mutex_t lock;
	pthread_cond_t called; /* a call is done */
	bool stop;
	/* objects that are free, and where to look for more */
	uint32_t id[DS_IDS_AHEAD];
	unsigned nids;
	uint32_t next_id;
	/* orphans */
	struct ds_apart apart[DS_APART_MAX];
	unsigned napart, nemptied;
	bool orphans_known; /* what an earlier run, or a failure, left */
	uint32_t last_orphan;
	struct vs_timer again;
	struct vs_post orphan_post;
	atomic_bool orphan_posted;
};

/* The thread runs when this returns, with the database open. */
int ds_names_start(struct ds_names *n, struct ds_store *d, struct vs_error *err) vs_must_check;
void ds_names_stop(struct ds_names *n); /* no task is there any more */
/* Runs fn on the thread, between two tasks; waits. */
int ds_names_call(struct ds_names *n, int (*fn)(struct ds_names *, void *, struct vs_error *),
		  void *arg, struct vs_error *err) vs_must_check;
/* On the thread: closes all handles of the volume; opens the database of it, another one now. */
void ds_names_shut(struct ds_names *n);
int ds_names_reopen(struct ds_names *n, struct vs_error *err) vs_must_check;
void ds_names_take(struct vs_post *p); /* a task comes */
struct ds_task *
ds_names_next(struct ds_names *n);	   /* the first of those that wait leaves the line */
void ds_names_orphans(struct ds_names *n); /* any thread: some can be taken apart */

/* names_look.c */
void ds_names_look(struct ds_names *n, struct ds_task *t);

void ds_names_flush(struct ds_names *n); /* answers what is committed when it is durable */

/* names_change.c: the first of those that wait, and as many behind it as fit. */
void ds_names_change(struct ds_names *n);
bool ds_names_changes(const struct ds_task *t); /* whether it is one */

/* names_id.c: objects for new files. VS_E_LIMIT: none is free. */
int ds_names_id(struct ds_names *n, uint32_t *out) vs_must_check;
void ds_names_id_free(struct ds_names *n, uint32_t object);

/* names_apart.c */
/* Goes on with orphans. Whether there may be more to do at once. */
bool ds_names_apart(struct ds_names *n);
void ds_names_apart_stop(struct ds_names *n); /* what is half done is done at the next opening */

#endif
