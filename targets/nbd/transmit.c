#include "targets/nbd/request.h"

#include "common/bytes.h"
#include "common/log.h"

#include <string.h>

#define TURN_BYTES (256 << 10) /* received from one client before others have their turn */

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
	r = nbd_request_take(c);
	if (!r)
		return BLOCKED;
	if (nbd_request_decode(c->stage + c->stage_pos, &r->h)) {
		vs_debug("nbd: a client of %s was disconnected: bad request", c->export->name);
		nbd_request_give(r);
		nbd_conn_kill(c);
		return AGAIN;
	}
	c->stage_pos += NBD_REQUEST_BYTES;
	if (r->h.type == NBD_CMD_DISC) {
		nbd_request_give(r);
		nbd_conn_drain(c);
		return AGAIN;
	}
	c->limits.size = bs_volume_size(c->volume);
	r->error = nbd_request_check(&c->limits, &r->h);
	if (r->error && (r->h.type != NBD_CMD_WRITE || r->h.length == 0)) {
		r->issued = true;
		nbd_request_answer(r);
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
		p = nbd_piece_take(c, c->cur, VS_MIN(c->cur_left, n));
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
	nbd_piece_submit(p, BS_WRITE, c->cur_off - c->filled, c->filled);
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
	nbd_request_answer(r);
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
		mem = 2 * VS_ARENA_UNIT; /* mapped[], extents */
	if (r->h.type == NBD_CMD_READ)
		mem = len = r->h.length <= NBD_WHOLE_BYTES ? len : VS_MIN(len, NBD_PIECE_BYTES);
	p = nbd_piece_take(c, r, mem);
	if (!p)
		return BLOCKED;
	advance(c, len);
	if (r->h.type == NBD_CMD_BLOCK_STATUS) {
		nbd_piece_submit_status(p);
	} else {
		nbd_piece_submit(p, r->h.type == NBD_CMD_READ ? BS_READ : ops[r->h.type],
				 c->cur_off - len, len);
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
	p = nbd_piece_take(c, c->cur, len);
	if (p)
		nbd_piece_submit(p, BS_READ, c->cur_off, len);
	return BLOCKED;
}

static enum outcome (*const states[])(struct nbd_conn *c) = {
    [NBD_RX_HEADER] = rx_header, [NBD_RX_PAYLOAD] = rx_payload, [NBD_RX_SKIP] = rx_skip,
    [NBD_RX_ISSUE] = rx_issue,	 [NBD_RX_STREAM] = rx_stream,
};

/*
 * Receives the rest of a payload into its place and what follows it into the stage. *drained: less
 * came than there was room for, so asking again at once would be in vain.
 */
static long receive(struct nbd_conn *c, bool *drained)
{
	bool skip = c->rx == NBD_RX_SKIP;
	uint32_t rest = c->fill ? c->cur_left - c->filled : skip ? c->cur_left : 0;
	struct iovec iov[2];
	long got, direct;
	int n = 0;

	memmove(c->stage, c->stage + c->stage_pos, staged(c));
	c->stage_len -= c->stage_pos;
	c->stage_pos = 0;
	if (c->fill)
		iov[n++] = (struct iovec){c->fill->mem + c->filled, c->fill->mem_len - c->filled};
	else if (skip)
		iov[n++] =
		    (struct iovec){c->worker->scratch, VS_MIN(rest, sizeof(c->worker->scratch))};
	/* Behind a part of a payload comes more payload, not a header. */
	if (n == 0 || iov[0].iov_len == rest)
		iov[n++] = (struct iovec){c->stage + c->stage_len, NBD_STAGE_BYTES - c->stage_len};
	got = nbd_conn_receive(c, iov, n);
	if (got <= 0)
		return got;
	*drained = (size_t)got < iov[0].iov_len + (n == 2 ? iov[1].iov_len : 0);
	direct = rest ? VS_MIN(got, (long)iov[0].iov_len) : 0;
	if (c->fill)
		c->filled += (uint32_t)direct;
	else if (skip)
		c->cur_left -= (uint32_t)direct;
	c->stage_len += (uint32_t)(got - direct);
	return got;
}

void nbd_transmit_input(struct nbd_conn *c)
{
	long budget = TURN_BYTES;
	bool drained = false;

	for (;;) {
		enum outcome o = AGAIN;
		long got;

		while (o == AGAIN && c->phase == NBD_TRANSMIT)
			o = states[c->rx](c);
		c->blocked = o == BLOCKED;
		if (c->phase != NBD_TRANSMIT || c->blocked || budget <= 0 || drained)
			return;
		got = receive(c, &drained);
		if (got <= 0)
			return;
		budget -= got;
	}
}

void nbd_transmit_start(struct nbd_conn *c)
{
	for (unsigned i = NBD_REQUESTS; i-- > 0;) {
		c->requests[i].conn = c;
		nbd_request_give(&c->requests[i]);
	}
	for (unsigned i = NBD_PIECES; i-- > 0;) {
		c->pieces[i].conn = c;
		nbd_piece_give(&c->pieces[i]);
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
		nbd_piece_give(c->fill);
		c->fill = NULL;
	}
	if (!r)
		return true;
	if (r->stream) {
		if (r->pieces == 0) /* otherwise its done gives it back */
			nbd_request_give(r);
		return false;
	}
	if (!r->error)
		r->error = NBD_ESHUTDOWN;
	r->issued = true;
	nbd_request_answer_if_over(r);
	return true;
}
