#include "targets/nfs/nfs4_keep.h"

#define FORMAT 1u

_Static_assert(NFS4_KEPT_MAX <= NFS_KEPT_MAX, "a keeper takes it");

size_t nfs4_kept_encode(const struct nfs_bytes *owners, unsigned n, uint8_t to[NFS4_KEPT_MAX])
{
	struct nfs_enc e = {to, to + NFS4_KEPT_MAX, false};

	nfs_enc_u32(&e, FORMAT);
	nfs_enc_u32(&e, n);
	for (unsigned i = 0; i < n; i++)
		nfs_enc_bytes(&e, owners[i].p, owners[i].len);
	return (size_t)(e.p - to);
}

int nfs4_kept_decode(const uint8_t *from, size_t len, struct nfs_bytes owners[NFS4_CLIENTS_MAX],
		     unsigned *n)
{
	struct nfs_dec d = {from, from + len, false};

	if (nfs_dec_u32(&d) != FORMAT)
		return VS_E_CORRUPT;
	*n = nfs_dec_enum(&d, NFS4_CLIENTS_MAX);
	for (unsigned i = 0; i < *n; i++)
		owners[i] = nfs_dec_bytes(&d, NFS4_OPAQUE_MAX);
	return nfs_dec_ok(&d) ? 0 : VS_E_CORRUPT;
}
