#include "targets/nfs/mount_format.h"

#include "targets/nfs/rpc_format.h"

#include <stdio.h>

bool nfs_mount_args_decode(enum nfs_mount_proc proc, struct nfs_dec *d, struct nfs_bytes *path)
{
	if (proc == NFS_MOUNT_MNT || proc == NFS_MOUNT_UMNT)
		*path = nfs_dec_bytes(d, NFS_MOUNT_PATH_MAX);
	return nfs_dec_ok(d);
}

void nfs_mount_mnt_encode(struct nfs_enc *e, enum nfs_mount_status status,
			  const struct nfs_handle *h)
{
	nfs_enc_u32(e, status);
	if (status)
		return;
	nfs_enc_bytes(e, h->b, NFS_HANDLE_BYTES);
	nfs_enc_u32(e, 1);
	nfs_enc_u32(e, NFS_RPC_AUTH_SYS);
}

void nfs_mount_list_end(struct nfs_enc *e)
{
	nfs_enc_u32(e, 0);
}

static void encode_path(struct nfs_enc *e, const char *share)
{
	char path[128];
	int n = snprintf(path, sizeof(path), "/%s", share);

	nfs_enc_bytes(e, path, (uint32_t)n);
}

void nfs_mount_dump_encode(struct nfs_enc *e, const char *host, const char *share)
{
	nfs_enc_u32(e, 1);
	nfs_enc_bytes(e, host, (uint32_t)strlen(host));
	encode_path(e, share);
}

void nfs_mount_export_encode(struct nfs_enc *e, const char *share)
{
	nfs_enc_u32(e, 1);
	encode_path(e, share);
}

void nfs_mount_group_encode(struct nfs_enc *e, const char *clients)
{
	nfs_enc_u32(e, 1);
	nfs_enc_bytes(e, clients, (uint32_t)strlen(clients));
}
