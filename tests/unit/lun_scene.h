/*
 * What the tests of LUNs share: an array, which is our own target with threads of its own, and the
 * initiator's side, which runs in the test's thread.
 */
#ifndef TESTS_UNIT_LUN_SCENE_H
#define TESTS_UNIT_LUN_SCENE_H

#include "blockstore/lun.h"
#include "blockstore/store.h"
#include "blockstore/volume.h"
#include "targets/iscsi/server.h"

#include "tests/unit/files.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IQN "iqn.2026-11.org.example:array"
#define MIB (UINT64_C(1) << 20)
#define SIZE (64 * MIB)
#define SECRET "twelve or more"
#define MUTUAL "the array's own"
#define BIG 44 /* LUN of a volume larger than its store */

struct scene {
	char folder[32], path[48];
	struct bs_store *store;
	struct iscsi_server *server;
	uint16_t port;
	struct vs_loop *loop;
	struct bs_lun *lun;
	struct bs_device *dev;
	atomic_bool stopped;
	const char *redirect; /* of the target at the next start */
	struct vs_error err;
};

static inline void must(struct scene *s, int rc)
{
	if (rc != 0)
		fail_msg("%s", s->err.text);
}

static inline void start_array(struct scene *s, const char *secret)
{
	const struct iscsi_portal portal = {.tag = 1, .address = "127.0.0.1", .port = s->port};
	const struct iscsi_lun_config luns[] = {{.lun = 0, .volume = "v"},
						{.lun = 1, .volume = "ro", .read_only = true},
						{.lun = BIG, .volume = "big"}};
	const struct iscsi_target_config target = {.iqn = IQN,
						   .luns = luns,
						   .nluns = 3,
						   .chap_user = secret ? "joe" : NULL,
						   .chap_secret = secret,
						   .redirect = s->redirect,
						   .mutual_user = secret ? "array" : NULL,
						   .mutual_secret = secret ? MUTUAL : NULL};

	must(s, iscsi_server_start(
		    &(struct iscsi_server_options){
			.store = s->store, .portals = &portal, .nportals = 1, .threads = 1},
		    &s->server, &s->err));
	s->port = iscsi_server_port(s->server, 0);
	must(s, iscsi_server_set_target(s->server, &target, &s->err));
}

static inline void *stop_server(void *arg)
{
	struct scene *s = arg;

	iscsi_server_stop(s->server);
	atomic_store(&s->stopped, true);
	return NULL;
}

/* It asks who is logged in to log out, and waits a while for that. */
static inline void stop_array(struct scene *s)
{
	pthread_t thread;

	atomic_store(&s->stopped, false);
	assert_int_equal(pthread_create(&thread, NULL, stop_server, s), 0);
	while (!atomic_load(&s->stopped)) {
		vs_loop_turn(s->loop, 10);
		if (s->dev)
			assert_int_equal(bs_device_poll(s->dev), 0);
	}
	pthread_join(thread, NULL);
	s->server = NULL;
}

static inline int setup(void **state)
{
	const struct bs_init_options init = {.segment_size = 1 << 20};
	const struct bs_open_options open = {.memory = UINT64_C(256) << 20};
	struct bs_volume_spec v = {.name = "v", .size = SIZE, .sector = 512, .compression = -1};
	struct bs_volume_spec ro = {.name = "ro", .size = MIB, .sector = 4096, .compression = -1};
	struct bs_volume_spec big = {.name = "big", .size = 16 * SIZE, .compression = -1};
	struct scene *s = calloc(1, sizeof(*s));
	struct bs_device *dev;

	snprintf(s->folder, sizeof(s->folder), "/var/tmp/lun-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/store.img", s->folder);
	must(s, bs_device_open(s->path, BS_DEVICE_CREATE, 128 * MIB, &dev, &s->err));
	must(s, bs_store_init(dev, &init, &s->err));
	must(s, bs_store_open(dev, &open, &s->store, &s->err));
	must(s, bs_volume_create(s->store, &v, NULL, &s->err));
	must(s, bs_volume_create(s->store, &ro, NULL, &s->err));
	must(s, bs_volume_create(s->store, &big, NULL, &s->err));
	must(s, vs_loop_new(&s->loop, &s->err));
	start_array(s, NULL);
	*state = s;
	return 0;
}

static inline int teardown(void **state)
{
	struct scene *s = *state;

	if (s->lun)
		bs_lun_close(s->lun);
	if (s->server)
		iscsi_server_stop(s->server);
	vs_loop_free(s->loop);
	must(s, bs_store_close(s->store, &s->err));
	assert_int_equal(files_remove(s->folder), 0);
	free(s);
	return 0;
}

static inline int try_open(struct scene *s, const char *iqn, unsigned lun, struct bs_lun_spec *spec)
{
	char url[300];

	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/%s/%u", s->port, iqn, lun);
	must(s, bs_lun_url_parse(url, &spec->url, &s->err));
	return bs_lun_open(s->loop, spec, &s->lun, &s->err);
}

static inline void open_lun(struct scene *s, uint64_t hold_ns)
{
	struct bs_lun_spec spec = {.keep = 4 * MIB, .hold_ns = hold_ns};

	must(s, try_open(s, IQN, 0, &spec));
}

static inline void done(struct bs_far_req *req)
{
	*(bool *)req->arg = true;
}

static inline void turn_until(struct scene *s, const bool *flag)
{
	while (!*flag)
		vs_loop_turn(s->loop, 100);
}

/* One request to its end. */
static inline int io_as(struct scene *s, enum bs_far_op op, bool durable, uint64_t offset,
			void *buf, uint64_t length)
{
	bool ended = false;
	struct bs_far_req req = {
	    .op = op, .durable = durable, .offset = offset, .length = length, .done = done};

	req.arg = &ended;
	if (buf) {
		/* in two parts that no sector ends at */
		req.iov[0] = (struct iovec){buf, 100};
		req.iov[1] = (struct iovec){(uint8_t *)buf + 100, length - 100};
		req.iovcnt = 2;
	}
	bs_lun_submit(s->lun, &req);
	assert_false(ended);
	turn_until(s, &ended);
	return req.status;
}

static inline int io(struct scene *s, enum bs_far_op op, uint64_t offset, void *buf,
		     uint64_t length)
{
	return io_as(s, op, false, offset, buf, length);
}

static inline uint8_t *pattern(uint64_t length, unsigned seed)
{
	uint8_t *p = malloc(length);
	uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);

	for (uint64_t i = 0; i + 8 <= length; i += 8) { /* xorshift64 */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, 8);
	}
	return p;
}

static inline void assert_holds(struct scene *s, uint64_t offset, const uint8_t *what,
				uint64_t length)
{
	uint8_t *got = malloc(length);

	assert_int_equal(io(s, BS_FAR_READ, offset, got, length), 0);
	if (memcmp(got, what, length) != 0)
		fail_msg("other bytes at %llu", (unsigned long long)offset);
	free(got);
}

#endif
