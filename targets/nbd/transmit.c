#include "targets/nbd/conn.h"

#include "common/bytes.h"
#include "common/log.h"

#include <string.h>

#define TURN_BYTES (256 << 10) /* received from one client before others have their turn */
#define STATUS_EXTENTS 500u    /* most of one BLOCK_STATUS reply; they fit an arena unit */
#define STATUS_CALLS 64u       /* questions to the engine for one BLOCK_STATUS */

_Static_assert(STATUS_EXTENTS *NBD_EXTENT_BYTES <= NBD_ARENA_UNIT, "extents fit their unit");
_Static_assert(BS_STATUS_MAX <= NBD_ARENA_UNIT, "mapped[] fits its unit");
_Static_assert(sizeof(((struct nbd_out *)0)->head) >= NBD_DATA_CHUNK_BYTES, "heads fit");

static struct nbd_request *take_request(struct nbd_conn *c)
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

static void give_request(struct nbd_request *r)
{
	r->next_free = r->conn->free_requests;
	r->conn->free_requests = r;
}

/* mem_len 0: a piece without data. NULL when the pieces or the memory are used up for now. */
static struct nbd_piece *take_piece(struct nbd_conn *c, struct nbd_request *r, size_t mem_len)
{
	struct nbd_piece *p = c->free_pieces;

	if (!p)
		return NULL;
	p->mem = mem_len ? nbd_arena_take(&c->arena, mem_len) : NULL;
	if (mem_len && !p->mem)
		return NULL;
	c->free_pieces = p->next_free;
	p->mem_len = mem_len;
	p->request = r;
	r->pieces++;
	return p;
}

static void give_piece(struct nbd_piece *p)
{
	struct nbd_conn *c = p->conn;

	if (p->mem)
		nbd_arena_give(&c->arena, p->mem, p->mem_len);
	p->next_free = c->free_pieces;
	c->free_pieces = p;
}

static void request_sent(struct nbd_out *out)
{
	give_request(out->owner);
}

static void piece_sent(struct nbd_out *out)
{
	give_piece(out->owner);
}

/* Queues the request's last reply; the request is over when it is sent. */
static void answer(struct nbd_request *r)
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

static void answer_if_over(struct nbd_request *r)
{
	if (r->issued && r->pieces == 0)
		answer(r);
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
		give_piece(p);
		answer_if_over(r);
		return;
	}
	if (p->conn->structured)
		p->out.head_len =
		    (uint32_t)nbd_data_encode(p->out.head, r->h.cookie, p->req.offset, len, last);
	else
		p->out.head_len = (uint32_t)nbd_simple_encode(p->out.head, r->h.cookie, NBD_OK);
	send_data(p, p->mem, len);
	if (last)
		give_request(r);
	else
		answer_if_over(r);
}

static void stream_over(struct nbd_conn *c, struct nbd_request *r)
{
	c->cur = NULL;
	c->rx = NBD_RX_HEADER;
	if (r->started && !c->structured) {
		give_request(r);
		return;
	}
	r->issued = true;
	answer(r);
}

/* The next piece of a read whose reply is a single run of data. */
static void stream_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;
	struct nbd_conn *c = p->conn;
	uint32_t len = (uint32_t)p->req.length;

	if (c->phase != NBD_TRANSMIT || (p->req.status && r->started && !c->structured)) {
		/* The run cannot be finished and nothing else can be said within it. */
		give_piece(p);
		give_request(r);
		c->cur = NULL;
		nbd_conn_kill(c);
		return;
	}
	if (p->req.status && !r->started) {
		give_piece(p);
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
	uint8_t *to = p->mem + NBD_ARENA_UNIT + (size_t)p->extents * NBD_EXTENT_BYTES;

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

static void submit(struct nbd_piece *p, enum bs_op op, uint64_t offset, uint64_t length);

static void status_ask(struct nbd_piece *p)
{
	const struct nbd_cmd_header *h = &p->request->h;
	uint64_t from = VS_ALIGN_DOWN(p->pos, BS_BLOCK);
	uint64_t to = VS_ALIGN_UP(h->offset + h->length, BS_BLOCK);

	p->request->pieces = 1;
	p->req.mapped = p->mem;
	submit(p, BS_STATUS, from, VS_MIN(to - from, (uint64_t)BS_STATUS_MAX * BS_BLOCK));
}

static void status_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;

	if (p->req.status || p->conn->phase == NBD_DEAD) {
		give_piece(p);
		answer_if_over(r);
		return;
	}
	if (!status_collect(p)) {
		status_ask(p);
		return;
	}
	status_flush(p);
	p->out.head_len = (uint32_t)nbd_status_encode(p->out.head, r->h.cookie, p->extents);
	send_data(p, p->mem + NBD_ARENA_UNIT, p->extents * NBD_EXTENT_BYTES);
	give_request(r);
}

static void change_done(struct nbd_piece *p)
{
	struct nbd_request *r = p->request;

	give_piece(p);
	answer_if_over(r);
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

static void submit(struct nbd_piece *p, enum bs_op op, uint64_t offset, uint64_t length)
{
	struct nbd_conn *c = p->conn;
	bool fua = p->request->h.flags & NBD_CMD_FLAG_FUA;

	p->iov = (struct iovec){p->mem, length};
	p->req.op = op;
	p->req.flags = fua && op != BS_READ && op != BS_STATUS && op != BS_FLUSH ? BS_FUA : 0;
	p->req.volume = c->volume;
	p->req.offset = offset;
	p->req.length = length;
	p->req.iov = p->mem ? &p->iov : NULL;
	p->req.iovcnt = p->mem ? 1 : 0;
	p->req.done = piece_done;
	p->req.arg = p;
	c->inflight++;
	bs_submit(c->worker->port, &p->req);
}

/* What a state of reception has come to. */
enum outcome { AGAIN, NEED_INPUT, BLOCKED };

static uint32_t staged(const struct nbd_conn *c)
{
	return c->stage_len - c->stage_pos;
}

/* Accounts for len bytes of cur that are given to a piece or thrown away. */
static void advance(struct nbd_conn *c, uint32_t len)
{
	c->cur_off += len;
	c->cur_left -= len;
	if (c->cur_left)
		return;
	c->cur->issued = true;
	c->cur = NULL;
	c->rx = NBD_RX_HEADER;
}

static enum nbd_rx first_state(const struct nbd_conn *c, const struct nbd_request *r)
{
	const struct nbd_cmd_header *h = &r->h;

	if (h->type == NBD_CMD_WRITE)
		return r->error ? NBD_RX_SKIP : NBD_RX_PAYLOAD;
	if (h->type == NBD_CMD_READ && h->length > NBD_WHOLE_BYTES &&
	    (!c->structured || h->flags & NBD_CMD_FLAG_DF))
		return NBD_RX_STREAM;
	return NBD_RX_ISSUE;
}

static enum outcome rx_header(struct nbd_conn *c)
{
	struct nbd_request *r;

	if (staged(c) < NBD_REQUEST_BYTES)
		return NEED_INPUT;
	r = take_request(c);
	if (!r)
		return BLOCKED;
	if (nbd_request_decode(c->stage + c->stage_pos, &r->h)) {
		vs_debug("nbd: a client of %s was disconnected: bad request", c->export->name);
		give_request(r);
		nbd_conn_kill(c);
		return AGAIN;
	}
	c->stage_pos += NBD_REQUEST_BYTES;
	if (r->h.type == NBD_CMD_DISC) {
		give_request(r);
		nbd_conn_drain(c);
		return AGAIN;
	}
	c->limits.size = bs_volume_size(c->volume);
	r->error = nbd_request_check(&c->limits, &r->h);
	if (r->error && (r->h.type != NBD_CMD_WRITE || r->h.length == 0)) {
		r->issued = true;
		answer(r);
		return AGAIN;
	}
	c->cur = r;
	c->cur_off = r->h.offset;
	c->cur_left = r->h.length;
	c->rx = first_state(c, r);
	r->stream = c->rx == NBD_RX_STREAM;
	return AGAIN;
}

static enum outcome rx_payload(struct nbd_conn *c)
{
	struct nbd_piece *p = c->fill;
	uint32_t n;

	if (!p) {
		n = NBD_PIECE_BYTES - (uint32_t)(c->cur_off % NBD_PIECE_BYTES);
		p = take_piece(c, c->cur, VS_MIN(c->cur_left, n));
		if (!p)
			return BLOCKED;
		c->fill = p;
		c->filled = 0;
	}
	n = VS_MIN(staged(c), (uint32_t)p->mem_len - c->filled);
	memcpy(p->mem + c->filled, c->stage + c->stage_pos, n);
	c->stage_pos += n;
	c->filled += n;
	if (c->filled < p->mem_len)
		return NEED_INPUT;
	c->fill = NULL;
	advance(c, c->filled);
	submit(p, BS_WRITE, c->cur_off - c->filled, c->filled);
	return AGAIN;
}

static enum outcome rx_skip(struct nbd_conn *c)
{
	struct nbd_request *r = c->cur;
	uint32_t n = VS_MIN(staged(c), c->cur_left);

	c->stage_pos += n;
	if (n < c->cur_left) {
		c->cur_left -= n;
		return NEED_INPUT;
	}
	advance(c, n);
	answer(r);
	return AGAIN;
}

static enum outcome rx_issue(struct nbd_conn *c)
{
	static const enum bs_op ops[] = {
	    [NBD_CMD_FLUSH] = BS_FLUSH,
	    [NBD_CMD_TRIM] = BS_TRIM,
	    [NBD_CMD_WRITE_ZEROES] = BS_ZERO,
	    [NBD_CMD_BLOCK_STATUS] = BS_STATUS,
	};
	struct nbd_request *r = c->cur;
	uint32_t len = c->cur_left;
	struct nbd_piece *p;
	size_t mem = 0;

	if (r->h.type == NBD_CMD_BLOCK_STATUS)
		mem = 2 * NBD_ARENA_UNIT; /* mapped[], extents */
	if (r->h.type == NBD_CMD_READ)
		mem = len = r->h.length <= NBD_WHOLE_BYTES ? len : VS_MIN(len, NBD_PIECE_BYTES);
	p = take_piece(c, r, mem);
	if (!p)
		return BLOCKED;
	advance(c, len);
	if (r->h.type == NBD_CMD_BLOCK_STATUS) {
		p->pos = r->h.offset;
		p->run = p->extents = p->calls = 0;
		status_ask(p);
	} else {
		submit(p, r->h.type == NBD_CMD_READ ? BS_READ : ops[r->h.type], c->cur_off - len,
		       len);
	}
	return AGAIN;
}

static enum outcome rx_stream(struct nbd_conn *c)
{
	uint32_t len = VS_MIN(c->cur_left, NBD_WHOLE_BYTES);
	struct nbd_piece *p;

	/* Replies to earlier requests must be queued before the run begins. */
	if (c->inflight)
		return BLOCKED;
	p = take_piece(c, c->cur, len);
	if (p)
		submit(p, BS_READ, c->cur_off, len);
	return BLOCKED;
}

static enum outcome (*const states[])(struct nbd_conn *c) = {
    [NBD_RX_HEADER] = rx_header, [NBD_RX_PAYLOAD] = rx_payload, [NBD_RX_SKIP] = rx_skip,
    [NBD_RX_ISSUE] = rx_issue,	 [NBD_RX_STREAM] = rx_stream,
};

/* Receives the rest of a payload into its place and what follows it into the stage. */
static long receive(struct nbd_conn *c)
{
	struct iovec iov[2];
	long got, direct;
	int n = 0;

	memmove(c->stage, c->stage + c->stage_pos, staged(c));
	c->stage_len -= c->stage_pos;
	c->stage_pos = 0;
	if (c->rx == NBD_RX_PAYLOAD)
		iov[n++] = (struct iovec){c->fill->mem + c->filled, c->fill->mem_len - c->filled};
	else if (c->rx == NBD_RX_SKIP)
		iov[n++] = (struct iovec){c->worker->scratch,
					  VS_MIN(c->cur_left, sizeof(c->worker->scratch))};
	/* Behind a part of a payload comes more payload, not a header. */
	if (n == 0 || iov[0].iov_len == c->cur_left - (c->rx == NBD_RX_PAYLOAD ? c->filled : 0))
		iov[n++] = (struct iovec){c->stage + c->stage_len, NBD_STAGE_BYTES - c->stage_len};
	got = nbd_conn_receive(c, iov, n);
	if (got <= 0)
		return got;
	direct = c->rx == NBD_RX_HEADER ? 0 : VS_MIN(got, (long)iov[0].iov_len);
	if (c->rx == NBD_RX_PAYLOAD)
		c->filled += (uint32_t)direct;
	else if (c->rx == NBD_RX_SKIP)
		c->cur_left -= (uint32_t)direct;
	c->stage_len += (uint32_t)(got - direct);
	return got;
}

void nbd_transmit_input(struct nbd_conn *c)
{
	long budget = TURN_BYTES;

	for (;;) {
		enum outcome o = AGAIN;
		long got;

		while (o == AGAIN && c->phase == NBD_TRANSMIT)
			o = states[c->rx](c);
		c->blocked = o == BLOCKED;
		if (c->phase != NBD_TRANSMIT || c->blocked || budget <= 0)
			return;
		got = receive(c);
		if (got <= 0)
			return;
		budget -= got;
	}
}

void nbd_transmit_start(struct nbd_conn *c)
{
	for (unsigned i = NBD_REQUESTS; i-- > 0;) {
		c->requests[i].conn = c;
		give_request(&c->requests[i]);
	}
	for (unsigned i = NBD_PIECES; i-- > 0;) {
		c->pieces[i].conn = c;
		give_piece(&c->pieces[i]);
	}
	vs_loop_cancel(c->worker->loop, &c->timer);
	c->rx = NBD_RX_HEADER;
	c->phase = NBD_TRANSMIT;
}

bool nbd_transmit_abandon(struct nbd_conn *c)
{
	struct nbd_request *r = c->cur;

	c->cur = NULL;
	if (c->fill) {
		r->pieces--;
		give_piece(c->fill);
		c->fill = NULL;
	}
	if (!r)
		return true;
	if (r->stream) {
		if (r->pieces == 0) /* otherwise its done gives it back */
			give_request(r);
		return false;
	}
	if (!r->error)
		r->error = NBD_ESHUTDOWN;
	r->issued = true;
	answer_if_over(r);
	return true;
}
