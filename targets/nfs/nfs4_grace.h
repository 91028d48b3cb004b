/*
 * The time after a restart in which clients that were there before may reclaim what they had open
 * and locked, and nobody may take it from them (RFC 8881 section 8.4.2).
 *
 * It is over when all that are remembered have said RECLAIM_COMPLETE or, of NFSv3, seem to have
 * reclaimed what they had, or after NFS4_GRACE_NS; who did not come back is forgotten first
 * (nfs4_keep.h). When nobody is remembered there is none.
 * The state's lock is held where a name ends in _locked, or a function takes struct nfs4_grace.
 */
#ifndef NFS_NFS4_GRACE_H
#define NFS_NFS4_GRACE_H

#include "targets/nfs/nfs4_keep.h"

/*
 * Clients of NFSv3 do not say when they are done. One counts as done when it has reclaimed nothing
 * for the first of these after it has reclaimed something; or for the second after its status
 * monitor has heard that the server restarted: it has nothing to reclaim then.
 */
#define NFS4_GRACE_QUIET_NS (UINT64_C(10) * 1000000000)
#define NFS4_GRACE_SILENT_NS (UINT64_C(45) * 1000000000)

/* Who had locks of NFSv3. */
struct nfs4_grace_host {
	struct nfs4_kept_host kept;
	bool back;			    /* it has restarted too, and lost them */
	uint64_t reclaimed_ns, answered_ns; /* last time; 0: never */
	/* Telling it (nlm_peer.h) */
	bool busy;
	unsigned attempts;
	uint64_t next_ns;
};

/* Who is remembered. VS_E_NOMEM. */
int nfs4_grace_new(const struct nfs4_kept *kept, uint64_t now,
		   struct nfs4_grace **out) vs_must_check;
void nfs4_grace_free(struct nfs4_grace *g);
/* NULL: nobody is remembered. */
bool nfs4_grace_knows(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len);
bool nfs4_grace_on(const struct nfs4_grace *g);
/* Nobody is waited for any more: it may be ended. */
bool nfs4_grace_due(const struct nfs4_grace *g, uint64_t now);
void nfs4_grace_end(struct nfs4_grace *g);
/* The i-th owner that may still come back; false: there are no more. */
bool nfs4_grace_left(const struct nfs4_grace *g, unsigned *i, struct nfs_bytes *owner);

/* The i-th that had locks of NFSv3; NULL: there are no more, or nobody is remembered. */
struct nfs4_grace_host *nfs4_grace_host(const struct nfs4_grace *g, unsigned i);
/* NULL: it had none. */
struct nfs4_grace_host *nfs4_grace_find_host(const struct nfs4_grace *g,
					     const struct nfs_address *a);

/* Whether c may open or lock something now, or reclaim it. NFS4_ERR_GRACE, NO_GRACE. */
enum nfs4_status nfs4_may_claim(struct nfs4_state *s, const struct nfs4_client *c, bool reclaim);
/* RECLAIM_COMPLETE (section 18.51). NFS4_ERR_COMPLETE_ALREADY. */
enum nfs4_status nfs4_reclaimed_locked(struct nfs4_state *s, struct nfs4_client *c);

#endif
