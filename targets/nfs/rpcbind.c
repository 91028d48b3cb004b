#include "targets/nfs/rpcbind.h"

#include "common/loop.h"
#include "targets/nfs/rpc_format.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RPCBIND_VERSION 4u

bool nfs_rpcbind_wait(int fd, short events, uint64_t until)
{
	uint64_t now = vs_now_ns();
	struct pollfd p = {.fd = fd, .events = events};

	return now < until && poll(&p, 1, (int)((until - now) / 1000000) + 1) == 1;
}

static bool send_bytes(struct nfs_rpcbind_link *l, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done;

		if (!nfs_rpcbind_wait(l->fd, POLLOUT, l->until))
			return false;
		done = send(l->fd, p, n, MSG_NOSIGNAL);
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static bool receive_bytes(struct nfs_rpcbind_link *l, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got;

		if (!nfs_rpcbind_wait(l->fd, POLLIN, l->until))
			return false;
		got = recv(l->fd, p, n, 0);
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* RFC 5531 section 11. False: nothing that could be a reply came in time. */
static bool receive_record(struct nfs_rpcbind_link *l, size_t *len)
{
	uint8_t word[NFS_RPC_MARK_BYTES];
	uint32_t mark, n;

	*len = 0;
	do {
		if (!receive_bytes(l, word, sizeof(word)))
			return false;
		mark = vs_get_be32(word);
		n = mark & ~NFS_RPC_LAST;
		if (n > sizeof(l->reply) - *len || !receive_bytes(l, l->reply + *len, n))
			return false;
		*len += n;
	} while (!(mark & NFS_RPC_LAST));
	return true;
}

bool nfs_rpcbind_ask(struct nfs_rpcbind_link *l, uint32_t proc,
		     const struct nfs_portmap_entry *entry, struct nfs_dec *d)
{
	const struct nfs_rpc_call call = {
	    .xid = ++l->xid, .prog = NFS_PORTMAP_PROG, .vers = RPCBIND_VERSION, .proc = proc};
	uint8_t out[256];
	struct nfs_enc e = {out + NFS_RPC_MARK_BYTES, out + sizeof(out), false};
	size_t len;

	nfs_rpc_call_encode(&e, &call);
	if (entry)
		nfs_rpcbind_args_encode(&e, entry);
	VS_ASSERT(!e.bad);
	nfs_rpc_mark(out, (uint32_t)(e.p - out) - NFS_RPC_MARK_BYTES);
	if (!send_bytes(l, out, (size_t)(e.p - out)) || !receive_record(l, &len))
		return false;
	*d = (struct nfs_dec){l->reply, l->reply + len, false};
	return nfs_rpc_reply_decode(d, call.xid);
}

bool nfs_rpcbind_ask_bool(struct nfs_rpcbind_link *l, uint32_t proc,
			  const struct nfs_portmap_entry *entry)
{
	struct nfs_dec d;

	return nfs_rpcbind_ask(l, proc, entry, &d) && nfs_dec_bool(&d);
}

bool nfs_rpcbind_open(struct nfs_rpcbind_link *l, const char *path, uint64_t until)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len >= sizeof(un.sun_path))
		return false;
	memcpy(un.sun_path, path, len);
	l->until = until;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return false;
	if (connect(l->fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return true;
	(void)close(l->fd);
	return false;
}
