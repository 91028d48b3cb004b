/*
 * The file of an NFS server that an export writes: under another name until all of it is there and
 * durable, as a local one is. Threads: those of tasks; calls turn the loop.
 */
#ifndef MG_NFS_DEST_H
#define MG_NFS_DEST_H

#include "blockstore/nfs_file.h"

struct mg_nfs_dest {
	struct bs_nfs_file *file;
	struct bs_nfs_url part;	    /* its name meanwhile */
	char name[BS_NFS_NAME_MAX]; /* the one that it gets */
	bool force;		    /* replaces what has that name */
};

/* id: of the task. VS_E_EXIST when the file is there, without force. */
int mg_nfs_dest_open(struct mg_nfs_dest *d, const struct bs_nfs_url *url, int64_t id, bool force,
		     uint64_t size, struct vs_loop *loop, const atomic_bool *cancel,
		     struct vs_error *err) vs_must_check;
/* All of it was written and flushed: it gets its name. */
int mg_nfs_dest_keep(struct mg_nfs_dest *d, struct vs_error *err) vs_must_check;
/* It goes again; d->file was closed. */
int mg_nfs_dest_drop(struct mg_nfs_dest *d, struct vs_loop *loop,
		     struct vs_error *err) vs_must_check;

#endif
