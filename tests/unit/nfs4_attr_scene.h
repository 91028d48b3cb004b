/*
 * Attributes of NFSv4 (fattr4, RFC 8881 section 5.1), for tests over nfs4_scene.h.
 */
#ifndef TESTS_UNIT_NFS4_ATTR_SCENE_H
#define TESTS_UNIT_NFS4_ATTR_SCENE_H

#include "tests/unit/nfs4_scene.h"

/* What a reply says, up to its values. */
struct attrs {
	struct nfs4_bitmap mask;
	struct nfs_dec d;
};

static inline void put_mask(struct v4 *v, uint32_t w0, uint32_t w1, uint32_t w2)
{
	nfs_enc_u32(&v->e, 3);
	nfs_enc_u32(&v->e, w0);
	nfs_enc_u32(&v->e, w1);
	nfs_enc_u32(&v->e, w2);
}

static inline struct nfs4_bitmap take_mask(struct nfs_dec *d)
{
	struct nfs4_bitmap b = {{0}, false};
	uint32_t n = nfs_dec_u32(d);

	assert_true(n <= 3);
	for (uint32_t i = 0; i < n; i++)
		b.w[i] = nfs_dec_u32(d);
	return b;
}

/* fattr4 */
static inline struct attrs take_attrs(struct nfs_dec *d)
{
	struct attrs a = {.mask = take_mask(d)};
	struct nfs_bytes b = nfs_dec_bytes(d, 65536);

	assert_false(d->bad);
	a.d = (struct nfs_dec){b.p, b.p + b.len, false};
	return a;
}

static inline struct attrs getattr4(struct v4 *v, const struct fh *h, uint32_t w0, uint32_t w1,
				    uint32_t w2)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_GETATTR);
	put_mask(v, w0, w1, w2);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_GETATTR);
	return take_attrs(&v->d);
}

static inline uint64_t size_of(struct v4 *v, const struct fh *h)
{
	struct attrs a = getattr4(v, h, 1 << 4, 0, 0);

	return nfs_dec_u64(&a.d);
}

#endif
