/*
 * Who is remembered over a restart: clients that have said RECLAIM_COMPLETE, which is before they
 * open anything; whoever has locks of NFSv3, or waits for one; and while the grace period lasts
 * those that may still come back. With them the state number of the status monitor (NSM), which is
 * odd and another with each start.
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

/* Whoever has locks of NFSv3: who must hear that the server has restarted, and from where. */
struct nfs4_kept_host {
	struct nfs_address client, server;
};

/* Hosts with locks of NFSv3, at most */
#define NFS_NLM_HOSTS_MAX 1024u

struct nfs4_kept {
	unsigned n;
	struct nfs_bytes owners[NFS4_CLIENTS_MAX];
	uint32_t nsm_state;
	unsigned nhosts;
	struct nfs4_kept_host hosts[NFS_NLM_HOSTS_MAX];
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
/* The number of the last change, and whether the list is kept as it was by then. */
uint64_t nfs4_keep_number_locked(const struct nfs4_state *s);
bool nfs4_keep_has_locked(const struct nfs4_state *s, uint64_t number);

/* nfs4_keep_format.c: the list as bytes. */
#define NFS4_KEPT_MAX                                             \
	(16u + (size_t)NFS4_CLIENTS_MAX * (4 + NFS4_OPAQUE_MAX) + \
	 (size_t)NFS_NLM_HOSTS_MAX * sizeof(struct nfs4_kept_host))
size_t nfs4_kept_encode(const struct nfs4_kept *kept, uint8_t to[NFS4_KEPT_MAX]);
/* The owners point into from. VS_E_CORRUPT. */
int nfs4_kept_decode(const uint8_t *from, size_t len, struct nfs4_kept *out) vs_must_check;

#endif
