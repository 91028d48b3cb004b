#include "blockstore/object.h"
#include "blockstore/origin.h"
#include "blockstore/port_int.h"

#include <string.h>

_Static_assert(BS_ATOMIC_MAX <= BS_OP_BLOCKS * BS_BLOCK, "an atomic write is one operation");

#define FEW 4u /* blocks that are hashed together while the engine waits */

/* The first block of the object that a request is about. */
static uint64_t base_of(const struct bs_req *req)
{
	return (uint64_t)req->object << BS_OBJECT_SHIFT;
}

static void plan_read(const struct bs_req *req, struct bs_iop *op)
{
	uint64_t at = req->next_off_, edge = VS_ALIGN_DOWN(at, BS_BLOCK) + BS_OP_BLOCKS * BS_BLOCK;
	uint64_t end = VS_MIN(req->end_, edge);

	op->stage = BS_OP_READ;
	op->block = base_of(req) + at / BS_BLOCK;
	op->skip = (uint32_t)(at % BS_BLOCK);
	op->bytes = (uint32_t)(end - at);
	op->count = VS_DIV_UP(end, BS_BLOCK) - at / BS_BLOCK;
}

static void plan_change(const struct bs_req *req, struct bs_iop *op)
{
	const uint64_t piece = BS_OP_BLOCKS * BS_BLOCK;
	uint64_t at = req->next_off_, end;

	op->skip = (uint32_t)(at % BS_BLOCK);
	op->block = base_of(req) + at / BS_BLOCK;
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
		/* an atomic one is no longer than one operation may be */
		end = req->flags & (BS_ATOMIC | BS_SCATTER)
			  ? req->end_
			  : VS_MIN(VS_ALIGN_DOWN(req->end_, BS_BLOCK),
				   VS_ALIGN_DOWN(at, piece) + piece);
		op->stage = BS_OP_WRITE;
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
		op->block = base_of(req) + req->offset / BS_BLOCK;
		op->count = VS_DIV_UP(req->end_, BS_BLOCK) - req->offset / BS_BLOCK;
		break;
	case BS_TRIM:
		op->stage = BS_OP_TRIM;
		op->block = base_of(req) + VS_DIV_UP(req->offset, BS_BLOCK);
		op->count = req->end_ / BS_BLOCK - VS_DIV_UP(req->offset, BS_BLOCK);
		if (op->count == BS_OBJECT_MAX / BS_BLOCK) /* one entry of a page */
			op->count = UINT64_C(1) << BS_OBJECT_SHIFT;
		break;
	case BS_FLUSH:
		op->stage = BS_OP_FLUSH;
		op->count = 0;
		break;
	case BS_COPY:
		bs_port_plan_copy(req, op);
		break;
	case BS_FILL:
		op->stage = BS_OP_WRITE; /* for the port; to the engine it goes as FILL */
		op->block = 0;
		op->bytes = (uint32_t)req->length;
		op->count = req->length / BS_BLOCK;
		break;
	case BS_LINK:
	case BS_STATUS:
		op->stage = req->op == BS_LINK ? BS_OP_LINK : BS_OP_STATUS;
		op->block = base_of(req) + req->offset / BS_BLOCK;
		op->count = req->length / BS_BLOCK;
		break;
	case BS_RECORDS:
	case BS_CLONE:
		op->stage = req->op == BS_CLONE ? BS_OP_CLONE : BS_OP_WORDS;
		op->block = base_of(req);
		op->count = 0;
		break;
	}
	if (op->stage == BS_OP_LOCK)
		op->then = BS_OP_WRITE;
}

static bool contiguous(const struct bs_req *req, const struct bs_iop *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		size_t len;

		if (!bs_port_iov_at(req, op->rel + (uint64_t)i * BS_BLOCK, &len) || len < BS_BLOCK)
			return false;
	}
	return true;
}

/* Staging pages where they are needed; false when there are none now. */
static bool stage(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;
	bool copy = req->op == BS_WRITE && op->stage == BS_OP_WRITE &&
		    ((req->flags & BS_UNSTABLE) || !contiguous(req, op));

	op->staging = NULL;
	if (op->stage == BS_OP_LOCK || copy || req->op == BS_COPY ||
	    (op->stage == BS_OP_WRITE &&
	     atomic_load_explicit(&req->volume->compression, memory_order_relaxed))) {
		if (req->op != BS_COPY)
			op->staged = (uint8_t)op->count;
		op->staging = bs_arena_take(p->staging, op->staged);
		if (!op->staging)
			return false;
	}
	if (op->stage != BS_OP_WRITE)
		return true;
	if (copy)
		bs_port_copy_in(req, op->rel, op->staging, op->bytes);
	for (unsigned i = 0; i < op->count; i++) {
		size_t len;

		op->to[i].src = copy ? op->staging + (size_t)i * BS_BLOCK
				     : bs_port_iov_at(req, op->rel + (uint64_t)i * BS_BLOCK, &len);
	}
	return true;
}

static void advance(struct bs_req *req, const struct bs_iop *op)
{
	if (req->op == BS_READ || req->op == BS_WRITE || (req->op == BS_ZERO && op->bytes))
		req->next_off_ += op->bytes;
	else if (req->op == BS_ZERO)
		req->next_off_ = req->offset + op->rel;
	else if (req->op == BS_COPY)
		bs_port_advance_copy(req, op);
	else
		req->next_off_ = req->end_;
}

void bs_port_flush_raw(struct bs_port *p)
{
	struct bs_iop *ops[BS_TOGETHER];
	unsigned n = p->nraw;

	if (!n)
		return;
	memcpy(ops, p->raw, n * sizeof(*ops));
	bs_port_work(p, p->raw_blocks);
	p->nraw = p->raw_blocks = 0;
	bs_port_ready(&p->hands, ops, n);
	for (unsigned i = 0; i < n; i++)
		bs_port_send(p, ops[i]);
}

/* Several small writes are hashed in hardly more time than one. An engine that has done all it was
 * sent gets fewer sooner. */
static void gather(struct bs_port *p, struct bs_iop *op)
{
	p->raw[p->nraw++] = op;
	p->raw_blocks += (unsigned)op->count;
	if (p->raw_blocks >= BS_TOGETHER || (p->raw_blocks >= FEW && vs_ring_empty(&p->to_engine)))
		bs_port_flush_raw(p);
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
	op->mended = 0;
	op->hashed = 0;
	op->near_waited = false;
	op->near_until = 0;
	op->locked = false;
	op->fua = (req->flags & BS_FUA) != 0;
	op->scattered = (req->flags & BS_SCATTER) != 0;
	op->seq = 0;
	plan(req, op);
	if (!stage(p, op))
		return false;
	p->free = op->next;
	p->busy_ops++;
	req->pending_++;
	advance(req, op);
	if (req->next_off_ >= req->end_ || bs_port_copy_overlaps(req)) {
		p->head = req->next_;
		if (!p->head)
			p->tail = NULL;
	}
	for (unsigned i = 0; op->stage == BS_OP_LINK && i < op->count; i++)
		op->to[i].digest = req->digests[i];
	for (unsigned i = 0; req->op == BS_FILL && i < op->count; i++)
		op->piece[i] =
		    (struct bs_piece){.cid = req->wants[i].cid, .check = req->wants[i].block};
	if (op->stage == BS_OP_WRITE) {
		bs_port_expect(p, op);
		if (!bs_port_help(p, op))
			gather(p, op);
		return true;
	}
	bs_port_send(p, op);
	return true;
}

void bs_port_start(struct bs_port *p)
{
	bool hungry;

	if (p->starting)
		return; /* a callback submits: the loop below goes on */
	p->starting = true;
	while (start_one(p))
		;
	p->starting = false;
	if (p->nraw && !p->polling) { /* more may come before the loop goes on */
		if (p->loop && p->busy_ops > p->nraw)
			bs_port_post(p);
		else
			bs_port_flush_raw(p);
	}
	hungry = p->head || (p->settling && p->busy_ops);
	if (hungry == atomic_load_explicit(&p->hungry, memory_order_relaxed))
		return;
	atomic_store(&p->hungry, hungry);
	if (!hungry)
		return;
	bs_port_wake_engine(p);
	if (!vs_ring_empty(&p->to_port))
		bs_port_post(p); /* it came before the engine could know */
}

static uint64_t iov_bytes(const struct bs_req *req)
{
	uint64_t n = 0;

	for (int i = 0; i < req->iovcnt; i++)
		n += req->iov[i].iov_len;
	return n;
}

static int check_fill(const struct bs_req *req)
{
	if (req->offset || !req->length || req->length % BS_BLOCK ||
	    req->length > BS_FILL_MAX * BS_BLOCK || req->iovcnt != 1 ||
	    req->iov[0].iov_len < req->length)
		return VS_E_INVAL;
	return req->volume->read_only ? VS_E_ROFS : 0;
}

static int check_scatter(const struct bs_req *req)
{
	if (req->op != BS_WRITE || req->offset || req->length % BS_BLOCK ||
	    req->length > BS_ATOMIC_MAX)
		return VS_E_INVAL;
	for (uint64_t i = 0; i < req->length / BS_BLOCK; i++)
		if (req->blocks[i] >= BS_OBJECT_MAX / BS_BLOCK)
			return VS_E_RANGE;
	return 0;
}

/* What only volumes of objects have. */
static bool is_word(uint8_t word)
{
	return word < BS_OBJECT_WORDS || word == BS_NO_WORD;
}

static int check_object(const struct bs_req *req)
{
	bool takes = req->op == BS_READ || req->op == BS_WRITE || req->op == BS_COPY ||
		     req->op == BS_RECORDS || req->op == BS_CLONE;

	if (!req->volume->objects)
		return req->object || req->nchanges || req->flags & BS_SCATTER ||
			       req->op == BS_RECORDS || req->op == BS_CLONE
			   ? VS_E_INVAL
			   : 0;
	if (req->object >= BS_OBJECTS)
		return VS_E_RANGE;
	if (req->nchanges > BS_CHANGES_MAX || (req->nchanges && !takes))
		return VS_E_INVAL;
	for (unsigned i = 0; i < req->nchanges; i++) {
		const struct bs_object_change *c = &req->changes[i];

		if (c->object >= BS_OBJECTS || !is_word(c->check) || !is_word(c->end))
			return VS_E_RANGE;
	}
	return req->flags & BS_SCATTER ? check_scatter(req) : 0;
}

static bool changes_words(const struct bs_req *req)
{
	for (unsigned i = 0; i < req->nchanges; i++)
		if (req->changes[i].set || req->changes[i].add || req->changes[i].end != BS_NO_WORD)
			return true;
	return false;
}

static uint64_t size_of(const struct bs_volume *v)
{
	return v->objects ? BS_OBJECT_MAX : bs_volume_size(v);
}

static int check_source(const struct bs_req *req)
{
	const struct bs_volume *v = req->source;

	if (v->engine != req->volume->engine || (!v->objects && req->source_object) ||
	    req->source_offset % (v->objects ? 1 : 512) || req->length > (64u << 20))
		return VS_E_INVAL;
	if (req->op == BS_CLONE && !v->objects)
		return VS_E_INVAL;
	return req->source_object < BS_OBJECTS &&
		       vs_range_ok(req->source_offset, req->length, size_of(v))
		   ? 0
		   : VS_E_RANGE;
}

static int check(const struct bs_req *req)
{
	uint64_t align = req->op == BS_LINK || req->op == BS_STATUS ? BS_BLOCK : 512;
	bool writes = req->op != BS_READ && req->op != BS_STATUS && req->op != BS_RECORDS;
	int rc;

	if (req->op == BS_FLUSH)
		return 0;
	if (req->op == BS_FILL)
		return check_fill(req);
	rc = check_object(req);
	if (rc)
		return rc;
	if (req->volume->objects && align == 512)
		align = 1;
	if (req->offset % align || req->length % align)
		return VS_E_INVAL;
	if (!vs_range_ok(req->offset, req->length, size_of(req->volume)))
		return VS_E_RANGE;
	if (req->volume->read_only && (writes || changes_words(req)))
		return VS_E_ROFS;
	if (req->flags & BS_ATOMIC && (req->op != BS_WRITE || req->offset % BS_BLOCK ||
				       req->length % BS_BLOCK || req->length > BS_ATOMIC_MAX))
		return VS_E_INVAL;
	switch (req->op) {
	case BS_COPY:
	case BS_CLONE:
		return check_source(req);
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
	if (req->op == BS_FLUSH || req->op == BS_RECORDS || req->op == BS_CLONE)
		return false;
	if (req->op == BS_TRIM)
		return VS_DIV_UP(req->offset, BS_BLOCK) >= req->end_ / BS_BLOCK;
	return req->length == 0;
}

void bs_port_queue(struct bs_port *p, struct bs_req *req)
{
	req->next_ = NULL;
	if (p->tail)
		p->tail->next_ = req;
	else
		p->head = req;
	p->tail = req;
}

void bs_submit(struct bs_port *p, struct bs_req *req)
{
	req->status = check(req);
	req->next_ = NULL;
	req->pending_ = 0;
	req->port_ = p;
	req->next_off_ = req->offset;
	req->end_ = req->offset + req->length;
	for (unsigned i = 0; i < req->nchanges; i++)
		req->changes[i].done = false;
	if (req->op == BS_FLUSH || req->op == BS_RECORDS || req->op == BS_CLONE) {
		req->next_off_ = 0;
		req->end_ = 1;
	}
	p->outstanding++;
	if (req->status || is_empty(req)) {
		req->next_ = p->settled;
		p->settled = req;
		bs_port_post(p);
		return;
	}
	bs_port_queue(p, req);
	bs_port_start(p);
}
