/*
 * Locks and shares of NFSv3 (NLM version 4) in the one table of opens and locks, which is that of
 * NFSv4: who locks bytes or reserves a file with one version is in the way of the other.
 *
 * An address is one client there, a host, without a lease: what it may have is bounded as for a
 * client of NFSv4, whatever names it gives itself. A lock owner is what a call says of it:
 * caller_name, svid and oh together. A host is forgotten some seconds after its last lock: that it
 * is remembered over restarts (nfs4_keep.h) need not be saved with each lock then. Any thread;
 * takes the state's lock, which is held for memory only. Errors: the standard's own.
 */
#ifndef NFS_NLM_LOCK_H
#define NFS_NLM_LOCK_H

#include "targets/nfs/nfs4_keep.h"
#include "targets/nfs/nlm_format.h"

#define NFS_NLM_LINGER_NS (UINT64_C(10) * 1000000000)

/* What is asked, by whom, where. */
struct nfs_nlm_ask {
	struct nfs_address from, at; /* the client's address, and ours that it came to */
	const struct nfs_nlm_args *args;
	struct nfs4_where where;
};

struct nfs_nlm_denied {
	struct nfs_nlm_holder holder; /* its owner points to owner */
	uint8_t owner[NFS_NLM_NETOBJ_MAX];
};

/*
 * LOCK and, not monitored, NM_LOCK. NFS_NLM_DENIED, BLOCKED (it waits: nlm_wait.h),
 * DENIED_NOLOCKS, DENIED_GRACE_PERIOD, FBIG. *wait: before the client may hear that it was granted
 * its address is to be remembered; kept is woken then.
 */
enum nfs_nlm_status nfs_nlm_lock(struct nfs4_state *s, const struct nfs_nlm_ask *q, bool monitored,
				 struct nfs4_waiter *kept, bool *wait) vs_must_check;
/* TEST. NFS_NLM_DENIED, DENIED_GRACE_PERIOD, FBIG; out: who is in the way. */
enum nfs_nlm_status nfs_nlm_test(struct nfs4_state *s, const struct nfs_nlm_ask *q,
				 struct nfs_nlm_denied *out) vs_must_check;
/* Also of what was not locked. NFS_NLM_DENIED_NOLOCKS (there is no room to split a range), FBIG. */
enum nfs_nlm_status nfs_nlm_unlock(struct nfs4_state *s, const struct nfs_nlm_ask *q) vs_must_check;
/* A client waits no more; what it was granted and has not heard of it loses. NFS_NLM_DENIED: it did
 * not wait. FBIG. */
enum nfs_nlm_status nfs_nlm_cancel(struct nfs4_state *s, const struct nfs_nlm_ask *q) vs_must_check;

/* nlm_share.c: SHARE, which replaces what the owner had of the file. NFS_NLM_DENIED,
 * DENIED_NOLOCKS, DENIED_GRACE_PERIOD. Shares are for clients that are not monitored. */
enum nfs_nlm_status nfs_nlm_share(struct nfs4_state *s, const struct nfs_nlm_ask *q) vs_must_check;
/* Also of what was not shared. */
enum nfs_nlm_status nfs_nlm_unshare(struct nfs4_state *s,
				    const struct nfs_nlm_ask *q) vs_must_check;

/* ---- nlm_host.c ---- */

/*
 * A client has restarted: frees what caller has from this address, or everybody (caller empty), and
 * drops its waits. state: the client's status monitor is in that by now, so that what it got in
 * that stays; 0: unknown. False: there was nothing of caller.
 */
bool nfs_nlm_free(struct nfs4_state *s, const struct nfs_address *from, struct nfs_bytes caller,
		  uint32_t state);
/* The same, by SM_NOTIFY: of all of the address when there is nothing by that name, for clients
 * call themselves otherwise there. */
void nfs_nlm_restarted(struct nfs4_state *s, const struct nfs_address *from,
		       struct nfs_bytes caller, uint32_t state);

/* ---- among these files; the state's lock is held ---- */

/* An owner's name in the table: svid, the length of caller_name, caller_name, oh. */
struct nfs_nlm_name {
	uint32_t len;
	uint8_t b[8 + NFS_NLM_NAME_MAX + NFS_NLM_NETOBJ_MAX];
};

struct nfs_bytes nfs_nlm_name_of(const struct nfs_nlm_lock *l, bool share, struct nfs_nlm_name *to);
struct nfs_bytes nfs_nlm_caller_of(const struct nfs4_owner *o);
struct nfs_bytes nfs_nlm_oh_of(const struct nfs4_owner *o);

/* NULL: there are too many. */
struct nfs4_client *nfs_nlm_host_get_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q,
					    bool monitored);
/* It has locks now: it must be remembered before it hears of them. */
void nfs_nlm_remember_locked(struct nfs4_state *s, struct nfs4_client *c);
/* Drops it if it has nothing; or soon. */
void nfs_nlm_host_put_locked(struct nfs4_state *s, struct nfs4_client *c);
/* Drops those that have had nothing for a while. True: some are left that have nothing. */
bool nfs_nlm_host_sweep_locked(struct nfs4_state *s);
/* What an owner has of a file, by its name; NULL: nothing. */
struct nfs4_held *nfs_nlm_held_locked(struct nfs4_state *s, const struct nfs4_client *c,
				      const struct nfs4_where *w, struct nfs_bytes name);
/* Drops it, and its host, if nothing is locked or shared any more. */
void nfs_nlm_held_put_locked(struct nfs4_state *s, struct nfs4_held *h);
/* Locks bytes that nobody else has. NFS_NLM_DENIED_NOLOCKS. */
enum nfs_nlm_status nfs_nlm_set_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_where *w, struct nfs_bytes name,
				       uint64_t first, uint64_t last,
				       const struct nfs_nlm_args *a) vs_must_check;
/* Whether a host may claim what it had (reclaim), or something new. */
enum nfs_nlm_status nfs_nlm_may_claim_locked(struct nfs4_state *s, const struct nfs_address *from,
					     bool reclaim) vs_must_check;

#endif
