#include "targets/nfs/conn.h"

#include "common/log.h"

#include <errno.h>
#include <sys/socket.h>

#define TURN_BYTES (256 << 10) /* received from one client before others have their turn */

/* What a state of reception has come to. */
enum outcome { AGAIN, NEED_INPUT, BLOCKED };

static uint32_t staged(const struct nfs_conn *c)
{
	return c->stage_len - c->stage_pos;
}

/* Room for a record of length bytes, or of any length when more fragments are to come. */
static bool make_room(struct nfs_call *call, uint32_t length, bool last)
{
	struct nfs_mem m;

	if (length <= call->record_room)
		return true;
	m.len = last ? length : NFS_RECORD_MAX;
	if (!nfs_call_memory(call, &m, m.len))
		return false;
	memcpy(m.p, call->record, call->record_len);
	call->record = m.p;
	call->record_room = (uint32_t)m.len;
	call->mem = m;
	return true;
}

/* RFC 5531 section 11. */
static enum outcome rx_mark(struct nfs_conn *c)
{
	uint32_t mark, length;

	if (staged(c) < NFS_RPC_MARK_BYTES)
		return NEED_INPUT;
	if (!c->cur)
		c->cur = nfs_call_take(c);
	if (!c->cur)
		return BLOCKED;
	mark = vs_get_be32(c->stage + c->stage_pos);
	length = mark & ~NFS_RPC_LAST;
	if (length > NFS_RECORD_MAX - c->cur->record_len) {
		vs_debug("nfs: %s was disconnected: its record is longer than %u bytes", c->peer,
			 NFS_RECORD_MAX);
		nfs_conn_kill(c);
		return AGAIN;
	}
	if (!make_room(c->cur, c->cur->record_len + length, mark & NFS_RPC_LAST))
		return BLOCKED;
	c->stage_pos += NFS_RPC_MARK_BYTES;
	c->fragment_left = length;
	c->fragment_last = mark & NFS_RPC_LAST;
	c->rx = NFS_RX_BODY;
	return AGAIN;
}

static enum outcome rx_body(struct nfs_conn *c)
{
	uint32_t n = VS_MIN(staged(c), c->fragment_left);
	struct nfs_call *call = c->cur;

	memcpy(call->record + call->record_len, c->stage + c->stage_pos, n);
	c->stage_pos += n;
	call->record_len += n;
	c->fragment_left -= n;
	if (c->fragment_left)
		return NEED_INPUT;
	c->rx = c->fragment_last ? NFS_RX_START : NFS_RX_MARK;
	return AGAIN;
}

static enum outcome rx_start(struct nfs_conn *c)
{
	struct nfs_call *call = c->cur;

	c->cur = NULL;
	if (!nfs_call_start(call)) {
		c->cur = call;
		return BLOCKED;
	}
	atomic_fetch_add_explicit(&c->ncalls, 1, memory_order_relaxed);
	c->rx = NFS_RX_MARK;
	return AGAIN;
}

static enum outcome (*const states[])(struct nfs_conn *c) = {
    [NFS_RX_MARK] = rx_mark, [NFS_RX_BODY] = rx_body, [NFS_RX_START] = rx_start};

static long receive_into(struct nfs_conn *c, struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t got;

	do {
		got = recvmsg(c->watch.fd, &msg, 0);
	} while (got < 0 && errno == EINTR);
	if (got > 0) {
		atomic_fetch_add_explicit(&c->received, (uint64_t)got, memory_order_relaxed);
		return got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (got == 0)
		nfs_conn_drain(c);
	else
		nfs_conn_kill(c);
	return -1;
}

/*
 * Receives the rest of a fragment into its place and what follows it into the stage. *drained: less
 * came than there was room for, so asking again at once would be in vain.
 */
static long receive(struct nfs_conn *c, bool *drained)
{
	struct nfs_call *call = c->cur;
	uint32_t rest = c->rx == NFS_RX_BODY ? c->fragment_left : 0;
	struct iovec iov[2];
	uint32_t direct;
	long got;
	int n = 0;

	memmove(c->stage, c->stage + c->stage_pos, staged(c));
	c->stage_len -= c->stage_pos;
	c->stage_pos = 0;
	if (rest)
		iov[n++] = (struct iovec){call->record + call->record_len, rest};
	iov[n++] = (struct iovec){c->stage + c->stage_len, NFS_STAGE_BYTES - c->stage_len};
	got = receive_into(c, iov, n);
	if (got <= 0)
		return got;
	*drained = (size_t)got < (size_t)rest + iov[n - 1].iov_len;
	direct = (uint32_t)VS_MIN((size_t)got, (size_t)rest);
	if (direct) {
		call->record_len += direct;
		c->fragment_left -= direct;
	}
	c->stage_len += (uint32_t)got - direct;
	return got;
}

void nfs_receive(struct nfs_conn *c)
{
	long budget = TURN_BYTES;
	bool drained = false;

	for (;;) {
		enum outcome o = AGAIN;
		long got;

		while (o == AGAIN && c->phase == NFS_OPEN)
			o = states[c->rx](c);
		c->blocked = o == BLOCKED;
		if (c->phase != NFS_OPEN || c->blocked || budget <= 0 || drained)
			return;
		got = receive(c, &drained);
		if (got <= 0)
			return;
		budget -= got;
	}
}
