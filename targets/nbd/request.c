#include "targets/nbd/request.h"

#include "common/bytes.h"

#include <string.h>

#define STATUS_EXTENTS 500u /* most of one BLOCK_STATUS reply; they fit an arena unit */
#define STATUS_CALLS 64u    /* questions to the engine for one BLOCK_STATUS */

_Static_assert(STATUS_EXTENTS *NBD_EXTENT_BYTES <= VS_ARENA_UNIT, "extents fit their unit");
_Static_assert(BS_STATUS_MAX <= VS_ARENA_UNIT, "mapped[] fits its unit");
_Static_assert(sizeof(((struct nbd_out *)0)->head) >= NBD_DATA_CHUNK_BYTES, "heads fit");

struct nbd_request *nbd_request_take(struct nbd_conn *c)
{
	struct nbd_request *r = c->free_requests;

	if (!r)
		return NULL;
	c->free_requests = r->next_free;
	r->pieces = 0;
	r->issued = r->stream = r->started = false;
	r->status = 0;
	r->error = NBD_OK;
	return r;
}

void nbd_request_give(struct nbd_request *r)
{
	r->next_free = r->conn->free_requests;
	r->conn->free_requests = r;
}

/* Its own memory first: while that is in use, something comes back that lets it go on. */
static bool take_memory(struct nbd_conn *c, struct nbd_piece *p, size_t len)
{
	p->arena = &c->arena;
	p->mem = vs_arena_take(p->arena, len);
	if (p->mem)
		return true;
	p->arena = &c->worker->shared;
	p->mem = vs_arena_take(p->arena, len);
	return p->mem;
}

struct nbd_piece *nbd_piece_take(struct nbd_conn *c, struct nbd_request *r, size_t mem_len)
{
	struct nbd_piece *p = c->free_pieces;

	if (!p)
		return NULL;
	p->mem = NULL;
	if (mem_len && !take_memory(c, p, mem_len))
		return NULL;
	c->free_pieces = p->next_free;
	p->mem_len = mem_len;
	p->request = r;
	r->pieces++;
	return p;
}

void nbd_piece_give(struct nbd_piece *p)
{
	struct nbd_conn *c = p->conn;

	if (p->mem)
		vs_arena_give(p->arena, p->mem, p->mem_len);
	p->next_free = c->free_pieces;
	c->free_pieces = p;
}

static void request_sent(struct nbd_out *out)
{
	nbd_request_give(out->owner);
}

static void piece_sent(struct nbd_out *out)
{
	nbd_piece_give(out->owner);
}

void nbd_request_answer(struct nbd_request *r)
{
	enum nbd_error error = r->error ? r->error : nbd_error_from(r->status);
	bool payload = r->h.type == NBD_CMD_READ || r->h.type == NBD_CMD_BLOCK_STATUS;
	struct nbd_out *o = &r->out;

	o->len = 0;
	o->sent = request_sent;
	o->owner = r;
	if (!r->conn->structured || (!error && !payload)) {
		o->head_len = (uint32_t)nbd_simple_encode(o->head, r->h.cookie, error);
	} else if (!error) {
		o->head_len = (uint32_t)nbd_done_encode(o->head, r->h.cookie);
	} else {
		const char *text = r->status ? vs_err_text(r->status) : "";

		o->data = text;
		o->len = (uint32_t)strlen(text);
		o->head_len =
		    (uint32_t)nbd_error_encode(o->head, r->h.cookie, error, (uint16_t)o->len);
	}
	nbd_conn_send(r->conn, o);
}

void nbd_request_answer_if_over(struct nbd_request *r)
{
	if (r->issued && r->pieces == 0)
		nbd_request_answer(r);
}

static void send_data(struct nbd_piece *p, const void *data, uint32_t len)
{
	p->out.data = data;
	p->out.len = len;
	p->out.sent = piece_sent;
	p->out.owner = p;
	nbd_conn_send(p->conn, &p->out);
}

static void read_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;
	uint32_t len = (uint32_t)p->req.length;
	bool last = r->issued && r->pieces == 0 && !r->status && !r->error;

	if (p->req.status) {
		nbd_piece_give(p);
		nbd_request_answer_if_over(r);
		return;
	}
	if (p->conn->structured)
		p->out.head_len =
		    (uint32_t)nbd_data_encode(p->out.head, r->h.cookie, p->req.offset, len, last);
	else
		p->out.head_len = (uint32_t)nbd_simple_encode(p->out.head, r->h.cookie, NBD_OK);
	send_data(p, p->mem, len);
	if (last)
		nbd_request_give(r);
	else
		nbd_request_answer_if_over(r);
}

static void stream_over(struct nbd_conn *c, struct nbd_request *r)
{
	c->cur = NULL;
	c->rx = NBD_RX_HEADER;
	if (r->started && !c->structured) {
		nbd_request_give(r);
		return;
	}
	r->issued = true;
	nbd_request_answer(r);
}

/* The next piece of a read whose reply is a single run of data. */
static void stream_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;
	struct nbd_conn *c = p->conn;
	uint32_t len = (uint32_t)p->req.length;

	if (c->phase != NBD_TRANSMIT || (p->req.status && r->started && !c->structured)) {
		/* The run cannot be finished and nothing else can be said within it. */
		nbd_piece_give(p);
		nbd_request_give(r);
		c->cur = NULL;
		nbd_conn_kill(c);
		return;
	}
	if (p->req.status && !r->started) {
		nbd_piece_give(p);
		stream_over(c, r);
		return;
	}
	if (p->req.status)
		memset(p->mem, 0, len); /* padding: the error chunk follows the run */
	p->out.head_len = 0;
	if (!r->started && c->structured)
		p->out.head_len = (uint32_t)nbd_data_encode(p->out.head, r->h.cookie, r->h.offset,
							    r->h.length, false);
	else if (!r->started)
		p->out.head_len = (uint32_t)nbd_simple_encode(p->out.head, r->h.cookie, NBD_OK);
	r->started = true;
	c->cur_off += len;
	c->cur_left -= len;
	send_data(p, p->mem, len);
	if (c->cur_left == 0)
		stream_over(c, r);
}

static void status_flush(struct nbd_piece *p)
{
	uint8_t *to = p->mem + VS_ARENA_UNIT + (size_t)p->extents * NBD_EXTENT_BYTES;

	if (p->run == 0)
		return;
	(void)nbd_extent_encode(to, p->run, p->state);
	p->extents++;
	p->run = 0;
}

/* Adds what the engine said to the extents. Returns whether the reply is complete. */
static bool status_collect(struct nbd_piece *p)
{
	const struct nbd_cmd_header *h = &p->request->h;
	uint64_t end = h->offset + h->length;
	unsigned most = h->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : STATUS_EXTENTS;

	for (uint64_t i = 0; i < p->req.length / BS_BLOCK; i++) {
		uint64_t block_end = p->req.offset + (i + 1) * BS_BLOCK;
		uint32_t state = p->mem[i] ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;

		if (p->run && state != p->state) {
			status_flush(p);
			if (p->extents == most)
				return true;
		}
		p->state = state;
		p->run += (uint32_t)(VS_MIN(block_end, end) - p->pos);
		p->pos = VS_MIN(block_end, end);
	}
	return p->pos == end || ++p->calls == STATUS_CALLS;
}

static void status_ask(struct nbd_piece *p)
{
	const struct nbd_cmd_header *h = &p->request->h;
	uint64_t from = VS_ALIGN_DOWN(p->pos, BS_BLOCK);
	uint64_t to = VS_ALIGN_UP(h->offset + h->length, BS_BLOCK);

	p->request->pieces = 1;
	p->req.mapped = p->mem;
	nbd_piece_submit(p, BS_STATUS, from, VS_MIN(to - from, (uint64_t)BS_STATUS_MAX * BS_BLOCK));
}

void nbd_piece_submit_status(struct nbd_piece *p)
{
	p->pos = p->request->h.offset;
	p->run = p->extents = p->calls = 0;
	status_ask(p);
}

static void status_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;

	if (p->req.status || p->conn->phase == NBD_DEAD) {
		nbd_piece_give(p);
		nbd_request_answer_if_over(r);
		return;
	}
	if (!status_collect(p)) {
		status_ask(p);
		return;
	}
	status_flush(p);
	p->out.head_len = (uint32_t)nbd_status_encode(p->out.head, r->h.cookie, p->extents);
	send_data(p, p->mem + VS_ARENA_UNIT, p->extents * NBD_EXTENT_BYTES);
	nbd_request_give(r);
}

static void change_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;

	nbd_piece_give(p);
	nbd_request_answer_if_over(r);
}

static void piece_done(struct bs_req *req)
{
	struct nbd_piece *p = req->arg;
	struct nbd_request *r = p->request;

	p->conn->inflight--;
	nbd_conn_dirty(p->conn);
	r->pieces--;
	if (!r->status)
		r->status = req->status;
	if (r->stream)
		stream_done(p);
	else if (req->op == BS_READ)
		read_done(p);
	else if (req->op == BS_STATUS)
		status_done(p);
	else
		change_done(p);
}

void nbd_piece_submit(struct nbd_piece *p, enum bs_op op, uint64_t offset, uint64_t length)
{
	struct nbd_conn *c = p->conn;
	bool data = op == BS_READ || op == BS_WRITE;
	bool changes = op == BS_WRITE || op == BS_TRIM || op == BS_ZERO;

	p->iov = (struct iovec){p->mem, length};
	p->req.op = op;
	p->req.flags = changes && p->request->h.flags & NBD_CMD_FLAG_FUA ? BS_FUA : 0;
	p->req.volume = c->volume;
	p->req.offset = offset;
	p->req.length = length;
	p->req.iov = data ? &p->iov : NULL;
	p->req.iovcnt = data ? 1 : 0;
	p->req.done = piece_done;
	p->req.arg = p;
	c->inflight++;
	bs_submit(c->worker->port, &p->req);
}
