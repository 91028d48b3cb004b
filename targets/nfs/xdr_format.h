/*
 * XDR (RFC 4506): a cursor to decode from and one to encode to.
 *
 * Pure functions, any thread. A cursor that ran out of bytes, or met what it may not, stays bad:
 * decoders give zeros then and encoders drop, so that whole structures are worked on and the
 * cursor is asked once at the end. What a decoder points to lies within its input.
 */
#ifndef NFS_XDR_FORMAT_H
#define NFS_XDR_FORMAT_H

#include "common/bytes.h"

#include <stddef.h>

struct nfs_dec {
	const uint8_t *p, *end;
	bool bad;
};

struct nfs_enc {
	uint8_t *p, *end;
	bool bad; /* there was no room */
};

/* Bytes of variable length, on the wire without the padding to 4. */
struct nfs_bytes {
	const uint8_t *p;
	uint32_t len;
};

#define NFS_XDR_PAD(n) (-(n)&3u)

static inline size_t nfs_dec_left(const struct nfs_dec *d)
{
	return (size_t)(d->end - d->p);
}

static inline const uint8_t *nfs_dec_take(struct nfs_dec *d, size_t n)
{
	const uint8_t *p = d->p;

	if (d->bad || nfs_dec_left(d) < n) {
		d->bad = true;
		return NULL;
	}
	d->p += n;
	return p;
}

static inline uint32_t nfs_dec_u32(struct nfs_dec *d)
{
	const uint8_t *p = nfs_dec_take(d, 4);

	return p ? vs_get_be32(p) : 0;
}

static inline uint64_t nfs_dec_u64(struct nfs_dec *d)
{
	const uint8_t *p = nfs_dec_take(d, 8);

	return p ? vs_get_be64(p) : 0;
}

/* RFC 4506 section 4.4: anything but 0 and 1 is an error. */
static inline bool nfs_dec_bool(struct nfs_dec *d)
{
	uint32_t v = nfs_dec_u32(d);

	if (v > 1)
		d->bad = true;
	return v == 1;
}

/* An enumeration of 0 to last. */
static inline uint32_t nfs_dec_enum(struct nfs_dec *d, uint32_t last)
{
	uint32_t v = nfs_dec_u32(d);

	if (v > last)
		d->bad = true;
	return d->bad ? 0 : v;
}

/* opaque<max> and string<max>; p is NULL when the cursor is bad. */
static inline struct nfs_bytes nfs_dec_bytes(struct nfs_dec *d, uint32_t max)
{
	struct nfs_bytes b = {NULL, nfs_dec_u32(d)};

	if (b.len > max)
		d->bad = true;
	else
		b.p = nfs_dec_take(d, (size_t)b.len + NFS_XDR_PAD(b.len));
	if (!b.p)
		b.len = 0;
	return b;
}

/* Everything was decoded and nothing is left over. */
static inline bool nfs_dec_ok(const struct nfs_dec *d)
{
	return !d->bad && d->p == d->end;
}

static inline uint8_t *nfs_enc_take(struct nfs_enc *e, size_t n)
{
	uint8_t *p = e->p;

	if (e->bad || (size_t)(e->end - p) < n) {
		e->bad = true;
		return NULL;
	}
	e->p += n;
	return p;
}

static inline void nfs_enc_u32(struct nfs_enc *e, uint32_t v)
{
	uint8_t *p = nfs_enc_take(e, 4);

	if (p)
		vs_put_be32(p, v);
}

static inline void nfs_enc_u64(struct nfs_enc *e, uint64_t v)
{
	uint8_t *p = nfs_enc_take(e, 8);

	if (p)
		vs_put_be64(p, v);
}

/* opaque[n], n a multiple of 4 */
static inline void nfs_enc_fixed(struct nfs_enc *e, const void *from, size_t n)
{
	uint8_t *p = nfs_enc_take(e, n);

	if (p)
		memcpy(p, from, n);
}

/* n bytes that are in place already, and their padding */
static inline void nfs_enc_skip(struct nfs_enc *e, uint32_t n)
{
	uint8_t *p = nfs_enc_take(e, (size_t)n + NFS_XDR_PAD(n));

	if (p)
		memset(p + n, 0, NFS_XDR_PAD(n));
}

static inline void nfs_enc_bytes(struct nfs_enc *e, const void *from, uint32_t n)
{
	uint8_t *p = nfs_enc_take(e, 4 + (size_t)n + NFS_XDR_PAD(n));

	if (!p)
		return;
	vs_put_be32(p, n);
	memcpy(p + 4, from, n);
	memset(p + 4 + n, 0, NFS_XDR_PAD(n));
}

#endif
