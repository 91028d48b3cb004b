/*
 * A request on its way. A task belongs to its client, whose thread works on it step by step: step
 * is what goes on when what it waits for (the store, the names, its turn at a node) has come.
 * While the names have it, their thread has it alone.
 */
#ifndef DS_TASK_H
#define DS_TASK_H

#include "datastore/node.h"
#include "datastore/store_int.h"

struct ds_client {
	struct ds_store *d;
	struct vs_loop *loop;
	struct bs_port *port;
	unsigned *sharing; /* clients of the loop that have the port */
	struct ds_task *tasks, *free;
	unsigned busy;
	struct ds_req *head, *tail; /* no task for them yet; req->state_ is the next one */
	bool beginning;		    /* what is done already is told by the loop */
	bool paused;		    /* by a rollback: all wait */
	struct vs_post pause;	    /* the rollback's */
	bool pausing;		    /* with the store's lock: it is on its way */
	bool asked;		    /* it is to say when nothing is under way */
	struct ds_client *next;	    /* the store's */
};

/* Of a READDIR: what names found, on its way to the caller. */
struct ds_batch;

struct ds_task {
	struct ds_client *c;
	struct ds_req *req;
	void (*step)(struct ds_task *t);
	int status;				 /* what came */
	struct bs_volume *volume, *other_volume; /* that of file, of other */
	struct ds_snap *snap;			 /* in use: that of file, or of other */
	bool opening;				 /* it is asked for */
	struct ds_node *node, *other;
	struct ds_wait wait, other_wait;
	bool inside, other_inside;
	struct bs_req io;
	struct bs_object_change change[2]; /* of file, of what was found or other */
	struct ds_handle found;		   /* by the names */
	struct ds_perm perm;
	uint64_t at, end; /* a range that is worked on in pieces */
	unsigned tries;
	/* objects that a change of names has taken, left without a name, and freed; 0: none */
	uint32_t fresh, orphan, freed;
	struct ds_node *seized; /* of the object that is freed with its name; NULL */
	union {
		uint8_t *map;
		struct ds_batch *batch;
	};
	struct vs_post post;
	struct ds_task *next;
};

/* ---- client.c ---- */
void ds_task_finish(struct ds_task *t, int status);
/* The same, through the loop: not inside of ds_submit. */
void ds_task_finish_soon(struct ds_task *t, int status);
void ds_task_why(struct ds_task *t, enum ds_status why); /* finishes with VS_E_INVAL */
/* ---- task.c ---- */
/* Looks at n records of the volume (of change[]), then goes on with step. */
void ds_task_look(struct ds_task *t, struct bs_volume *v, uint32_t object, uint32_t other,
		  unsigned n, void (*step)(struct ds_task *));
void ds_task_submit(struct ds_task *t, void (*step)(struct ds_task *));
/* To the names and back. */
void ds_task_ask(struct ds_task *t, void (*step)(struct ds_task *));
void ds_task_back(struct ds_task *t); /* names' thread: it is answered */
/* Enters the node of a file of this datastore, then goes on. */
void ds_task_enter(struct ds_task *t, uint32_t object, bool alone, void (*step)(struct ds_task *));
struct bs_object_change *ds_task_change(struct ds_task *t, unsigned i, uint32_t object);
/* change[i] as it is and was, to the request's attr, before, after; NULL: not asked for. */
void ds_task_attr(const struct ds_task *t, unsigned i, struct ds_handle h, struct ds_attr *before,
		  struct ds_attr *after);
/* As ds_record_check, of change[i] as it was looked at; and its permissions. */
int ds_task_check(struct ds_task *t, unsigned i, struct ds_handle h,
		  struct ds_perm *out) vs_must_check;
int64_t ds_now(void);
/* Any thread but a client's: nothing is under way, and nothing begins, until they resume. */
void ds_clients_pause(struct ds_store *d);
void ds_clients_resume(struct ds_store *d);
static inline bool ds_same(struct ds_handle a, struct ds_handle b)
{
	return a.object == b.object && a.generation == b.generation && a.snapshot == b.snapshot;
}

/* ---- what each operation begins with ---- */
void ds_do_getattr(struct ds_task *t);
void ds_do_access(struct ds_task *t);
void ds_do_setattr(struct ds_task *t);
void ds_do_allocate(struct ds_task *t);
void ds_do_read(struct ds_task *t);
void ds_do_write(struct ds_task *t);
void ds_do_commit(struct ds_task *t);
void ds_do_deallocate(struct ds_task *t);
void ds_do_seek(struct ds_task *t);
void ds_do_clone(struct ds_task *t);
void ds_do_lookup(struct ds_task *t);
void ds_do_readlink(struct ds_task *t);
void ds_do_readdir(struct ds_task *t);
void ds_do_statfs(struct ds_task *t);
void ds_do_change(struct ds_task *t); /* of names */

/* The size of a file that CREATE has found. */
void ds_setattr_size(struct ds_task *t, struct ds_handle file);

/* READ and WRITE of a file that is no regular one. */
static inline enum ds_status ds_not_regular(enum ds_type type)
{
	return type == DS_DIR ? DS_IS_DIR : DS_WRONG_TYPE;
}

#endif
