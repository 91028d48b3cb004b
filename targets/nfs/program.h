/*
 * The RPC programs that are served: a table of programs, their versions, their procedures.
 */
#ifndef NFS_PROGRAM_H
#define NFS_PROGRAM_H

#include "targets/nfs/conn.h"

struct nfs_procedure {
	/* NULL: there is no such procedure. Whether the arguments were all there. */
	bool (*decode)(struct nfs_call *call, struct nfs_dec *d);
	/* As nfs_call_start; answers now or when the datastore has. */
	bool (*start)(struct nfs_call *call);
	bool once; /* repeating it is not the same as doing it once */
};

struct nfs_version {
	uint32_t version;
	uint32_t nprocedures;
	const struct nfs_procedure *procedures;
};

struct nfs_program {
	uint32_t number;
	uint32_t nversions; /* from the lowest to the highest */
	const struct nfs_version *const *versions;
};

extern const struct nfs_version nfs3_version;	    /* nfs3.c */
extern const struct nfs_version nfs4_version;	    /* nfs4_compound.c */
extern const struct nfs_version nfs_mount3_version; /* mount.c */
extern const struct nfs_version nfs_nlm4_version;   /* nlm.c */
extern const struct nfs_version nfs_nsm1_version;   /* nlm.c */
/* portmap.c; served where the server was told to answer for the port mapper, and nothing else is */
extern const struct nfs_version nfs_portmap2_version, nfs_rpcbind3_version, nfs_rpcbind4_version;

/* portmap.c: what GETPORT, GETADDR and GETVERSADDR find, for who came to at; false: nothing. */
bool nfs_portmap_find(const struct nfs_common *common, const struct nfs_local *at,
		      const struct nfs_rpc_call *rpc, const struct nfs_portmap_args *a, bool by_udp,
		      struct nfs_portmap_entry *out);

/* call.c: the i-th program that is served, the port mapper last; NULL: there are no more. */
const struct nfs_program *nfs_program_at(size_t i);

#endif
