/* A LUN of an array, which is our own target in this process: read, written, cut off, lied to. */
#include "blockstore/lun.h"
#include "blockstore/store.h"
#include "blockstore/volume.h"
#include "common/bytes.h"
#include "targets/iscsi/server.h"

#include "tests/unit/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <pthread.h>

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

static void must(struct scene *s, int rc)
{
	if (rc != 0)
		fail_msg("%s", s->err.text);
}

static void start_array(struct scene *s, const char *secret)
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

static void *stop_server(void *arg)
{
	struct scene *s = arg;

	iscsi_server_stop(s->server);
	atomic_store(&s->stopped, true);
	return NULL;
}

/* It asks who is logged in to log out, and waits a while for that. */
static void stop_array(struct scene *s)
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

static int setup(void **state)
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

static int teardown(void **state)
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

static int try_open(struct scene *s, const char *iqn, unsigned lun, struct bs_lun_spec *spec)
{
	char url[300];

	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/%s/%u", s->port, iqn, lun);
	must(s, bs_lun_url_parse(url, &spec->url, &s->err));
	return bs_lun_open(s->loop, spec, &s->lun, &s->err);
}

static void open_lun(struct scene *s, uint64_t hold_ns)
{
	struct bs_lun_spec spec = {.keep = 4 * MIB, .hold_ns = hold_ns};

	must(s, try_open(s, IQN, 0, &spec));
}

static void done(struct bs_lun_req *req)
{
	*(bool *)req->arg = true;
}

static void turn_until(struct scene *s, const bool *flag)
{
	while (!*flag)
		vs_loop_turn(s->loop, 100);
}

/* One request to its end. */
static int io_as(struct scene *s, enum bs_lun_op op, bool durable, uint64_t offset, void *buf,
		 uint64_t length)
{
	bool ended = false;
	struct bs_lun_req req = {
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

static int io(struct scene *s, enum bs_lun_op op, uint64_t offset, void *buf, uint64_t length)
{
	return io_as(s, op, false, offset, buf, length);
}

static uint8_t *pattern(uint64_t length, unsigned seed)
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

static void assert_holds(struct scene *s, uint64_t offset, const uint8_t *what, uint64_t length)
{
	uint8_t *got = malloc(length);

	assert_int_equal(io(s, BS_LUN_READ, offset, got, length), 0);
	if (memcmp(got, what, length) != 0)
		fail_msg("other bytes at %llu", (unsigned long long)offset);
	free(got);
}

static void test_read_write(void **state)
{
	struct scene *s = *state;
	uint8_t *big = pattern(5 * MIB, 1), *small = pattern(512, 2);
	struct bs_lun_info i;

	open_lun(s, 0);
	i = bs_lun_info(s->lun);
	assert_int_equal(i.size, SIZE);
	assert_int_equal(i.sector, 512);
	assert_true(i.unmap && i.sparse && i.up && !i.read_only);
	/* more than is kept: it flushes by itself */
	assert_int_equal(io(s, BS_LUN_WRITE, 4096, big, 5 * MIB), 0);
	assert_int_equal(io(s, BS_LUN_WRITE, 4096 + 512, small, 512), 0);
	memcpy(big + 512, small, 512);
	assert_holds(s, 4096, big, 5 * MIB);
	assert_int_equal(io(s, BS_LUN_WRITE, SIZE - 512, small, 512), 0);
	assert_holds(s, SIZE - 512, small, 512);
	assert_int_equal(io(s, BS_LUN_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(io(s, BS_LUN_READ, SIZE, small, 512), VS_E_RANGE);
	assert_int_equal(io(s, BS_LUN_READ, UINT64_MAX - 511, small, 512), VS_E_RANGE);
	assert_int_equal(io(s, BS_LUN_READ, 100, small, 512), VS_E_RANGE);
	free(big);
	free(small);
}

static void test_durable(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(4096, 3);

	open_lun(s, 0);
	assert_int_equal(io_as(s, BS_LUN_WRITE, true, 0, data, 4096), 0);
	assert_holds(s, 0, data, 4096);
	free(data);
}

/* Older things that are sent again leave what was written durably over them. */
static void test_durable_stays(void **state)
{
	struct scene *s = *state;
	uint8_t *old = pattern(8192, 12), *new = pattern(8192, 13);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_LUN_WRITE, 0, old, 8192), 0);
	assert_int_equal(io(s, BS_LUN_UNMAP, MIB, NULL, MIB), 0);
	assert_int_equal(io_as(s, BS_LUN_WRITE, true, 4096, new, 8192), 0);
	assert_int_equal(io_as(s, BS_LUN_WRITE, true, MIB, new, 8192), 0);
	stop_array(s);
	start_array(s, NULL);
	assert_holds(s, 0, old, 4096);
	assert_holds(s, 4096, new, 8192);
	assert_holds(s, MIB, new, 8192);
	free(old);
	free(new);
}

/* Which blocks of [offset, offset + length) hold data, by STATUS from run to run. */
static void look(struct scene *s, uint64_t offset, uint64_t length, char *out)
{
	struct bs_lun_run runs[3];

	while (length) {
		bool ended = false;
		struct bs_lun_req req = {.op = BS_LUN_STATUS,
					 .offset = offset,
					 .length = length,
					 .runs = runs,
					 .max_runs = 3,
					 .done = done,
					 .arg = &ended};

		bs_lun_submit(s->lun, &req);
		turn_until(s, &ended);
		assert_int_equal(req.status, 0);
		assert_in_range(req.nruns, 1, 3);
		for (unsigned i = 0; i < req.nruns; i++) {
			assert_true(runs[i].length && runs[i].length <= length);
			assert_int_equal(runs[i].length % 4096, 0);
			memset(out, runs[i].mapped ? '#' : '.', runs[i].length / 4096);
			out += runs[i].length / 4096;
			offset += runs[i].length;
			length -= runs[i].length;
		}
	}
	*out = '\0';
}

static void test_status(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(4096, 4);
	char map[17];

	open_lun(s, 0);
	for (unsigned i = 1; i < 16; i += 2 + i % 3)
		assert_int_equal(io(s, BS_LUN_WRITE, i * UINT64_C(4096), data, 4096), 0);
	look(s, 0, 16 * 4096, map);
	assert_string_equal(map, ".#..#..#..#..#..");
	look(s, 4 * 4096, 4 * 4096, map);
	assert_string_equal(map, "#..#");
	assert_int_equal(io(s, BS_LUN_UNMAP, 4 * 4096, NULL, 4 * 4096), 0);
	look(s, 0, 16 * 4096, map);
	assert_string_equal(map, ".#........#..#..");
	free(data);
}

static void test_zero(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(MIB, 5), *none = calloc(1, MIB);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_LUN_WRITE, MIB, data, MIB), 0);
	assert_int_equal(io(s, BS_LUN_ZERO, MIB + 4096, NULL, MIB - 2 * 4096), 0);
	assert_holds(s, MIB, data, 4096);
	assert_holds(s, MIB + 4096, none, MIB - 2 * 4096);
	assert_holds(s, 2 * MIB - 4096, data + MIB - 4096, 4096);
	assert_int_equal(io(s, BS_LUN_ZERO, 0, NULL, SIZE), 0);
	assert_holds(s, MIB, none, 4096);
	free(data);
	free(none);
}

static void test_read_only(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = MIB};
	uint8_t data[4096] = {1};

	must(s, try_open(s, IQN, 1, &spec));
	assert_true(bs_lun_info(s->lun).read_only);
	assert_int_equal(bs_lun_info(s->lun).sector, 4096);
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), VS_E_ROFS);
	assert_int_equal(io(s, BS_LUN_READ, 0, data, 4096), 0);
	bs_lun_close(s->lun);
	spec.keep = 0; /* opened to be read only */
	must(s, try_open(s, IQN, 0, &spec));
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), VS_E_ROFS);
}

static void assert_refused(struct scene *s, int rc, int code, const char *words)
{
	assert_null(s->lun);
	if (rc != code || !strstr(s->err.text, words) || strchr(s->err.text, '\n'))
		fail_msg("%s: %s", vs_err_name(rc), s->err.text);
}

static void test_refused(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = MIB};
	uint16_t port = s->port;
	atomic_bool cancel = true;

	assert_refused(s, try_open(s, IQN "x", 0, &spec), VS_E_NOENT, "no such target");
	assert_refused(s, try_open(s, IQN, 9, &spec), VS_E_NOENT, "no such LUN");
	spec.cancel = &cancel;
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_CANCELED, "cancel");
	spec.cancel = NULL;
	stop_array(s);
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_IO, "Connection refused");
	start_array(s, SECRET);
	assert_int_equal(s->port, port);
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_ACCESS, "CHAP");
	spec.login.user = "joe";
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_INVAL, "go together");
	spec.login.secret = "another secret";
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_ACCESS, "wrong CHAP user or secret");
	spec.login.secret = SECRET;
	must(s, try_open(s, IQN, 0, &spec));
}

/* A target that has moved is followed; one that sends in circles is not for ever. */
static void test_redirected(void **state)
{
	struct scene *s = *state;
	struct iscsi_server *there = s->server;
	struct bs_lun_spec spec = {.keep = MIB};
	uint8_t *data = pattern(MIB, 11);
	struct iscsi_session_info info;
	char to[32];

	snprintf(to, sizeof(to), "127.0.0.1:%u,1", s->port);
	s->port = 0;
	s->redirect = to;
	start_array(s, NULL);
	must(s, try_open(s, IQN, 0, &spec));
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, MIB), 0);
	assert_holds(s, 0, data, MIB);
	assert_int_equal(iscsi_server_sessions(there, IQN, &info, 1), 1);
	bs_lun_close(s->lun);
	s->lun = NULL;
	stop_array(s);
	snprintf(to, sizeof(to), "127.0.0.1:%u", s->port);
	start_array(s, NULL);
	assert_int_not_equal(try_open(s, IQN, 0, &spec), 0);
	assert_non_null(strstr(s->err.text, "moved"));
	iscsi_server_stop(there);
	free(data);
}

/* The array has to know a secret, too. */
static void test_mutual(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.login = {.user = "joe",
					     .secret = SECRET,
					     .mutual_user = "array",
					     .mutual_secret = "what an impostor says"}};

	stop_array(s);
	start_array(s, SECRET);
	assert_int_not_equal(try_open(s, IQN, 0, &spec), 0);
	assert_null(s->lun);
	spec.login.mutual_secret = MUTUAL;
	must(s, try_open(s, IQN, 0, &spec));
}

/* A thin LUN whose array is full says so, and still reads. */
static void test_full(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = 4 * MIB};
	uint8_t *data;
	uint64_t at = 0;
	int rc = 0;

	must(s, try_open(s, IQN, BIG, &spec));
	for (; rc == 0 && at < 16 * SIZE; at += 4 * MIB) {
		data = pattern(4 * MIB, (unsigned)(at / MIB));

		rc = io(s, BS_LUN_WRITE, at, data, 4 * MIB);
		free(data);
	}
	assert_int_equal(rc, VS_E_NOSPC);
	assert_true(at > SIZE / 4);
	data = pattern(4096, 0);
	assert_holds(s, 0, data, 4096);
	free(data);
}

/* What is under way when the array goes is held, and done when it is back. */
static void test_held(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(MIB, 6);
	bool ended[3] = {false};
	struct bs_lun_req req[3];

	open_lun(s, 0);
	for (unsigned i = 0; i < 3; i++) {
		req[i] = (struct bs_lun_req){.op = BS_LUN_WRITE,
					     .offset = i * MIB,
					     .length = MIB,
					     .iov = {{data, MIB}},
					     .iovcnt = 1,
					     .done = done,
					     .arg = &ended[i]};
		bs_lun_submit(s->lun, &req[i]);
		if (i == 0) {
			vs_loop_turn(s->loop, 0);
			stop_array(s);
		}
	}
	for (unsigned i = 0; i < 20; i++)
		vs_loop_turn(s->loop, 10);
	assert_false(bs_lun_info(s->lun).up);
	assert_false(ended[1] || ended[2]);
	start_array(s, NULL);
	for (unsigned i = 0; i < 3; i++) {
		turn_until(s, &ended[i]);
		assert_int_equal(req[i].status, 0);
		assert_holds(s, i * MIB, data, MIB);
	}
	assert_true(bs_lun_info(s->lun).up);
	free(data);
}

static void test_gone_too_long(void **state)
{
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, UINT64_C(200000000));
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), 0);
	stop_array(s);
	assert_int_equal(io(s, BS_LUN_READ, 0, data, 4096), VS_E_IO);
	assert_int_equal(io(s, BS_LUN_FLUSH, 0, NULL, 0), VS_E_IO);
	start_array(s, NULL);
	while (!bs_lun_info(s->lun).up)
		vs_loop_turn(s->loop, 100);
	assert_int_equal(io(s, BS_LUN_READ, 0, data, 4096), 0);
	assert_int_equal(data[0], 7);
}

/* The array's volume goes back to what it was: it has lost what was in its cache. */
static void lose(struct scene *s, const char *snapshot)
{
	stop_array(s);
	must(s, bs_snapshot_rollback(s->store, snapshot, &s->err));
	start_array(s, NULL);
}

static void test_lost_cache(void **state)
{
	struct scene *s = *state;
	const char *snap = "v@flushed";
	uint8_t *a = pattern(MIB, 8), *b = pattern(MIB, 9), *none = calloc(1, MIB);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_LUN_WRITE, 0, a, MIB), 0);
	assert_int_equal(io(s, BS_LUN_WRITE, 3 * MIB, a, MIB), 0);
	assert_int_equal(io(s, BS_LUN_FLUSH, 0, NULL, 0), 0);
	must(s, bs_snapshot_create(s->store, &snap, 1, &s->err));
	/* overlapping ones, which are to be sent again in this order */
	assert_int_equal(io(s, BS_LUN_WRITE, 4096, b, MIB), 0);
	assert_int_equal(io(s, BS_LUN_WRITE, 8192, a, MIB / 2), 0);
	assert_int_equal(io(s, BS_LUN_ZERO, 3 * MIB, NULL, MIB / 2), 0);
	lose(s, snap);
	assert_int_equal(io(s, BS_LUN_FLUSH, 0, NULL, 0), 0);
	assert_holds(s, 0, a, 4096);
	assert_holds(s, 4096, b, 4096);
	assert_holds(s, 8192, a, MIB / 2);
	assert_holds(s, 8192 + MIB / 2, b + 4096 + MIB / 2, MIB / 2 - 4096);
	assert_holds(s, 3 * MIB, none, MIB / 2);
	assert_holds(s, 3 * MIB + MIB / 2, a + MIB / 2, MIB / 2);
	free(a);
	free(b);
	free(none);
}

/* What was flushed is the array's own affair: it is not sent again. */
static void test_not_kept(void **state)
{
	struct scene *s = *state;
	const char *snap = "v@empty";
	uint8_t *data = pattern(4096, 10), *none = calloc(1, 4096);

	open_lun(s, 0);
	must(s, bs_snapshot_create(s->store, &snap, 1, &s->err));
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), 0);
	assert_int_equal(io(s, BS_LUN_FLUSH, 0, NULL, 0), 0);
	lose(s, snap);
	assert_holds(s, 0, none, 4096);
	free(data);
	free(none);
}

/* Behind the same name there is another LUN: nothing is written to it. */
static void test_other_lun(void **state)
{
	struct bs_volume_spec v = {.name = "v", .size = SIZE, .sector = 512, .compression = -1};
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, UINT64_C(300000000));
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), 0);
	stop_array(s);
	must(s, bs_volume_delete(s->store, "v", BS_DELETE_PLAIN, &s->err));
	must(s, bs_volume_create(s->store, &v, NULL, &s->err));
	start_array(s, NULL);
	assert_int_equal(io(s, BS_LUN_WRITE, 0, data, 4096), VS_E_IO);
	bs_lun_close(s->lun);
	open_lun(s, 0);
	assert_int_equal(io(s, BS_LUN_READ, 0, data, 4096), 0);
	assert_int_equal(data[0], 0);
}

static void test_grows(void **state)
{
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, 0);
	must(s, bs_volume_resize(s->store, "v", 2 * SIZE, false, &s->err));
	assert_int_equal(io(s, BS_LUN_READ, 0, data, 4096), 0); /* meets the unit attention */
	while (bs_lun_info(s->lun).size != 2 * SIZE)
		vs_loop_turn(s->loop, 100);
	assert_int_equal(io(s, BS_LUN_WRITE, 2 * SIZE - 4096, data, 4096), 0);
}

static void io_done(struct bs_devio *io)
{
	*(bool *)io->arg = true;
}

/* Used as an engine does: by submit, kick and poll; one process at a time; away and back. */
static void test_device(void **state)
{
	struct scene *s = *state;
	uint8_t *a = aligned_alloc(4096, MIB), *b = aligned_alloc(4096, MIB);
	struct bs_device *dev, *again;
	bool ended = false;
	struct bs_devio io = {.op = BS_DEV_READ,
			      .length = MIB,
			      .iov = {{b, 4096}, {b + 4096, MIB - 4096}},
			      .iovcnt = 2,
			      .done = io_done,
			      .arg = &ended};
	char url[200];

	memset(a, 0x5a, MIB);
	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/%s/0", s->port, IQN);
	must(s, bs_device_open(url, 0, 0, &dev, &s->err));
	s->dev = dev;
	assert_int_equal(dev->size, SIZE);
	assert_int_equal(bs_device_open(url, 0, 0, &again, &s->err), VS_E_BUSY);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, a, MIB), 0);
	stop_array(s);
	bs_device_submit(dev, &io);
	bs_device_kick(dev);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(bs_device_poll(dev), 0);
		dev->ops->wait(dev);
	}
	start_array(s, NULL);
	while (!ended)
		if (bs_device_poll(dev) == 0)
			dev->ops->wait(dev);
	assert_int_equal(io.status, 0);
	assert_memory_equal(a, b, MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_DISCARD, 0, NULL, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READY, 0, NULL, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, SIZE, b, 4096), VS_E_IO);
	s->dev = NULL;
	bs_device_close(dev);
	must(s, bs_device_open(url, BS_DEVICE_READ_ONLY, 0, &dev, &s->err));
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, a, 4096), VS_E_IO);
	bs_device_close(dev);
	free(a);
	free(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_read_write), TEST(test_durable),	     TEST(test_status),
	    TEST(test_zero),	   TEST(test_read_only),     TEST(test_refused),
	    TEST(test_held),	   TEST(test_gone_too_long), TEST(test_lost_cache),
	    TEST(test_not_kept),   TEST(test_other_lun),     TEST(test_grows),
	    TEST(test_redirected), TEST(test_mutual),	     TEST(test_full),
	    TEST(test_device),	   TEST(test_durable_stays),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
