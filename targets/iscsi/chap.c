#include "targets/iscsi/chap.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"
#include "targets/iscsi/text_format.h"

#include <openssl/evp.h>
#include <string.h>

/* IANA, "PPP Authentication Algorithms". */
static const struct {
	int number;
	const EVP_MD *(*digest)(void);
} algorithms[] = {
    {5, EVP_md5},
    {6, EVP_sha1},
    {7, EVP_sha256},
    {8, EVP_sha3_256},
};

static const EVP_MD *digest_of(uint64_t algorithm)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(algorithms); i++)
		if ((uint64_t)algorithms[i].number == algorithm)
			return algorithms[i].digest();
	return NULL;
}

int iscsi_chap_begin(struct iscsi_chap *c, const char *offered)
{
	char item[16];

	while (iscsi_text_list_next(&offered, item, sizeof(item))) {
		uint64_t a;
		int rc;

		if (iscsi_text_number(item, &a) < 0 || !digest_of(a))
			continue;
		c->algorithm = (int)a;
		rc = vs_random(&c->id, sizeof(c->id));
		return rc < 0 ? rc : vs_random(c->challenge, sizeof(c->challenge));
	}
	return VS_E_NOTSUP;
}

int iscsi_chap_response(int algorithm, uint8_t id, const char *secret, const uint8_t *challenge,
			size_t challenge_len, uint8_t out[ISCSI_CHAP_DIGEST_MAX], size_t *len)
{
	const EVP_MD *md = digest_of((uint64_t)algorithm);
	EVP_MD_CTX *ctx;
	unsigned n = 0;
	bool ok;

	if (!md)
		return VS_E_NOTSUP;
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return VS_E_NOMEM;
	ok = EVP_DigestInit_ex(ctx, md, NULL) && EVP_DigestUpdate(ctx, &id, 1) &&
	     EVP_DigestUpdate(ctx, secret, strlen(secret)) &&
	     EVP_DigestUpdate(ctx, challenge, challenge_len) && EVP_DigestFinal_ex(ctx, out, &n);
	EVP_MD_CTX_free(ctx);
	*len = n;
	return ok ? 0 : VS_E_NOTSUP;
}

bool iscsi_chap_verify(const struct iscsi_chap *c, const char *secret, const char *text)
{
	uint8_t want[ISCSI_CHAP_DIGEST_MAX], got[ISCSI_CHAP_DIGEST_MAX];
	size_t want_len, got_len;

	if (iscsi_text_binary(text, got, sizeof(got), &got_len) < 0 ||
	    iscsi_chap_response(c->algorithm, c->id, secret, c->challenge, sizeof(c->challenge),
				want, &want_len) < 0)
		return false;
	return got_len == want_len && vs_secret_equal(got, want, want_len);
}

void iscsi_chap_hex(const uint8_t *data, size_t len, char *out, size_t size)
{
	VS_ASSERT(size >= 2 * len + 3);
	out[0] = '0';
	out[1] = 'x';
	vs_format_hex(data, len, out + 2);
}
