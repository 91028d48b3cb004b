/* An NFS server without shares, and a connection to it, for what clients may send. */
#ifndef TESTS_FUZZ_NFS_SCENE_H
#define TESTS_FUZZ_NFS_SCENE_H

#include "common/bytes.h"
#include "targets/nfs/conn.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[16] = "a key for fuzzes";

static inline void closed(struct nfs_worker *w)
{
	(void)w;
}

static inline struct nfs_worker *worker(void)
{
	static struct nfs_common common;
	static struct nfs_worker w;

	if (w.loop)
		return &w;
	w.common = &common;
	w.closed = closed;
	nfs_mounts_init(&common.mounts);
	VS_ASSERT(nfs_drc_new(64, &common.drc) == 0);
	VS_ASSERT(nfs4_state_new(key, &common.v4) == 0);
	VS_ASSERT(nfs_seal_new(key, sizeof(key), &w.seal, NULL) == 0);
	VS_ASSERT(vs_arena_init(&w.shared, NFS_SHARED_UNITS) == 0);
	VS_ASSERT(vs_loop_new(&w.loop, NULL) == 0);
	(void)pthread_mutex_init(&w.entry_lock, NULL);
	(void)pthread_mutex_init(&w.conns_lock, NULL);
	w.idle = (struct vs_idle){.idle = nfs_conn_idle, .arg = &w};
	vs_loop_add_idle(w.loop, &w.idle);
	return &w;
}

/* The value is the client's end. */
static inline int connect_to(struct nfs_worker *w, bool portmap)
{
	const struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_storage peer = {0};
	int fd[2];

	memcpy(&peer, &in, sizeof(in));
	VS_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	VS_ASSERT(nfs_conn_open(w, (struct nfs_accepted){fd[0], portmap}, &peer) == 0);
	return fd[1];
}

/* Afterwards the connection has gone with all that it held. */
static inline void hang_up(struct nfs_worker *w, int fd)
{
	(void)close(fd);
	for (int i = 0; i < 1000 && w->conns; i++)
		vs_loop_turn(w->loop, 0);
	VS_ASSERT(!w->conns);
	for (size_t i = 0; i < VS_ARRAY_LEN(w->shared.used); i++)
		VS_ASSERT(w->shared.used[i] == 0);
}

static inline void inside(struct nfs_bytes b, const uint8_t *data, size_t size)
{
	VS_ASSERT(b.len == 0 ||
		  (b.p >= data && b.p <= data + size && b.len <= (size_t)(data + size - b.p)));
}

#endif
