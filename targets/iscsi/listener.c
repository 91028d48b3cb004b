#include "targets/iscsi/listener.h"

#include "targets/iscsi/control.h"

#include "common/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG 64
#define ACCEPTS 16	 /* taken in one turn of the loop */
#define KEEP_IDLE 30	 /* seconds until a silent peer is probed */
#define UNACKED_MS 60000 /* until data that nobody takes ends the connection */
#define HOST_MAX 48

static void address_text(const struct sockaddr_storage *ss, socklen_t len, char *out, size_t size)
{
	char host[HOST_MAX], port[8];

	if (getnameinfo((const struct sockaddr *)ss, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(out, size, "?");
		return;
	}
	if (ss->ss_family == AF_INET6 && strncmp(host, "::ffff:", 7) != 0)
		snprintf(out, size, "[%s]:%s", host, port);
	else
		snprintf(out, size, "%s:%s", ss->ss_family == AF_INET6 ? host + 7 : host, port);
}

static void tune(int fd)
{
	int one = 1, idle = KEEP_IDLE, unacked = UNACKED_MS;

	/* each only makes things better: what fails is left */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
}

static struct iscsi_thread *least_loaded(struct iscsi_server *srv)
{
	struct iscsi_thread *best = &srv->threads[0];

	for (unsigned i = 1; i < srv->nthreads; i++)
		if (atomic_load(&srv->threads[i].load) < atomic_load(&best->load))
			best = &srv->threads[i];
	return best;
}

static bool is_stranger(const struct iscsi_conn *c)
{
	return !c->ctl_attached && !c->ctl_attaching && !c->ctl_closing;
}

/* A connection that has not logged in and goes when there is no room: the oldest of those whose
   address has the most, so that who opens many keeps nobody else out. */
static struct iscsi_conn *oldest_stranger(struct iscsi_server *srv)
{
	unsigned counts[256] = {0}, most = 0;
	struct iscsi_conn *found = NULL;

	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next)
		if (is_stranger(c) && ++counts[c->peer_key & 255] > most)
			most = counts[c->peer_key & 255];
	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next)
		if (is_stranger(c) && counts[c->peer_key & 255] == most)
			found = c;
	return found;
}

static void admit(struct iscsi_portal_state *p, int fd)
{
	struct iscsi_server *srv = p->srv;
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	struct iscsi_conn *c, *stranger;

	if (srv->nconns >= srv->max_connections) {
		stranger = oldest_stranger(srv);
		if (stranger)
			iscsi_control_close(stranger);
		if (!stranger) {
			close(fd);
			return;
		}
	}
	c = iscsi_conn_new(least_loaded(srv), p, fd);
	if (!c) {
		close(fd);
		return;
	}
	tune(fd);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		address_text(&ss, len, c->peer, sizeof(c->peer));
	c->peer_key = iscsi_throttle_address(srv->throttle, &ss);
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		address_text(&ss, len, c->local, sizeof(c->local));
	iscsi_control_add(c);
}

/* Twice as many are there while strangers that had to go are being closed: the next ones wait. */
static bool crowded(const struct iscsi_server *srv)
{
	return srv->nconns >= 2 * srv->max_connections;
}

void iscsi_listener_resume(struct iscsi_server *srv)
{
	for (size_t i = 0; i < srv->nportals && !crowded(srv); i++) {
		struct iscsi_portal_state *p = &srv->portals[i];

		if (p->paused && vs_loop_modify(srv->loop, &p->watch, EPOLLIN) == 0)
			p->paused = false;
	}
}

static void accept_some(struct vs_watch *w, uint32_t events)
{
	struct iscsi_portal_state *p = w->arg;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd;

		if (crowded(p->srv)) {
			p->paused = vs_loop_modify(p->srv->loop, &p->watch, 0) == 0;
			return;
		}
		fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			admit(p, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE) {
			struct iscsi_conn *stranger = oldest_stranger(p->srv);

			if (stranger)
				iscsi_control_close(stranger);
			return;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static int bind_address(struct iscsi_portal_state *p, const struct addrinfo *ai,
			struct vs_error *err)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} bound = {0};
	socklen_t len = sizeof(bound);
	int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	p->watch.fd = fd;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, &bound.any, &len) < 0)
		return vs_fail_errno(err, "cannot listen on %s port %u for iSCSI", p->address,
				     p->port);
	p->port = ntohs(ai->ai_family == AF_INET6 ? bound.in6.sin6_port : bound.in.sin_port);
	return 0;
}

int iscsi_listener_open(struct iscsi_portal_state *p, const struct iscsi_portal *cfg,
			struct vs_error *err)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	struct addrinfo *ai;
	char port[8];
	int rc;

	p->watch = (struct vs_watch){.fd = -1, .ready = accept_some, .arg = p};
	if (!cfg->tag || !cfg->address || strlen(cfg->address) >= sizeof(p->address))
		return vs_fail(err, VS_E_INVAL, "an iSCSI portal needs an address and a group tag");
	p->tag = cfg->tag;
	p->port = cfg->port;
	snprintf(p->address, sizeof(p->address), "%s", cfg->address);
	p->any = strcmp(cfg->address, "0.0.0.0") == 0 || strcmp(cfg->address, "::") == 0;
	snprintf(port, sizeof(port), "%u", cfg->port);
	if (getaddrinfo(cfg->address, port, &hints, &ai) != 0)
		return vs_fail(err, VS_E_INVAL,
			       "'%s' is not an address to listen on; use a numeric IPv4 or IPv6 "
			       "address",
			       cfg->address);
	rc = bind_address(p, ai, err);
	freeaddrinfo(ai);
	if (rc == 0)
		rc = vs_loop_add(p->srv->loop, &p->watch, EPOLLIN);
	return rc;
}

void iscsi_listener_close(struct iscsi_portal_state *p)
{
	vs_loop_remove(p->srv->loop, &p->watch);
	p->paused = false;
	if (p->watch.fd >= 0)
		close(p->watch.fd);
	p->watch.fd = -1;
}
