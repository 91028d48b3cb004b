#include "mgmt/cli/cli_nbd.h"

#include "common/bytes.h"
#include "mgmt/cli/cli_nbd_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OPTION_TEXT_MAX 4096 /* longest option reply taken */
#define OPTION_REPLIES_MAX 16

struct slot {
	uint8_t *buffer;
	uint32_t length; /* of the read in flight; 0 for others */
	bool busy;
};

struct cli_nbd {
	int fd;
	uint64_t size;
	uint16_t flags;
	struct slot slots[CLI_NBD_DEPTH];
};

static int send_all(struct cli_nbd *n, const void *data, size_t len, struct vs_error *err)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t k = send(n->fd, p, len, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "the daemon's data socket");
		p += k;
		len -= (size_t)k;
	}
	return 0;
}

static int receive_all(struct cli_nbd *n, void *data, size_t len, struct vs_error *err)
{
	uint8_t *p = data;

	while (len) {
		ssize_t k = recv(n->fd, p, len, 0);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "the daemon's data socket");
		if (k == 0)
			return vs_fail(err, VS_E_CLOSED,
				       "the daemon closed the data socket; see its log");
		p += k;
		len -= (size_t)k;
	}
	return 0;
}

static int connect_to(struct cli_nbd *n, const char *socket_path, struct vs_error *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (strlen(socket_path) >= sizeof(sun.sun_path))
		return vs_fail(err, VS_E_TOOBIG, "data socket %s: the path is too long",
			       socket_path);
	memcpy(sun.sun_path, socket_path, strlen(socket_path) + 1);
	n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n->fd < 0 || connect(n->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return vs_fail_errno(err, "data socket %s", socket_path);
	return 0;
}

static int negotiate(struct cli_nbd *n, const char *export, struct vs_error *err)
{
	uint8_t greeting[CLI_NBD_GREETING], go[CLI_NBD_GO_MAX], head[CLI_NBD_OPTION_REPLY];
	uint8_t text[OPTION_TEXT_MAX];
	struct cli_nbd_option_reply reply;
	bool have_size = false;
	int i, rc;

	rc = receive_all(n, greeting, sizeof(greeting), err);
	if (rc < 0)
		return rc;
	if (!cli_nbd_format_greeting(greeting))
		return vs_fail(err, VS_E_PROTO, "the data socket does not speak NBD");
	rc = send_all(n, go, cli_nbd_format_go(export, go), err);
	for (i = 0; rc == 0 && i < OPTION_REPLIES_MAX; i++) {
		rc = receive_all(n, head, sizeof(head), err);
		if (rc < 0)
			return rc;
		if (!cli_nbd_format_option_reply(head, &reply) || reply.length > sizeof(text))
			return vs_fail(err, VS_E_PROTO, "the data socket does not speak NBD");
		rc = receive_all(n, text, reply.length, err);
		if (rc < 0)
			return rc;
		if (reply.type & CLI_NBD_REP_ERROR)
			return vs_fail(err, VS_E_NOENT, "the daemon refused the export: %.*s",
				       (int)reply.length, (const char *)text);
		if (reply.type == CLI_NBD_REP_INFO)
			have_size |= cli_nbd_format_export(text, reply.length, &n->size, &n->flags);
		if (reply.type == CLI_NBD_REP_ACK && have_size)
			return 0;
	}
	return rc < 0 ? rc
		      : vs_fail(err, VS_E_PROTO, "the data socket did not say the volume's size");
}

int cli_nbd_open(const char *socket_path, const char *export, struct cli_nbd **out,
		 struct vs_error *err)
{
	struct cli_nbd *n = calloc(1, sizeof(*n));
	unsigned i;
	int rc;

	if (!n)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	n->fd = -1;
	for (i = 0; i < CLI_NBD_DEPTH; i++) {
		n->slots[i].buffer = malloc(CLI_NBD_CHUNK);
		if (!n->slots[i].buffer) {
			cli_nbd_close(n);
			return vs_fail(err, VS_E_NOMEM, "out of memory");
		}
	}
	rc = connect_to(n, socket_path, err);
	if (rc == 0)
		rc = negotiate(n, export, err);
	if (rc < 0) {
		cli_nbd_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

void cli_nbd_close(struct cli_nbd *n)
{
	struct cli_nbd_request req = {.type = CLI_NBD_DISC};
	uint8_t bytes[CLI_NBD_REQUEST];
	unsigned i;

	if (!n)
		return;
	if (n->fd >= 0) {
		cli_nbd_format_request(&req, bytes);
		(void)send_all(n, bytes, sizeof(bytes), NULL);
		(void)close(n->fd);
	}
	for (i = 0; i < CLI_NBD_DEPTH; i++)
		free(n->slots[i].buffer);
	free(n);
}

uint64_t cli_nbd_size(const struct cli_nbd *n)
{
	return n->size;
}

uint8_t *cli_nbd_buffer(struct cli_nbd *n, unsigned slot)
{
	return n->slots[slot].buffer;
}

static int start(struct cli_nbd *n, unsigned slot, uint16_t type, uint64_t offset, uint32_t length,
		 struct vs_error *err)
{
	struct cli_nbd_request req = {
	    .type = type, .cookie = slot, .offset = offset, .length = length};
	uint8_t bytes[CLI_NBD_REQUEST];
	struct slot *s = &n->slots[slot];
	int rc;

	VS_ASSERT(!s->busy && length <= CLI_NBD_CHUNK);
	cli_nbd_format_request(&req, bytes);
	rc = send_all(n, bytes, sizeof(bytes), err);
	if (rc == 0 && type == CLI_NBD_WRITE)
		rc = send_all(n, s->buffer, length, err);
	s->busy = rc == 0;
	s->length = type == CLI_NBD_READ ? length : 0;
	return rc;
}

int cli_nbd_read(struct cli_nbd *n, unsigned slot, uint64_t offset, uint32_t length,
		 struct vs_error *err)
{
	return start(n, slot, CLI_NBD_READ, offset, length, err);
}

int cli_nbd_write(struct cli_nbd *n, unsigned slot, uint64_t offset, uint32_t length,
		  struct vs_error *err)
{
	return start(n, slot, CLI_NBD_WRITE, offset, length, err);
}

static int take_reply(struct cli_nbd *n, struct vs_error *err)
{
	uint8_t bytes[CLI_NBD_REPLY];
	struct cli_nbd_reply reply;
	struct slot *s;
	int rc = receive_all(n, bytes, sizeof(bytes), err);

	if (rc < 0)
		return rc;
	if (!cli_nbd_format_reply(bytes, &reply) || reply.cookie >= CLI_NBD_DEPTH ||
	    !n->slots[reply.cookie].busy)
		return vs_fail(err, VS_E_PROTO, "the data socket's answer is not NBD's");
	s = &n->slots[reply.cookie];
	s->busy = false;
	if (reply.error) {
		errno = (int)(reply.error & 0xffff);
		return vs_fail_errno(err, "the store");
	}
	return s->length ? receive_all(n, s->buffer, s->length, err) : 0;
}

int cli_nbd_wait(struct cli_nbd *n, unsigned slot, struct vs_error *err)
{
	int rc = 0;

	while (rc == 0 && n->slots[slot].busy)
		rc = take_reply(n, err);
	return rc;
}

int cli_nbd_flush(struct cli_nbd *n, struct vs_error *err)
{
	unsigned i;
	int rc = 0;

	for (i = 0; rc == 0 && i < CLI_NBD_DEPTH; i++)
		rc = cli_nbd_wait(n, i, err);
	if (rc < 0 || !(n->flags & CLI_NBD_FLAG_SEND_FLUSH))
		return rc;
	rc = start(n, 0, CLI_NBD_FLUSH, 0, 0, err);
	return rc < 0 ? rc : cli_nbd_wait(n, 0, err);
}
