/*
 * MOUNT version 3 (RFC 1813 appendix I): arguments and results. Pure functions, any thread.
 */
#ifndef NFS_MOUNT_FORMAT_H
#define NFS_MOUNT_FORMAT_H

#include "targets/nfs/handle.h"
#include "targets/nfs/xdr_format.h"

#define NFS_MOUNT_PROG 100005u
#define NFS_MOUNT_VERSION 3u
#define NFS_MOUNT_PATH_MAX 1024u /* MNTPATHLEN */

enum nfs_mount_proc {
	NFS_MOUNT_NULL,
	NFS_MOUNT_MNT,
	NFS_MOUNT_DUMP,
	NFS_MOUNT_UMNT,
	NFS_MOUNT_UMNTALL,
	NFS_MOUNT_EXPORT,
	NFS_MOUNT_PROCS,
};

/* mountstat3 */
enum nfs_mount_status {
	NFS_MNT_OK = 0,
	NFS_MNT_NOENT = 2,
	NFS_MNT_IO = 5,
	NFS_MNT_ACCES = 13,
	NFS_MNT_NOTDIR = 20,
	NFS_MNT_INVAL = 22,
	NFS_MNT_NAMETOOLONG = 63,
};

/* Whether the arguments were all there and nothing else; path stays as it is where none is sent. */
bool nfs_mount_args_decode(enum nfs_mount_proc proc, struct nfs_dec *d, struct nfs_bytes *path);

/* h: of MNT_OK. */
void nfs_mount_mnt_encode(struct nfs_enc *e, enum nfs_mount_status status,
			  const struct nfs_handle *h);
/* Lists: each of these adds one node, the last call ends the list. */
void nfs_mount_list_end(struct nfs_enc *e);
void nfs_mount_dump_encode(struct nfs_enc *e, const char *host, const char *share);
/* An export is followed by its groups and their end. */
void nfs_mount_export_encode(struct nfs_enc *e, const char *share);
void nfs_mount_group_encode(struct nfs_enc *e, const char *clients);

#endif
