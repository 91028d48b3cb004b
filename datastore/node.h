/*
 * Files in use. A node is what requests that change a file meet at: those that may run beside each
 * other (WRITE) enter it shared, those that change a range in several steps (a new size, holes,
 * clones, taking the file apart) alone. Who has to wait is told on its own loop, first come first
 * served, so no thread ever waits here.
 *
 * It also keeps who may do what with the file, so that a write need not ask for it. That changes
 * only by requests that have entered alone, and is learned only by those that have entered.
 *
 * Threads: any; one mutex for all nodes of a datastore, held for a few lines.
 * Bounds: nodes that nobody uses are kept up to a fixed number, the least recently used goes first;
 * those in use are as many as there are requests and holders.
 */
#ifndef DS_NODE_H
#define DS_NODE_H

#include "common/loop.h"
#include "datastore/record_format.h"

#include <pthread.h>

#define DS_NODE_BUCKETS 4096u
#define DS_NODES_KEPT 8192u

/* Owned by who enters, until it leaves. granted is called on loop, if entering had to wait. */
struct ds_wait {
	struct vs_loop *loop;
	void (*granted)(struct ds_wait *w);
	bool alone;
	struct vs_post post; /* private, as is what follows */
	struct ds_wait *next;
};

struct ds_node {
	uint32_t object;
	unsigned users; /* requests that have it */
	unsigned holds; /* ds_hold */
	unsigned inside;
	bool alone;  /* the one inside wants nobody beside it */
	bool orphan; /* has lost its last name and waits to be taken apart; stays until then */
	bool known;  /* what follows holds */
	uint32_t generation;
	struct ds_perm perm;
	struct ds_wait *first, *last;
	struct ds_node *chain;
	struct ds_node *newer, *older; /* while nobody uses it */
	bool listed;		       /* among those that can be taken apart */
	bool going;  /* it is being taken apart: who holds it now comes too late */
	bool seized; /* it may be gone in a moment: nobody can hold it now */
	struct ds_node *next_orphan;
};

struct ds_nodes {
	pthread_mutex_t lock;
	struct ds_node *bucket[DS_NODE_BUCKETS];
	struct ds_node *newest, *oldest;
	unsigned kept;
	struct ds_node *orphans; /* nobody holds them */
};

void ds_nodes_init(struct ds_nodes *all);
void ds_nodes_destroy(struct ds_nodes *all);
/* NULL: out of memory. Until ds_node_put. */
struct ds_node *ds_node_get(struct ds_nodes *all, uint32_t object);
void ds_node_put(struct ds_nodes *all, struct ds_node *n);
/* Whether it is inside now; else w->granted will say so. */
bool ds_node_enter(struct ds_nodes *all, struct ds_node *n, struct ds_wait *w);
void ds_node_leave(struct ds_nodes *all, struct ds_node *n, const struct ds_wait *w);
/* 0; VS_E_STALE: the file is gone; VS_E_AGAIN: not known, look at the record. Inside. */
int ds_node_perm(struct ds_nodes *all, struct ds_node *n, uint32_t generation,
		 struct ds_perm *out) vs_must_check;
void ds_node_learn(struct ds_nodes *all, struct ds_node *n, uint32_t generation,
		   const struct ds_perm *perm);
/* Nothing is known any more, nor which are orphans. Nobody is inside. */
void ds_nodes_forget(struct ds_nodes *all);

/* The node, with the caller alone inside, if nobody uses or holds it; until ds_node_yield. NULL */
struct ds_node *ds_node_seize(struct ds_nodes *all, uint32_t object);
void ds_node_yield(struct ds_nodes *all, struct ds_node *n);

/* VS_E_NOMEM; VS_E_AGAIN: it is seized. */
int ds_node_hold(struct ds_nodes *all, uint32_t object) vs_must_check;
/* Whether an orphan can be taken apart now. */
bool ds_node_release(struct ds_nodes *all, uint32_t object);
/* The file has lost its last name: it comes when nobody holds it. VS_E_NOMEM: at next open. */
int ds_node_orphan(struct ds_nodes *all, uint32_t object) vs_must_check;
/* One that can be taken apart, in use by the caller; NULL: none. */
struct ds_node *ds_node_next_orphan(struct ds_nodes *all);
void ds_node_apart(struct ds_nodes *all, struct ds_node *n); /* it has been */

#endif
