#include "targets/nfs/register.h"

#include "targets/nfs/program.h"
#include "targets/nfs/rpc_format.h"
#include "targets/nfs/rpcbind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
#define PAUSE_S 10
#define LOOK_NS (3 * SECOND_NS)	 /* a look, and a withdrawal */
#define PROBE_NS (SECOND_NS / 4) /* a connection to who is registered */
#define MINE_MAX 32		 /* programs, versions and families */

enum standing { UNKNOWN, OURS, TAKEN };

struct mine {
	struct nfs_portmap_entry entry;
	bool any; /* listens on all addresses */
	bool v6;
	enum standing standing, before;
	char other[NFS_PORTMAP_UADDR_MAX]; /* TAKEN: by whom */
};

struct nfs_registrar {
	struct nfs_rpcbind opts;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct mine mine[MINE_MAX];
	unsigned nmine;
	struct nfs_rpcbind_link link;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping; /* under the lock */
};

/* ---- who is registered ---- */

static bool is_wildcard(const char *host)
{
	return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Begins to connect; -1: what is registered is not understood, or there are no sockets. */
static int dial(const char *host, uint16_t port, bool v6, int type, bool *connected)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const char *to = !is_wildcard(host) ? host : v6 ? "::1" : "127.0.0.1";
	int fd;

	if (inet_pton(v6 ? AF_INET6 : AF_INET, to, v6 ? (void *)&in6.sin6_addr : &in.sin_addr) != 1)
		return -1;
	fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*connected = connect(fd, v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
			     v6 ? sizeof(in6) : sizeof(in)) == 0;
	return fd;
}

/* Whether somebody listens there: what a killed server left is nobody's. What is not understood is
 * left alone. */
static bool answers_tcp(const char *host, uint16_t port, bool v6)
{
	int error = 0, fd;
	socklen_t len = sizeof(error);
	bool listens;

	fd = dial(host, port, v6, SOCK_STREAM, &listens);
	if (fd < 0)
		return true;
	if (!listens && errno == EINPROGRESS)
		listens = !nfs_rpcbind_wait(fd, POLLOUT, vs_now_ns() + PROBE_NS) ||
			  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error == 0;
	(void)close(fd);
	return listens;
}

/* The same of UDP: a call of NULL is answered, or the machine says that nobody is there. */
static bool answers_udp(const struct mine *m, const char *host, uint16_t port)
{
	const struct nfs_rpc_call call = {
	    .xid = 1, .prog = m->entry.prog, .vers = m->entry.vers, .proc = 0};
	uint8_t out[64], reply[64];
	struct nfs_enc e = {out, out + sizeof(out), false};
	bool listens;
	int fd = dial(host, port, m->v6, SOCK_DGRAM, &listens);

	if (fd < 0)
		return true;
	nfs_rpc_call_encode(&e, &call);
	VS_ASSERT(!e.bad);
	if (listens && send(fd, out, (size_t)(e.p - out), MSG_NOSIGNAL) > 0 &&
	    nfs_rpcbind_wait(fd, POLLIN, vs_now_ns() + PROBE_NS))
		listens = recv(fd, reply, sizeof(reply), 0) > 0;
	(void)close(fd);
	return listens;
}

static bool same_text(struct nfs_bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

/* Another address of the program: another server's, unless nobody is there. */
static bool is_taken(const struct nfs_registrar *r, const struct mine *m, struct nfs_bytes uaddr)
{
	char host[NFS_PORTMAP_UADDR_MAX];
	uint16_t port;

	if (!nfs_portmap_uaddr_parse(uaddr, host, &port))
		return true;
	/* Two cannot listen on one port when one of them does so on all addresses. */
	if (port == m->entry.port && (m->any || is_wildcard(host)))
		return false;
	/* What there is no time left for is left alone. */
	if (vs_now_ns() >= r->link.until)
		return true;
	return m->entry.prot == NFS_PORTMAP_UDP ? answers_udp(m, host, port)
						: answers_tcp(host, port, m->v6);
}

/* What a list says of each of ours; false: it is no list. */
static bool compare(struct nfs_registrar *r, struct nfs_dec *d, bool stale[MINE_MAX])
{
	struct nfs_portmap_node node;

	for (unsigned i = 0; i < r->nmine; i++) {
		r->mine[i].standing = UNKNOWN;
		stale[i] = false;
	}
	while (nfs_rpcbind_node_decode(d, &node)) {
		for (unsigned i = 0; i < r->nmine; i++) {
			struct mine *m = &r->mine[i];

			if (node.prog != m->entry.prog || node.vers != m->entry.vers ||
			    !same_text(node.netid, m->entry.netid))
				continue;
			m->standing = same_text(node.uaddr, m->entry.uaddr) ? OURS
				      : is_taken(r, m, node.uaddr)	    ? TAKEN
									    : UNKNOWN;
			stale[i] = m->standing == UNKNOWN;
			(void)snprintf(m->other, sizeof(m->other), "%.*s", (int)node.uaddr.len,
				       (const char *)node.uaddr.p);
		}
	}
	return nfs_dec_ok(d);
}

/* ---- looks ---- */

static void set(struct nfs_registrar *r, const bool stale[MINE_MAX])
{
	for (unsigned i = 0; i < r->nmine; i++) {
		struct mine *m = &r->mine[i];

		if (m->standing != UNKNOWN)
			continue;
		if (stale[i])
			(void)nfs_rpcbind_ask_bool(&r->link, NFS_PORTMAP_UNSET, &m->entry);
		if (nfs_rpcbind_ask_bool(&r->link, NFS_PORTMAP_SET, &m->entry))
			m->standing = OURS;
	}
}

/* One message for all that has changed: more would say the same. */
static void tell(struct nfs_registrar *r)
{
	const struct mine *taken = NULL, *ours = NULL;
	char text[256];

	for (unsigned i = 0; i < r->nmine; i++) {
		struct mine *m = &r->mine[i];

		/* The machine's own status monitor is there for what it mounts itself. */
		if (m->standing != m->before && m->standing == TAKEN &&
		    m->entry.prog != NFS_NSM_PROG)
			taken = taken ? taken : m;
		if (m->standing != m->before && m->standing == OURS)
			ours = m;
		m->before = m->standing;
	}
	if (taken) {
		(void)snprintf(
		    text, sizeof(text),
		    "another server at %s is registered for program %u version %u over %s: "
		    "clients that ask rpcbind are led there",
		    taken->other, taken->entry.prog, taken->entry.vers, taken->entry.netid);
		r->opts.event(r->opts.arg, false, text);
	}
	if (ours)
		r->opts.event(r->opts.arg, true, "NFS is registered with rpcbind");
}

static void look(struct nfs_registrar *r)
{
	bool stale[MINE_MAX];
	struct nfs_dec d;

	if (!nfs_rpcbind_open(&r->link, r->path, vs_now_ns() + LOOK_NS)) {
		/* No rpcbind: it will have forgotten us when it comes back. */
		for (unsigned i = 0; i < r->nmine; i++)
			r->mine[i].standing = r->mine[i].before = UNKNOWN;
		return;
	}
	if (nfs_rpcbind_ask(&r->link, NFS_PORTMAP_DUMP, NULL, &d) && compare(r, &d, stale)) {
		set(r, stale);
		tell(r);
	}
	(void)close(r->link.fd);
}

/* Only what is ours still. */
static void withdraw(struct nfs_registrar *r)
{
	bool stale[MINE_MAX];
	struct nfs_dec d;

	if (!nfs_rpcbind_open(&r->link, r->path, vs_now_ns() + LOOK_NS))
		return;
	if (nfs_rpcbind_ask(&r->link, NFS_PORTMAP_DUMP, NULL, &d) && compare(r, &d, stale))
		for (unsigned i = 0; i < r->nmine; i++)
			if (r->mine[i].standing == OURS)
				(void)nfs_rpcbind_ask_bool(&r->link, NFS_PORTMAP_UNSET,
							   &r->mine[i].entry);
	(void)close(r->link.fd);
}

static void *thread_main(void *arg)
{
	struct nfs_registrar *r = arg;

	(void)pthread_setname_np(pthread_self(), "nfs-rpcbind");
	(void)pthread_mutex_lock(&r->lock);
	while (!r->stopping) {
		struct timespec until;

		(void)pthread_mutex_unlock(&r->lock);
		look(r);
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += PAUSE_S;
		(void)pthread_mutex_lock(&r->lock);
		while (!r->stopping &&
		       pthread_cond_timedwait(&r->wake, &r->lock, &until) != ETIMEDOUT)
			;
	}
	(void)pthread_mutex_unlock(&r->lock);
	withdraw(r);
	return NULL;
}

/* ---- life ---- */

/* rpcbind keeps one address for a program, version and netid: the one that reaches furthest. */
static const struct nfs_place *best_place(const struct nfs_common *common, bool v6)
{
	const struct nfs_place *best = NULL;

	for (unsigned i = 0; i < common->nplaces; i++) {
		const struct nfs_place *p = &common->places[i];

		if (!p->portmap && p->v6 == v6 && (!best || (p->any && !best->any)))
			best = p;
	}
	return best;
}

static void add(struct nfs_registrar *r, const struct nfs_place *place, uint32_t prog,
		uint32_t vers, bool udp)
{
	struct mine *m = &r->mine[r->nmine];
	char host[NFS_ADDRESS_MAX];

	VS_ASSERT(r->nmine < MINE_MAX);
	nfs_address_text(&place->address, host, sizeof(host));
	m->any = place->any;
	m->v6 = place->v6;
	m->entry.prog = prog;
	m->entry.vers = vers;
	m->entry.port = place->port;
	m->entry.prot = udp ? NFS_PORTMAP_UDP : NFS_PORTMAP_TCP;
	if (udp)
		m->entry.netid = place->v6 ? "udp6" : "udp";
	else
		m->entry.netid = place->v6 ? "tcp6" : "tcp";
	nfs_portmap_uaddr(host, place->port, m->entry.uaddr);
	r->nmine++;
}

static void add_family(struct nfs_registrar *r, const struct nfs_common *common, bool v6)
{
	const struct nfs_place *place = best_place(common, v6);
	const struct nfs_program *p;

	if (!place)
		return;
	for (size_t i = 0; (p = nfs_program_at(i)); i++) {
		if (p->number == NFS_PORTMAP_PROG)
			continue;
		for (uint32_t v = 0; v < p->nversions; v++)
			add(r, place, p->number, p->versions[v]->version, false);
		if (p->number == NFS_NSM_PROG && place->udp)
			add(r, place, p->number, p->versions[0]->version, true);
	}
}

int nfs_registrar_new(const struct nfs_rpcbind *opts, const struct nfs_common *common,
		      struct nfs_registrar **out, struct vs_error *err)
{
	struct nfs_registrar *r;
	pthread_condattr_t attr;

	if (strlen(opts->socket) >= sizeof(r->path))
		return vs_fail(err, VS_E_INVAL, "the path of rpcbind's socket is too long");
	r = calloc(1, sizeof(*r));
	if (!r)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	r->opts = *opts;
	memcpy(r->path, opts->socket, strlen(opts->socket));
	add_family(r, common, false);
	add_family(r, common, true);
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&r->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	*out = r;
	return 0;
}

void nfs_registrar_begin(struct nfs_registrar *r)
{
	sigset_t all, old;
	int no;

	if (r->running)
		return;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&r->thread, NULL, thread_main, r);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	r->running = no == 0;
	if (no)
		r->opts.event(r->opts.arg, false, "NFS is not registered with rpcbind: no thread");
}

void nfs_registrar_free(struct nfs_registrar *r)
{
	if (!r)
		return;
	(void)pthread_mutex_lock(&r->lock);
	r->stopping = true;
	(void)pthread_cond_signal(&r->wake);
	(void)pthread_mutex_unlock(&r->lock);
	if (r->running)
		(void)pthread_join(r->thread, NULL);
	(void)pthread_cond_destroy(&r->wake);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}
