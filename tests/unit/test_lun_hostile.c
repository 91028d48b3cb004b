/* LUNs of arrays that break the protocol: requests fail or wait, and nothing else happens. */
#include "blockstore/lun.h"
#include "common/bytes.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BHS 48
#define BLOCKS 65536u
#define GOOD 0
#define CHECK 2
#define BUSY 8

enum mode {
	HONEST,
	MUTE,	   /* answers no login */
	BABBLE,	   /* keys of a login without an end */
	SHORT,	   /* a read that gave nothing */
	LONG,	   /* more than was asked for */
	HUGE_PDU,  /* a data segment longer than negotiated */
	NOISE,	   /* no PDU at all */
	SENSELESS, /* CHECK CONDITION without sense data */
	EARLY,	   /* a write is done before it was sent */
	FAR,	   /* data wanted that the command does not have */
	CUT,	   /* the connection ends within a PDU */
	NO_SYNC,   /* a flush that it knows and refuses */
	EXCHANGED, /* another LUN after the first write, and says so */
	HURRIED,   /* goes at the second write, and is busy when it is back */
	DEFERRED,  /* a read that tells of an earlier write which failed */
	RESET,	   /* tells a read that it was reset, and a flush that all is well */
};

struct array {
	enum mode mode;
	int listener, fd;
	uint16_t port;
	uint32_t stat;
	unsigned sessions, writes; /* of this session */
	atomic_uint total;	   /* writes of all sessions */
	uint8_t held[BHS];
	atomic_uint written; /* blocks of the last write */
	pthread_t thread;
	struct vs_loop *loop;
	struct bs_lun *lun;
	struct vs_error err;
	uint8_t head[BHS], data[1 << 20];
};

static bool get(struct array *a, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = recv(a->fd, (uint8_t *)p + got, n - got, 0);

		if (k <= 0)
			return false;
		got += (size_t)k;
	}
	return true;
}

static void put(struct array *a, const void *p, size_t n)
{
	if (send(a->fd, p, n, MSG_NOSIGNAL) < 0)
		return; /* the other side has had enough */
}

/* Answers the request in head: opcode, flags, bytes 36 to 47 of the header, a data segment. */
static void answer(struct array *a, uint8_t opcode, uint8_t flags, uint8_t status,
		   const uint8_t tail[12], const void *data, uint32_t n)
{
	uint8_t out[BHS] = {opcode, flags, 0, status};

	vs_put_be24(out + 5, n);
	memcpy(out + 8, a->head + 8, 12); /* ISID or LUN, TSIH, ITT */
	if (opcode == 0x23)
		out[15] = 1;
	else
		memset(out + 20, 0xff, 4);
	vs_put_be32(out + 24, a->stat++);
	vs_put_be32(out + 28, vs_get_be32(a->head + 24) + !(a->head[0] & 0x40)); /* I */
	vs_put_be32(out + 32, vs_get_be32(a->head + 24) + 64);
	if (tail)
		memcpy(out + 36, tail, 12);
	put(a, out, sizeof(out));
	if (n) {
		put(a, data, n);
		put(a, "\0\0\0", -n & 3);
	}
}

static void log_in(struct array *a)
{
	static const char keys[] = "HeaderDigest=None\0DataDigest=None\0InitialR2T=Yes\0"
				   "ImmediateData=No\0MaxBurstLength=262144\0"
				   "FirstBurstLength=65536\0MaxRecvDataSegmentLength=65536";
	static const char none[] = "AuthMethod=None\0TargetPortalGroupTag=1";
	bool security = (a->head[1] & 0x0c) == 0;

	if (a->mode == MUTE)
		return;
	if (a->mode == BABBLE) {
		memset(a->data, 'A', 8192);
		answer(a, 0x23, a->head[1], 0, NULL, a->data, 8192);
		return;
	}
	answer(a, 0x23, a->head[1] & 0x8f, 0, NULL, security ? none : keys,
	       security ? sizeof(none) : sizeof(keys));
}

static void respond(struct array *a, uint8_t status, const void *data, uint32_t n)
{
	answer(a, 0x21, 0x80, status, NULL, data, n);
}

static void check(struct array *a, uint8_t response, uint8_t key, uint16_t ascq)
{
	uint8_t sense[20] = {0, 18, response, 0, key, 0, 0,	    0,
			     0, 10, 0,	      0, 0,   0, ascq >> 8, ascq & 0xff};

	respond(a, CHECK, sense, sizeof(sense));
}

/* The reset that a read is told of, and at once an answer to the flush behind it. */
static void reset(struct array *a)
{
	uint8_t head[BHS];

	memcpy(head, a->head, BHS);
	memcpy(a->head, a->held, BHS);
	check(a, 0x70, 6, 0x2900);
	memcpy(a->head, head, BHS);
	respond(a, GOOD, NULL, 0);
}

static void sync_cache(struct array *a)
{
	if (a->mode == NO_SYNC)
		check(a, 0x70, 5, 0x2400);
	else if (a->mode == RESET && a->sessions == 1)
		reset(a);
	else
		check(a, 0x70, 5, 0x2000);
}

/* Data-In with status. */
static void give(struct array *a, const void *data, uint32_t n)
{
	answer(a, 0x25, 0x81, GOOD, NULL, data, n);
}

static void read_blocks(struct array *a)
{
	uint32_t n = vs_get_be32(a->head + 32 + 10) * 512;
	uint8_t tail[12] = {0};

	memset(a->data, 0x77, sizeof(a->data));
	switch (a->mode) {
	case SHORT:
		vs_put_be32(tail + 8, n);
		answer(a, 0x21, 0x82, GOOD, tail, NULL, 0);
		break;
	case LONG:
		give(a, a->data, n + 4096);
		break;
	case HUGE_PDU:
		give(a, a->data, sizeof(a->data));
		break;
	case NOISE:
		put(a, a->data, 4096);
		break;
	case SENSELESS:
		respond(a, CHECK, NULL, 0);
		break;
	case CUT:
		put(a, "\x25\x81\0\0\0\0", 6);
		shutdown(a->fd, SHUT_RDWR);
		break;
	case DEFERRED:
		if (a->sessions == 1)
			check(a, 0x71, 1, 0x1700);
		else
			give(a, a->data, n);
		break;
	case RESET:
		if (a->sessions == 1)
			memcpy(a->held, a->head, BHS);
		else
			give(a, a->data, n);
		break;
	default:
		give(a, a->data, n);
	}
}

static void want(struct array *a, uint32_t offset, uint32_t n)
{
	uint8_t out[BHS] = {0x31, 0x80};

	memcpy(out + 8, a->head + 8, 12);
	vs_put_be32(out + 20, 7);
	vs_put_be32(out + 24, a->stat);
	vs_put_be32(out + 28, vs_get_be32(a->head + 24) + 1);
	vs_put_be32(out + 32, vs_get_be32(a->head + 24) + 64);
	vs_put_be32(out + 40, offset);
	vs_put_be32(out + 44, n);
	put(a, out, sizeof(out));
}

static void write_blocks(struct array *a)
{
	uint32_t n = vs_get_be32(a->head + 32 + 10) * 512;

	a->writes++;
	if (a->mode == HURRIED && a->sessions == 1 && a->writes == 2) {
		shutdown(a->fd, SHUT_RDWR);
		return;
	}
	if (a->mode == EXCHANGED && a->sessions == 1 && a->writes == 2) {
		check(a, 0x70, 6, 0x3f0e);
		return;
	}
	if (a->mode == HURRIED && a->sessions == 2 && a->writes == 1) {
		respond(a, BUSY, NULL, 0);
		return;
	}
	atomic_store(&a->written, n / 512);
	atomic_fetch_add(&a->total, 1);
	if (a->mode == FAR)
		want(a, 0, 4 * n);
	else
		want(a, 0, n);
	if (a->mode == EARLY) {
		respond(a, GOOD, NULL, 0);
		(void)usleep(5000);
	}
}

static void command(struct array *a)
{
	static const uint8_t inquiry[36] = {0, 0, 6, 2, 31, 0, 0, 2, 'B', 'A', 'D'};
	uint8_t capacity[32] = {0};
	uint8_t identity[16] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, (uint8_t)a->sessions};
	const uint8_t *cdb = a->head + 32;

	vs_put_be64(capacity, BLOCKS - 1);
	vs_put_be32(capacity + 8, 512);
	if (cdb[0] == 0x00)
		respond(a, GOOD, NULL, 0);
	else if (cdb[0] == 0x12 && !(cdb[1] & 1))
		give(a, inquiry, sizeof(inquiry));
	else if (cdb[0] == 0x9e && cdb[1] == 0x10)
		give(a, capacity, sizeof(capacity));
	else if (cdb[0] == 0x88)
		read_blocks(a);
	else if (cdb[0] == 0x8a)
		write_blocks(a);
	else if (cdb[0] == 0x12 && cdb[2] == 0x83 && a->mode == EXCHANGED)
		give(a, identity, sizeof(identity));
	else if (cdb[0] == 0x35)
		sync_cache(a);
	else
		check(a, 0x70, 5, 0x2000);
}

static void *serve(void *arg)
{
	struct array *a = arg;

	while ((a->fd = accept(a->listener, NULL, NULL)) >= 0) {
		a->stat = 1;
		a->sessions++;
		a->writes = 0;
		while (get(a, a->head, BHS)) {
			uint32_t n = VS_ALIGN_UP(vs_get_be24(a->head + 5), 4);
			uint8_t opcode = a->head[0] & 0x3f;

			if (n > sizeof(a->data) || !get(a, a->data, n))
				break;
			if (opcode == 0x03)
				log_in(a);
			else if (opcode == 0x01)
				command(a);
			else if (opcode == 0x05 && (a->head[1] & 0x80) && a->mode != EARLY)
				respond(a, GOOD, NULL, 0);
			else if (opcode == 0x06)
				answer(a, 0x26, 0x80, 0, NULL, NULL, 0);
		}
		close(a->fd);
	}
	return NULL;
}

static struct array *start(enum mode mode)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct array *a = calloc(1, sizeof(*a));
	socklen_t len = sizeof(at);
	int small = 4096; /* so that data stays with the sender */

	a->mode = mode;
	a->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (mode == EARLY)
		setsockopt(a->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(a->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(a->listener, 4), 0);
	assert_int_equal(getsockname(a->listener, (struct sockaddr *)&at, &len), 0);
	a->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&a->thread, NULL, serve, a), 0);
	assert_int_equal(vs_loop_new(&a->loop, &a->err), 0);
	return a;
}

static int open_it(struct array *a, const atomic_bool *cancel)
{
	struct bs_lun_spec spec = {.keep = 32 << 20,
				   .hold_ns = a->mode >= HURRIED ? 0 : UINT64_C(200000000),
				   .cancel = cancel};
	char url[128];

	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/iqn.2026-11.org.example:bad/0", a->port);
	assert_int_equal(bs_lun_url_parse(url, &spec.url, &a->err), 0);
	return bs_lun_open(a->loop, &spec, &a->lun, &a->err);
}

static void stop(struct array *a)
{
	if (a->lun)
		bs_lun_close(a->lun);
	vs_loop_free(a->loop);
	shutdown(a->listener, SHUT_RDWR);
	pthread_join(a->thread, NULL);
	close(a->listener);
	free(a);
}

static void done(struct bs_lun_req *req)
{
	uint8_t *buf = req->iov[0].iov_base;

	if (req->op == BS_LUN_READ && req->status == 0)
		assert_int_equal(buf[req->length - 1], 0x77);
	free(buf);
	++*(unsigned *)req->arg;
}

static struct array *begin(enum mode mode)
{
	struct array *a = start(mode);

	if (open_it(a, NULL) != 0)
		fail_msg("%s", a->err.text);
	return a;
}

/* Several requests, each in a buffer that goes when it is done. */
static int use(enum mode mode, enum bs_lun_op op, uint32_t length)
{
	struct array *a = begin(mode);
	struct bs_lun_req req[64];
	unsigned ended = 0;
	int status = 0;

	assert_int_equal(bs_lun_info(a->lun).size, BLOCKS * UINT64_C(512));
	for (unsigned i = 0; i < VS_ARRAY_LEN(req); i++) {
		req[i] = (struct bs_lun_req){.op = op,
					     .offset = i * (uint64_t)length,
					     .length = length,
					     .iov = {{malloc(length + 1), length}},
					     .iovcnt = 1,
					     .done = done,
					     .arg = &ended};
		memset(req[i].iov[0].iov_base, 0x11, length);
		bs_lun_submit(a->lun, &req[i]);
	}
	while (ended < VS_ARRAY_LEN(req))
		vs_loop_turn(a->loop, 100);
	for (unsigned i = 0; i < VS_ARRAY_LEN(req); i++) {
		status = req[i].status ? req[i].status : status;
	}
	for (unsigned i = 0; i < 10; i++) /* what libiscsi still has in its queue goes out */
		vs_loop_turn(a->loop, 10);
	stop(a);
	return status;
}

static void test_honest(void **state)
{
	(void)state;
	assert_int_equal(use(HONEST, BS_LUN_READ, 4096), 0);
	assert_int_equal(use(HONEST, BS_LUN_WRITE, 262144), 0);
}

static void test_reads(void **state)
{
	static const enum mode modes[] = {SHORT, LONG, HUGE_PDU, NOISE, SENSELESS, CUT};

	(void)state;
	for (unsigned i = 0; i < VS_ARRAY_LEN(modes); i++)
		if (use(modes[i], BS_LUN_READ, 4096) != VS_E_IO)
			fail_msg("mode %d: no error", modes[i]);
}

static void test_writes(void **state)
{
	(void)state;
	(void)use(EARLY, BS_LUN_WRITE, 262144); /* it said that all is well: so be it */
	assert_int_equal(use(FAR, BS_LUN_WRITE, 4096), VS_E_IO);
}

static void submit(struct array *a, struct bs_lun_req *req, enum bs_lun_op op, uint32_t length,
		   unsigned *ended)
{
	*req = (struct bs_lun_req){.op = op,
				   .length = length,
				   .iov = {{calloc(1, length + 1), length}},
				   .iovcnt = 1,
				   .done = done,
				   .arg = ended};
	bs_lun_submit(a->lun, req);
}

static void turn_until(struct array *a, const unsigned *ended, unsigned n)
{
	while (*ended < n)
		vs_loop_turn(a->loop, 100);
}

/* What is sent again after a reconnect stays before all else, also when the array asks to wait. */
static void test_order(void **state)
{
	struct array *a = begin(HURRIED);
	struct bs_lun_req old, new, flush;
	unsigned ended = 0;

	(void)state;
	submit(a, &old, BS_LUN_WRITE, 4096, &ended);
	turn_until(a, &ended, 1);
	submit(a, &new, BS_LUN_WRITE, 8192, &ended);
	turn_until(a, &ended, 2);
	submit(a, &flush, BS_LUN_FLUSH, 0, &ended);
	turn_until(a, &ended, 3);
	assert_int_equal(new.status, 0);
	for (unsigned i = 0; i < 30; i++) /* a write that was put off comes in this time */
		vs_loop_turn(a->loop, 10);
	assert_int_equal(atomic_load(&a->written), 8192 / 512);
	stop(a);
}

/* Whoever may have lost a write gets it again before anything else, and before a flush is done. */
static void lose(enum mode mode)
{
	struct array *a = begin(mode);
	struct bs_lun_req first, read, flush;
	unsigned ended = 0;

	submit(a, &first, BS_LUN_WRITE, 4096, &ended);
	turn_until(a, &ended, 1);
	submit(a, &read, BS_LUN_READ, 4096, &ended);
	if (mode == DEFERRED)
		turn_until(a, &ended, 2);
	submit(a, &flush, BS_LUN_FLUSH, 0, &ended);
	turn_until(a, &ended, 3);
	assert_true(first.status == 0 && read.status == 0 && flush.status == 0);
	assert_int_equal(atomic_load(&a->total), 2);
	stop(a);
}

static void test_exchanged(void **state)
{
	struct array *a = begin(EXCHANGED);
	struct bs_lun_req req[2];
	unsigned ended = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		submit(a, &req[i], BS_LUN_WRITE, 4096, &ended);
		turn_until(a, &ended, i + 1);
	}
	assert_int_equal(req[0].status, 0);
	assert_int_equal(req[1].status, VS_E_IO);
	assert_int_equal(atomic_load(&a->total), 1);
	stop(a);
}

static void test_flush(void **state)
{
	(void)state;
	assert_int_equal(use(HONEST, BS_LUN_FLUSH, 0), 0); /* there is no such command */
	assert_int_equal(use(NO_SYNC, BS_LUN_FLUSH, 0), VS_E_IO);
	lose(DEFERRED);
	lose(RESET);
}

static void *cancel_soon(void *flag)
{
	(void)usleep(200000);
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void test_login(void **state)
{
	atomic_bool cancel = false;
	struct array *a = start(MUTE);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
	assert_int_equal(open_it(a, &cancel), VS_E_CANCELED);
	pthread_join(thread, NULL);
	stop(a);
	a = start(BABBLE);
	assert_int_not_equal(open_it(a, NULL), 0);
	assert_null(strchr(a->err.text, '\n'));
	stop(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_honest), cmocka_unit_test(test_reads),
	    cmocka_unit_test(test_writes), cmocka_unit_test(test_order),
	    cmocka_unit_test(test_flush),  cmocka_unit_test(test_exchanged),
	    cmocka_unit_test(test_login),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
