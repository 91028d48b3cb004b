/*
 * An NFS connection fed with whatever a client may send: record marks and fragments, RPC headers,
 * the arguments of all procedures, handles; the same to the port mapper's port, and by datagram. A
 * worker
 * without shares and a socket pair; the first byte cuts the input into sends. Then the decoders
 * alone: what they return must lie within their input.
 */
#include "tests/fuzz/nfs_scene.h"

#include "targets/nfs/nsm_udp.h"

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

static void feed(const uint8_t *data, size_t size, size_t step, bool portmap)
{
	struct nfs_worker *w = worker();
	int fd = connect_to(w, portmap);

	while (size) {
		ssize_t n = send(fd, data, VS_MIN(size, step), MSG_NOSIGNAL);

		vs_loop_turn(w->loop, 0);
		check_replies(fd);
		if (n <= 0 && !w->conns)
			break;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	hang_up(w, fd);
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

/* What rpcbind answers: the header, and a list. */
static void decode_rpcbind(const uint8_t *data, size_t size)
{
	struct nfs_dec d = {data, data + size, false};
	char host[NFS_PORTMAP_UADDR_MAX];
	struct nfs_portmap_node node;
	uint16_t port;

	(void)nfs_rpc_reply_decode(&d, 0);
	d = (struct nfs_dec){data, data + size, false};
	while (nfs_rpcbind_node_decode(&d, &node)) {
		inside(node.netid, data, size);
		inside(node.uaddr, data, size);
		(void)nfs_portmap_uaddr_parse(node.uaddr, host, &port);
	}
}

static void decode_portmap(const uint8_t *data, size_t size)
{
	for (uint32_t version = 2; version <= 4; version++) {
		for (uint32_t proc = 0; proc < NFS_RPCBIND_PROCS; proc++) {
			struct nfs_dec d = {data, data + size, false};
			struct nfs_portmap_args a;

			if (nfs_portmap_args_decode(version, proc, &d, &a))
				inside(a.netid, data, size);
		}
	}
}

static void decode_locks(const uint8_t *data, size_t size)
{
	struct nfs_bytes cookie;
	enum nfs_nlm_status status;
	struct nfs_dec d = {data, data + size, false};

	if (nfs_nlm_granted_decode(&d, &cookie, &status))
		inside(cookie, data, size);
	for (unsigned proc = 0; proc < NFS_NLM_PROCS; proc++) {
		struct nfs_nlm_args a = {0};

		d = (struct nfs_dec){data, data + size, false};
		if (!nfs_nlm_args_decode(proc, &d, &a))
			continue;
		inside(a.cookie, data, size);
		inside(a.lock.caller, data, size);
		inside(a.lock.file, data, size);
		inside(a.lock.owner, data, size);
		inside(a.name, data, size);
	}
}

static void datagram(const uint8_t *data, size_t size, bool portmap)
{
	const struct nfs_address from = {{1}};
	const struct nfs_local at = {{{2}}, false};
	uint8_t to[NSM_UDP_MAX];

	VS_ASSERT(nsm_udp_answer(worker()->common, &from, &at, portmap, data, size, to) <=
		  sizeof(to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nfs_store_id id;
	struct ds_handle file;

	if (size < 1)
		return 0;
	feed(data + 1, size - 1, data[0] ? data[0] * 16u : size, false);
	feed(data + 1, size - 1, data[0] ? data[0] * 16u : size, true);
	decode(data + 1, size - 1);
	decode_portmap(data + 1, size - 1);
	decode_rpcbind(data + 1, size - 1);
	decode_locks(data + 1, size - 1);
	datagram(data + 1, size - 1, false);
	datagram(data + 1, size - 1, true);
	(void)!nfs_handle_open(worker()->seal, data + 1, size - 1, &id, &file);
	return 0;
}
