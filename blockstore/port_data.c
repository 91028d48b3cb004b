#include "blockstore/plant.h"
#include "blockstore/port_int.h"

#include <lz4.h>

#define ZSTD_LEVEL 3
/* After so many blocks of a volume in a row that would not shrink, one in so many is tried. */
#define VAIN_BLOCKS 32u
#define VAIN_EVERY 8u
#define MENDS_MAX 3u
#define SHARE_ALL 65536u

static const uint8_t zero_block[BS_BLOCK];

/* The request's bytes from rel on, as far as one vector element holds them. */
uint8_t *bs_port_iov_at(const struct bs_req *req, uint64_t rel, size_t *len)
{
	for (int i = 0; i < req->iovcnt; i++) {
		if (rel < req->iov[i].iov_len) {
			*len = req->iov[i].iov_len - (size_t)rel;
			return (uint8_t *)req->iov[i].iov_base + rel;
		}
		rel -= req->iov[i].iov_len;
	}
	*len = 0;
	return NULL;
}

static void copy_out(const struct bs_req *req, uint64_t rel, const uint8_t *from, size_t n)
{
	while (n) {
		size_t len;
		uint8_t *to = bs_port_iov_at(req, rel, &len);

		len = VS_MIN(len, n);
		VS_ASSERT(len);
		memcpy(to, from, len);
		rel += len;
		from += len;
		n -= len;
	}
}

void bs_port_copy_in(const struct bs_req *req, uint64_t rel, uint8_t *to, size_t n)
{
	while (n) {
		size_t len;
		const uint8_t *from = bs_port_iov_at(req, rel, &len);

		len = VS_MIN(len, n);
		VS_ASSERT(len);
		memcpy(to, from, len);
		rel += len;
		to += len;
		n -= len;
	}
}

int bs_hands_open(struct bs_hands *h)
{
	h->zc = ZSTD_createCCtx();
	return h->zc ? dd_many_new(&h->hasher, NULL) : VS_E_NOMEM;
}

void bs_hands_close(struct bs_hands *h)
{
	dd_many_free(h->hasher);
	ZSTD_freeCCtx(h->zc);
}

/* Plain form of every block: src set, zeros found, the rest hashed, also of several operations
 * together. */
static void hash(struct bs_hands *h, struct bs_iop *const *ops, unsigned nops)
{
	const uint8_t *data[BS_OP_BLOCKS];
	struct dd_digest *out[BS_OP_BLOCKS];
	unsigned n = 0;

	for (unsigned k = 0; k < nops; k++) {
		struct bs_iop *op = ops[k];

		for (unsigned i = 0; i < op->count; i++) {
			struct bs_block *b = &op->to[i];

			b->len = 0;
			b->kind = BS_BLOCK_ZERO;
			if (memcmp(b->src, zero_block, BS_BLOCK) == 0)
				continue;
			b->kind = BS_BLOCK_NEW;
			op->hashed++;
			data[n] = b->src;
			out[n++] = &b->digest;
			if (n == BS_OP_BLOCKS) {
				dd_many_hash(h->hasher, n, data, BS_BLOCK, out);
				n = 0;
			}
		}
	}
	dd_many_hash(h->hasher, n, data, BS_BLOCK, out);
}

/* The compressed length of a block, when that saves an eighth; else 0. */
static uint32_t squeeze(struct bs_hands *h, int compression, const uint8_t *from, uint8_t *to)
{
	const unsigned room = BS_BLOCK * 7 / 8;
	size_t n;

	if (compression == BS_CODING_LZ4) {
		int r = LZ4_compress_default((const char *)from, (char *)to, BS_BLOCK, (int)room);

		return r > 0 ? (uint32_t)r : 0;
	}
	n = ZSTD_compressCCtx(h->zc, to, room, from, BS_BLOCK, ZSTD_LEVEL);
	return ZSTD_isError(n) ? 0 : (uint32_t)n;
}

/* The stored form in to, unless it is left as it is. *vain: blocks in a row that would not shrink.
 */
static uint32_t shrink(struct bs_hands *h, int compression, const uint8_t *from,
		       uint8_t to[BS_BLOCK], unsigned *vain)
{
	uint32_t n = 0;

	if (*vain < VAIN_BLOCKS || *vain % VAIN_EVERY == 0)
		n = squeeze(h, compression, from, to);
	*vain = n ? 0 : *vain + 1;
	return n;
}

/* Stored form of new blocks: compressed when that saves an eighth. */
void bs_port_compress(struct bs_hands *h, struct bs_iop *op)
{
	struct bs_volume *v = op->req->volume;
	int compression = atomic_load_explicit(&v->compression, memory_order_relaxed);
	unsigned before = atomic_load_explicit(&v->vain, memory_order_relaxed), vain = before;
	uint8_t scratch[BS_BLOCK];

	for (unsigned i = 0; i < op->count; i++) {
		struct bs_block *b = &op->to[i];
		uint32_t n = 0;

		if (b->kind != BS_BLOCK_NEW || b->len)
			continue;
		if (compression != BS_CODING_PLAIN && op->staging)
			n = shrink(h, compression, b->src, scratch, &vain);
		b->coding = n ? (uint8_t)compression : BS_CODING_PLAIN;
		b->len = n ? n : BS_BLOCK;
		if (n) {
			uint8_t *to = op->staging + (size_t)i * BS_BLOCK;

			memcpy(to, scratch, n);
			b->src = to;
		}
		b->check = bs_checksum(b->src, b->len) & BS_CHECK56;
	}
	if (vain != before) /* ports that count at the same time only make it less exact */
		atomic_store_explicit(&v->vain, vain, memory_order_relaxed);
}

void bs_port_expect(const struct bs_port *p, struct bs_iop *op)
{
	op->ahead = op->count * p->known < SHARE_ALL / 2 || op->req->op == BS_FILL;
}

void bs_port_ready(struct bs_hands *h, struct bs_iop *const *ops, unsigned n)
{
	hash(h, ops, n);
	for (unsigned i = 0; i < n; i++) {
		if (ops[i]->ahead)
			bs_port_compress(h, ops[i]);
		ops[i]->stage = ops[i]->req->op == BS_FILL ? BS_OP_FILL : BS_OP_WRITE;
	}
}

/* A mean in which the last 64 blocks weigh most. */
void bs_port_learn(struct bs_port *p, const struct bs_iop *op)
{
	uint32_t known = 0;

	for (unsigned i = 0; op->hashed && i < op->count; i++)
		known += op->to[i].kind == BS_BLOCK_KNOWN;
	p->known = (p->known * (64 - op->hashed) + known * SHARE_ALL) / 64;
}

static int decode(struct bs_port *p, const struct bs_piece *c, uint8_t *to)
{
	size_t n;

	if ((bs_checksum(c->ptr, c->len) & BS_CHECK56) != c->check && !bs_planted(UNCHECKED_READ))
		return VS_E_CHECKSUM;
	switch (c->coding) {
	case BS_CODING_PLAIN:
		if (c->len != BS_BLOCK)
			return VS_E_CORRUPT;
		if (to != c->ptr) /* read to its place in the cache */
			memcpy(to, c->ptr, BS_BLOCK);
		return 0;
	case BS_CODING_LZ4:
		return LZ4_decompress_safe((const char *)c->ptr, (char *)to, (int)c->len,
					   BS_BLOCK) == BS_BLOCK
			   ? 0
			   : VS_E_CORRUPT;
	default:
		n = ZSTD_decompressDCtx(p->zd, to, BS_BLOCK, c->ptr, c->len);
		return n == BS_BLOCK ? 0 : VS_E_CORRUPT;
	}
}

/* The plain bytes of a piece, in the cache block to be filled or else in scratch. */
static int piece_bytes(struct bs_port *p, struct bs_piece *c, uint8_t scratch[BS_BLOCK],
		       const uint8_t **bytes)
{
	int rc;

	*bytes = zero_block;
	if (!c->ptr)
		return 0;
	*bytes = c->ptr;
	if (c->decoded)
		return 0;
	*bytes = c->cached ? c->cached->data : scratch;
	rc = decode(p, c, c->cached ? c->cached->data : scratch);
	c->filled = rc == 0 && c->cached;
	return rc;
}

/* Damaged bytes go back to the engine, which may have them on another device, but not for ever. */
bool bs_port_mend(struct bs_port *p, struct bs_iop *op)
{
	if (op->status != VS_E_CHECKSUM || op->mended >= MENDS_MAX)
		return false;
	op->mended++;
	op->stage = BS_OP_MEND;
	bs_port_send(p, op);
	return true;
}

int bs_port_gather(struct bs_port *p, struct bs_iop *op, uint8_t *to)
{
	uint32_t left = op->bytes, skip = op->skip;
	uint8_t scratch[BS_BLOCK];

	for (unsigned i = 0; i < op->count; i++) {
		const uint8_t *bytes;
		uint32_t n = VS_MIN(BS_BLOCK - skip, left);
		int rc = piece_bytes(p, &op->piece[i], scratch, &bytes);

		if (rc)
			return rc;
		memcpy(to, bytes + skip, n);
		to += n;
		left -= n;
		skip = 0;
	}
	return 0;
}

void bs_port_deliver(struct bs_port *p, struct bs_iop *op)
{
	uint64_t rel = op->rel;
	uint32_t left = op->bytes, skip = op->skip;
	uint8_t scratch[BS_BLOCK];

	for (unsigned i = 0; op->status == 0 && i < op->count; i++) {
		const uint8_t *bytes;
		uint32_t n = VS_MIN(BS_BLOCK - skip, left);

		op->status = piece_bytes(p, &op->piece[i], scratch, &bytes);
		if (op->status)
			break;
		copy_out(op->req, rel, bytes + skip, n);
		rel += n;
		left -= n;
		skip = 0;
	}
}

/* What the blocks hold now, into staging. */
static int stage_old(struct bs_port *p, struct bs_iop *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		uint8_t *to = op->staging + (size_t)i * BS_BLOCK;
		const uint8_t *bytes;
		int rc = piece_bytes(p, &op->piece[i], to, &bytes);

		if (rc)
			return rc;
		if (bytes != to)
			memcpy(to, bytes, BS_BLOCK);
		op->to[i].src = to;
	}
	return 0;
}

static int compare(struct bs_iop *op)
{
	const uint8_t *have = op->staging + op->skip;

	for (uint32_t at = 0; at < op->bytes;) {
		size_t len;
		const uint8_t *want = bs_port_iov_at(op->req, op->rel + at, &len);

		len = VS_MIN(len, op->bytes - at);
		for (size_t k = 0; k < len; k++) {
			if (want[k] != have[at + k]) {
				op->req->mismatch_at = at + k;
				return VS_E_MISMATCH;
			}
		}
		at += (uint32_t)len;
	}
	return 0;
}

/* A locked read has arrived: the request's bytes go over it, then it is written. */
void bs_port_merge(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;

	if (op->status == 0)
		op->status = stage_old(p, op);
	if (bs_port_mend(p, op))
		return;
	if (op->status == 0 && req->op == BS_COMPARE_WRITE)
		op->status = compare(op);
	if (op->status) {
		op->stage = BS_OP_RELEASE;
		bs_port_send(p, op);
		return;
	}
	if (req->op == BS_ZERO)
		memset(op->staging + op->skip, 0, op->bytes);
	else if (req->op == BS_COPY)
		bs_port_copy_merge(op);
	else
		bs_port_copy_in(req, op->rel + (req->op == BS_COMPARE_WRITE ? req->length : 0),
				op->staging + op->skip, op->bytes);
	bs_port_expect(p, op);
	bs_port_ready(&p->hands, &op, 1);
	bs_port_send(p, op);
}
