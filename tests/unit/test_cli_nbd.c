/* The NBD client: its bytes against the protocol's, and servers that misbehave. */
#include "mgmt/cli/cli_nbd.h"

#include "common/bytes.h"
#include "mgmt/cli/cli_nbd_format.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define GREETING "NBDMAGICIHAVEOPT\0\3"
#define OPTION_REPLY "\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\7"
#define INFO                              \
	OPTION_REPLY "\0\0\0\3\0\0\0\14"  \
		     "\0\0"               \
		     "\0\0\0\0\0\0\x20\0" \
		     "\0\5"
#define ACK OPTION_REPLY "\0\0\0\1\0\0\0\0"

static void bytes_are_those_of_the_protocol(void **state)
{
	const struct cli_nbd_request write = {CLI_NBD_WRITE, 3, 0x123456789aULL, 4096};
	uint8_t out[CLI_NBD_GO_MAX];
	struct cli_nbd_reply reply;
	uint64_t size;
	uint16_t flags;

	(void)state;
	assert_int_equal(cli_nbd_format_go("web1", out), 30);
	assert_memory_equal(out, "\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\12\0\0\0\4web1\0\0", 30);
	cli_nbd_format_request(&write, out);
	assert_memory_equal(out,
			    "\x25\x60\x95\x13\0\0\0\1\0\0\0\0\0\0\0\3\0\0\0\x12\x34\x56\x78\x9a"
			    "\0\0\x10\0",
			    CLI_NBD_REQUEST);
	assert_true(cli_nbd_format_reply(
	    (const uint8_t *)"\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\3", &reply));
	assert_int_equal(reply.error, 28);
	assert_int_equal(reply.cookie, 3);
	assert_false(cli_nbd_format_reply(
	    (const uint8_t *)"\x67\x44\x66\x99\0\0\0\0\0\0\0\0\0\0\0\3", &reply));
	assert_true(
	    cli_nbd_format_export((const uint8_t *)"\0\0\0\0\0\0\0\1\0\0\0\7", 12, &size, &flags));
	assert_int_equal(size, 65536);
	assert_int_equal(flags, 7);
	assert_false(cli_nbd_format_export((const uint8_t *)"\0\3", 2, &size, &flags));
	assert_true(cli_nbd_format_greeting((const uint8_t *)GREETING));
	assert_false(cli_nbd_format_greeting((const uint8_t *)"NBDMAGICIHAVEOPT\0\1"));
}

/* A server that says one thing to whoever connects, and hangs up. */
struct server {
	struct sockaddr_un sun;
	int fd;
	pthread_t thread;
	const char *say;
	size_t len;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	char drain[4096];
	int fd = accept(s->fd, NULL, NULL);

	if (fd >= 0) {
		(void)!write(fd, s->say, s->len);
		(void)shutdown(fd, SHUT_WR);
		while (read(fd, drain, sizeof(drain)) > 0)
			;
		(void)close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const char *dir, const char *say, size_t len)
{
	memset(s, 0, sizeof(*s));
	s->say = say;
	s->len = len;
	s->sun.sun_family = AF_UNIX;
	(void)snprintf(s->sun.sun_path, sizeof(s->sun.sun_path), "%s/s", dir);
	(void)unlink(s->sun.sun_path);
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&s->sun, sizeof(s->sun)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
	(void)pthread_join(s->thread, NULL);
	(void)close(s->fd);
	(void)unlink(s->sun.sun_path);
}

static char dir[] = "/tmp/vstore-nbd-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void negotiation_refuses_bad_servers(void **state)
{
#define SAY(text) text, sizeof(text) - 1
	static const struct {
		const char *say;
		size_t len;
		int code;
	} bad[] = {
	    {SAY(""), VS_E_CLOSED},
	    {SAY("NBDMAGIC"), VS_E_CLOSED},
	    {SAY("HTTP/1.1 400 Bad Request\r\n\r\n"), VS_E_PROTO},
	    {SAY(GREETING), VS_E_CLOSED},
	    {SAY(GREETING "HTTP/1.1 400 Bad Request\r\n\r\n"), VS_E_PROTO},
	    /* a reply of 4 GiB, one cut short, a refusal, no size, replies without end */
	    {SAY(GREETING OPTION_REPLY "\0\0\0\3\xff\xff\xff\xff"), VS_E_PROTO},
	    {SAY(GREETING OPTION_REPLY "\0\0\0\3\0\0\0\14\0\0"), VS_E_CLOSED},
	    {SAY(GREETING OPTION_REPLY "\x80\0\0\6\0\0\0\2no"), VS_E_NOENT},
	    {SAY(GREETING ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK ACK),
	     VS_E_PROTO},
	};
#undef SAY
	struct vs_error err;
	struct cli_nbd *n;
	struct server s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&err, 0, sizeof(err));
		server_start(&s, dir, bad[i].say, bad[i].len);
		assert_int_equal(cli_nbd_open(s.sun.sun_path, "web1", &n, &err), bad[i].code);
		assert_true(err.text[0] != '\0');
		server_end(&s);
	}
	assert_true(cli_nbd_open("/nonexistent/s", "web1", &n, &err) < 0);
}

/* Opens against a server that negotiates well and then says more; reads block 0. */
static int read_after(const char *say, size_t len, struct vs_error *err, uint8_t *first)
{
	struct server s;
	struct cli_nbd *n;
	int rc;

	memset(err, 0, sizeof(*err));
	server_start(&s, dir, say, len);
	assert_int_equal(cli_nbd_open(s.sun.sun_path, "web1", &n, err), 0);
	assert_int_equal(cli_nbd_size(n), 8192);
	rc = cli_nbd_read(n, 1, 0, 4, err);
	if (rc == 0)
		rc = cli_nbd_wait(n, 1, err);
	if (rc == 0)
		memcpy(first, cli_nbd_buffer(n, 1), 4);
	cli_nbd_close(n);
	server_end(&s);
	return rc;
}

#define READ_AFTER(say) \
	read_after(GREETING INFO ACK say, sizeof(GREETING INFO ACK say) - 1, &err, got)

static void replies_are_checked(void **state)
{
	struct vs_error err;
	uint8_t got[4];

	(void)state;
	assert_int_equal(READ_AFTER("\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\1data"), 0);
	assert_memory_equal(got, "data", 4);
	assert_int_equal(READ_AFTER("\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\1"), VS_E_NOSPC);
	assert_int_equal(READ_AFTER("\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\1da"), VS_E_CLOSED);
	assert_int_equal(READ_AFTER("\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\2data"), VS_E_PROTO);
	assert_int_equal(READ_AFTER("\x67\x44\x66\x98\0\0\0\0\xff\0\0\0\0\0\0\1data"), VS_E_PROTO);
	assert_int_equal(READ_AFTER("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1data"), VS_E_PROTO);
	assert_int_equal(READ_AFTER(""), VS_E_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_are_those_of_the_protocol),
	    cmocka_unit_test(negotiation_refuses_bad_servers),
	    cmocka_unit_test(replies_are_checked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
