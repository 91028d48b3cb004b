/*
 * An NFSv3 server for tests that loses what was not committed when it restarts, and breaks the
 * protocol as its mode says: one connection at a time, served by a thread of its own, MOUNT and NFS
 * on one port. It exports /export with one file, "disk", in a folder "folder".
 */
#ifndef TESTS_UNIT_HOSTILE_NFS_H
#define TESTS_UNIT_HOSTILE_NFS_H

#include "common/bytes.h"
#include "common/loop.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NFS_SIZE (UINT64_C(4) << 20)
#define NFS_ARGS (1u << 20)
#define NFS_LATE_NS UINT64_C(300000000)

enum nfs_mode {
	HONEST,
	LOSES_AT_COMMIT, /* restarts at the first COMMIT of a client's, which it does not answer */
	LOSES_AT_WRITE,	 /* restarts at the third write of the first connection */
	FORGETS,	 /* loses its cache in between, and only another verifier says so */
	CUTS,		 /* the connection at the third write, which it has done; it lives on */
	HANGS,		 /* at the third write, until it is told to go on */
	RELAPSES,	 /* restarts at the third write, and the first that it then gets is late */
	LATE,		 /* the same, but that write is done NFS_LATE_NS later */
	HALVES,		 /* reads and writes half of what it is asked for */
	HALF_AND_GONE,	 /* does half of the first write, says so, and restarts */
	LONG,		 /* reads more than it was asked for */
	NOTHING,	 /* reads and writes nothing, and calls it success */
	STALE,		 /* does not know the file any more */
	JUKEBOX,	 /* cannot read now, three times */
	FULL,
	UNSYNCED,	/* says UNSTABLE of what was to be FILE_SYNC */
	REFUSES_COMMIT, /* that of a client */
	NOISE,		/* no RPC at all in answer to a read */
	KERBEROS,	/* lets nobody in who only says who it is */
	CHANCE,		/* any of these restarts and cuts, by its seed */
	EXCHANGED,	/* after its restart another file has the handle */
};

struct nfs_server {
	enum nfs_mode mode;
	int listener;
	atomic_int fd;
	uint16_t port;
	uint64_t verifier;
	unsigned connections, writes; /* writes of this connection */
	atomic_uint commits, written; /* COMMITs; WRITEs that were done */
	unsigned jukebox, changes;    /* of its times, that are yet to be seen */
	uint8_t *cache, *disk;	      /* what is read; what is left after a restart */
	uint64_t held_at, held_until;
	bool late; /* this write does */
	uint32_t held_n;
	uint8_t held[NFS_ARGS]; /* the write that lands late */
	pthread_t thread;
	uint8_t call[NFS_ARGS + 4096], reply[NFS_ARGS + 4096];
	size_t len, at, out;
	uint64_t seed;
	atomic_bool go_on;
	atomic_uint breaks; /* of CHANCE, that are left */
	bool gone;	    /* the connection is to be closed */
	bool last;	    /* the same, but behind this answer, and what is not stable goes */
};

static inline uint32_t nfs_get(struct nfs_server *s)
{
	uint32_t v = s->at + 4 <= s->len ? vs_get_be32(s->call + s->at) : 0;

	s->at += 4;
	return v;
}

static inline uint64_t nfs_get64(struct nfs_server *s)
{
	uint64_t high = nfs_get(s);

	return high << 32 | nfs_get(s);
}

static inline const uint8_t *nfs_get_bytes(struct nfs_server *s, uint32_t *n)
{
	const uint8_t *p;

	*n = nfs_get(s);
	p = s->call + s->at;
	s->at += VS_ALIGN_UP(*n, 4);
	return p;
}

static inline void nfs_put(struct nfs_server *s, uint32_t v)
{
	vs_put_be32(s->reply + s->out, v);
	s->out += 4;
}

static inline void nfs_put64(struct nfs_server *s, uint64_t v)
{
	nfs_put(s, (uint32_t)(v >> 32));
	nfs_put(s, (uint32_t)v);
}

static inline void nfs_put_bytes(struct nfs_server *s, const void *p, uint32_t n)
{
	nfs_put(s, n);
	memcpy(s->reply + s->out, p, n);
	s->out += VS_ALIGN_UP(n, 4);
}

static inline void nfs_restart(struct nfs_server *s)
{
	memcpy(s->cache, s->disk, NFS_SIZE);
	s->verifier++;
	s->held_n = 0;
}

static inline void nfs_attributes(struct nfs_server *s, uint32_t type)
{
	nfs_put(s, type);
	nfs_put(s, 0600);
	nfs_put(s, 1); /* nlink */
	nfs_put64(s, 0);
	nfs_put64(s, NFS_SIZE);
	nfs_put64(s, NFS_SIZE);
	nfs_put64(s, 0);
	nfs_put64(s, 7); /* fsid */
	nfs_put64(s, s->mode == EXCHANGED && s->connections > 2 ? 43 : 42);
	for (int i = 0; i < 3; i++)
		nfs_put64(s, s->changes ? s->changes-- : 0);
}

static inline void nfs_look_up(struct nfs_server *s)
{
	uint32_t n;
	const uint8_t *name;

	(void)nfs_get_bytes(s, &n);
	name = nfs_get_bytes(s, &n);
	if (n == 6 && memcmp(name, "folder", 6) == 0) {
		nfs_put(s, 0);
		nfs_put_bytes(s, "fold", 4);
	} else if (n == 4 && memcmp(name, "disk", 4) == 0) {
		nfs_put(s, 0);
		nfs_put_bytes(s, "disk", 4);
	} else {
		nfs_put(s, 2);
		nfs_put(s, 0);
		return;
	}
	nfs_put(s, 0);
	nfs_put(s, 0);
}

static inline void nfs_fail(struct nfs_server *s, uint32_t status, bool wcc)
{
	nfs_put(s, status);
	nfs_put(s, 0);
	if (wcc)
		nfs_put(s, 0);
}

static inline void nfs_read_some(struct nfs_server *s, uint64_t at, uint32_t n, unsigned mode)
{
	static uint8_t much[NFS_ARGS];

	if (mode == HALVES && n > 512)
		n /= 2;
	nfs_put(s, 0);
	nfs_put(s, 0);
	if (mode == LONG || mode == NOTHING) {
		nfs_put(s, mode == LONG ? n + 4096 : 0);
		nfs_put(s, 0);
		nfs_put_bytes(s, much, mode == LONG ? n + 4096 : 0);
		return;
	}
	nfs_put(s, n);
	nfs_put(s, at + n == NFS_SIZE);
	nfs_put_bytes(s, s->cache + at, n);
}

static inline void nfs_read_file(struct nfs_server *s)
{
	unsigned mode = s->mode;
	uint64_t at;
	uint32_t n;

	(void)nfs_get_bytes(s, &n);
	at = nfs_get64(s);
	n = nfs_get(s);
	if (mode == STALE)
		nfs_fail(s, 70, false);
	else if (mode == JUKEBOX && s->jukebox++ < 3)
		nfs_fail(s, 10008, false);
	else if (mode == NOISE && s->connections == 2)
		s->out = 0;
	else if (!vs_range_ok(at, n, NFS_SIZE))
		nfs_fail(s, 22, false);
	else
		nfs_read_some(s, at, n, mode);
}

/* The write that was not answered, behind whatever came in between. */
static inline void nfs_land(struct nfs_server *s)
{
	if (s->held_n && vs_now_ns() >= s->held_until) {
		memcpy(s->cache + s->held_at, s->held, s->held_n);
		s->held_n = 0;
	}
}

/* True: it is not answered. */
static inline bool nfs_write_breaks(struct nfs_server *s, uint64_t at, uint32_t n, const uint8_t *p,
				    unsigned mode)
{
	bool relapse = mode == RELAPSES && s->connections == 3 && s->writes == 1;
	bool late = s->late || mode == LATE || relapse;

	if (!s->late && !relapse && (s->connections != 2 || s->writes != 3))
		return false;
	if (mode == LOSES_AT_WRITE || mode == EXCHANGED || (mode == RELAPSES && !relapse))
		nfs_restart(s);
	if (late) {
		s->held_at = at;
		s->held_n = n;
		s->held_until = vs_now_ns() + NFS_LATE_NS;
		memcpy(s->held, p, n);
	}
	return mode == LOSES_AT_WRITE || mode == EXCHANGED || late || mode == CUTS ||
	       mode == RELAPSES;
}

static inline void nfs_write_file(struct nfs_server *s)
{
	unsigned mode = s->mode;
	const uint8_t *p;
	uint64_t at;
	uint32_t n, stable;

	(void)nfs_get_bytes(s, &n);
	at = nfs_get64(s);
	n = nfs_get(s);
	stable = nfs_get(s);
	p = nfs_get_bytes(s, &n);
	s->writes++;
	if (mode == STALE || mode == FULL || !vs_range_ok(at, n, NFS_SIZE)) {
		nfs_fail(s, mode == FULL ? 28 : 70, true);
		return;
	}
	while (mode == HANGS && s->writes == 3 && !atomic_load(&s->go_on))
		(void)usleep(1000);
	s->gone = nfs_write_breaks(s, at, n, p, mode);
	if ((mode == HALVES || (mode == HALF_AND_GONE && s->connections == 2)) && n > 512)
		n /= 2;
	s->last = mode == HALF_AND_GONE && s->connections == 2;
	if (!s->gone || !s->held_n)
		memcpy(s->cache + at, p, n);
	if (mode == UNSYNCED)
		stable = 0;
	if (stable)
		memcpy(s->disk + at, p, n);
	atomic_fetch_add(&s->written, 1);
	nfs_put(s, 0);
	nfs_put64(s, 0);
	nfs_put(s, mode == NOTHING ? 0 : n);
	nfs_put(s, stable);
	nfs_put64(s, s->verifier);
}

static inline void nfs_commit(struct nfs_server *s)
{
	unsigned mode = s->mode;

	if (atomic_fetch_add(&s->commits, 1) == 1) { /* the first is of opening */
		if (mode == LOSES_AT_COMMIT || mode == FORGETS)
			nfs_restart(s);
		s->gone = mode == LOSES_AT_COMMIT;
		if (mode == REFUSES_COMMIT) {
			nfs_fail(s, 5, true);
			return;
		}
	}
	memcpy(s->disk, s->cache, NFS_SIZE);
	nfs_put(s, 0);
	nfs_put64(s, 0);
	nfs_put64(s, s->verifier);
}

static inline void nfs_limits(struct nfs_server *s)
{
	nfs_put(s, 0);
	nfs_put(s, 0);
	for (int i = 0; i < 2; i++) {
		nfs_put(s, 65536);
		nfs_put(s, 65536);
		nfs_put(s, 4096);
	}
	nfs_put(s, 4096);
	nfs_put64(s, UINT64_MAX);
	nfs_put64(s, 0);
	nfs_put(s, 0);
}

static inline void nfs_mount(struct nfs_server *s)
{
	uint32_t n;
	const uint8_t *path = nfs_get_bytes(s, &n);

	if (n != 7 || memcmp(path, "/export", 7) != 0) {
		nfs_put(s, 13);
		return;
	}
	nfs_put(s, 0);
	nfs_put_bytes(s, "root", 4);
	nfs_put(s, s->mode == KERBEROS ? 2 : 0);
	nfs_put(s, 390003); /* RFC 2623 section 2.2: krb5, krb5i */
	nfs_put(s, 390004);
}

static inline void nfs_call(struct nfs_server *s, uint32_t program, uint32_t procedure)
{
	uint32_t n;

	if (program == 100005) {
		nfs_mount(s);
		return;
	}
	switch (procedure) {
	case 1:
		nfs_put(s, 0);
		nfs_attributes(s, memcmp(nfs_get_bytes(s, &n), "disk", 4) == 0 ? 1 : 2);
		break;
	case 3:
		nfs_look_up(s);
		break;
	case 4:
		nfs_put(s, 0);
		nfs_put(s, 0);
		nfs_put(s, 0x3f);
		break;
	case 6:
		nfs_read_file(s);
		break;
	case 7:
		nfs_write_file(s);
		break;
	case 19:
		nfs_limits(s);
		break;
	case 21:
		nfs_commit(s);
		break;
	default:
		nfs_put(s, 10004);
	}
}

static inline bool nfs_receive(struct nfs_server *s, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = recv(s->fd, (uint8_t *)p + got, n - got, 0);

		if (k <= 0)
			return false;
		got += (size_t)k;
	}
	return true;
}

/* A restart or a cut, before or behind what is asked for. True: before. */
static inline bool nfs_chance(struct nfs_server *s, uint32_t program, uint32_t procedure,
			      bool *restart, bool *unanswered)
{
	unsigned what;

	*restart = *unanswered = s->late = false;
	if (s->mode != CHANCE || program != 100003 || !s->breaks ||
	    (procedure != 6 && procedure != 7 && procedure != 21))
		return false;
	s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	what = (unsigned)(s->seed >> 33) % 64;
	if (what > 6)
		return false;
	s->breaks--;
	s->late = what == 6 && procedure == 7 && !s->held_n;
	*restart = what & 1;
	*unanswered = what == 2 || what == 3;
	/* a server that forgets and keeps its connection shows that in what it answers */
	if (what == 5 && procedure != 6)
		nfs_restart(s);
	*restart = *restart && what != 5;
	return what < 2;
}

/* The answer and the end of the connection arrive together. */
static inline void nfs_end_behind(struct nfs_server *s)
{
	int on = 1;

	nfs_restart(s);
	(void)usleep(20000);
	while (recv(s->fd, s->call, sizeof(s->call), MSG_DONTWAIT) > 0)
		;
	setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static inline bool nfs_one(struct nfs_server *s)
{
	uint32_t xid, program, procedure, n;
	uint8_t mark[4];
	bool restart, unanswered;

	if (!nfs_receive(s, mark, 4))
		return false;
	s->len = vs_get_be32(mark) & 0x7fffffff;
	if (s->len > sizeof(s->call) || !nfs_receive(s, s->call, s->len))
		return false;
	s->at = s->out = 0;
	s->last = false;
	xid = nfs_get(s);
	s->at += 8; /* CALL, RPC version */
	program = nfs_get(s);
	s->at += 4;
	procedure = nfs_get(s);
	s->at += 4;
	(void)nfs_get_bytes(s, &n);
	s->at += 4;
	(void)nfs_get_bytes(s, &n);
	s->out = 4;
	nfs_put(s, xid);
	nfs_put(s, 1);
	for (int i = 0; i < 4; i++)
		nfs_put(s, 0);
	nfs_land(s);
	s->gone = nfs_chance(s, program, procedure, &restart, &unanswered);
	if (!s->gone)
		nfs_call(s, program, procedure);
	if (restart)
		nfs_restart(s);
	if (s->gone || unanswered)
		return false;
	if (s->out == 0) { /* noise */
		memset(s->reply, 0x5a, 64);
		s->out = 64;
	} else {
		vs_put_be32(s->reply, 0x80000000 | (uint32_t)(s->out - 4));
	}
	if (s->last)
		nfs_end_behind(s);
	return send(s->fd, s->reply, s->out, MSG_NOSIGNAL) == (ssize_t)s->out && !s->last;
}

static inline void *nfs_serve(void *arg)
{
	struct nfs_server *s = arg;

	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		atomic_store(&s->fd, fd);
		s->connections++;
		s->writes = 0;
		while (nfs_one(s))
			;
		atomic_store(&s->fd, -1);
		close(fd);
	}
	return NULL;
}

/* On the port that it had, if it had one. */
static inline void nfs_appear(struct nfs_server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(s->port)};
	socklen_t len = sizeof(at);
	int one = 1;

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, nfs_serve, s), 0);
}

/* With its connection, if it has one. */
static inline void nfs_vanish(struct nfs_server *s)
{
	int fd = atomic_load(&s->fd);

	shutdown(s->listener, SHUT_RDWR);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
}

static inline struct nfs_server *nfs_start(enum nfs_mode mode)
{
	struct nfs_server *s = calloc(1, sizeof(*s));

	s->mode = mode;
	atomic_store(&s->fd, -1);
	s->verifier = 1;
	s->cache = calloc(1, NFS_SIZE);
	s->disk = calloc(1, NFS_SIZE);
	nfs_appear(s);
	return s;
}

static inline void nfs_stop(struct nfs_server *s)
{
	nfs_vanish(s);
	free(s->cache);
	free(s->disk);
	free(s);
}

#endif
