#include "targets/nfs/nfs4_keep.h"

/* The first one had owners only. */
enum { FORMAT_OWNERS = 1, FORMAT = 2 };

#define ADDRESS_BYTES 16u

_Static_assert(NFS4_KEPT_MAX <= NFS_KEPT_MAX, "a keeper takes it");
_Static_assert(sizeof(struct nfs_address) == ADDRESS_BYTES, "an address is its bytes");

size_t nfs4_kept_encode(const struct nfs4_kept *kept, uint8_t to[NFS4_KEPT_MAX])
{
	struct nfs_enc e = {to, to + NFS4_KEPT_MAX, false};

	nfs_enc_u32(&e, FORMAT);
	nfs_enc_u32(&e, kept->n);
	for (unsigned i = 0; i < kept->n; i++)
		nfs_enc_bytes(&e, kept->owners[i].p, kept->owners[i].len);
	nfs_enc_u32(&e, kept->nsm_state);
	nfs_enc_u32(&e, kept->nhosts);
	for (unsigned i = 0; i < kept->nhosts; i++) {
		nfs_enc_fixed(&e, kept->hosts[i].client.b, ADDRESS_BYTES);
		nfs_enc_fixed(&e, kept->hosts[i].server.b, ADDRESS_BYTES);
	}
	VS_ASSERT(!e.bad);
	return (size_t)(e.p - to);
}

static void decode_address(struct nfs_dec *d, struct nfs_address *out)
{
	const uint8_t *p = nfs_dec_take(d, ADDRESS_BYTES);

	if (p)
		memcpy(out->b, p, ADDRESS_BYTES);
}

int nfs4_kept_decode(const uint8_t *from, size_t len, struct nfs4_kept *out)
{
	struct nfs_dec d = {from, from + len, false};
	uint32_t format = nfs_dec_u32(&d);

	out->nsm_state = 0;
	out->nhosts = 0;
	out->n = nfs_dec_enum(&d, NFS4_CLIENTS_MAX);
	for (unsigned i = 0; i < out->n; i++)
		out->owners[i] = nfs_dec_bytes(&d, NFS4_OPAQUE_MAX);
	if (format == FORMAT) {
		out->nsm_state = nfs_dec_u32(&d);
		out->nhosts = nfs_dec_enum(&d, NFS_NLM_HOSTS_MAX);
	}
	for (unsigned i = 0; i < out->nhosts; i++) {
		decode_address(&d, &out->hosts[i].client);
		decode_address(&d, &out->hosts[i].server);
	}
	return (format == FORMAT || format == FORMAT_OWNERS) && nfs_dec_ok(&d) ? 0 : VS_E_CORRUPT;
}
