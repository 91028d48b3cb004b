/*
 * Duplicate request cache (RFC 1813 section 4.6): a call that changes names is carried out once,
 * however often a client sends it; what was answered is answered again.
 *
 * It is the server's, not a connection's: a client that lost its connection sends its calls again
 * on another. A call is known by the client's address, its xid and a checksum of all its bytes.
 * Any thread; of fixed size, the entry that was answered longest ago makes room. When all are of
 * calls under way a call is carried out without an entry.
 */
#ifndef NFS_DRC_H
#define NFS_DRC_H

#include "common/loop.h"
#include "targets/nfs/rule.h"

#define NFS_DRC_REPLY_MAX 512u

struct nfs_drc;
struct nfs_drc_entry;

/* A call that waits for the answer to the one that it repeats; the caller's until woken. */
struct nfs_drc_wait {
	struct vs_loop *loop;
	struct vs_post woken; /* called on loop */
	uint8_t reply[NFS_DRC_REPLY_MAX];
	uint32_t len;
};

enum nfs_drc_verdict {
	NFS_DRC_NEW,  /* carry it out; *entry (may be NULL) is for nfs_drc_done */
	NFS_DRC_SEEN, /* the answer is in wait */
	NFS_DRC_WAIT, /* wait is woken with the answer */
	NFS_DRC_DROP, /* another one waits for it already */
};

int nfs_drc_new(unsigned entries, struct nfs_drc **out) vs_must_check;
void nfs_drc_free(struct nfs_drc *d);

enum nfs_drc_verdict nfs_drc_begin(struct nfs_drc *d, const struct nfs_address *from, uint32_t xid,
				   const void *call, size_t len, struct nfs_drc_wait *wait,
				   struct nfs_drc_entry **entry);
/* The answer, at most NFS_DRC_REPLY_MAX bytes. */
void nfs_drc_done(struct nfs_drc *d, struct nfs_drc_entry *entry, const void *reply, uint32_t len);

#endif
