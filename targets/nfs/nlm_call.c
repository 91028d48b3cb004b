#include "targets/nfs/nlm_call.h"

#include "targets/nfs/portmap_format.h"
#include "targets/nfs/rpc_format.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTMAP_VERSION 2u
#define RPCBIND_VERSION 4u

static void hang_up(struct nfs_nlm_call *c)
{
	if (c->watch.fd < 0)
		return;
	vs_loop_remove(c->loop, &c->watch);
	(void)close(c->watch.fd);
	c->watch.fd = -1;
}

void nfs_nlm_call_drop(struct nfs_nlm_call *c)
{
	hang_up(c);
	vs_loop_cancel(c->loop, &c->timer);
}

static void end(struct nfs_nlm_call *c, enum nfs_nlm_called how, struct nfs_dec *d)
{
	nfs_nlm_call_drop(c);
	c->done(c, how, d);
}

/* Without an answer. */
static void fail(struct nfs_nlm_call *c)
{
	end(c, c->sent ? NFS_NLM_CALL_SILENT : NFS_NLM_CALL_NOT_MADE, NULL);
}

static bool is_v4(const struct nfs_nlm_call *c)
{
	return nfs_address_is_v4(&c->client);
}

/* ---- what is said ---- */

static void encode_question(struct nfs_nlm_call *c, struct nfs_enc *e)
{
	const struct nfs_portmap_entry what = {.prog = c->prog, .vers = c->vers, .netid = "tcp6"};
	const struct nfs_rpc_call call = {.xid = c->xid,
					  .prog = NFS_PORTMAP_PROG,
					  .vers = is_v4(c) ? PORTMAP_VERSION : RPCBIND_VERSION,
					  .proc = NFS_PORTMAP_GETPORT};

	nfs_rpc_call_encode(e, &call);
	if (is_v4(c)) /* every port mapper knows version 2, which knows no IPv6 */
		nfs_portmap_mapping_encode(e, &what);
	else
		nfs_rpcbind_args_encode(e, &what);
}

static void encode_call(struct nfs_nlm_call *c, struct nfs_enc *e)
{
	const struct nfs_rpc_call call = {
	    .xid = c->xid, .prog = c->prog, .vers = c->vers, .proc = c->proc};

	nfs_rpc_call_encode(e, &call);
	nfs_enc_fixed(e, c->args, c->args_len);
}

static void encode(struct nfs_nlm_call *c)
{
	struct nfs_enc e = {c->out + NFS_RPC_MARK_BYTES, c->out + sizeof(c->out), false};

	c->xid++;
	if (c->asking)
		encode_question(c, &e);
	else
		encode_call(c, &e);
	VS_ASSERT(!e.bad);
	c->out_len = (uint32_t)(e.p - c->out);
	nfs_rpc_mark(c->out, c->out_len - NFS_RPC_MARK_BYTES);
	c->out_done = c->in_len = 0;
}

/* ---- connections ---- */

/* VS_E_*: it cannot be reached. */
static int dial(struct nfs_nlm_call *c, uint16_t port)
{
	struct sockaddr_storage from, to;
	socklen_t from_len = nfs_address_to(&c->server, 0, &from);
	socklen_t to_len = nfs_address_to(&c->client, port, &to);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return VS_E_LIMIT;
	/* Clients compare where the call comes from with the server that they know. */
	if (from.ss_family != to.ss_family || bind(fd, (struct sockaddr *)&from, from_len) ||
	    (connect(fd, (struct sockaddr *)&to, to_len) && errno != EINPROGRESS)) {
		(void)close(fd);
		return VS_E_IO;
	}
	c->watch.fd = fd;
	if (vs_loop_add(c->loop, &c->watch, EPOLLOUT)) {
		(void)close(fd);
		c->watch.fd = -1;
		return VS_E_LIMIT;
	}
	encode(c);
	return 0;
}

static uint16_t port_of(const struct nfs_nlm_call *c, struct nfs_dec *d)
{
	char host[NFS_PORTMAP_UADDR_MAX];
	uint32_t port32;
	uint16_t port;

	if (!is_v4(c)) {
		struct nfs_bytes uaddr = nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX);

		return uaddr.p && nfs_portmap_uaddr_parse(uaddr, host, &port) ? port : 0;
	}
	port32 = nfs_dec_u32(d);
	return port32 <= UINT16_MAX ? (uint16_t)port32 : 0;
}

/* A whole record is in. */
static void received(struct nfs_nlm_call *c)
{
	struct nfs_dec d = {c->in + NFS_RPC_MARK_BYTES, c->in + c->in_len, false};
	bool good = nfs_rpc_reply_decode(&d, c->xid);
	uint16_t port;

	if (!c->asking || !good) {
		/* Whoever answers so did not carry it out. */
		end(c, good ? NFS_NLM_CALL_ANSWERED : NFS_NLM_CALL_NOT_MADE, &d);
		return;
	}
	port = port_of(c, &d);
	hang_up(c);
	c->asking = false;
	if (!port || dial(c, port))
		fail(c);
}

/* ---- events ---- */

static void send_some(struct nfs_nlm_call *c)
{
	ssize_t n = send(c->watch.fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(c);
		return;
	}
	c->out_done += (uint32_t)n;
	if (c->out_done < c->out_len)
		return;
	c->sent = !c->asking;
	if (vs_loop_modify(c->loop, &c->watch, EPOLLIN))
		fail(c);
}

/* One fragment, which what is small enough comes in; nothing else is taken. */
static void receive_some(struct nfs_nlm_call *c)
{
	ssize_t n = recv(c->watch.fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
	uint32_t mark, len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c);
		return;
	}
	c->in_len += (uint32_t)n;
	if (c->in_len < NFS_RPC_MARK_BYTES)
		return;
	mark = vs_get_be32(c->in);
	len = NFS_RPC_MARK_BYTES + (mark & ~NFS_RPC_LAST);
	if (!(mark & NFS_RPC_LAST) || len > sizeof(c->in))
		fail(c);
	else if (c->in_len >= len)
		received(c);
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct nfs_nlm_call *c = w->arg;

	(void)events; /* errors show at send and recv */
	if (c->out_done < c->out_len)
		send_some(c);
	else
		receive_some(c);
}

static void late(struct vs_timer *t)
{
	fail(t->arg);
}

/* The first connection is made here, so that what fails at once is told later too. */
static void begin(struct vs_timer *t)
{
	struct nfs_nlm_call *c = t->arg;

	t->fired = late;
	if (vs_loop_timer(c->loop, t, NFS_NLM_CALL_NS) || dial(c, c->portmapper))
		fail(c);
}

void nfs_nlm_call_start(struct nfs_nlm_call *c)
{
	c->asking = true;
	c->sent = false;
	c->watch = (struct vs_watch){.fd = -1, .ready = ready, .arg = c};
	c->timer = (struct vs_timer){.fired = begin, .arg = c};
	if (vs_loop_timer(c->loop, &c->timer, 0))
		VS_ASSERT(false); /* a loop has timers for all that there can be here */
}
