/*
 * SHA-256 digests of content (FIPS 180-4). A struct dd_hasher belongs to one thread at a time; it
 * exists because OpenSSL 3 spends more on fetching the algorithm than on hashing 4 KiB.
 */
#ifndef DD_DIGEST_H
#define DD_DIGEST_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dd_digest {
	uint8_t b[32];
};

struct dd_hasher;

int dd_hasher_new(struct dd_hasher **out, struct vs_error *err) vs_must_check;
void dd_hasher_free(struct dd_hasher *h);

/* Digest of data[0, len). Cannot fail once the hasher exists. */
void dd_hash(struct dd_hasher *h, const void *data, size_t len, struct dd_digest *out);
/* Digest of several pieces in order: begin, add..., end. */
void dd_hash_begin(struct dd_hasher *h);
void dd_hash_add(struct dd_hasher *h, const void *data, size_t len);
void dd_hash_end(struct dd_hasher *h, struct dd_digest *out);

static inline bool dd_digest_equal(const struct dd_digest *a, const struct dd_digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

#endif
