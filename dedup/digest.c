#include "dedup/digest.h"

#include "common/bytes.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct dd_hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

int dd_hasher_new(struct dd_hasher **out, struct vs_error *err)
{
	struct dd_hasher *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h)
		return vs_fail(err, VS_E_NOMEM, "no memory for a SHA-256 context");
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	if (!h->md || !h->ctx || !EVP_DigestInit_ex2(h->ctx, h->md, NULL)) {
		dd_hasher_free(h);
		return vs_fail(err, VS_E_NOTSUP,
			       "OpenSSL offers no SHA-256: check its configuration (openssl.cnf)");
	}
	*out = h;
	return 0;
}

void dd_hasher_free(struct dd_hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	free(h);
}

void dd_hash(struct dd_hasher *h, const void *data, size_t len, struct dd_digest *out)
{
	dd_hash_begin(h);
	dd_hash_add(h, data, len);
	dd_hash_end(h, out);
}

void dd_hash_begin(struct dd_hasher *h)
{
	VS_ASSERT(EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1);
}

void dd_hash_add(struct dd_hasher *h, const void *data, size_t len)
{
	VS_ASSERT(EVP_DigestUpdate(h->ctx, data, len) == 1);
}

void dd_hash_end(struct dd_hasher *h, struct dd_digest *out)
{
	unsigned n = 0;

	VS_ASSERT(EVP_DigestFinal_ex(h->ctx, out->b, &n) == 1);
	VS_ASSERT(n == sizeof(out->b));
}
