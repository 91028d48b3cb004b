/*
 * Copies on the port's thread: how they are cut, and what must go by bytes.
 *
 * Where blocks of both ranges align, the engine maps a piece in one step (BS_OP_COPY). What cannot
 * be shared comes back (BS_OP_BYTES) and, like all that does not align, is read into the
 * operation's staging pages, let go, and written as a write is:
 * READ -> RELEASE (BS_OP_LOADED) -> WRITE, or LOCK and WRITE for a part of a block.
 */
#include "blockstore/port_int.h"

/* Of what does not align, so much at once: with one block more it is read as one operation. */
#define UNALIGNED_BLOCKS (BS_OP_BLOCKS / 2)

bool bs_port_copy_overlaps(const struct bs_req *req)
{
	uint64_t a = req->source_offset, b = req->offset;

	return req->op == BS_COPY && req->source == req->volume &&
	       req->source_object == req->object && a != b && a < b + req->length &&
	       b < a + req->length;
}

/* As memmove: what is still to be read must not be overwritten. */
static bool backwards(const struct bs_req *req)
{
	return bs_port_copy_overlaps(req) && req->offset > req->source_offset;
}

static bool aligns(const struct bs_req *req)
{
	return req->offset % BS_BLOCK == req->source_offset % BS_BLOCK;
}

/* The bytes of the destination that the next operation is for. */
static void next_piece(const struct bs_req *req, uint64_t *from, uint64_t *to)
{
	uint64_t size = (aligns(req) ? BS_OP_BLOCKS : UNALIGNED_BLOCKS) * BS_BLOCK;
	uint64_t first = VS_ALIGN_UP(req->next_off_, BS_BLOCK);
	uint64_t last = VS_ALIGN_DOWN(req->end_, BS_BLOCK);

	*from = req->next_off_;
	*to = req->end_;
	if (*from / BS_BLOCK == (*to - 1) / BS_BLOCK)
		return; /* all in one block */
	if (backwards(req) && last < *to) {
		*from = last; /* a part of the last block */
	} else if (backwards(req)) {
		*from = VS_MAX(VS_ALIGN_DOWN(*to - 1, size), first);
	} else if (first > *from) {
		*to = first; /* a part of the first block */
	} else {
		*to = VS_MIN(VS_ALIGN_DOWN(*from, size) + size, last);
	}
}

static bool whole_blocks(const struct bs_iop *op)
{
	uint64_t to = op->req->offset + op->rel;

	return to % BS_BLOCK == 0 && op->bytes % BS_BLOCK == 0;
}

static void aim(struct bs_iop *op, const struct bs_volume *v, uint32_t object, uint64_t at)
{
	op->vol = v->vol;
	op->block = ((uint64_t)object << BS_OBJECT_SHIFT) + at / BS_BLOCK;
	op->skip = (uint32_t)(at % BS_BLOCK);
	op->count = VS_DIV_UP(at + op->bytes, BS_BLOCK) - at / BS_BLOCK;
}

static void aim_at_destination(struct bs_iop *op, uint64_t at)
{
	aim(op, op->req->volume, op->req->object, at);
}

void bs_port_copy_read(struct bs_iop *op)
{
	aim(op, op->req->source, op->req->source_object, op->req->source_offset + op->rel);
	op->stage = BS_OP_READ;
	op->then = BS_OP_COPY;
}

void bs_port_plan_copy(const struct bs_req *req, struct bs_iop *op)
{
	uint64_t from, to;

	next_piece(req, &from, &to);
	op->rel = from - req->offset;
	op->bytes = (uint32_t)(to - from);
	aim_at_destination(op, from);
	op->staged = (uint8_t)op->count;
	op->stage = BS_OP_COPY;
	if (!whole_blocks(op))
		op->staged = 2; /* the block, and what goes into it */
	if (!whole_blocks(op) || !aligns(req))
		bs_port_copy_read(op);
}

void bs_port_advance_copy(struct bs_req *req, const struct bs_iop *op)
{
	if (backwards(req))
		req->end_ = req->offset + op->rel;
	else
		req->next_off_ += op->bytes;
}

/* Where the bytes of the source are kept. */
static uint8_t *kept(const struct bs_iop *op)
{
	return op->staging + (whole_blocks(op) ? 0 : BS_BLOCK);
}

void bs_port_copy_keep(struct bs_port *p, struct bs_iop *op)
{
	if (op->status == 0)
		op->status = bs_port_gather(p, op, kept(op));
	if (bs_port_mend(p, op))
		return;
	op->stage = BS_OP_RELEASE;
	bs_port_send(p, op);
}

void bs_port_copy_write(struct bs_port *p, struct bs_iop *op)
{
	const struct bs_req *req = op->req;

	aim_at_destination(op, req->offset + op->rel);
	op->then = BS_OP_WRITE;
	op->mended = 0;
	if (!whole_blocks(op)) {
		op->stage = BS_OP_LOCK;
		bs_port_send(p, op);
		return;
	}
	for (unsigned i = 0; i < op->count; i++)
		op->to[i].src = op->staging + (size_t)i * BS_BLOCK;
	bs_port_expect(p, op);
	bs_port_ready(&p->hands, &op, 1);
	bs_port_send(p, op);
}

void bs_port_copy_merge(struct bs_iop *op)
{
	memcpy(op->staging + op->skip, kept(op), op->bytes);
}
