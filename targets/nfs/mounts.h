/*
 * Which client has mounted which share, as MOUNT's procedures tell (RFC 1813 appendix I): for
 * people only, nothing is decided by it. Any thread; of fixed size, the oldest makes room.
 */
#ifndef NFS_MOUNTS_H
#define NFS_MOUNTS_H

#include "targets/nfs/rule.h"

#include <pthread.h>

#define NFS_MOUNTS_MAX 1024u

struct nfs_mounted {
	struct nfs_address client;
	char share[NFS_SHARE_NAME_MAX];
};

struct nfs_mounts {
	pthread_mutex_t lock;
	unsigned count; /* the oldest first */
	struct nfs_mounted list[NFS_MOUNTS_MAX];
};

void nfs_mounts_init(struct nfs_mounts *m);
void nfs_mounts_destroy(struct nfs_mounts *m);
void nfs_mounts_add(struct nfs_mounts *m, const struct nfs_address *client, const char *share);
/* share NULL: all of the client's. */
void nfs_mounts_remove(struct nfs_mounts *m, const struct nfs_address *client, const char *share);
/* The i-th; false: there are no more. */
bool nfs_mounts_get(struct nfs_mounts *m, unsigned i, struct nfs_mounted *out);

#endif
