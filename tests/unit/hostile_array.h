/*
 * An array that breaks the protocol, for tests: one session at a time, served by a thread of its
 * own that knows just enough of a target to get a LUN opened, and then does what its mode says.
 */
#ifndef TESTS_UNIT_HOSTILE_ARRAY_H
#define TESTS_UNIT_HOSTILE_ARRAY_H

#include "common/bytes.h"

#include <arpa/inet.h>
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
	SWAPPED,   /* another one while it is asked who it is, after its cable was pulled */
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
	bool swapped;
	atomic_uint total; /* writes of all sessions */
	uint8_t held[BHS];
	atomic_uint written; /* blocks of the last write */
	pthread_t thread;
	uint8_t head[BHS], data[1 << 20];
};

static inline bool array_get(struct array *a, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = recv(a->fd, (uint8_t *)p + got, n - got, 0);

		if (k <= 0)
			return false;
		got += (size_t)k;
	}
	return true;
}

static inline void array_put(struct array *a, const void *p, size_t n)
{
	if (send(a->fd, p, n, MSG_NOSIGNAL) < 0)
		return; /* the other side has had enough */
}

/* Answers the request in head: opcode, flags, bytes 36 to 47 of the header, a data segment. */
static inline void array_answer(struct array *a, uint8_t opcode, uint8_t flags, uint8_t status,
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
	array_put(a, out, sizeof(out));
	if (n) {
		array_put(a, data, n);
		array_put(a, "\0\0\0", -n & 3);
	}
}

static inline void array_log_in(struct array *a)
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
		array_answer(a, 0x23, a->head[1], 0, NULL, a->data, 8192);
		return;
	}
	array_answer(a, 0x23, a->head[1] & 0x8f, 0, NULL, security ? none : keys,
		     security ? sizeof(none) : sizeof(keys));
}

static inline void array_respond(struct array *a, uint8_t status, const void *data, uint32_t n)
{
	array_answer(a, 0x21, 0x80, status, NULL, data, n);
}

static inline void array_check(struct array *a, uint8_t response, uint8_t key, uint16_t ascq)
{
	uint8_t sense[20] = {0, 18, response, 0, key, 0, 0,	    0,
			     0, 10, 0,	      0, 0,   0, ascq >> 8, ascq & 0xff};

	array_respond(a, CHECK, sense, sizeof(sense));
}

/* The reset that a read is told of, and at once an answer to the flush behind it. */
static inline void array_reset(struct array *a)
{
	uint8_t head[BHS];

	memcpy(head, a->head, BHS);
	memcpy(a->head, a->held, BHS);
	array_check(a, 0x70, 6, 0x2900);
	memcpy(a->head, head, BHS);
	array_respond(a, GOOD, NULL, 0);
}

static inline void array_sync_cache(struct array *a)
{
	if (a->mode == NO_SYNC)
		array_check(a, 0x70, 5, 0x2400);
	else if (a->mode == RESET && a->sessions == 1)
		array_reset(a);
	else
		array_check(a, 0x70, 5, 0x2000);
}

/* Data-In with status. */
static inline void array_give(struct array *a, const void *data, uint32_t n)
{
	array_answer(a, 0x25, 0x81, GOOD, NULL, data, n);
}

static inline void array_read_blocks(struct array *a)
{
	uint32_t n = vs_get_be32(a->head + 32 + 10) * 512;
	uint8_t tail[12] = {0};

	memset(a->data, 0x77, sizeof(a->data));
	switch (a->mode) {
	case SHORT:
		vs_put_be32(tail + 8, n);
		array_answer(a, 0x21, 0x82, GOOD, tail, NULL, 0);
		break;
	case LONG:
		array_give(a, a->data, n + 4096);
		break;
	case HUGE_PDU:
		array_give(a, a->data, sizeof(a->data));
		break;
	case NOISE:
		array_put(a, a->data, 4096);
		break;
	case SENSELESS:
		array_respond(a, CHECK, NULL, 0);
		break;
	case CUT:
		array_put(a, "\x25\x81\0\0\0\0", 6);
		shutdown(a->fd, SHUT_RDWR);
		break;
	case DEFERRED:
		if (a->sessions == 1)
			array_check(a, 0x71, 1, 0x1700);
		else
			array_give(a, a->data, n);
		break;
	case RESET:
		if (a->sessions == 1)
			memcpy(a->held, a->head, BHS);
		else
			array_give(a, a->data, n);
		break;
	default:
		array_give(a, a->data, n);
	}
}

static inline void array_want(struct array *a, uint32_t offset, uint32_t n)
{
	uint8_t out[BHS] = {0x31, 0x80};

	memcpy(out + 8, a->head + 8, 12);
	vs_put_be32(out + 20, 7);
	vs_put_be32(out + 24, a->stat);
	vs_put_be32(out + 28, vs_get_be32(a->head + 24) + 1);
	vs_put_be32(out + 32, vs_get_be32(a->head + 24) + 64);
	vs_put_be32(out + 40, offset);
	vs_put_be32(out + 44, n);
	array_put(a, out, sizeof(out));
}

static inline void array_write_blocks(struct array *a)
{
	uint32_t n = vs_get_be32(a->head + 32 + 10) * 512;

	a->writes++;
	if ((a->mode == HURRIED || a->mode == SWAPPED) && a->sessions == 1 && a->writes == 2) {
		shutdown(a->fd, SHUT_RDWR);
		return;
	}
	if (a->mode == EXCHANGED && a->sessions == 1 && a->writes == 2) {
		array_check(a, 0x70, 6, 0x3f0e);
		return;
	}
	if (a->mode == HURRIED && a->sessions == 2 && a->writes == 1) {
		array_respond(a, BUSY, NULL, 0);
		return;
	}
	atomic_store(&a->written, n / 512);
	atomic_fetch_add(&a->total, 1);
	if (a->mode == FAR)
		array_want(a, 0, 4 * n);
	else
		array_want(a, 0, n);
	if (a->mode == EARLY) {
		array_respond(a, GOOD, NULL, 0);
		(void)usleep(5000);
	}
}

static inline void array_command(struct array *a)
{
	static const uint8_t inquiry[36] = {0, 0, 6, 2, 31, 0, 0, 2, 'B', 'A', 'D'};
	uint8_t capacity[32] = {0};
	uint8_t identity[16] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x50};
	const uint8_t *cdb = a->head + 32;

	identity[9] = a->mode == SWAPPED ? a->swapped : (uint8_t)a->sessions;
	vs_put_be64(capacity, BLOCKS - 1);
	vs_put_be32(capacity + 8, 512);
	if (cdb[0] == 0x00)
		array_respond(a, GOOD, NULL, 0);
	else if (cdb[0] == 0x12 && !(cdb[1] & 1))
		array_give(a, inquiry, sizeof(inquiry));
	else if (cdb[0] == 0x9e && cdb[1] == 0x10)
		array_give(a, capacity, sizeof(capacity));
	else if (cdb[0] == 0x88)
		array_read_blocks(a);
	else if (cdb[0] == 0x8a)
		array_write_blocks(a);
	else if (cdb[0] == 0x12 && cdb[2] == 0x83 && (a->mode == EXCHANGED || a->mode == SWAPPED))
		array_give(a, identity, sizeof(identity));
	else if (cdb[0] == 0x12 && cdb[2] == 0xb0 && a->mode == SWAPPED && a->sessions == 2 &&
		 !a->swapped) {
		a->swapped = true;
		array_check(a, 0x70, 6, 0x3f0e);
	} else if (cdb[0] == 0x35)
		array_sync_cache(a);
	else
		array_check(a, 0x70, 5, 0x2000);
}

static inline void *array_serve(void *arg)
{
	struct array *a = arg;

	while ((a->fd = accept(a->listener, NULL, NULL)) >= 0) {
		a->stat = 1;
		a->sessions++;
		a->writes = 0;
		while (array_get(a, a->head, BHS)) {
			uint32_t n = VS_ALIGN_UP(vs_get_be24(a->head + 5), 4);
			uint8_t opcode = a->head[0] & 0x3f;

			if (n > sizeof(a->data) || !array_get(a, a->data, n))
				break;
			if (opcode == 0x03)
				array_log_in(a);
			else if (opcode == 0x01)
				array_command(a);
			else if (opcode == 0x05 && (a->head[1] & 0x80) && a->mode != EARLY)
				array_respond(a, GOOD, NULL, 0);
			else if (opcode == 0x06)
				array_answer(a, 0x26, 0x80, 0, NULL, NULL, 0);
		}
		close(a->fd);
	}
	return NULL;
}

static inline struct array *array_start(enum mode mode)
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
	assert_int_equal(pthread_create(&a->thread, NULL, array_serve, a), 0);
	return a;
}

static inline void array_stop(struct array *a)
{
	shutdown(a->listener, SHUT_RDWR);
	pthread_join(a->thread, NULL);
	close(a->listener);
	free(a);
}

#endif
