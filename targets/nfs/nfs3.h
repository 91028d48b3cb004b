/*
 * The procedures of NFS version 3: what each asks of the datastore and makes of the answer. On the
 * worker's thread, but for entries of directories.
 */
#ifndef NFS_NFS3_H
#define NFS_NFS3_H

#include "targets/nfs/program.h"

/* Besides a status of NFS: the call waits for memory. */
#define NFS3_NO_MEMORY (-1)

/* nfs3.c: whose file a handle names, and by which rule the client may use it; sets call->rule. */
enum nfs3_status nfs3_resolve(struct nfs_call *call, struct nfs_bytes handle,
			      struct nfs_served **served, struct ds_handle *file);

/*
 * Of each procedure that has something to itself: what is special in call->req is filled from the
 * arguments (NFS3_ERR_NONE, a status, or NFS3_NO_MEMORY), and what follows a status of
 * NFS3_ERR_NONE is encoded from the answer.
 */

/* nfs3_file.c */

int nfs3_prepare_setattr(struct nfs_call *call);
int nfs3_prepare_access(struct nfs_call *call);
int nfs3_prepare_readlink(struct nfs_call *call);
int nfs3_prepare_read(struct nfs_call *call);
int nfs3_prepare_write(struct nfs_call *call);
int nfs3_prepare_commit(struct nfs_call *call);
void nfs3_encode_access(struct nfs_enc *e, struct nfs_call *call);
void nfs3_encode_readlink(struct nfs_enc *e, struct nfs_call *call);
void nfs3_encode_read(struct nfs_enc *e, struct nfs_call *call);
void nfs3_encode_write(struct nfs_enc *e, struct nfs_call *call);
void nfs3_encode_commit(struct nfs_enc *e, struct nfs_call *call);

/* nfs3_dir.c: READDIR and READDIRPLUS */

int nfs3_dir_prepare(struct nfs_call *call);
/* What is wrong with an answer that the datastore calls good. */
enum nfs3_status nfs3_dir_check(const struct nfs_call *call);
void nfs3_dir_encode(struct nfs_enc *e, struct nfs_call *call);

#endif
