#include "targets/nfs/nsm_udp.h"

#include "common/log.h"
#include "targets/nfs/nlm_lock.h"
#include "targets/nfs/program.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32u /* datagrams before others have their turn */
#define CALL_MAX 1536u

struct point {
	struct nsm_udp *udp;
	const struct nfs_place *place;
	struct vs_watch watch; /* fd -1: not open */
};

struct nsm_udp {
	struct vs_loop *loop;
	const struct nfs_common *common;
	struct point points[NFS_LISTEN_MAX];
	unsigned npoints;
};

/* ---- calls ---- */

/* False: there is no such procedure here. */
static bool answer_nsm(const struct nfs_common *common, const struct nfs_address *from,
		       const struct nfs_rpc_call *call, struct nfs_dec *d, struct nfs_enc *e)
{
	struct nfs_nlm_args a = {0};

	if (call->proc != NFS_NSM_NULL && call->proc != NFS_NSM_NOTIFY)
		return false;
	if (!nfs_nsm_args_decode(call->proc, d, &a)) {
		nfs_rpc_accepted(e, call->xid, NFS_RPC_GARBAGE_ARGS);
		return true;
	}
	if (call->proc == NFS_NSM_NOTIFY)
		nfs_nlm_restarted(common->v4, from, a.name, a.state);
	nfs_rpc_accepted(e, call->xid, NFS_RPC_SUCCESS);
	return true;
}

static bool answer_portmap(const struct nfs_common *common, const struct nfs_local *at,
			   const struct nfs_rpc_call *call, struct nfs_dec *d, struct nfs_enc *e)
{
	struct nfs_portmap_entry entry;
	struct nfs_portmap_args a;

	if (call->proc != NFS_PORTMAP_NULL && call->proc != NFS_PORTMAP_GETPORT)
		return false;
	if (!nfs_portmap_args_decode(call->vers, call->proc, d, &a)) {
		nfs_rpc_accepted(e, call->xid, NFS_RPC_GARBAGE_ARGS);
		return true;
	}
	nfs_rpc_accepted(e, call->xid, NFS_RPC_SUCCESS);
	if (call->proc == NFS_PORTMAP_GETPORT)
		nfs_portmap_address_encode(
		    e, call->vers,
		    nfs_portmap_find(common, at, call, &a, true, &entry) ? &entry : NULL);
	return true;
}

/* True: the version is served; else the reply says which are. */
static bool version_fits(const struct nfs_rpc_call *call, uint32_t low, uint32_t high,
			 struct nfs_enc *e)
{
	if (call->vers >= low && call->vers <= high)
		return true;
	nfs_rpc_prog_mismatch(e, call->xid, low, high);
	return false;
}

size_t nsm_udp_answer(const struct nfs_common *common, const struct nfs_address *from,
		      const struct nfs_local *at, bool portmap, const uint8_t *datagram, size_t len,
		      uint8_t to[NSM_UDP_MAX])
{
	struct nfs_dec d = {datagram, datagram + len, false};
	uint8_t reply[NSM_UDP_MAX];
	struct nfs_enc e = {reply, reply + sizeof(reply), false};
	struct nfs_rpc_call call;
	enum nfs_rpc_auth why;
	bool known = true;

	if (nfs_rpc_decode(&d, &call, &why) != NFS_RPC_CALL)
		return 0;
	if (call.prog == NFS_NSM_PROG && !portmap) {
		if (version_fits(&call, NFS_NSM_VERSION, NFS_NSM_VERSION, &e))
			known = answer_nsm(common, from, &call, &d, &e);
	} else if (call.prog == NFS_PORTMAP_PROG && portmap) {
		if (version_fits(&call, nfs_portmap2_version.version, nfs_rpcbind4_version.version,
				 &e))
			known = answer_portmap(common, at, &call, &d, &e);
	} else {
		nfs_rpc_accepted(&e, call.xid, NFS_RPC_PROG_UNAVAIL);
	}
	if (!known)
		nfs_rpc_accepted(&e, call.xid, NFS_RPC_PROC_UNAVAIL);
	VS_ASSERT(!e.bad);
	len = (size_t)(e.p - reply) - NFS_RPC_MARK_BYTES;
	memcpy(to, reply + NFS_RPC_MARK_BYTES, len);
	return len;
}

/* ---- sockets ---- */

/* The address that a datagram was sent to, of its control messages. */
static bool find_local(struct msghdr *m, struct nfs_local *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct sockaddr_storage ss = {0};
		struct sockaddr_in in = {.sin_family = AF_INET};
		struct in6_pktinfo six;
		struct in_pktinfo four;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof(four));
			in.sin_addr = four.ipi_spec_dst;
			memcpy(&ss, &in, sizeof(in));
			out->v6 = false;
			return nfs_address_from(&ss, &out->address);
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof(six));
			memcpy(out->address.b, &six.ipi6_addr, sizeof(out->address.b));
			out->v6 = true;
			return true;
		}
	}
	return false;
}

/* False: there is none. */
static bool take_one(struct point *p)
{
	uint8_t call[CALL_MAX], reply[NSM_UDP_MAX];
	union {
		struct cmsghdr align;
		uint8_t b[256];
	} control;
	struct sockaddr_storage peer = {0};
	struct iovec iov = {call, sizeof(call)};
	struct msghdr m = {.msg_name = &peer,
			   .msg_namelen = sizeof(peer),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct nfs_address from;
	struct nfs_local at;
	ssize_t n = recvmsg(p->watch.fd, &m, 0);

	if (n < 0)
		return errno != EAGAIN;
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !nfs_address_from(&peer, &from) ||
	    !find_local(&m, &at))
		return true;
	iov = (struct iovec){reply, nsm_udp_answer(p->udp->common, &from, &at, p->place->portmap,
						   call, (size_t)n, reply)};
	/* With its control messages: from the address that it came to. Lost, it is asked again. */
	if (iov.iov_len)
		(void)sendmsg(p->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

static void ready(struct vs_watch *w, uint32_t events)
{
	(void)events;
	for (unsigned i = 0; i < BATCH && take_one(w->arg); i++)
		;
}

static bool bind_to(const struct nfs_place *p, int *out)
{
	struct sockaddr_storage ss;
	socklen_t len = nfs_address_to(&p->address, p->port, &ss);
	int on = 1, fd;

	fd = socket(p->v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if ((p->v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    (p->v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on))
		   : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on))) ||
	    bind(fd, (struct sockaddr *)&ss, len)) {
		(void)close(fd);
		return false;
	}
	*out = fd;
	return true;
}

static bool open_point(struct nsm_udp *u, struct nfs_place *place)
{
	struct point *p = &u->points[u->npoints];
	int fd;

	if (!bind_to(place, &fd))
		return false;
	*p =
	    (struct point){.udp = u, .place = place, .watch = {.fd = fd, .ready = ready, .arg = p}};
	if (vs_loop_add(u->loop, &p->watch, EPOLLIN)) {
		(void)close(fd);
		return false;
	}
	u->npoints++;
	place->udp = true;
	return true;
}

int nsm_udp_open(struct vs_loop *loop, struct nfs_common *common, struct nsm_udp **out,
		 struct vs_error *err)
{
	struct nsm_udp *u = calloc(1, sizeof(*u));
	char host[NFS_ADDRESS_MAX];

	if (!u)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	u->loop = loop;
	u->common = common;
	for (unsigned i = 0; i < common->nplaces; i++) {
		if (open_point(u, &common->places[i]))
			continue;
		nfs_address_text(&common->places[i].address, host, sizeof(host));
		vs_warn("nfs: UDP port %u of %s is in use: clients of version 3 that restart "
			"cannot say so there, and keep their locks",
			common->places[i].port, host);
	}
	*out = u;
	return 0;
}

void nsm_udp_close(struct nsm_udp *u)
{
	for (unsigned i = 0; u && i < u->npoints; i++) {
		vs_loop_remove(u->loop, &u->points[i].watch);
		(void)close(u->points[i].watch.fd);
	}
	free(u);
}
