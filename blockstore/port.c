#include "blockstore/port.h"

#include "common/ring.h"
#include "dedup/digest.h"

#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#define STAGING_PAGES 512u /* 2 MiB a port, in runs of one operation's blocks */
#define ZSTD_LEVEL 3

struct bs_port {
	struct bs_engine *engine;
	struct bs_store *store;
	struct vs_loop *loop;
	struct vs_ring to_engine, to_port;
	struct bs_iop *ops, *free;
	unsigned depth, busy_ops;
	struct bs_req *head, *tail; /* requests not yet cut into operations */
	struct bs_req *settled;	    /* refused or empty: done is still to be called */
	unsigned outstanding;
	struct bs_arena *staging;
	struct dd_hasher *hasher;
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
	struct vs_post post;
	atomic_bool posted;
	bool answered; /* engine's: wake when the poll ends */
	bool starting;
};

static const uint8_t zero_block[BS_BLOCK];

struct bs_engine *bs_port_engine(const struct bs_port *p)
{
	return p->engine;
}

void bs_port_set_store(struct bs_port *p, struct bs_store *s)
{
	p->store = s;
}

struct bs_store *bs_port_store(const struct bs_port *p)
{
	return p->store;
}

void bs_port_settle(struct bs_port *p)
{
	while (p->outstanding || atomic_load(&p->posted))
		vs_loop_turn(p->loop, -1);
}

unsigned bs_port_outstanding(const struct bs_port *p)
{
	return p->outstanding;
}

static void posted(struct vs_post *post)
{
	struct bs_port *p = post->arg;

	atomic_store(&p->posted, false);
	while (bs_port_poll(p))
		;
}

int bs_port_new(struct bs_engine *e, struct vs_loop *loop, unsigned depth, struct bs_port **out)
{
	struct bs_port *p = calloc(1, sizeof(*p));

	if (!p)
		return VS_E_NOMEM;
	p->engine = e;
	p->loop = loop;
	p->depth = depth;
	p->post = (struct vs_post){.call = posted, .arg = p};
	p->ops = calloc(depth, sizeof(*p->ops));
	p->zc = ZSTD_createCCtx();
	p->zd = ZSTD_createDCtx();
	if (!p->ops || !p->zc || !p->zd || vs_ring_init(&p->to_engine, depth) ||
	    vs_ring_init(&p->to_port, depth) || bs_arena_new(STAGING_PAGES, &p->staging) ||
	    dd_hasher_new(&p->hasher, NULL)) {
		bs_port_free(p);
		return VS_E_NOMEM;
	}
	for (unsigned i = 0; i < depth; i++) {
		p->ops[i].port = p;
		p->ops[i].next = p->free;
		p->free = &p->ops[i];
	}
	*out = p;
	return 0;
}

void bs_port_free(struct bs_port *p)
{
	vs_ring_destroy(&p->to_engine);
	vs_ring_destroy(&p->to_port);
	bs_arena_free(p->staging);
	dd_hasher_free(p->hasher);
	ZSTD_freeCCtx(p->zc);
	ZSTD_freeDCtx(p->zd);
	free(p->ops);
	free(p);
}

static void send(struct bs_port *p, struct bs_iop *op)
{
	bool ok = vs_ring_push(&p->to_engine, op);

	VS_ASSERT(ok);
	if (p->engine->env.wake)
		p->engine->env.wake(p->engine->env.arg);
}

/* The request's bytes from rel on, as far as one vector element holds them. */
static uint8_t *iov_at(const struct bs_req *req, uint64_t rel, size_t *len)
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
		uint8_t *to = iov_at(req, rel, &len);

		len = VS_MIN(len, n);
		VS_ASSERT(len);
		memcpy(to, from, len);
		rel += len;
		from += len;
		n -= len;
	}
}

static void copy_in(const struct bs_req *req, uint64_t rel, uint8_t *to, size_t n)
{
	while (n) {
		size_t len;
		const uint8_t *from = iov_at(req, rel, &len);

		len = VS_MIN(len, n);
		VS_ASSERT(len);
		memcpy(to, from, len);
		rel += len;
		to += len;
		n -= len;
	}
}

/* Plain form of every block: src set, zeros found, the rest hashed. */
static void hash_blocks(struct bs_port *p, struct bs_iop *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		op->len[i] = 0;
		op->cid[i] = 0;
		op->kind[i] = BS_BLOCK_ZERO;
		if (memcmp(op->src[i], zero_block, BS_BLOCK) == 0)
			continue;
		op->kind[i] = BS_BLOCK_NEW;
		dd_hash(p->hasher, op->src[i], BS_BLOCK, &op->digest[i]);
	}
}

static size_t squeeze(struct bs_port *p, int compression, const uint8_t *from, uint8_t *to,
		      size_t room)
{
	size_t n;

	if (compression == BS_CODING_LZ4) {
		int r = LZ4_compress_default((const char *)from, (char *)to, BS_BLOCK, (int)room);

		return r > 0 ? (size_t)r : 0;
	}
	n = ZSTD_compressCCtx(p->zc, to, room, from, BS_BLOCK, ZSTD_LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

/* Stored form of new blocks: compressed when that saves an eighth. */
static void compress_blocks(struct bs_port *p, struct bs_iop *op)
{
	int compression = atomic_load_explicit(&op->req->volume->compression, memory_order_relaxed);
	uint8_t scratch[BS_BLOCK];

	for (unsigned i = 0; i < op->count; i++) {
		size_t n = 0;

		if (op->kind[i] != BS_BLOCK_NEW || op->len[i])
			continue;
		if (compression != BS_CODING_PLAIN && op->staging)
			n = squeeze(p, compression, op->src[i], scratch, BS_BLOCK * 7 / 8);
		op->coding[i] = n ? (uint8_t)compression : BS_CODING_PLAIN;
		op->len[i] = n ? (uint32_t)n : BS_BLOCK;
		if (n) {
			uint8_t *to = op->staging + (size_t)i * BS_BLOCK;

			memcpy(to, scratch, n);
			op->src[i] = to;
		}
		op->check[i] = bs_checksum(op->src[i], op->len[i]) & BS_CHECK56;
	}
}

static int decode(struct bs_port *p, const struct bs_piece *c, uint8_t *to)
{
	size_t n;

	if ((bs_checksum(c->ptr, c->len) & BS_CHECK56) != c->check)
		return VS_E_CHECKSUM;
	switch (c->coding) {
	case BS_CODING_PLAIN:
		if (c->len != BS_BLOCK)
			return VS_E_CORRUPT;
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

static void deliver(struct bs_port *p, struct bs_iop *op)
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
		op->src[i] = to;
	}
	return 0;
}

static int compare(struct bs_iop *op)
{
	const uint8_t *have = op->staging + op->skip;

	for (uint32_t at = 0; at < op->bytes;) {
		size_t len;
		const uint8_t *want = iov_at(op->req, op->rel + at, &len);

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
static void merge(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;

	if (op->status == 0)
		op->status = stage_old(p, op);
	if (op->status == 0 && req->op == BS_COMPARE_WRITE)
		op->status = compare(op);
	if (op->status) {
		op->stage = BS_OP_RELEASE;
		send(p, op);
		return;
	}
	if (req->op == BS_ZERO)
		memset(op->staging + op->skip, 0, op->bytes);
	else
		copy_in(req, op->rel + (req->op == BS_COMPARE_WRITE ? req->length : 0),
			op->staging + op->skip, op->bytes);
	hash_blocks(p, op);
	op->stage = BS_OP_LOOKUP;
	send(p, op);
}

static void start_more(struct bs_port *p);

static void complete(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;

	if (op->status && req->status == 0)
		req->status = op->status;
	if (req->op == BS_LINK && op->status == 0)
		for (unsigned i = 0; i < op->count; i++)
			req->mapped[i] = op->kind[i] == BS_BLOCK_KNOWN;
	if (op->staging)
		bs_arena_give(p->staging, op->staging, (unsigned)op->count);
	op->staging = NULL;
	op->next = p->free;
	p->free = op;
	p->busy_ops--;
	req->pending_--;
	if (req->pending_ == 0 && req->next_off_ >= req->end_) {
		p->outstanding--;
		req->done(req);
	}
}

static void handle(struct bs_port *p, struct bs_iop *op)
{
	switch (op->stage) {
	case BS_OP_COMPRESS:
		compress_blocks(p, op);
		op->stage = BS_OP_COMMIT;
		send(p, op);
		break;
	case BS_OP_FILLED:
		if (op->then == BS_OP_LOOKUP) {
			merge(p, op);
			break;
		}
		deliver(p, op);
		op->stage = BS_OP_RELEASE;
		send(p, op);
		break;
	default:
		complete(p, op);
		break;
	}
}

static bool finish_settled(struct bs_port *p)
{
	struct bs_req *req = p->settled, *next;

	if (!req)
		return false;
	p->settled = NULL;
	for (; req; req = next) {
		next = req->next_;
		p->outstanding--;
		req->done(req);
	}
	return true;
}

bool bs_port_poll(struct bs_port *p)
{
	struct bs_iop *op;
	bool did = finish_settled(p);

	while ((op = vs_ring_pop(&p->to_port))) {
		handle(p, op);
		did = true;
	}
	if (did)
		start_more(p);
	return did;
}

bool bs_port_drain(struct bs_port *p)
{
	struct bs_iop *op;
	bool did = false;

	while ((op = vs_ring_pop(&p->to_engine))) {
		bs_op_submit(p->engine, op);
		did = true;
	}
	return did;
}

void bs_port_answer(struct bs_port *p, struct bs_iop *op)
{
	bool ok = vs_ring_push(&p->to_port, op);

	VS_ASSERT(ok);
	p->answered = true;
}

void bs_port_wake(struct bs_port *p)
{
	if (!p->answered)
		return;
	p->answered = false;
	if (p->loop && !atomic_exchange(&p->posted, true))
		vs_loop_post(p->loop, &p->post);
}

/* Cutting requests into operations. */

static void plan_read(const struct bs_req *req, struct bs_iop *op)
{
	uint64_t at = req->next_off_, edge = VS_ALIGN_DOWN(at, BS_BLOCK) + BS_OP_BLOCKS * BS_BLOCK;
	uint64_t end = VS_MIN(req->end_, edge);

	op->stage = BS_OP_READ;
	op->block = at / BS_BLOCK;
	op->skip = (uint32_t)(at % BS_BLOCK);
	op->bytes = (uint32_t)(end - at);
	op->count = VS_DIV_UP(end, BS_BLOCK) - op->block;
}

static void plan_change(const struct bs_req *req, struct bs_iop *op)
{
	const uint64_t piece = BS_OP_BLOCKS * BS_BLOCK;
	uint64_t at = req->next_off_, end;

	op->skip = (uint32_t)(at % BS_BLOCK);
	op->block = at / BS_BLOCK;
	if (op->skip || req->end_ - at < BS_BLOCK) { /* part of one block */
		end = VS_MIN(req->end_, VS_ALIGN_DOWN(at, BS_BLOCK) + BS_BLOCK);
		op->stage = BS_OP_LOCK;
		op->count = 1;
	} else if (req->op == BS_ZERO) {
		end = VS_ALIGN_DOWN(req->end_, BS_BLOCK);
		op->stage = BS_OP_TRIM;
		op->count = (end - at) / BS_BLOCK;
		op->bytes = 0;
		op->rel = end - req->offset; /* where the request goes on */
		return;
	} else {
		end = VS_MIN(VS_ALIGN_DOWN(req->end_, BS_BLOCK), VS_ALIGN_DOWN(at, piece) + piece);
		op->stage = BS_OP_LOOKUP;
		op->count = (end - at) / BS_BLOCK;
	}
	op->bytes = (uint32_t)(end - at);
}

static void plan(const struct bs_req *req, struct bs_iop *op)
{
	op->rel = req->next_off_ - req->offset;
	op->skip = op->bytes = 0;
	op->then = BS_OP_DONE;
	switch (req->op) {
	case BS_READ:
		plan_read(req, op);
		return;
	case BS_WRITE:
	case BS_ZERO:
		plan_change(req, op);
		break;
	case BS_COMPARE_WRITE:
		op->stage = BS_OP_LOCK;
		op->skip = (uint32_t)(req->offset % BS_BLOCK);
		op->bytes = (uint32_t)req->length;
		op->block = req->offset / BS_BLOCK;
		op->count = VS_DIV_UP(req->end_, BS_BLOCK) - op->block;
		break;
	case BS_TRIM:
		op->stage = BS_OP_TRIM;
		op->block = VS_DIV_UP(req->offset, BS_BLOCK);
		op->count = req->end_ / BS_BLOCK - op->block;
		break;
	case BS_FLUSH:
		op->stage = BS_OP_FLUSH;
		op->count = 0;
		break;
	case BS_LINK:
	case BS_STATUS:
		op->stage = req->op == BS_LINK ? BS_OP_LINK : BS_OP_STATUS;
		op->block = req->offset / BS_BLOCK;
		op->count = req->length / BS_BLOCK;
		break;
	}
	if (op->stage == BS_OP_LOCK)
		op->then = BS_OP_LOOKUP;
}

static bool contiguous(const struct bs_req *req, const struct bs_iop *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		size_t len;

		if (!iov_at(req, op->rel + (uint64_t)i * BS_BLOCK, &len) || len < BS_BLOCK)
			return false;
	}
	return true;
}

/* Staging pages where they are needed; false when there are none now. */
static bool stage(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;
	bool copy = req->op == BS_WRITE && op->stage == BS_OP_LOOKUP &&
		    ((req->flags & BS_UNSTABLE) || !contiguous(req, op));

	op->staging = NULL;
	if (op->stage == BS_OP_LOCK || copy ||
	    (op->stage == BS_OP_LOOKUP &&
	     atomic_load_explicit(&req->volume->compression, memory_order_relaxed))) {
		op->staging = bs_arena_take(p->staging, (unsigned)op->count);
		if (!op->staging)
			return false;
	}
	if (op->stage != BS_OP_LOOKUP)
		return true;
	if (copy)
		copy_in(req, op->rel, op->staging, op->bytes);
	for (unsigned i = 0; i < op->count; i++) {
		size_t len;

		op->src[i] = copy ? op->staging + (size_t)i * BS_BLOCK
				  : iov_at(req, op->rel + (uint64_t)i * BS_BLOCK, &len);
	}
	return true;
}

static void advance(struct bs_req *req, const struct bs_iop *op)
{
	if (req->op == BS_READ || req->op == BS_WRITE || (req->op == BS_ZERO && op->bytes))
		req->next_off_ += op->bytes;
	else if (req->op == BS_ZERO)
		req->next_off_ = req->offset + op->rel;
	else
		req->next_off_ = req->end_;
}

/* Whether an operation could be started for the first request in line. */
static bool start_one(struct bs_port *p)
{
	struct bs_req *req = p->head;
	struct bs_iop *op = p->free;

	if (!req || !op)
		return false;
	op->req = req;
	op->vol = req->volume ? req->volume->vol : NULL;
	op->status = 0;
	op->locked = false;
	op->fua = (req->flags & BS_FUA) != 0;
	op->seq = 0;
	plan(req, op);
	if (!stage(p, op))
		return false;
	p->free = op->next;
	p->busy_ops++;
	req->pending_++;
	advance(req, op);
	if (req->next_off_ >= req->end_) {
		p->head = req->next_;
		if (!p->head)
			p->tail = NULL;
	}
	if (op->stage == BS_OP_LINK)
		memcpy(op->digest, req->digests, op->count * sizeof(op->digest[0]));
	if (op->stage == BS_OP_LOOKUP)
		hash_blocks(p, op);
	send(p, op);
	return true;
}

static void start_more(struct bs_port *p)
{
	if (p->starting)
		return; /* a callback submits: the loop below goes on */
	p->starting = true;
	while (start_one(p))
		;
	p->starting = false;
}

static uint64_t iov_bytes(const struct bs_req *req)
{
	uint64_t n = 0;

	for (int i = 0; i < req->iovcnt; i++)
		n += req->iov[i].iov_len;
	return n;
}

static int check(const struct bs_req *req)
{
	uint64_t align = req->op == BS_LINK || req->op == BS_STATUS ? BS_BLOCK : 512;
	bool writes = req->op != BS_READ && req->op != BS_STATUS;

	if (req->op == BS_FLUSH)
		return 0;
	if (req->offset % align || req->length % align)
		return VS_E_INVAL;
	if (!vs_range_ok(req->offset, req->length, bs_volume_size(req->volume)))
		return VS_E_RANGE;
	if (writes && req->volume->read_only)
		return VS_E_ROFS;
	switch (req->op) {
	case BS_READ:
	case BS_WRITE:
		return req->length > (64u << 20) || iov_bytes(req) < req->length ? VS_E_INVAL : 0;
	case BS_COMPARE_WRITE:
		return req->length > BS_COMPARE_MAX || iov_bytes(req) < 2 * req->length ? VS_E_INVAL
											: 0;
	case BS_LINK:
		return req->length > BS_LINK_MAX * BS_BLOCK ? VS_E_INVAL : 0;
	case BS_STATUS:
		return req->length > (uint64_t)BS_STATUS_MAX * BS_BLOCK ? VS_E_INVAL : 0;
	default:
		return 0;
	}
}

/* Requests that change nothing are answered through the loop like all others. */
static bool is_empty(const struct bs_req *req)
{
	if (req->op == BS_FLUSH)
		return false;
	if (req->op == BS_TRIM)
		return VS_DIV_UP(req->offset, BS_BLOCK) >= req->end_ / BS_BLOCK;
	return req->length == 0;
}

void bs_submit(struct bs_port *p, struct bs_req *req)
{
	req->status = check(req);
	req->next_ = NULL;
	req->pending_ = 0;
	req->port_ = p;
	req->next_off_ = req->offset;
	req->end_ = req->offset + req->length;
	if (req->op == BS_FLUSH) {
		req->next_off_ = 0;
		req->end_ = 1;
	}
	p->outstanding++;
	if (req->status || is_empty(req)) {
		req->next_ = p->settled;
		p->settled = req;
		if (p->loop && !atomic_exchange(&p->posted, true))
			vs_loop_post(p->loop, &p->post);
		return;
	}
	if (p->tail)
		p->tail->next_ = req;
	else
		p->head = req;
	p->tail = req;
	start_more(p);
}

static void wait_done(struct bs_req *req)
{
	*(bool *)req->arg = true;
}

int bs_io_wait(struct bs_port *p, struct bs_req *req)
{
	bool done = false;

	req->done = wait_done;
	req->arg = &done;
	bs_submit(p, req);
	while (!done)
		vs_loop_turn(p->loop, -1);
	return req->status;
}

int bs_io_read(struct bs_port *p, struct bs_volume *v, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = {buf, len};
	struct bs_req req = {
	    .op = BS_READ, .volume = v, .offset = offset, .length = len, .iov = &iov, .iovcnt = 1};

	return bs_io_wait(p, &req);
}

int bs_io_write(struct bs_port *p, struct bs_volume *v, uint64_t offset, const void *buf,
		size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct bs_req req = {
	    .op = BS_WRITE, .volume = v, .offset = offset, .length = len, .iov = &iov, .iovcnt = 1};

	return bs_io_wait(p, &req);
}

int bs_io_flush(struct bs_port *p)
{
	struct bs_req req = {.op = BS_FLUSH};

	return bs_io_wait(p, &req);
}
