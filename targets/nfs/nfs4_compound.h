/*
 * A COMPOUND of NFS version 4 under way (RFC 8881 section 2.3): its operations are decoded and
 * carried out one after the other on the connection's worker, and each waits for the datastore if
 * it has asked it something. Part of a call; see nfs4.h for the operations.
 */
#ifndef NFS_NFS4_COMPOUND_H
#define NFS_NFS4_COMPOUND_H

#include "targets/nfs/nfs4_keep.h"

struct nfs4_fh {
	bool set;
	struct nfs_store_id store; /* all zero: the pseudo file system's root, above all shares */
	struct ds_handle file;
};

/* A current or saved filehandle has a stateid beside it (section 16.2.3.1.2). */
struct nfs4_place {
	struct nfs4_fh fh;
	bool has_stateid;
	struct nfs4_stateid stateid;
};

struct nfs4_compound {
	struct nfs_bytes tag;
	uint32_t minor, nops;
	struct nfs_dec d; /* operations that are left */
	struct nfs_enc e; /* results */
	uint8_t *count;	  /* where their number stands, behind status and tag */
	uint32_t done;	  /* operations that are answered */
	uint32_t op;	  /* the one under way */
	uint8_t *body;	  /* its result, behind its status */
	bool keep;	  /* which is sent also when it failed */
	bool uncached;	  /* a repeated request whose reply was not kept */
	bool replayed;	  /* the reply is the one that was kept */
	struct nfs4_ref ref;
	struct nfs4_place cur, saved;
	struct nfs4_args a; /* of the operation */
	struct nfs4_waiter waiter;
	/* Of operations that take more than one request to the datastore. */
	unsigned step;
	struct nfs4_where where;
	struct ds_attr before, after; /* of a directory */
	struct nfs4_space space;
	uint64_t position, end;
	/* OPEN */
	struct ds_set wanted;
	struct nfs4_bitmap set; /* and what of it was set */
	bool created;
	struct nfs4_stateid opened;
	struct nfs4_had had;
};

#endif
