/*
 * Locks of NFSv3: NLM version 4 (RFC 1813 appendix II), and of NSM (The Open Group, Protocols for
 * Interworking: XNFS, Version 3W, chapter 11) what a server of locks says and hears: arguments and
 * results, those of the callback included.
 *
 * Pure functions, any thread. What is decoded points into the input and has no NUL at its end.
 */
#ifndef NFS_NLM_FORMAT_H
#define NFS_NLM_FORMAT_H

#include "targets/nfs/handle.h"
#include "targets/nfs/xdr_format.h"

#define NFS_NLM_PROG 100021u
#define NFS_NLM_VERSION 4u
#define NFS_NLM_NAME_MAX 1024u	 /* LM_MAXSTRLEN */
#define NFS_NLM_NETOBJ_MAX 1024u /* MAXNETOBJ_SZ: cookies, owners */

#define NFS_NSM_PROG 100024u
#define NFS_NSM_VERSION 1u

/* The procedures without messages, which come in pairs and are numbers 6 to 15. */
enum nfs_nlm_proc {
	NFS_NLM_NULL,
	NFS_NLM_TEST,
	NFS_NLM_LOCK,
	NFS_NLM_CANCEL,
	NFS_NLM_UNLOCK,
	NFS_NLM_GRANTED,
	NFS_NLM_SHARE = 20,
	NFS_NLM_UNSHARE,
	NFS_NLM_NM_LOCK,
	NFS_NLM_FREE_ALL,
	NFS_NLM_PROCS,
};

/* nlm4_stats */
enum nfs_nlm_status {
	NFS_NLM_OK, /* NLM4_GRANTED */
	NFS_NLM_DENIED,
	NFS_NLM_DENIED_NOLOCKS,
	NFS_NLM_BLOCKED,
	NFS_NLM_DENIED_GRACE_PERIOD,
	NFS_NLM_DEADLCK,
	NFS_NLM_ROFS,
	NFS_NLM_STALE_FH,
	NFS_NLM_FBIG,
	NFS_NLM_FAILED,
};

enum nfs_nsm_proc {
	NFS_NSM_NULL,
	NFS_NSM_STAT,
	NFS_NSM_MON,
	NFS_NSM_UNMON,
	NFS_NSM_UNMON_ALL,
	NFS_NSM_SIMU_CRASH,
	NFS_NSM_NOTIFY,
	NFS_NSM_PROCS,
};

/* nlm4_lock; of SHARE: nlm4_share, which has neither svid nor bytes. */
struct nfs_nlm_lock {
	struct nfs_bytes caller; /* the client's name for itself */
	struct nfs_bytes file;	 /* a handle of NFSv3 */
	struct nfs_bytes owner;
	uint32_t svid;
	uint64_t offset, length; /* length 0: to the end */
};

/* What a procedure has of these is decoded; the rest is as it was. */
struct nfs_nlm_args {
	struct nfs_bytes cookie;
	struct nfs_nlm_lock lock;
	bool block, exclusive, reclaim;
	uint32_t mode, access; /* SHARE: fsh4_mode (what is denied), fsh4_access */
	struct nfs_bytes name; /* FREE_ALL, and NSM's NOTIFY: who has restarted */
	uint32_t state;	       /* of the client's NSM */
};

/* Whether the arguments of a procedure were all there and nothing else. */
bool nfs_nlm_args_decode(enum nfs_nlm_proc proc, struct nfs_dec *d, struct nfs_nlm_args *a);
/* NSM's STAT (the name) and NOTIFY (name, state). */
bool nfs_nsm_args_decode(enum nfs_nsm_proc proc, struct nfs_dec *d, struct nfs_nlm_args *a);

/* The bytes that are meant. NFS_NLM_FBIG: they would end behind the last that there can be. */
enum nfs_nlm_status nfs_nlm_range(const struct nfs_nlm_lock *l, uint64_t *first, uint64_t *last);

/* nlm4_holder: who is in the way. */
struct nfs_nlm_holder {
	bool exclusive;
	uint32_t svid;
	struct nfs_bytes owner;
	uint64_t first, last; /* last UINT64_MAX: to the end */
};

/* nlm4_res: LOCK, CANCEL, UNLOCK, NM_LOCK. */
void nfs_nlm_res_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status);
/* nlm4_testres; holder: of DENIED. */
void nfs_nlm_test_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status,
			 const struct nfs_nlm_holder *holder);
/* nlm4_shareres */
void nfs_nlm_share_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status);

/* The callback: what it asks, nlm4_testargs, and what is answered, nlm4_res. */
void nfs_nlm_granted_encode(struct nfs_enc *e, const struct nfs_nlm_args *a);
bool nfs_nlm_granted_decode(struct nfs_dec *d, struct nfs_bytes *cookie,
			    enum nfs_nlm_status *status);

/* sm_stat_res of STAT and MON, which are refused: STAT_FAIL. */
void nfs_nsm_refused_encode(struct nfs_enc *e, uint32_t state);
/* stat_chge: tells a client's NSM that name has restarted. */
void nfs_nsm_notify_encode(struct nfs_enc *e, struct nfs_bytes name, uint32_t state);

#endif
