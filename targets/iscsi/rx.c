#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/crc32c.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#define DIRECT_MIN 16384u	 /* read past the receive buffer from this many bytes on */
#define TURN_BYTES (1024u << 10) /* taken from one connection before others get their turn */

static void set_events(struct iscsi_conn *c)
{
	uint32_t events = (c->rx.paused ? 0 : EPOLLIN) | (c->tx.blocked ? EPOLLOUT : 0);

	if (vs_loop_modify(c->thread->loop, &c->watch, events) < 0)
		iscsi_conn_close(c, "cannot watch the socket");
}

void iscsi_rx_pause(struct iscsi_conn *c)
{
	c->rx.paused = true;
	set_events(c);
}

static enum iscsi_header begin_pdu(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;

	iscsi_bhs_decode(rx->hdr, &rx->bhs);
	rx->dst = NULL;
	rx->dst_left = 0;
	rx->sink_left = rx->bhs.data_len;
	rx->task = NULL;
	rx->msg = NULL;
	rx->ignore = false;
	if (rx->bhs.data_len > (c->state == ISCSI_CONN_FULL ? ISCSI_RECV_DSL : ISCSI_LOGIN_DSL)) {
		iscsi_conn_close(c, "data segment is longer than we declared");
		return ISCSI_HEADER_CLOSED;
	}
	return c->state == ISCSI_CONN_FULL ? iscsi_session_header(c, &rx->bhs)
					   : iscsi_handshake_header(c, &rx->bhs);
}

static bool digests(const struct iscsi_conn *c, bool header)
{
	return c->state == ISCSI_CONN_FULL &&
	       (header ? c->params.header_digest : c->params.data_digest);
}

/* The header is complete: where does its data go? False: stop feeding. */
static bool header_done(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t len = rx->hdr_need - (digests(c, true) ? 4 : 0);

	if (digests(c, true) && vs_get_le32(rx->hdr + len) != iscsi_crc32c(0, rx->hdr, len)) {
		iscsi_conn_close(c, "header digest error");
		return false;
	}
	switch (begin_pdu(c)) {
	case ISCSI_HEADER_OK:
		break;
	case ISCSI_HEADER_PAUSE:
		iscsi_rx_pause(c);
		return false;
	case ISCSI_HEADER_CLOSED:
		return false;
	}
	rx->sink_left -= rx->dst_left;
	rx->crc = 0;
	rx->end_pad = -rx->bhs.data_len & 3;
	rx->end_need = rx->bhs.data_len ? rx->end_pad + (digests(c, false) ? 4 : 0) : 0;
	rx->end_have = 0;
	rx->state = ISCSI_RX_DATA;
	return true;
}

static bool feed_header(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t n = VS_MIN(rx->hdr_need - rx->hdr_have, rx->tail - rx->head);

	memcpy(rx->hdr + rx->hdr_have, rx->buf + rx->head, n);
	rx->hdr_have += n;
	rx->head += n;
	if (rx->hdr_have < rx->hdr_need)
		return true;
	if (rx->hdr_need == ISCSI_BHS_LEN) {
		rx->hdr_need += (uint32_t)rx->hdr[4] * 4 + (digests(c, true) ? 4 : 0);
		if (rx->hdr_have < rx->hdr_need)
			return true;
	}
	return header_done(c);
}

static void got_data(struct iscsi_conn *c, const uint8_t *data, uint32_t n)
{
	if (digests(c, false))
		c->rx.crc = iscsi_crc32c(c->rx.crc, data, n);
}

static void feed_data(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t avail = rx->tail - rx->head, n;

	if (rx->dst_left) {
		n = VS_MIN(avail, rx->dst_left);
		memcpy(rx->dst, rx->buf + rx->head, n);
		rx->dst += n;
		rx->dst_left -= n;
	} else {
		n = VS_MIN(avail, rx->sink_left);
		rx->sink_left -= n;
	}
	got_data(c, rx->buf + rx->head, n);
	rx->head += n;
}

static bool feed_end(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t n = VS_MIN(rx->end_need - rx->end_have, rx->tail - rx->head);
	bool ok = true;

	memcpy(rx->end + rx->end_have, rx->buf + rx->head, n);
	rx->end_have += n;
	rx->head += n;
	if (rx->end_have < rx->end_need)
		return false;
	if (rx->end_need > rx->end_pad)
		ok = iscsi_crc32c(rx->crc, rx->end, rx->end_pad) ==
		     vs_get_le32(rx->end + rx->end_pad);
	rx->state = ISCSI_RX_HEADER;
	rx->hdr_have = 0;
	rx->hdr_need = ISCSI_BHS_LEN;
	if (c->state == ISCSI_CONN_FULL)
		iscsi_session_pdu(c, &rx->bhs, ok);
	else
		iscsi_handshake_pdu(c, &rx->bhs);
	return true;
}

/* Works through what is in the buffer. False: paused or closed. */
static bool feed(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;

	while (!rx->paused && c->state != ISCSI_CONN_DEAD) {
		if (rx->state == ISCSI_RX_DATA && !rx->dst_left && !rx->sink_left)
			rx->state = ISCSI_RX_TAIL;
		if (rx->state == ISCSI_RX_TAIL && rx->end_have == rx->end_need) {
			feed_end(c);
			continue;
		}
		if (rx->head == rx->tail)
			return true;
		if (rx->state == ISCSI_RX_HEADER) {
			if (!feed_header(c))
				return false;
		} else if (rx->state == ISCSI_RX_DATA) {
			feed_data(c);
		} else {
			feed_end(c);
		}
	}
	return false;
}

/* *drained: the socket had no more than that. */
static ssize_t receive(struct iscsi_conn *c, bool *drained)
{
	struct iscsi_rx *rx = &c->rx;
	struct iovec iov[2] = {{rx->dst, rx->dst_left}, {rx->buf, ISCSI_RX_BUF}};
	bool direct = rx->state == ISCSI_RX_DATA && rx->dst_left >= DIRECT_MIN;
	ssize_t n;
	uint32_t first;

	rx->head = rx->tail = 0;
	if (!direct) {
		n = recv(c->watch.fd, rx->buf, ISCSI_RX_BUF, 0);
		if (n > 0)
			rx->tail = (uint32_t)n;
		*drained = n < (ssize_t)ISCSI_RX_BUF;
		return n;
	}
	n = readv(c->watch.fd, iov, 2);
	if (n <= 0)
		return n;
	*drained = (size_t)n < iov[0].iov_len + iov[1].iov_len;
	first = (uint32_t)VS_MIN((size_t)n, (size_t)rx->dst_left);
	got_data(c, rx->dst, first);
	rx->dst += first;
	rx->dst_left -= first;
	rx->tail = (uint32_t)n - first;
	return n;
}

void iscsi_rx_ready(struct iscsi_conn *c)
{
	size_t taken = 0;
	bool drained = false;

	while (feed(c) && !drained && taken < TURN_BYTES) {
		ssize_t n = receive(c, &drained);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			iscsi_conn_close(c, NULL);
			return;
		}
		c->heard = true;
		taken += (size_t)n;
	}
}

void iscsi_rx_resume(struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;

	if (!rx->paused || c->tx.close_after || c->state == ISCSI_CONN_DEAD || c->in_line ||
	    c->state == ISCSI_CONN_ATTACHING)
		return;
	rx->paused = false;
	if (rx->state == ISCSI_RX_HEADER && rx->hdr_have == rx->hdr_need && !header_done(c))
		return;
	set_events(c);
	if (c->state != ISCSI_CONN_DEAD)
		iscsi_rx_ready(c);
}
