#include "targets/vhost/state.h"

#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void vhost_session_close_fds(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->nfds; i++)
		if (s->fds[i] >= 0)
			close(s->fds[i]);
	s->nfds = 0;
}

static int receive(struct vhost_session *s, size_t want)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = s->rx + s->rx_len, .iov_len = want - s->rx_len};
	struct msghdr msg = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf),
	};
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int rc = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? VS_E_AGAIN : VS_E_CLOSED;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (s->nfds < VHOST_FDS_MAX) {
				s->fds[s->nfds++] = fd;
			} else {
				close(fd);
				rc = VS_E_PROTO;
			}
		}
	}
	if (n == 0)
		return VS_E_CLOSED;
	if (rc || (msg.msg_flags & MSG_CTRUNC))
		return VS_E_PROTO;
	s->rx_len += (size_t)n;
	return s->rx_len < want ? VS_E_AGAIN : 0;
}

/* One message if it is there in full; 0, or negative. */
static int session_step(struct vhost_disk *d)
{
	struct vhost_session *s = &d->session;
	int rc;

	if (s->rx_len < VHOST_HEADER_SIZE) {
		rc = receive(s, VHOST_HEADER_SIZE);
		if (rc)
			return rc;
		rc = vhost_msg_header_decode(s->rx, &s->header);
		if (rc)
			return rc;
	}
	if (s->header.size > s->rx_len - VHOST_HEADER_SIZE) {
		rc = receive(s, VHOST_HEADER_SIZE + s->header.size);
		if (rc)
			return rc;
	}
	s->rx_len = 0;
	rc = vhost_message_run(d);
	if (rc == VHOST_LATER) {
		if (vs_loop_modify(d->thread->loop, &s->watch, 0) != 0)
			return VS_E_IO;
		return VS_E_AGAIN;
	}
	return rc < 0 ? rc : 0;
}

static void session_ready(struct vs_watch *w, uint32_t events)
{
	struct vhost_disk *d = w->arg;
	int rc;

	if (d->session.draining) {
		if (events & (EPOLLHUP | EPOLLERR))
			vhost_session_close(d, "the front end went away");
		return;
	}
	rc = session_step(d);
	if (rc && rc != VS_E_AGAIN)
		vhost_session_close(d, rc == VS_E_CLOSED ? "the front end disconnected"
							 : vs_err_text(rc));
}

void vhost_session_accept(struct vhost_disk *d, int fd)
{
	struct vhost_session *s = &d->session;

	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->backend_fd = -1;
	s->watch = (struct vs_watch){.fd = fd, .ready = session_ready, .arg = d};
	if (vs_loop_add(d->thread->loop, &s->watch, EPOLLIN) != 0) {
		vhost_session_close(d, "out of memory");
		return;
	}
	d->status.connections++;
	vs_debug("disk %s: a front end connected", d->name);
}

static void release(struct vhost_disk *d)
{
	struct vhost_session *s = &d->session;

	for (unsigned i = 0; i < d->nqueues; i++) {
		vhost_queue_signal(&d->queues[i]);
		vhost_queue_reset(&d->queues[i]);
	}
	vhost_inflight_unmap(&s->inflight);
	vhost_mem_put(s->mem);
	s->mem = NULL;
	s->closing = false;
	vhost_disk_released(d);
}

void vhost_session_close(struct vhost_disk *d, const char *why)
{
	struct vhost_session *s = &d->session;

	if (s->fd < 0 || s->closing)
		return;
	vs_debug("disk %s: connection closed: %s", d->name, why);
	vs_loop_remove(d->thread->loop, &s->watch);
	close(s->fd);
	vhost_session_close_fds(s);
	if (s->backend_fd >= 0)
		close(s->backend_fd);
	s->fd = s->backend_fd = -1;
	s->draining = NULL;
	s->closing = true;
	for (unsigned i = 0; i < d->nqueues; i++) {
		vhost_queue_stop(&d->queues[i]);
		vhost_request_drop_held(&d->queues[i]);
	}
	if (d->in_flight == 0)
		release(d);
}

void vhost_session_drained(struct vhost_queue *q)
{
	struct vhost_disk *d = q->disk;
	struct vhost_session *s = &d->session;

	if (s->closing && d->in_flight == 0) {
		release(d);
	} else if (s->draining == q && q->in_flight == 0) {
		s->draining = NULL;
		if (vhost_message_reply_base(q) < 0 ||
		    vs_loop_modify(d->thread->loop, &s->watch, EPOLLIN) != 0)
			vhost_session_close(d, "the front end does not read");
	}
}
