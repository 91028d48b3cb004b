#include "targets/vhost/state.h"

#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define F_VERSION_1 (UINT64_C(1) << 32)
#define F_INDIRECT_DESC (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define PROTOCOL_FEATURES                                                                  \
	(VHOST_PROTOCOL_F_MQ | VHOST_PROTOCOL_F_REPLY_ACK | VHOST_PROTOCOL_F_BACKEND_REQ | \
	 VHOST_PROTOCOL_F_CONFIG | VHOST_PROTOCOL_F_INFLIGHT_SHMFD)

/* Outcome, or negative. Takes descriptors out of s->fds when it keeps them. */
typedef int (*handler)(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err);

static uint64_t offered(const struct vhost_disk *d)
{
	uint64_t f = F_VERSION_1 | F_INDIRECT_DESC | F_EVENT_IDX | VHOST_F_PROTOCOL_FEATURES |
		     VHOST_BLK_F_SEG_MAX | VHOST_BLK_F_BLK_SIZE | VHOST_BLK_F_FLUSH |
		     VHOST_BLK_F_TOPOLOGY;

	if (d->nqueues > 1)
		f |= VHOST_BLK_F_MQ;
	if (d->read_only)
		return f | VHOST_BLK_F_RO;
	return f | VHOST_BLK_F_DISCARD | VHOST_BLK_F_WRITE_ZEROES;
}

static int take_fd(struct vhost_session *s)
{
	int fd = s->nfds ? s->fds[0] : -1;

	if (fd >= 0)
		s->fds[0] = -1;
	return fd;
}

static int send_message(int fd, const void *buf, size_t len, int pass_fd)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pass_fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	/* a peer that leaves a full socket buffer unread has no claim to an answer */
	return n == (ssize_t)len ? 0 : VS_E_CLOSED;
}

static int reply(struct vhost_disk *d, struct vhost_msg *m, int pass_fd)
{
	uint8_t b[VHOST_MESSAGE_MAX];
	size_t len;

	m->h.reply = true;
	m->h.need_reply = false;
	len = vhost_msg_encode(m, b);
	return send_message(d->session.fd, b, len, pass_fd) ? VS_E_CLOSED : VHOST_REPLIED;
}

static int reply_u64(struct vhost_disk *d, struct vhost_msg *m, uint64_t v)
{
	m->kind = VHOST_P_U64;
	m->u64 = v;
	return reply(d, m, -1);
}

static struct vhost_queue *queue_at(struct vhost_disk *d, uint64_t index, struct vs_error *err)
{
	if (index < d->nqueues)
		return &d->queues[index];
	(void)vs_fail(err, VS_E_PROTO, "queue %llu of %u", (unsigned long long)index, d->nqueues);
	return NULL;
}

static int get_features(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	(void)err;
	return reply_u64(d, m, offered(d));
}

static int set_features(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	if (m->u64 & ~offered(d))
		return vs_fail(err, VS_E_PROTO, "features 0x%llx were not offered",
			       (unsigned long long)(m->u64 & ~offered(d)));
	d->session.features = m->u64;
	/* without the protocol features there is no SET_VRING_ENABLE: rings are enabled */
	if (!(m->u64 & VHOST_F_PROTOCOL_FEATURES))
		for (unsigned i = 0; i < d->nqueues; i++)
			d->queues[i].enabled = true;
	return VHOST_DONE;
}

static int ignore(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	(void)d;
	(void)m;
	(void)err;
	return VHOST_DONE;
}

static int get_protocol_features(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	(void)err;
	return reply_u64(d, m, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	if (m->u64 & ~PROTOCOL_FEATURES)
		return vs_fail(err, VS_E_PROTO, "protocol features 0x%llx were not offered",
			       (unsigned long long)(m->u64 & ~PROTOCOL_FEATURES));
	d->session.protocol = m->u64;
	return VHOST_DONE;
}

static int get_queue_num(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	(void)err;
	return reply_u64(d, m, d->nqueues);
}

static int set_mem_table(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_session *s = &d->session;
	struct vhost_mem *mem;
	int rc;

	if (s->nfds != m->mem.n)
		return vs_fail(err, VS_E_PROTO, "%u descriptors for %u memory regions", s->nfds,
			       m->mem.n);
	rc = vhost_mem_new(&m->mem, s->fds, &mem, err);
	if (rc)
		return rc;
	/* requests in flight keep the old mapping; the rings move to the new one */
	for (unsigned i = 0; i < d->nqueues; i++) {
		struct vhost_queue *q = &d->queues[i];

		if (!q->ring.used)
			continue;
		rc = vhost_ring_map(&q->ring, mem, q->ring.num, &q->addr);
		if (rc) {
			vhost_mem_put(mem);
			return vs_fail(err, rc, "queue %u is not in the new guest memory", i);
		}
	}
	vhost_mem_put(s->mem);
	s->mem = mem;
	return VHOST_DONE;
}

static int set_vring_num(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->state.index, err);

	if (!q)
		return VS_E_PROTO;
	if (q->started || m->state.num == 0 || m->state.num > VHOST_RING_MAX)
		return vs_fail(err, VS_E_PROTO, "queue %u: bad size %u", q->index, m->state.num);
	q->num = m->state.num;
	return VHOST_DONE;
}

static int set_vring_addr(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->addr.index, err);
	int rc;

	if (!q)
		return VS_E_PROTO;
	if (q->ring.used) {
		rc = vhost_ring_map(&q->ring, d->session.mem, q->ring.num, &m->addr);
		if (rc)
			return vs_fail(err, rc, "queue %u: rings outside guest memory", q->index);
	}
	q->addr = m->addr;
	q->addr_set = true;
	return VHOST_DONE;
}

static int set_vring_base(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->state.index, err);

	if (!q)
		return VS_E_PROTO;
	if (q->started)
		return vs_fail(err, VS_E_PROTO, "queue %u runs: its base is fixed", q->index);
	q->base = (uint16_t)m->state.num;
	return VHOST_DONE;
}

int vhost_message_reply_base(struct vhost_queue *q)
{
	struct vhost_msg m = {.kind = VHOST_P_STATE, .h.request = VHOST_GET_VRING_BASE};

	vhost_request_drop_held(q);
	m.state.index = q->index;
	m.state.num = q->ring.used ? q->ring.last_avail : q->base;
	q->base = (uint16_t)m.state.num;
	vhost_queue_signal(q);
	memset(&q->ring, 0, sizeof(q->ring));
	return reply(q->disk, &m, -1);
}

static int get_vring_base(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->state.index, err);

	if (!q)
		return VS_E_PROTO;
	vhost_queue_stop(q);
	if (q->in_flight == 0)
		return vhost_message_reply_base(q);
	d->session.draining = q;
	return VHOST_LATER;
}

/* Eventfds only, and never blocking ones: this thread serves other guests too. */
static int take_event(struct vhost_disk *d, const struct vhost_msg *m, int *fd,
		      struct vs_error *err)
{
	int flags;

	*fd = -1;
	if (m->u64 & VHOST_VRING_NO_FD)
		return 0;
	*fd = take_fd(&d->session);
	if (*fd < 0)
		return vs_fail(err, VS_E_PROTO, "%s without a descriptor",
			       vhost_msg_name(m->h.request));
	flags = fcntl(*fd, F_GETFL);
	if (flags >= 0 && fcntl(*fd, F_SETFL, flags | O_NONBLOCK) == 0)
		return 0;
	close(*fd);
	*fd = -1;
	return vs_fail_errno(err, "cannot use the descriptor of %s", vhost_msg_name(m->h.request));
}

static int set_vring_kick(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->u64 & VHOST_VRING_INDEX_MASK, err);
	int fd, rc;

	if (!q)
		return VS_E_PROTO;
	rc = take_event(d, m, &fd, err);
	if (rc)
		return rc;
	if (fd < 0)
		return vs_fail(err, VS_E_NOTSUP,
			       "queue %u without a kick descriptor: polling is "
			       "not supported",
			       q->index);
	return vhost_queue_start(q, fd, err);
}

static int set_event(struct vhost_disk *d, struct vhost_msg *m, bool call, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->u64 & VHOST_VRING_INDEX_MASK, err);
	int fd, rc, *slot;

	if (!q)
		return VS_E_PROTO;
	rc = take_event(d, m, &fd, err);
	if (rc)
		return rc;
	slot = call ? &q->call_fd : &q->err_fd;
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
	if (call && q->ring.used) {
		/* what was returned before this descriptor came may have gone unnoticed */
		q->ring.signalled_valid = false;
		vhost_queue_mark(q);
	}
	return VHOST_DONE;
}

static int set_vring_call(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	return set_event(d, m, true, err);
}

static int set_vring_err(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	return set_event(d, m, false, err);
}

static int set_vring_enable(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_queue *q = queue_at(d, m->state.index, err);

	if (!q)
		return VS_E_PROTO;
	q->enabled = m->state.num != 0;
	vhost_queue_mark(q);
	return VHOST_DONE;
}

static int set_backend_req_fd(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_session *s = &d->session;
	int fd = take_fd(s);

	(void)m;
	if (fd < 0)
		return vs_fail(err, VS_E_PROTO, "no descriptor for the back end's channel");
	if (s->backend_fd >= 0)
		close(s->backend_fd);
	s->backend_fd = fd;
	return VHOST_DONE;
}

static int get_config(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_blk_geometry g = {
	    .size = bs_volume_size(d->volume),
	    .sector = bs_volume_sector(d->volume),
	    .queues = (uint16_t)d->nqueues,
	};
	uint8_t space[VHOST_CONFIG_MAX] = {0};

	(void)err;
	vhost_blk_config_encode(&g, space);
	memcpy(m->config.data, space + m->config.offset, m->config.size);
	return reply(d, m, -1);
}

static int get_inflight_fd(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	int fd, rc;

	if (m->inflight.queues > d->nqueues)
		return vs_fail(err, VS_E_PROTO, "in-flight region for %u of %u queues",
			       m->inflight.queues, d->nqueues);
	rc = vhost_inflight_create(m->inflight.queues, m->inflight.queue_size, &fd, &m->inflight,
				   err);
	if (rc)
		return rc;
	rc = reply(d, m, fd);
	close(fd);
	return rc;
}

static int set_inflight_fd(struct vhost_disk *d, struct vhost_msg *m, struct vs_error *err)
{
	struct vhost_session *s = &d->session;
	struct vhost_inflight f;
	int rc;

	for (unsigned i = 0; i < d->nqueues; i++)
		if (d->queues[i].started || d->queues[i].in_flight)
			return vs_fail(err, VS_E_PROTO, "in-flight region while queue %u runs", i);
	if (s->nfds != 1)
		return vs_fail(err, VS_E_PROTO, "in-flight region without a descriptor");
	rc = vhost_inflight_map(&m->inflight, s->fds[0], &f, err);
	if (rc)
		return rc;
	vhost_inflight_unmap(&s->inflight);
	s->inflight = f;
	return VHOST_DONE;
}

static const handler handlers[VHOST_REQUEST_MAX] = {
    [VHOST_GET_FEATURES] = get_features,
    [VHOST_SET_FEATURES] = set_features,
    [VHOST_SET_OWNER] = ignore,
    [VHOST_RESET_OWNER] = ignore,
    [VHOST_SET_MEM_TABLE] = set_mem_table,
    [VHOST_SET_VRING_NUM] = set_vring_num,
    [VHOST_SET_VRING_ADDR] = set_vring_addr,
    [VHOST_SET_VRING_BASE] = set_vring_base,
    [VHOST_GET_VRING_BASE] = get_vring_base,
    [VHOST_SET_VRING_KICK] = set_vring_kick,
    [VHOST_SET_VRING_CALL] = set_vring_call,
    [VHOST_SET_VRING_ERR] = set_vring_err,
    [VHOST_GET_PROTOCOL_FEATURES] = get_protocol_features,
    [VHOST_SET_PROTOCOL_FEATURES] = set_protocol_features,
    [VHOST_GET_QUEUE_NUM] = get_queue_num,
    [VHOST_SET_VRING_ENABLE] = set_vring_enable,
    [VHOST_SET_BACKEND_REQ_FD] = set_backend_req_fd,
    [VHOST_GET_CONFIG] = get_config,
    [VHOST_SET_CONFIG] = ignore, /* the cache mode is write-back and was not offered to change */
    [VHOST_GET_INFLIGHT_FD] = get_inflight_fd,
    [VHOST_SET_INFLIGHT_FD] = set_inflight_fd,
};

int vhost_message_run(struct vhost_disk *d)
{
	struct vhost_session *s = &d->session;
	struct vs_error err = {0};
	struct vhost_msg m;
	bool ack;
	int rc;

	rc = vhost_msg_decode(&s->header, s->rx + VHOST_HEADER_SIZE, &m);
	if (rc == 0 && s->nfds > vhost_msg_fds_max(m.h.request))
		rc = VS_E_PROTO;
	/*
	 * Whoever asks for a reply gets one: QEMU 7.2 does not negotiate again on a connection that
	 * was lost while its machine was paused, and would wait for ever.
	 */
	ack = m.h.need_reply;
	if (rc == 0)
		rc = handlers[m.h.request](d, &m, &err);
	else
		(void)vs_fail(&err, rc, "%s", vs_err_text(rc));
	vhost_session_close_fds(s);
	if (rc >= 0 && (rc != VHOST_DONE || !ack))
		return rc;
	if (rc < 0)
		vs_warn("disk %s: %s from the front end failed: %s", d->name,
			vhost_msg_name(m.h.request), err.text);
	if (rc == VS_E_CLOSED || (rc < 0 && !ack && rc != VS_E_NOTSUP))
		return rc;
	return ack ? reply_u64(d, &m, rc == VHOST_DONE ? 0 : 1) : VHOST_DONE;
}

void vhost_message_config_changed(struct vhost_disk *d)
{
	struct vhost_msg m = {.kind = VHOST_P_NONE, .h.request = VHOST_BACKEND_CONFIG_CHANGE};
	uint8_t b[VHOST_MESSAGE_MAX];
	size_t len = vhost_msg_encode(&m, b);

	if (d->session.backend_fd >= 0 && send_message(d->session.backend_fd, b, len, -1) != 0)
		vs_warn("disk %s: the front end could not be told of the new size", d->name);
}
