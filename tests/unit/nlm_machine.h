/*
 * The machine of a client of NFSv3, as far as its server calls it: port mapper, lock manager and
 * status monitor on one port. It answers one call after the other.
 */
#ifndef TESTS_UNIT_NLM_MACHINE_H
#define TESTS_UNIT_NLM_MACHINE_H

#include "tests/unit/nlm_wire.h"

#include "targets/nfs/portmap_format.h"
#include "targets/nfs/rule.h"

#include <pthread.h>
#include <stdatomic.h>

struct machine {
	int listener;
	bool v6;
	uint16_t port;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint granted, notified; /* calls of it */
	atomic_uint refuse;	       /* so many calls of GRANTED are answered with DENIED */
	atomic_uint hang_up, reject;   /* so many calls but of the port mapper end so */
	atomic_uint ignore;	       /* so many calls of the port mapper get no answer */
	atomic_uint from;	       /* who called last: IPv4 */
	atomic_uint state;	       /* of the last SM_NOTIFY */
	pthread_mutex_t lock;
	struct nfs_nlm_args args; /* of the last GRANTED, but what it points to */
	uint8_t file[NFS_HANDLE_MAX];
};

static inline void machine_answer(int fd, struct machine *m, const struct nfs_rpc_call *call,
				  struct nfs_dec *d)
{
	uint8_t out[256];
	struct nfs_enc e = {out, out + sizeof(out), false};
	struct nfs_nlm_args a = {0};
	char uaddr[NFS_PORTMAP_UADDR_MAX];

	if (call->prog != NFS_PORTMAP_PROG && atomic_load(&m->reject)) {
		atomic_fetch_sub(&m->reject, 1);
		nfs_rpc_accepted(&e, call->xid, NFS_RPC_PROG_UNAVAIL);
		nfs_rpc_mark(out, (uint32_t)(e.p - out) - 4);
		assert_int_equal(send(fd, out, (size_t)(e.p - out), MSG_NOSIGNAL), e.p - out);
		return;
	}
	nfs_rpc_accepted(&e, call->xid, NFS_RPC_SUCCESS);
	if (call->prog == NFS_PORTMAP_PROG) {
		assert_int_equal(call->proc, 3);
		assert_int_equal(call->vers, m->v6 ? 4 : 2);
		if (m->v6)
			nfs_portmap_uaddr("::1", m->port, uaddr);
		if (m->v6)
			nfs_enc_bytes(&e, uaddr, (uint32_t)strlen(uaddr));
		else
			nfs_enc_u32(&e, m->port);
	} else if (call->prog == NFS_NLM_PROG) {
		assert_int_equal(call->vers, 4);
		assert_true(nfs_nlm_args_decode(call->proc, d, &a));
		(void)pthread_mutex_lock(&m->lock);
		m->args = a;
		memcpy(m->file, a.lock.file.p, a.lock.file.len);
		(void)pthread_mutex_unlock(&m->lock);
		nfs_nlm_res_encode(&e, a.cookie,
				   atomic_load(&m->refuse) ? NFS_NLM_DENIED : NFS_NLM_OK);
		if (atomic_load(&m->refuse))
			atomic_fetch_sub(&m->refuse, 1);
		atomic_fetch_add(&m->granted, 1);
	} else {
		assert_int_equal(call->prog, NFS_NSM_PROG);
		assert_true(nfs_nsm_args_decode(call->proc, d, &a));
		assert_int_equal(a.name.len, 9);
		assert_memory_equal(a.name.p, "127.0.0.1", 9);
		atomic_store(&m->state, a.state);
		atomic_fetch_add(&m->notified, 1);
	}
	nfs_rpc_mark(out, (uint32_t)(e.p - out) - 4);
	assert_int_equal(send(fd, out, (size_t)(e.p - out), MSG_NOSIGNAL), e.p - out);
}

static inline void *machine_main(void *arg)
{
	struct machine *m = arg;
	struct nfs_rpc_call call;
	enum nfs_rpc_auth why;

	while (!atomic_load(&m->stop)) {
		struct sockaddr_storage peer = {0};
		struct nfs_address from;
		socklen_t len = sizeof(peer);
		uint8_t in[4096];
		struct nfs_dec d = {in + 4, NULL, false};
		ssize_t n, have = 0;
		int fd = accept(m->listener, (struct sockaddr *)&peer, &len);

		if (fd < 0)
			break;
		assert_true(nfs_address_from(&peer, &from));
		atomic_store(&m->from, vs_get_be32(from.b + 12));
		while ((n = recv(fd, in + have, sizeof(in) - (size_t)have, 0)) > 0) {
			have += n;
			if (have >= 4 && have == 4 + (ssize_t)(vs_get_be32(in) & 0x7fffffff))
				break;
		}
		d.end = in + have;
		if (n <= 0 || nfs_rpc_decode(&d, &call, &why) != NFS_RPC_CALL) {
			(void)close(fd);
			continue;
		}
		if (call.prog == NFS_PORTMAP_PROG && atomic_load(&m->ignore)) {
			atomic_fetch_sub(&m->ignore, 1);
			while (recv(fd, in, sizeof(in), 0) > 0) /* the server gives up */
				;
		} else if (call.prog != NFS_PORTMAP_PROG && atomic_load(&m->hang_up)) {
			atomic_fetch_sub(&m->hang_up, 1);
		} else {
			machine_answer(fd, m, &call, &d);
		}
		(void)close(fd);
	}
	return NULL;
}

static inline struct nfs_address parsed(const char *text)
{
	const struct nfs_rule rule = {.clients = text};
	struct nfs_match m;

	assert_int_equal(nfs_rule_parse(&rule, &m, NULL), 0);
	return m.net;
}

static inline struct machine *machine_new(const char *address, uint16_t port)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct sockaddr_storage at;
	struct nfs_address a;
	socklen_t len;
	int on = 1;

	(void)pthread_mutex_init(&m->lock, NULL);
	m->v6 = strchr(address, ':');
	a = parsed(address);
	len = nfs_address_to(&a, port, &at);
	m->listener = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(m->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(m->listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(m->listener, 16), 0);
	assert_int_equal(getsockname(m->listener, (struct sockaddr *)&at, &len), 0);
	m->port = ntohs(m->v6 ? ((struct sockaddr_in6 *)&at)->sin6_port
			      : ((struct sockaddr_in *)&at)->sin_port);
	assert_int_equal(pthread_create(&m->thread, NULL, machine_main, m), 0);
	return m;
}

static inline void machine_free(struct machine *m)
{
	atomic_store(&m->stop, true);
	(void)shutdown(m->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(m->thread, NULL), 0);
	(void)close(m->listener);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

static inline void wait_for(const atomic_uint *n, unsigned least)
{
	for (unsigned i = 0; i < 20000 && atomic_load(n) < least; i++)
		(void)usleep(1000);
	assert_true(atomic_load(n) >= least);
}

#endif
