/*
 * Calls of the machine's rpcbind over its local socket, version 4 (RFC 1833). Blocks, for no longer
 * than the link's time. One thread.
 */
#ifndef NFS_RPCBIND_H
#define NFS_RPCBIND_H

#include "targets/nfs/portmap_format.h"

#define NFS_RPCBIND_REPLY_MAX (64u << 10) /* several hundred registrations */

struct nfs_rpcbind_link {
	int fd;
	uint64_t until; /* vs_now_ns */
	uint32_t xid;
	uint8_t reply[NFS_RPCBIND_REPLY_MAX];
};

/* False: nobody listens there. A link that was opened is closed by close(fd). */
bool nfs_rpcbind_open(struct nfs_rpcbind_link *l, const char *path, uint64_t until);
/* Whether the call succeeded; *d stands at the results. entry NULL: it has no arguments. */
bool nfs_rpcbind_ask(struct nfs_rpcbind_link *l, uint32_t proc,
		     const struct nfs_portmap_entry *entry, struct nfs_dec *d);
/* SET and UNSET: whether it was done. */
bool nfs_rpcbind_ask_bool(struct nfs_rpcbind_link *l, uint32_t proc,
			  const struct nfs_portmap_entry *entry);
/* Waits for poll's events; false: not in time. */
bool nfs_rpcbind_wait(int fd, short events, uint64_t until);

#endif
