/*
 * Who is remembered over a restart: clients that have said RECLAIM_COMPLETE, which is before they
 * open anything, and while the grace period lasts those that may still come back.
 *
 * A thread of its own gives the list to the embedder whenever it has changed; whoever must be on it
 * waits. Functions that end in _locked: the state's lock is held. Errors: VS_E_*.
 */
#ifndef NFS_NFS4_KEEP_H
#define NFS_NFS4_KEEP_H

#include "common/loop.h"
#include "targets/nfs/nfs4_state.h"
#include "targets/nfs/server.h"

struct nfs4_waiter {
	struct vs_loop *loop;
	struct vs_post woken; /* called on loop */
	struct nfs4_waiter *next;
	uint64_t number;
};

/* Loads who is remembered, and begins the grace period if somebody is. Without a keeper: nothing.
 */
int nfs4_keep_start(struct nfs4_state *s, const struct nfs_keeper *keeper,
		    struct vs_error *err) vs_must_check;
/* When no request is under way any more. What is kept stays. */
void nfs4_keep_stop(struct nfs4_state *s);

/* The list is another now. */
void nfs4_keep_changed_locked(struct nfs4_state *s);
/* False: w need not wait. True: it is woken when what was changed up to now is kept. */
bool nfs4_keep_wait_locked(struct nfs4_state *s, struct nfs4_waiter *w);

/* nfs4_keep_format.c: the list as bytes. */
#define NFS4_KEPT_MAX (8u + (size_t)NFS4_CLIENTS_MAX * (4 + NFS4_OPAQUE_MAX))
size_t nfs4_kept_encode(const struct nfs_bytes *owners, unsigned n, uint8_t to[NFS4_KEPT_MAX]);
/* How many owners, which point into from; VS_E_CORRUPT. */
int nfs4_kept_decode(const uint8_t *from, size_t len, struct nfs_bytes owners[NFS4_CLIENTS_MAX],
		     unsigned *n) vs_must_check;

#endif
