/*
 * Locks of NFSv3 (NLM version 4) in the one table of locks, which is that of NFSv4: who locks bytes
 * with one version is in the way of the other.
 *
 * An address is one client there, without a lease: what it may have is bounded as for a client of
 * NFSv4, whatever names it gives itself, and it is forgotten with its last lock. A lock owner is
 * what a call says of it: caller_name, svid and oh together. Any thread; takes the state's lock,
 * which is held for memory only. Errors: the standard's own.
 */
#ifndef NFS_NLM_LOCK_H
#define NFS_NLM_LOCK_H

#include "targets/nfs/nfs4_state.h"
#include "targets/nfs/nlm_format.h"

#define NFS_NLM_HOSTS_MAX 1024u

struct nfs_nlm_denied {
	struct nfs_nlm_holder holder; /* its owner points to owner */
	uint8_t owner[NFS_NLM_NETOBJ_MAX];
};

/* LOCK that does not wait. NFS_NLM_DENIED, DENIED_NOLOCKS, DENIED_GRACE_PERIOD, FBIG. */
enum nfs_nlm_status nfs_nlm_lock(struct nfs4_state *s, const struct nfs_address *from,
				 const struct nfs_nlm_lock *l, const struct nfs4_where *w,
				 bool exclusive) vs_must_check;
/* TEST. The same, but for NOLOCKS; out: who is in the way. */
enum nfs_nlm_status nfs_nlm_test(struct nfs4_state *s, const struct nfs_address *from,
				 const struct nfs_nlm_lock *l, const struct nfs4_where *w,
				 bool exclusive, struct nfs_nlm_denied *out) vs_must_check;
/* Also of what was not locked. NFS_NLM_DENIED_NOLOCKS (there is no room to split a range), FBIG. */
enum nfs_nlm_status nfs_nlm_unlock(struct nfs4_state *s, const struct nfs_address *from,
				   const struct nfs_nlm_lock *l,
				   const struct nfs4_where *w) vs_must_check;
/* A client has restarted: frees what caller has from this address, or everybody (caller empty).
 * False: there was nothing. */
bool nfs_nlm_free(struct nfs4_state *s, const struct nfs_address *from, struct nfs_bytes caller);

#endif
