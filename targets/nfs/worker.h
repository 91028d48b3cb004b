/*
 * A worker: a thread with a loop, its connections, and its own copy of what is shared.
 *
 * The functions here are called by the server, on any thread but a worker's. lock and changed are
 * the server's; what is under the lock says so.
 */
#ifndef NFS_WORKER_H
#define NFS_WORKER_H

#include "targets/nfs/conn.h"

/* What is shared, as the server has it; under the lock. */
struct nfs_share {
	struct nfs_share *next;
	uint64_t id; /* never given again */
	char name[NFS_SHARE_NAME_MAX];
	struct ds_store *store;
	unsigned nrules;
	struct nfs_match rules[NFS_RULES_MAX];
};

struct nfs_shares {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a worker's state, or what it has seen */
	struct nfs_share *list;
	unsigned count;
	uint64_t version; /* grows with each change */
	uint64_t next_id;
};

struct nfs_listener {
	struct vs_watch watch;
	struct vs_timer pause; /* runs while the process is out of descriptors */
	struct nfs_acceptor *acceptor;
	bool portmap;
};

struct nfs_acceptor {
	struct nfs_thread *thread; /* whose loop watches the listeners */
	struct nfs_thread *const *threads;
	unsigned nthreads;
	struct nfs_listener listeners[NFS_LISTEN_MAX];
	unsigned nlisteners;
	bool open; /* under the lock */
	bool watching;
};

struct nfs_thread {
	struct nfs_worker w;
	struct nfs_shares *shares;
	struct nfs_acceptor *acceptor; /* NULL: another thread's */
	pthread_t thread;
	bool started;
	unsigned limit;	  /* connections */
	atomic_uint load; /* connections given to it */
	atomic_bool stopping;
	uint64_t adopted; /* the version of the shares that served is made from */
	/* under the lock */
	struct vs_post post;
	bool posted;
	struct nfs_accepted *inbox; /* room for limit */
	unsigned ninbox;
	uint64_t seen;	       /* adopted, and nothing that is not in it is in use */
	struct vs_error error; /* why a share of that version could not be opened */
};

/* key seals handles. */
int nfs_thread_start(struct nfs_shares *shares, struct nfs_common *common, unsigned limit,
		     const uint8_t *key, size_t key_len, struct nfs_thread **out,
		     struct vs_error *err) vs_must_check;
/* Makes it look at its inbox, the shares, the acceptor and stopping; the lock is held. */
void nfs_thread_poke(struct nfs_thread *t);
/* Stops and joins all of n; then they are freed. */
void nfs_threads_stop(struct nfs_shares *shares, struct nfs_thread **t, unsigned n);

/* accept.c */

void nfs_accept_add(struct nfs_acceptor *a, int fd, bool portmap);
/* On the acceptor's thread. */
void nfs_accept_open(struct nfs_acceptor *a);
void nfs_accept_close(struct nfs_acceptor *a);

#endif
