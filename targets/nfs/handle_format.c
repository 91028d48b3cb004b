#include "targets/nfs/handle.h"

#include "common/bytes.h"
#include "common/secret.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>

/*
 * Bytes: 0 format, 1-3 zero, 4 datastore, 12 object, 16 generation, 20 snapshot, 24 MAC (SipHash
 * with 16 bytes of output). Big-endian, like the protocol around it.
 */
#define FORMAT 1u
#define AT_STORE 4
#define AT_FILE 12
#define AT_MAC 24
#define MAC_BYTES ((size_t)16)
#define SIP_KEY_BYTES ((size_t)16)
#define PURPOSE_MAX ((size_t)32)

_Static_assert(NFS_SERVER_ID_BYTES == SIP_KEY_BYTES, "one derivation serves both");
_Static_assert(AT_MAC + MAC_BYTES == NFS_HANDLE_BYTES, "a handle is full");

struct nfs_seal {
	EVP_MAC_CTX *mac; /* has its key */
};

/* 16 bytes for a purpose: nothing that the same secret may serve otherwise can be had from them. */
static int derive(const char *purpose, const uint8_t *key, size_t len, uint8_t out[SIP_KEY_BYTES])
{
	uint8_t in[PURPOSE_MAX + NFS_KEY_MAX] = {0}, digest[EVP_MAX_MD_SIZE];
	size_t n = strlen(purpose) + 1;
	int ok;

	VS_ASSERT(n <= PURPOSE_MAX && len <= NFS_KEY_MAX);
	memcpy(in, purpose, n);
	memcpy(in + n, key, len);
	ok = EVP_Digest(in, n + len, digest, NULL, EVP_sha256(), NULL);
	memcpy(out, digest, SIP_KEY_BYTES);
	vs_secret_wipe(in, sizeof(in));
	vs_secret_wipe(digest, sizeof(digest));
	return ok ? 0 : VS_E_NOMEM;
}

int nfs_server_id(const uint8_t *key, size_t len, uint8_t out[NFS_SERVER_ID_BYTES])
{
	if (len < NFS_KEY_MIN || len > NFS_KEY_MAX)
		return VS_E_INVAL;
	return derive("vstore NFS server 1", key, len, out);
}

int nfs_seal_new(const uint8_t *key, size_t len, struct nfs_seal **out, struct vs_error *err)
{
	size_t size = MAC_BYTES;
	const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
				     OSSL_PARAM_construct_end()};
	uint8_t sip_key[SIP_KEY_BYTES];
	struct nfs_seal *s;
	EVP_MAC *mac;
	int ok;

	if (len < NFS_KEY_MIN || len > NFS_KEY_MAX)
		return vs_fail(err, VS_E_INVAL, "the key of NFS file handles has %u to %u bytes",
			       NFS_KEY_MIN, NFS_KEY_MAX);
	s = calloc(1, sizeof(*s));
	mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	if (s && mac)
		s->mac = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac); /* the context keeps what it needs */
	ok = s && s->mac && derive("vstore NFS file handles 1", key, len, sip_key) == 0 &&
	     EVP_MAC_init(s->mac, sip_key, sizeof(sip_key), params);
	vs_secret_wipe(sip_key, sizeof(sip_key));
	if (!ok) {
		nfs_seal_free(s);
		return vs_fail(err, VS_E_NOMEM, "cannot make keys for NFS file handles");
	}
	*out = s;
	return 0;
}

void nfs_seal_free(struct nfs_seal *s)
{
	if (!s)
		return;
	EVP_MAC_CTX_free(s->mac);
	free(s);
}

struct nfs_store_id nfs_store_id(const struct vs_uuid *uuid)
{
	struct nfs_store_id id;

	memcpy(id.b, uuid->b, sizeof(id.b));
	return id;
}

/* Fixed lengths and memory that is there: it cannot fail. */
static void stamp(struct nfs_seal *s, const uint8_t *b, uint8_t mac[MAC_BYTES])
{
	size_t n = 0;
	int ok = EVP_MAC_init(s->mac, NULL, 0, NULL) && EVP_MAC_update(s->mac, b, AT_MAC) &&
		 EVP_MAC_final(s->mac, mac, &n, MAC_BYTES);

	VS_ASSERT(ok && n == MAC_BYTES);
}

void nfs_handle_make(struct nfs_seal *s, const struct nfs_store_id *store, struct ds_handle file,
		     struct nfs_handle *out)
{
	vs_put_be32(out->b, FORMAT << 24);
	memcpy(out->b + AT_STORE, store->b, sizeof(store->b));
	vs_put_be32(out->b + AT_FILE, file.object);
	vs_put_be32(out->b + AT_FILE + 4, file.generation);
	vs_put_be32(out->b + AT_FILE + 8, file.snapshot);
	stamp(s, out->b, out->b + AT_MAC);
}

int nfs_handle_open(struct nfs_seal *s, const uint8_t *from, size_t len, struct nfs_store_id *store,
		    struct ds_handle *file)
{
	uint8_t mac[MAC_BYTES];

	if (len != NFS_HANDLE_BYTES || vs_get_be32(from) != FORMAT << 24)
		return VS_E_INVAL;
	stamp(s, from, mac);
	if (!vs_secret_equal(mac, from + AT_MAC, MAC_BYTES))
		return VS_E_INVAL;
	memcpy(store->b, from + AT_STORE, sizeof(store->b));
	file->object = vs_get_be32(from + AT_FILE);
	file->generation = vs_get_be32(from + AT_FILE + 4);
	file->snapshot = vs_get_be32(from + AT_FILE + 8);
	return 0;
}
