#include "targets/nbd/conn.h"

#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_IOV 64

void nbd_conn_dirty(struct nbd_conn *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	c->next_dirty = c->worker->dirty;
	c->worker->dirty = c;
}

void nbd_conn_send(struct nbd_conn *c, struct nbd_out *out)
{
	if (c->phase == NBD_DEAD) {
		out->sent(out);
		return;
	}
	out->next = NULL;
	*c->out_tail = out;
	c->out_tail = &out->next;
	nbd_conn_dirty(c);
}

static struct nbd_out *pop_out(struct nbd_conn *c)
{
	struct nbd_out *out = c->out_head;

	c->out_head = out->next;
	if (!c->out_head)
		c->out_tail = &c->out_head;
	c->out_done = 0;
	return out;
}

void nbd_conn_kill(struct nbd_conn *c)
{
	if (c->phase == NBD_DEAD)
		return;
	(void)nbd_transmit_abandon(c);
	c->phase = NBD_DEAD;
	vs_loop_cancel(c->worker->loop, &c->timer);
	vs_loop_remove(c->worker->loop, &c->watch);
	(void)close(c->watch.fd);
	while (c->out_head) {
		struct nbd_out *out = pop_out(c);

		out->sent(out);
	}
	nbd_conn_dirty(c);
}

static void set_timer(struct nbd_conn *c, uint64_t after_ns)
{
	if (vs_loop_timer(c->worker->loop, &c->timer, after_ns))
		nbd_conn_kill(c); /* without its limit a connection must not stay */
}

void nbd_conn_drain(struct nbd_conn *c)
{
	if (c->phase >= NBD_DRAIN)
		return;
	if (!nbd_transmit_abandon(c)) {
		nbd_conn_kill(c);
		return;
	}
	c->phase = NBD_DRAIN;
	set_timer(c, NBD_DRAIN_NS);
	nbd_conn_dirty(c);
}

long nbd_conn_receive(struct nbd_conn *c, struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
	ssize_t got;

	do {
		got = recvmsg(c->watch.fd, &msg, 0);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (got == 0)
		nbd_conn_drain(c);
	else
		nbd_conn_kill(c);
	return -1;
}

/* What is next to send, as an iovec array; returns its entries. */
static int gather(const struct nbd_conn *c, struct iovec iov[SEND_IOV])
{
	uint32_t skip = c->out_done;
	int n = 0;

	for (struct nbd_out *o = c->out_head; o && n + 2 <= SEND_IOV; o = o->next) {
		uint32_t head = VS_MIN(skip, o->head_len), data = skip - head;

		if (o->head_len > head)
			iov[n++] = (struct iovec){o->head + head, o->head_len - head};
		if (o->len > data)
			iov[n++] =
			    (struct iovec){(uint8_t *)(uintptr_t)o->data + data, o->len - data};
		skip = 0;
	}
	return n;
}

/* Accounts for bytes that the socket took. */
static void sent(struct nbd_conn *c, size_t bytes)
{
	while (c->out_head) {
		size_t left = (size_t)c->out_head->head_len + c->out_head->len - c->out_done;
		struct nbd_out *out;

		if (bytes < left) {
			c->out_done += (uint32_t)bytes;
			return;
		}
		bytes -= left;
		out = pop_out(c);
		out->sent(out);
	}
}

static void flush(struct nbd_conn *c)
{
	while (c->out_head) {
		struct iovec iov[SEND_IOV];
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)gather(c, iov)};
		ssize_t n;

		do {
			n = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
			nbd_conn_kill(c);
			return;
		}
		if (n < 0)
			return;
		sent(c, (size_t)n);
	}
}

static void watch(struct nbd_conn *c)
{
	uint32_t want = 0;

	if (c->phase == NBD_DEAD)
		return;
	if (c->phase < NBD_DRAIN && !c->blocked)
		want |= EPOLLIN;
	if (c->out_head)
		want |= EPOLLOUT;
	if (want == c->events)
		return;
	c->events = want;
	if (vs_loop_modify(c->worker->loop, &c->watch, want))
		nbd_conn_kill(c);
}

static void input(struct nbd_conn *c)
{
	if (c->phase == NBD_HANDSHAKE)
		nbd_handshake_input(c);
	else if (c->phase == NBD_TRANSMIT)
		nbd_transmit_input(c);
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct nbd_conn *c = w->arg;

	if (events & EPOLLERR || (events & EPOLLHUP && !(c->events & EPOLLIN))) {
		nbd_conn_kill(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP) && c->events & EPOLLIN)
		input(c);
	nbd_conn_dirty(c);
}

static void timed_out(struct vs_timer *t)
{
	struct nbd_conn *c = t->arg;

	vs_debug("nbd: a client was disconnected: %s took too long",
		 c->phase == NBD_HANDSHAKE ? "its handshake" : "taking its replies");
	nbd_conn_kill(c);
}

void nbd_conn_opening(struct nbd_conn *c, struct nbd_export *e, struct bs_volume *v,
		      void (*done)(struct vs_post *post))
{
	c->opening = (struct nbd_opening){
	    .export = e,
	    .volume = v,
	    .loop = c->worker->loop,
	    .post = {.call = done, .arg = c},
	};
	c->inflight++;
	nbd_opener_submit(c->worker->opener, &c->opening);
}

static void volume_closed(struct vs_post *post)
{
	struct nbd_conn *c = post->arg;

	c->inflight--;
	nbd_exports_release(c->worker->exports, c->export);
	c->export = NULL;
	nbd_conn_dirty(c);
}

/* Frees a dead connection that nothing is in flight of, once its volume is closed. */
static void reap(struct nbd_conn *c)
{
	struct nbd_worker *w = c->worker;

	if (c->volume) {
		nbd_conn_opening(c, c->export, c->volume, volume_closed);
		c->volume = NULL;
		return;
	}
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	vs_arena_destroy(&c->arena);
	free(c);
	w->closed(w);
}

/* Returns whether new work may have been submitted. */
static bool work(struct nbd_conn *c)
{
	bool resumed = false;

	if (c->phase != NBD_DEAD)
		flush(c);
	if (c->phase < NBD_DRAIN && c->blocked) {
		input(c);
		resumed = true;
	}
	if (c->phase == NBD_DRAIN && c->inflight == 0 && !c->out_head)
		nbd_conn_kill(c);
	watch(c);
	return resumed;
}

bool nbd_conn_idle(struct vs_idle *idle)
{
	struct nbd_worker *w = idle->arg;
	struct nbd_conn *list = w->dirty;
	bool again = false;

	w->dirty = NULL;
	while (list) {
		struct nbd_conn *c = list;

		list = c->next_dirty;
		c->is_dirty = false;
		again |= work(c);
		if (c->phase == NBD_DEAD && c->inflight == 0 && !c->is_dirty)
			reap(c);
	}
	return again || w->dirty;
}

static void set_options(int fd)
{
	/* A peer that vanished is noticed after two minutes. */
	static const struct {
		int level, name, value;
	} opts[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 15},
	    {IPPROTO_TCP, TCP_KEEPCNT, 4},
	};

	/* They fail on Unix sockets, which have no use for them. */
	for (size_t i = 0; i < VS_ARRAY_LEN(opts); i++)
		(void)setsockopt(fd, opts[i].level, opts[i].name, &opts[i].value, sizeof(int));
}

int nbd_conn_open(struct nbd_worker *w, int fd)
{
	struct nbd_conn *c = calloc(1, sizeof(*c));
	int status = c ? vs_arena_init(&c->arena, NBD_OWN_UNITS) : VS_E_NOMEM;

	if (status)
		goto fail;
	c->worker = w;
	c->watch = (struct vs_watch){.fd = fd, .ready = ready, .arg = c};
	c->timer = (struct vs_timer){.fired = timed_out, .arg = c};
	c->out_tail = &c->out_head;
	c->events = EPOLLIN;
	set_options(fd);
	status = vs_loop_add(w->loop, &c->watch, c->events);
	if (status)
		goto fail;
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	nbd_handshake_start(c);
	set_timer(c, NBD_HANDSHAKE_NS);
	return 0;
fail:
	if (c)
		vs_arena_destroy(&c->arena);
	free(c);
	(void)close(fd);
	return status;
}
