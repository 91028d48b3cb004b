/*
 * SHA-256 digests of several pieces at once. Processors hash two to sixteen of them in hardly more
 * time than one, side by side in the lanes of wide registers or with interleaved SHA instructions.
 * Which way is the fastest for how many is measured once in each process, and a way that does not
 * give OpenSSL's digests is not used.
 *
 * Threads: a struct dd_many belongs to one thread at a time. Errors: only dd_many_new fails.
 */
#ifndef DD_MANY_H
#define DD_MANY_H

#include "dedup/digest.h"

#define DD_MANY_BEST 16u /* more at once are not faster */

struct dd_many;

int dd_many_new(struct dd_many **out, struct vs_error *err) vs_must_check;
void dd_many_free(struct dd_many *m); /* NULL is fine */

/* out[i]: digest of data[i][0, len). Any n. */
void dd_many_hash(struct dd_many *m, unsigned n, const uint8_t *const data[], size_t len,
		  struct dd_digest *const out[]);

#endif
