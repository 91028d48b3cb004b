/*
 * Who waits for locks of NFSv3 (NLM4_BLOCKED), and whom to tell that he has got one.
 *
 * A waiter is there until its client knows: it was told by the callback (NLM_GRANTED), it asked
 * again and heard NLM4_GRANTED, it has cancelled or unlocked, it has restarted, or its share went.
 * When nothing is in the way any more it has the lock, and a call of its client is due. Waiters are
 * bounded, for the server and for each address; beyond that a client hears DENIED_NOLOCKS.
 *
 * All functions: the state's lock is held. Invariants: a host has as many waiters as its waits say;
 * a waiter that is granted has its bytes locked.
 */
#ifndef NFS_NLM_WAIT_H
#define NFS_NLM_WAIT_H

#include "targets/nfs/nlm_lock.h"

#define NFS_NLM_WAITERS_MAX 1024u
#define NFS_NLM_HOST_WAITERS_MAX 256u
/* A client that could not be told so often is not there. It also asks by itself: Linux each 30 s.
 */
#define NFS_NLM_TELL_MAX 8u

/* NFS_NLM_BLOCKED, also when it waited already; DENIED_NOLOCKS. */
enum nfs_nlm_status nfs_nlm_wait_locked(struct nfs4_state *s, struct nfs4_client *host,
					const struct nfs_nlm_ask *q, uint64_t first,
					uint64_t last) vs_must_check;
/* The client is being told by the answer to what it asked: nothing is left to tell it. */
void nfs_nlm_answered_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			     uint64_t last);
/* False: it did not wait. */
bool nfs_nlm_cancel_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			   uint64_t last) vs_must_check;
/* The owner unlocks bytes: what of them it has not been told of it need not hear of. */
void nfs_nlm_unlocked_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			     uint64_t last);
/* Of caller (empty: all) but for what waits since state (0: all). False: there was none. */
bool nfs_nlm_forget_waits_locked(struct nfs4_state *s, struct nfs4_client *host,
				 struct nfs_bytes caller, uint32_t state);
/* All of a host that goes. */
void nfs_nlm_forget_host_locked(struct nfs4_state *s, struct nfs4_client *host);
/* All of a share that goes. */
void nfs_nlm_forget_store_locked(struct nfs4_state *s, const struct nfs_store_id *id);

/* Gives those that wait what nobody is in the way of any more, the first that came first. */
void nfs_nlm_settle_locked(struct nfs4_state *s);

/* A call that is due. */
struct nfs_nlm_tell {
	uint64_t id;
	struct nfs_address client, server;
	uint32_t len; /* of args */
	uint8_t args[64 + NFS_NLM_NAME_MAX + NFS_NLM_NETOBJ_MAX + NFS_HANDLE_MAX];
};

enum nfs_nlm_told {
	NFS_NLM_TOLD,	  /* it has the lock */
	NFS_NLM_UNWANTED, /* NLM4_DENIED: it does not want it */
	NFS_NLM_LATER,	  /* it is in a grace period, or has not got the call */
	NFS_NLM_UNSURE,	  /* it may have got the call, and has not answered */
};

/* The next client that is to be told, with the arguments of NLM_GRANTED; false: none now. What it
 * gives nfs_nlm_told_locked ends. */
bool nfs_nlm_next_locked(struct nfs4_state *s, struct nfs_nlm_tell *out);
void nfs_nlm_told_locked(struct nfs4_state *s, uint64_t id, enum nfs_nlm_told how);

#endif
