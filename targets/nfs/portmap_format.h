/*
 * The port mapper: portmap version 2, rpcbind versions 3 and 4 (RFC 1833): arguments and results.
 * Pure functions, any thread.
 */
#ifndef NFS_PORTMAP_FORMAT_H
#define NFS_PORTMAP_FORMAT_H

#include "targets/nfs/xdr_format.h"

#define NFS_PORTMAP_PROG 100000u
#define NFS_PORTMAP_TCP 6u /* prot of a mapping */
#define NFS_PORTMAP_UDP 17u
#define NFS_PORTMAP_STRING_MAX 255u /* of an rpcb; the standard sets no limit */
#define NFS_PORTMAP_UADDR_MAX 64    /* with NUL */

/* Sections 2.1 and 3.1. Those with a second name have it in versions 3 and 4. */
enum nfs_portmap_proc {
	NFS_PORTMAP_NULL,
	NFS_PORTMAP_SET,
	NFS_PORTMAP_UNSET,
	NFS_PORTMAP_GETPORT, /* GETADDR */
	NFS_PORTMAP_DUMP,
	NFS_PORTMAP_PROCS,
	NFS_RPCBIND_GETVERSADDR = 9, /* of version 4 */
	NFS_RPCBIND_PROCS,
};

/* A mapping of version 2, or an rpcb: what is asked for. */
struct nfs_portmap_args {
	uint32_t prog, vers;
	uint32_t prot;		/* version 2 */
	struct nfs_bytes netid; /* versions 3 and 4 */
};

/* What is there. */
struct nfs_portmap_entry {
	uint32_t prog, vers;
	uint16_t port;
	uint32_t prot;
	const char *netid;
	char uaddr[NFS_PORTMAP_UADDR_MAX];
};

/* What another port mapper has. */
struct nfs_portmap_node {
	uint32_t prog, vers;
	struct nfs_bytes netid, uaddr;
};

/* Whether the arguments were all there and nothing else. */
bool nfs_portmap_args_decode(uint32_t version, uint32_t proc, struct nfs_dec *d,
			     struct nfs_portmap_args *out);
/* The universal address (RFC 5665 section 5.2.3) of a numeric host. */
void nfs_portmap_uaddr(const char *host, uint16_t port, char uaddr[NFS_PORTMAP_UADDR_MAX]);
/* The answer to GETPORT, GETADDR and GETVERSADDR; NULL: there is none. */
void nfs_portmap_address_encode(struct nfs_enc *e, uint32_t version,
				const struct nfs_portmap_entry *entry);
/* DUMP: each adds one node; the last call ends the list. */
void nfs_portmap_node_encode(struct nfs_enc *e, uint32_t version,
			     const struct nfs_portmap_entry *entry);
void nfs_portmap_list_end(struct nfs_enc *e);
/* The arguments of GETPORT of version 2, over TCP. */
void nfs_portmap_mapping_encode(struct nfs_enc *e, const struct nfs_portmap_entry *entry);
/* The arguments of SET, UNSET and GETADDR of versions 3 and 4. */
void nfs_rpcbind_args_encode(struct nfs_enc *e, const struct nfs_portmap_entry *entry);
/* The next node of what DUMP of versions 3 and 4 gave; false: the list ends, or d is bad. */
bool nfs_rpcbind_node_decode(struct nfs_dec *d, struct nfs_portmap_node *out);
/* Of "h.p1.p2"; false: it is none. */
bool nfs_portmap_uaddr_parse(struct nfs_bytes uaddr, char host[NFS_PORTMAP_UADDR_MAX],
			     uint16_t *port);

#endif
