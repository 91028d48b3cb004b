#include "tests/load/link.h"

#include "common/bytes.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The NBD protocol document, "Fixed newstyle negotiation" and "Transmission phase". */
#define NBD_OPT_MAGIC UINT64_C(0x49484156454F5054)
#define NBD_REP_MAGIC UINT64_C(0x3e889045565a9)
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_REPLY_MAGIC 0x67446698u
#define NBD_OPT_GO 7u
#define NBD_REP_ACK 1u
#define NBD_REP_INFO 3u
#define NBD_CMD_READ 0u
#define NBD_CMD_WRITE 1u
#define NBD_CMD_DISC 2u
#define NBD_CMD_FLUSH 3u
#define NBD_CMD_FLAG_FUA 1u
#define REQUEST_LEN 28
#define REPLY_LEN 16
#define SLOTS 256 /* requests outstanding */

struct nbd_link {
	struct link link;
	int fd;
	struct link_req *slots[SLOTS];
	struct link_req *first, **last; /* still to be sent */
	uint8_t reply[REPLY_LEN];
	size_t reply_got;
	struct link_req *reading; /* its data is coming in */
};

static int send_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t w = send(fd, at, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

static int receive_all(int fd, void *p, size_t n)
{
	return recv(fd, p, n, MSG_WAITALL) == (ssize_t)n ? 0 : -1;
}

static int negotiate(struct nbd_link *nl, const char *export)
{
	uint8_t b[1024], option[16 + 4 + 256 + 2];
	size_t name = strlen(export);

	if (name > 255 || receive_all(nl->fd, b, 18) < 0 || memcmp(b, "NBDMAGICIHAVEOPT", 16) != 0)
		return -1;
	vs_put_be32(b, 3); /* fixed newstyle, no zeroes */
	if (send_all(nl->fd, b, 4) < 0)
		return -1;
	vs_put_be64(option, NBD_OPT_MAGIC);
	vs_put_be32(option + 8, NBD_OPT_GO);
	vs_put_be32(option + 12, (uint32_t)(4 + name + 2));
	vs_put_be32(option + 16, (uint32_t)name);
	memcpy(option + 20, export, name);
	vs_put_be16(option + 20 + name, 0);
	if (send_all(nl->fd, option, 20 + name + 2) < 0)
		return -1;
	for (;;) {
		uint32_t type, len;

		if (receive_all(nl->fd, b, 20) < 0 || vs_get_be64(b) != NBD_REP_MAGIC)
			return -1;
		type = vs_get_be32(b + 12);
		len = vs_get_be32(b + 16);
		if (len > sizeof(b) || (len && receive_all(nl->fd, b, len) < 0))
			return -1;
		if (type == NBD_REP_ACK)
			return nl->link.size ? 0 : -1;
		if (type == NBD_REP_INFO && len >= 12 && vs_get_be16(b) == 0)
			nl->link.size = vs_get_be64(b + 2);
		else if (type != NBD_REP_INFO)
			return -1;
	}
}

static void nbd_submit(struct link *l, struct link_req *req)
{
	struct nbd_link *nl = vs_container_of(l, struct nbd_link, link);

	for (uint64_t i = 0; i < SLOTS; i++) {
		if (nl->slots[i])
			continue;
		nl->slots[i] = req;
		req->cookie = i;
		req->sent = req->received = 0;
		req->next = NULL;
		*nl->last = req;
		nl->last = &req->next;
		return;
	}
	abort(); /* the caller keeps to a depth below SLOTS */
}

static void encode(const struct link_req *req, uint8_t out[REQUEST_LEN])
{
	static const uint16_t types[] = {
	    [LINK_READ] = NBD_CMD_READ, [LINK_WRITE] = NBD_CMD_WRITE, [LINK_FLUSH] = NBD_CMD_FLUSH};

	vs_put_be32(out, NBD_REQUEST_MAGIC);
	vs_put_be16(out + 4, req->fua ? NBD_CMD_FLAG_FUA : 0);
	vs_put_be16(out + 6, types[req->op]);
	vs_put_be64(out + 8, req->cookie);
	vs_put_be64(out + 16, req->offset);
	vs_put_be32(out + 24, req->length);
}

/* Sends what the socket takes. */
static int push(struct nbd_link *nl)
{
	while (nl->first) {
		struct link_req *req = nl->first;
		uint8_t head[REQUEST_LEN];
		struct iovec iov[2] = {{head, REQUEST_LEN}, {req->data, 0}};
		struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
		size_t total = REQUEST_LEN + (req->op == LINK_WRITE ? req->length : 0);
		ssize_t n;

		encode(req, head);
		iov[1].iov_len = total - REQUEST_LEN;
		if (req->sent < REQUEST_LEN) {
			iov[0].iov_base = head + req->sent;
			iov[0].iov_len -= req->sent;
		} else {
			m.msg_iov = iov + 1;
			m.msg_iovlen = 1;
			iov[1].iov_base = req->data + (req->sent - REQUEST_LEN);
			iov[1].iov_len = total - req->sent;
		}
		n = sendmsg(nl->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		req->sent += (size_t)n;
		if (req->sent < total)
			continue;
		nl->first = req->next;
		if (!nl->first)
			nl->last = &nl->first;
	}
	return 0;
}

static void finish(struct nbd_link *nl, struct link_req *req, int status)
{
	nl->slots[req->cookie] = NULL;
	req->done(req, status);
}

static int take_reply(struct nbd_link *nl)
{
	uint64_t cookie = vs_get_be64(nl->reply + 8);
	uint32_t error = vs_get_be32(nl->reply + 4);
	struct link_req *req = cookie < SLOTS ? nl->slots[cookie] : NULL;

	nl->reply_got = 0;
	if (vs_get_be32(nl->reply) != NBD_REPLY_MAGIC || !req) {
		fprintf(stderr, "NBD: not a reply to any request\n");
		return -1;
	}
	if (error)
		fprintf(stderr, "NBD request failed: error %u\n", error);
	if (!error && req->op == LINK_READ)
		nl->reading = req;
	else
		finish(nl, req, error ? -1 : 0);
	return 0;
}

/* Takes what has come. */
static int pull(struct nbd_link *nl)
{
	for (;;) {
		struct link_req *req = nl->reading;
		void *to = req ? req->data + req->received : nl->reply + nl->reply_got;
		size_t want = req ? req->length - req->received : REPLY_LEN - nl->reply_got;
		ssize_t n = recv(nl->fd, to, want, MSG_DONTWAIT);

		if (n == 0)
			return -1;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (req) {
			req->received += (size_t)n;
			if (req->received == req->length) {
				nl->reading = NULL;
				finish(nl, req, 0);
			}
		} else {
			nl->reply_got += (size_t)n;
			if (nl->reply_got == REPLY_LEN && take_reply(nl) < 0)
				return -1;
		}
	}
}

static int nbd_turn(struct link *l)
{
	struct nbd_link *nl = vs_container_of(l, struct nbd_link, link);
	struct pollfd p = {.fd = nl->fd, .events = POLLIN};

	if (push(nl) < 0)
		return -1;
	if (nl->first)
		p.events |= POLLOUT;
	if (poll(&p, 1, 1000) < 0 && errno != EINTR)
		return -1;
	return p.revents & (POLLIN | POLLHUP | POLLERR) ? pull(nl) : 0;
}

static void nbd_close(struct link *l)
{
	struct nbd_link *nl = vs_container_of(l, struct nbd_link, link);
	uint8_t bye[REQUEST_LEN] = {0};

	vs_put_be32(bye, NBD_REQUEST_MAGIC);
	vs_put_be16(bye + 6, NBD_CMD_DISC);
	(void)send_all(nl->fd, bye, sizeof(bye));
	close(nl->fd);
	free(nl);
}

static const struct link_ops nbd_ops = {nbd_submit, nbd_turn, nbd_close};

static int connect_unix(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -1;
	memcpy(sun.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int connect_tcp(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *ai;
	int fd, one = 1;

	if (getaddrinfo(host, port, &hints, &ai) != 0)
		return -1;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	freeaddrinfo(ai);
	return fd;
}

struct link *link_nbd_open(const char *url)
{
	struct nbd_link *nl = calloc(1, sizeof(*nl));
	char host[256] = "", port[16] = "", export[256] = "", path[256] = "";

	if (!nl)
		return NULL;
	if (sscanf(url, "nbd+unix:///%255[^?]?socket=%255s", export, path) == 2)
		nl->fd = connect_unix(path);
	else if (sscanf(url, "nbd://%255[^:]:%15[0-9]/%255s", host, port, export) >= 2)
		nl->fd = connect_tcp(host, port);
	else
		nl->fd = -1;
	if (nl->fd < 0 || negotiate(nl, export) < 0) {
		fprintf(stderr, "cannot open %s: %s\n", url,
			nl->fd < 0 ? "no connection" : "negotiation failed");
		if (nl->fd >= 0)
			close(nl->fd);
		free(nl);
		return NULL;
	}
	nl->last = &nl->first;
	nl->link.ops = &nbd_ops;
	return &nl->link;
}
