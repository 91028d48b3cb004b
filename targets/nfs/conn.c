#include "targets/nfs/conn.h"

#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_IOV 192	  /* of one sendmsg: three for each reply */
#define UNACKED_MS 120000 /* replies that a client does not take for so long end its connection */

void nfs_conn_dirty(struct nfs_conn *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	c->next_dirty = c->worker->dirty;
	c->worker->dirty = c;
}

void nfs_conn_send(struct nfs_conn *c, struct nfs_call *call)
{
	if (c->phase == NFS_DEAD) {
		nfs_call_give(call);
		return;
	}
	call->next = NULL;
	*c->out_tail = call;
	c->out_tail = &call->next;
	nfs_conn_dirty(c);
}

static void pop_out(struct nfs_conn *c)
{
	struct nfs_call *call = c->out_head;

	c->out_head = call->next;
	if (!c->out_head)
		c->out_tail = &c->out_head;
	c->out_done = 0;
	nfs_call_give(call);
}

/* Gives up what is half received. */
static void abandon(struct nfs_conn *c)
{
	if (c->cur)
		nfs_call_give(c->cur);
	c->cur = NULL;
	c->rx = NFS_RX_MARK;
}

void nfs_conn_kill(struct nfs_conn *c)
{
	if (c->phase == NFS_DEAD)
		return;
	c->phase = NFS_DEAD;
	abandon(c);
	vs_loop_cancel(c->worker->loop, &c->timer);
	vs_loop_remove(c->worker->loop, &c->watch);
	(void)close(c->watch.fd);
	while (c->out_head)
		pop_out(c);
	nfs_conn_dirty(c);
}

void nfs_conn_drain(struct nfs_conn *c)
{
	if (c->phase >= NFS_DRAIN)
		return;
	abandon(c);
	c->phase = NFS_DRAIN;
	if (vs_loop_timer(c->worker->loop, &c->timer, NFS_DRAIN_NS))
		nfs_conn_kill(c); /* without its limit a connection must not stay */
	nfs_conn_dirty(c);
}

static size_t out_bytes(const struct nfs_call *call)
{
	return (size_t)call->reply_len + call->data_len + NFS_XDR_PAD(call->data_len);
}

/* What is next to send, as an iovec array; returns its entries. */
static int gather(const struct nfs_conn *c, struct iovec iov[SEND_IOV])
{
	static const uint8_t zeros[4];
	size_t skip = c->out_done;
	int n = 0;

	for (const struct nfs_call *o = c->out_head; o && n + 3 <= SEND_IOV; o = o->next) {
		const struct iovec parts[] = {
		    {(void *)(uintptr_t)o->reply, o->reply_len},
		    {o->data.p, o->data_len},
		    {(void *)(uintptr_t)zeros, NFS_XDR_PAD(o->data_len)},
		};

		for (size_t i = 0; i < VS_ARRAY_LEN(parts); i++) {
			size_t past = VS_MIN(skip, parts[i].iov_len);

			skip -= past;
			if (parts[i].iov_len > past)
				iov[n++] = (struct iovec){(uint8_t *)parts[i].iov_base + past,
							  parts[i].iov_len - past};
		}
	}
	return n;
}

/* Accounts for bytes that the socket took. */
static void sent(struct nfs_conn *c, size_t bytes)
{
	atomic_fetch_add_explicit(&c->sent, bytes, memory_order_relaxed);
	while (c->out_head) {
		size_t left = out_bytes(c->out_head) - c->out_done;

		if (bytes < left) {
			c->out_done += bytes;
			return;
		}
		bytes -= left;
		pop_out(c);
	}
}

static void flush(struct nfs_conn *c)
{
	while (c->out_head) {
		struct iovec iov[SEND_IOV];
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)gather(c, iov)};
		ssize_t n;

		do {
			n = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
			nfs_conn_kill(c);
			return;
		}
		if (n < 0)
			return;
		sent(c, (size_t)n);
	}
}

static void watch(struct nfs_conn *c)
{
	uint32_t want = 0;

	if (c->phase == NFS_DEAD)
		return;
	if (c->phase == NFS_OPEN && !c->blocked)
		want |= EPOLLIN;
	if (c->out_head)
		want |= EPOLLOUT;
	if (want == c->events)
		return;
	c->events = want;
	if (vs_loop_modify(c->worker->loop, &c->watch, want))
		nfs_conn_kill(c);
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct nfs_conn *c = w->arg;

	if (events & EPOLLERR || (events & EPOLLHUP && !(c->events & EPOLLIN))) {
		nfs_conn_kill(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP) && c->events & EPOLLIN) {
		c->active_ns = vs_now_ns();
		nfs_receive(c);
	}
	nfs_conn_dirty(c);
}

static void timed_out(struct vs_timer *t)
{
	nfs_conn_kill(t->arg);
}

/* Frees a dead connection that nothing is in flight of. */
static void reap(struct nfs_conn *c)
{
	struct nfs_worker *w = c->worker;

	(void)pthread_mutex_lock(&w->conns_lock);
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	(void)pthread_mutex_unlock(&w->conns_lock);
	vs_arena_destroy(&c->arena);
	free(c->calls);
	free(c);
	w->closed(w);
}

/* Returns whether new work may have been submitted. */
static bool work(struct nfs_conn *c)
{
	bool resumed = false;

	if (c->phase != NFS_DEAD)
		flush(c);
	if (c->phase == NFS_OPEN && c->blocked) {
		nfs_receive(c);
		resumed = true;
	}
	if (c->phase == NFS_DRAIN && c->inflight == 0 && !c->out_head)
		nfs_conn_kill(c);
	watch(c);
	return resumed;
}

bool nfs_conn_idle(struct vs_idle *idle)
{
	struct nfs_worker *w = idle->arg;
	struct nfs_conn *list = w->dirty;
	bool again = false;

	w->dirty = NULL;
	while (list) {
		struct nfs_conn *c = list;

		list = c->next_dirty;
		c->is_dirty = false;
		again |= work(c);
		if (c->phase == NFS_DEAD && c->inflight == 0 && !c->is_dirty)
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
	    {IPPROTO_TCP, TCP_KEEPCNT, 4},   {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS},
	};

	for (size_t i = 0; i < VS_ARRAY_LEN(opts); i++)
		(void)setsockopt(fd, opts[i].level, opts[i].name, &opts[i].value, sizeof(int));
}

static int set_peer(struct nfs_conn *c, const struct sockaddr_storage *peer)
{
	char text[NFS_ADDRESS_MAX - 10];
	bool four = peer->ss_family == AF_INET;
	in_port_t port;

	if (!nfs_address_from(peer, &c->address))
		return VS_E_INVAL;
	port = four ? ((const struct sockaddr_in *)peer)->sin_port
		    : ((const struct sockaddr_in6 *)peer)->sin6_port;
	nfs_address_text(&c->address, text, sizeof(text));
	(void)snprintf(c->peer, sizeof(c->peer), four ? "%s:%u" : "[%s]:%u", text, ntohs(port));
	return 0;
}

static void enlist(struct nfs_conn *c)
{
	struct nfs_worker *w = c->worker;

	(void)pthread_mutex_lock(&w->conns_lock);
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	(void)pthread_mutex_unlock(&w->conns_lock);
}

/* Nothing of that fails: a socket that has no such address came from no network. */
static void set_local(struct nfs_conn *c)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	if (getsockname(c->watch.fd, (struct sockaddr *)&ss, &len) == 0)
		(void)!nfs_address_from(&ss, &c->local.address);
	c->local.v6 = ss.ss_family == AF_INET6;
}

int nfs_conn_open(struct nfs_worker *w, struct nfs_accepted from,
		  const struct sockaddr_storage *peer)
{
	struct nfs_conn *c = calloc(1, sizeof(*c));
	int status = c ? vs_arena_init(&c->arena, NFS_OWN_UNITS) : VS_E_NOMEM;

	if (status)
		goto fail;
	c->worker = w;
	c->portmap = from.portmap;
	c->watch = (struct vs_watch){.fd = from.fd, .ready = ready, .arg = c};
	c->timer = (struct vs_timer){.fired = timed_out, .arg = c};
	c->out_tail = &c->out_head;
	c->events = EPOLLIN;
	c->since = vs_unix_ns();
	c->active_ns = vs_now_ns();
	c->calls = calloc(NFS_CALLS, sizeof(*c->calls));
	status = c->calls ? set_peer(c, peer) : VS_E_NOMEM;
	if (status)
		goto fail;
	set_local(c);
	set_options(from.fd);
	status = vs_loop_add(w->loop, &c->watch, c->events);
	if (status)
		goto fail;
	enlist(c);
	return 0;
fail:
	if (c) {
		vs_arena_destroy(&c->arena);
		free(c->calls);
	}
	free(c);
	(void)close(from.fd);
	return status;
}
