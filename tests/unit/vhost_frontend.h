/* A small vhost-user front end for tests: one queue, requests of three descriptors. */
#ifndef TEST_VHOST_FRONTEND_H
#define TEST_VHOST_FRONTEND_H

#include "targets/vhost/blk_format.h"
#include "tests/unit/vhost_guest.h"

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FE_WAIT_MS 60000 /* a bound on waiting, not a verdict on speed */
#define FE_F_VERSION_1 (UINT64_C(1) << 32)
#define FE_F_EVENT_IDX (UINT64_C(1) << 29)
#define FE_HEADER 0x10000u /* of request i: at + 64 * i */
#define FE_STATUS 0x11000u
#define FE_DATA 0x20000u

struct frontend {
	int sock, kick, call, err;
	struct guest guest;
	uint16_t seen; /* used entries looked at */
};

static inline int fe_connect(struct frontend *f, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(f->sock, (struct sockaddr *)&a, sizeof(a));
}

static inline int fe_send(struct frontend *f, const void *buf, size_t len, const int *fds, size_t n)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return sendmsg(f->sock, &msg, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

static inline int fe_message(struct frontend *f, struct vhost_msg *m, const int *fds, size_t n)
{
	uint8_t b[VHOST_MESSAGE_MAX];

	return fe_send(f, b, vhost_msg_encode(m, b), fds, n);
}

/* The answer to m, decoded by m's kind; *fd is one that came along, or -1. -1: closed. */
static inline int fe_answer(struct frontend *f, struct vhost_msg *m, int *fd)
{
	uint8_t b[VHOST_MESSAGE_MAX] = {0};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = b, .iov_len = VHOST_HEADER_SIZE};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	uint32_t request = m->h.request;
	struct cmsghdr *c;

	*fd = -1;
	if (recvmsg(f->sock, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != VHOST_HEADER_SIZE ||
	    vhost_msg_header_decode(b, &m->h) || m->h.request != request || !m->h.reply ||
	    recv(f->sock, b + VHOST_HEADER_SIZE, m->h.size, MSG_WAITALL) != (ssize_t)m->h.size)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (m->kind == VHOST_P_U64 || m->h.size == 8) {
		m->u64 = vs_get_le64(b + VHOST_HEADER_SIZE);
		return 0;
	}
	return vhost_msg_decode(&m->h, b + VHOST_HEADER_SIZE, m);
}

static inline int fe_get_u64(struct frontend *f, uint32_t request, uint64_t *out)
{
	struct vhost_msg m = {.h.request = request};
	int fd;

	if (fe_message(f, &m, NULL, 0) || fe_answer(f, &m, &fd))
		return -1;
	*out = m.u64;
	return 0;
}

/* With REPLY_ACK: the back end's verdict. -1: closed. */
static inline int fe_ack(struct frontend *f, struct vhost_msg *m, const int *fds, size_t n)
{
	int fd;

	m->h.need_reply = true;
	if (fe_message(f, m, fds, n))
		return -1;
	m->kind = VHOST_P_U64;
	return fe_answer(f, m, &fd) ? -1 : (int)m->u64;
}

static inline int fe_set_u64(struct frontend *f, uint32_t request, uint64_t v, int fd)
{
	struct vhost_msg m = {.h.request = request, .kind = VHOST_P_U64, .u64 = v};

	return fe_ack(f, &m, &fd, fd >= 0);
}

static inline int fe_set_state(struct frontend *f, uint32_t request, uint32_t num)
{
	struct vhost_msg m = {.h.request = request, .kind = VHOST_P_STATE, .state = {0, num}};

	return fe_ack(f, &m, NULL, 0);
}

static inline int fe_negotiate(struct frontend *f, uint64_t features)
{
	struct vhost_msg m = {.h.request = VHOST_SET_PROTOCOL_FEATURES, .kind = VHOST_P_U64};
	uint64_t offered;

	if (fe_get_u64(f, VHOST_GET_FEATURES, &offered) ||
	    fe_get_u64(f, VHOST_GET_PROTOCOL_FEATURES, &m.u64) || fe_message(f, &m, NULL, 0))
		return -1;
	return fe_set_u64(f, VHOST_SET_FEATURES, features, -1);
}

static inline int fe_memory(struct frontend *f)
{
	struct vhost_msg m = {
	    .h.request = VHOST_SET_MEM_TABLE, .kind = VHOST_P_MEM, .mem = guest_table()};
	const int fds[2] = {f->guest.fd, f->guest.fd};

	return fe_ack(f, &m, fds, 2);
}

/* Asks for an in-flight region (*fd -1) and gives it back, or gives one from before. */
static inline int fe_inflight(struct frontend *f, struct vhost_inflight_desc *d, int *fd)
{
	struct vhost_msg m = {.h = {.request = VHOST_GET_INFLIGHT_FD, .size = 24},
			      .kind = VHOST_P_INFLIGHT,
			      .inflight = {.queues = 1, .queue_size = GUEST_NUM}};

	if (*fd < 0) {
		if (fe_message(f, &m, NULL, 0) || fe_answer(f, &m, fd) || *fd < 0)
			return -1;
		*d = m.inflight;
	}
	m = (struct vhost_msg){.h = {.request = VHOST_SET_INFLIGHT_FD, .size = 24},
			       .kind = VHOST_P_INFLIGHT,
			       .inflight = *d};
	return fe_ack(f, &m, fd, 1);
}

/* Rings, eventfds, go. */
static inline int fe_start(struct frontend *f, uint16_t base)
{
	struct vhost_msg m = {
	    .h.request = VHOST_SET_VRING_ADDR, .kind = VHOST_P_ADDR, .addr = guest_rings()};

	if (fe_set_state(f, VHOST_SET_VRING_NUM, GUEST_NUM) ||
	    fe_set_state(f, VHOST_SET_VRING_BASE, base) || fe_ack(f, &m, NULL, 0) ||
	    fe_set_u64(f, VHOST_SET_VRING_ERR, 0, f->err) ||
	    fe_set_u64(f, VHOST_SET_VRING_KICK, 0, f->kick) ||
	    fe_set_u64(f, VHOST_SET_VRING_CALL, 0, f->call))
		return -1;
	return fe_set_state(f, VHOST_SET_VRING_ENABLE, 1);
}

static inline int fe_stop(struct frontend *f, uint16_t *base)
{
	struct vhost_msg m = {.h.request = VHOST_GET_VRING_BASE, .kind = VHOST_P_STATE};
	int fd;

	if (fe_message(f, &m, NULL, 0) || fe_answer(f, &m, &fd))
		return -1;
	*base = (uint16_t)(m.u64 >> 32);
	return 0;
}

static inline int fe_open(struct frontend *f)
{
	f->seen = 0;
	f->sock = -1;
	f->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return guest_open(&f->guest);
}

static inline void fe_close(struct frontend *f)
{
	if (f->sock >= 0)
		close(f->sock);
	close(f->kick);
	close(f->call);
	close(f->err);
	guest_close(&f->guest);
}

static inline int fe_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t count;

	return poll(&p, 1, FE_WAIT_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count)
		   ? 0
		   : -1;
}

/* Puts request number i (0 to 4) on the ring: header, data of len bytes, status. No kick. */
static inline void fe_put(struct frontend *f, unsigned i, uint32_t type, uint64_t sector,
			  uint32_t len, bool device_writes)
{
	uint8_t *h = f->guest.ram + FE_HEADER + 64 * i;
	uint16_t d = (uint16_t)(3 * i);

	vs_put_le32(h, type);
	vs_put_le32(h + 4, 0);
	vs_put_le64(h + 8, sector);
	f->guest.ram[FE_STATUS + i] = 0xff;
	guest_desc(&f->guest, d, FE_HEADER + 64 * i, VHOST_BLK_HEADER_SIZE, DESC_NEXT, d + 1);
	guest_desc(&f->guest, d + 1, FE_DATA + 0x10000 * i, len,
		   DESC_NEXT | (device_writes ? DESC_WRITE : 0), d + 2);
	guest_desc(&f->guest, d + 2, FE_STATUS + i, 1, DESC_WRITE, 0);
	guest_offer(&f->guest, d);
}

static inline int fe_kick(struct frontend *f)
{
	const uint64_t one = 1;

	return write(f->kick, &one, sizeof(one)) == sizeof(one) ? 0 : -1;
}

/* Until n more requests came back. */
static inline int fe_collect(struct frontend *f, unsigned n)
{
	uint8_t *used_event = f->guest.ram + GUEST_AVAIL + 4 + 2 * GUEST_NUM;

	f->seen = (uint16_t)(f->seen + n);
	/* interrupt me when the last of them is there */
	__atomic_store_n((uint16_t *)(void *)used_event, (uint16_t)(f->seen - 1), __ATOMIC_SEQ_CST);
	while ((int16_t)(guest_used(&f->guest) - f->seen) < 0)
		if (fe_wait(f->call))
			return -1;
	return 0;
}

/* One request from end to end: its status, or -1. */
static inline int fe_request(struct frontend *f, uint32_t type, uint64_t sector, uint32_t len,
			     bool device_writes)
{
	fe_put(f, 0, type, sector, len, device_writes);
	if (fe_kick(f) || fe_collect(f, 1))
		return -1;
	return f->guest.ram[FE_STATUS];
}

static inline uint8_t *fe_data(struct frontend *f, unsigned i)
{
	return f->guest.ram + FE_DATA + 0x10000 * i;
}

#endif
