/*
 * The time after a restart in which clients that were there before may reclaim what they had open
 * and locked, and nobody may take it from them (RFC 8881 section 8.4.2).
 *
 * It ends when all that are remembered have said RECLAIM_COMPLETE, and after NFS4_GRACE_NS. When
 * nobody is remembered there is none. The state's lock is held where a name ends in
 * _locked, or a function takes struct nfs4_grace.
 */
#ifndef NFS_NFS4_GRACE_H
#define NFS_NFS4_GRACE_H

#include "targets/nfs/nfs4_state.h"

void nfs4_grace_free(struct nfs4_grace *g);
/* NULL: nobody is remembered. */
bool nfs4_grace_knows(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len);
bool nfs4_grace_on(const struct nfs4_grace *g, uint64_t now);
/* This one has reclaimed all that it wanted. */
void nfs4_grace_done(struct nfs4_grace *g, const uint8_t *owner, uint32_t len);


/* Whether c may open or lock something now, or reclaim it. NFS4ERR_GRACE, NO_GRACE. */
enum nfs4_status nfs4_may_claim(struct nfs4_state *s, const struct nfs4_client *c, bool reclaim);
/* RECLAIM_COMPLETE (section 18.51). one_fs: only of a file system, which is nothing here. */
enum nfs4_status nfs4_reclaimed(struct nfs4_state *s, struct nfs4_client *c, bool one_fs);

#endif
