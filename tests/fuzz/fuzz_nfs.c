/*
 * An NFS connection fed with whatever a client may send: record marks and fragments, RPC headers,
 * the arguments of all procedures, handles. A worker without shares and a socket pair; the first
 * byte cuts the input into sends. Then the decoders alone: what they return must lie within their
 * input.
 */
#include "common/bytes.h"
#include "targets/nfs/conn.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[16] = "a key for fuzzes";

static void closed(struct nfs_worker *w)
{
	(void)w;
}

static struct nfs_worker *worker(void)
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

/* What is answered are whole records. */
static void check_replies(int fd)
{
	static uint8_t buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	size_t at = 0, have = n > 0 ? (size_t)n : 0;

	while (at + 4 <= have) {
		uint32_t mark = vs_get_be32(buf + at);

		VS_ASSERT(mark & NFS_RPC_LAST);
		at += 4 + (mark & ~NFS_RPC_LAST);
	}
	VS_ASSERT(have == sizeof(buf) || at == have);
}

static void feed(const uint8_t *data, size_t size, size_t step)
{
	const struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_storage peer = {0};
	struct nfs_worker *w = worker();
	int fd[2];

	memcpy(&peer, &in, sizeof(in));
	VS_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	VS_ASSERT(nfs_conn_open(w, fd[0], &peer) == 0);
	while (size) {
		ssize_t n = send(fd[1], data, VS_MIN(size, step), MSG_NOSIGNAL);

		vs_loop_turn(w->loop, 0);
		check_replies(fd[1]);
		if (n <= 0 && !w->conns)
			break;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	(void)close(fd[1]);
	for (int i = 0; i < 1000 && w->conns; i++)
		vs_loop_turn(w->loop, 0);
	VS_ASSERT(!w->conns);
	for (size_t i = 0; i < VS_ARRAY_LEN(w->shared.used); i++)
		VS_ASSERT(w->shared.used[i] == 0);
}

static void inside(struct nfs_bytes b, const uint8_t *data, size_t size)
{
	VS_ASSERT(b.len == 0 ||
		  (b.p >= data && b.p <= data + size && b.len <= (size_t)(data + size - b.p)));
}

static void decode(const uint8_t *data, size_t size)
{
	for (unsigned proc = 0; proc < NFS3_PROCS; proc++) {
		struct nfs_dec d = {data, data + size, false};
		struct nfs3_args a = {0};

		if (!nfs3_args_decode(proc, &d, &a))
			continue;
		inside(a.file, data, size);
		inside(a.other, data, size);
		inside(a.name, data, size);
		inside(a.other_name, data, size);
		inside(a.data, data, size);
		VS_ASSERT(a.file.len <= NFS_HANDLE_MAX && a.name.len <= NFS3_NAME_BYTES);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nfs_store_id id;
	struct ds_handle file;

	if (size < 1)
		return 0;
	feed(data + 1, size - 1, data[0] ? data[0] * 16u : size);
	decode(data + 1, size - 1);
	(void)!nfs_handle_open(worker()->seal, data + 1, size - 1, &id, &file);
	return 0;
}
