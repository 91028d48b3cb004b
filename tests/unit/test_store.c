#include "blockstore/check.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#define SIZE (UINT64_C(256) << 20)

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
};

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(f->path, 0, 0, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_store_open(dev, &opts, &f->s, &err))
		fail_msg("%s", err.text);
	if (bs_port_open(f->s, f->loop, 64, &f->port, &err))
		fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	struct vs_error err = {0};

	bs_port_close(f->port);
	if (bs_store_close(f->s, &err))
		fail_msg("%s", err.text);
}

static void check_store(const struct fixture *f)
{
	struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res;
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(f->path, BS_DEVICE_READ_ONLY, 0, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_check_run(dev, &opts, &res, &err))
		fail_msg("%s", err.text);
	assert_int_equal(res.problems, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options opts = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct vs_error err = {0};

	snprintf(f->path, sizeof(f->path), "/tmp/vstore-test-%d.img", getpid());
	unlink(f->path);
	if (bs_device_open(f->path, BS_DEVICE_CREATE, SIZE, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_store_init(dev, &opts, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	check_store(f);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static void create(struct fixture *f, const char *name, uint64_t size)
{
	struct bs_volume_spec spec = {.name = name, .size = size, .compression = -1};
	struct vs_error err = {0};

	if (bs_volume_create(f->s, &spec, NULL, &err))
		fail_msg("%s", err.text);
}

static struct bs_volume *vol(struct fixture *f, const char *name)
{
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	if (bs_volume_open(f->s, name, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

static void pattern(uint8_t *buf, size_t n, uint64_t seed)
{
	for (size_t i = 0; i + 8 <= n; i += 8) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		vs_put_le64(buf + i, seed ^ seed >> 29);
	}
}

static void put(struct fixture *f, struct bs_volume *v, uint64_t off, size_t n, uint64_t seed)
{
	uint8_t *buf = malloc(n);

	pattern(buf, n, seed);
	assert_int_equal(bs_io_write(f->port, v, off, buf, n), 0);
	free(buf);
}

static void expect(struct fixture *f, struct bs_volume *v, uint64_t off, size_t n, uint64_t seed)
{
	uint8_t *want = malloc(n), *have = malloc(n);

	if (seed)
		pattern(want, n, seed);
	else
		memset(want, 0, n);
	assert_int_equal(bs_io_read(f->port, v, off, have, n), 0);
	assert_memory_equal(want, have, n);
	free(want);
	free(have);
}

static void test_write_read_reopen(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *v;

	create(f, "a", 64 << 20);
	v = vol(f, "a");
	put(f, v, 0, 1 << 20, 1);
	put(f, v, (5 << 20) + 4096, 8192, 2);
	put(f, v, (9 << 20) + 512, 1024, 3); /* part of a block */
	expect(f, v, 0, 1 << 20, 1);
	expect(f, v, (5 << 20) + 4096, 8192, 2);
	expect(f, v, (9 << 20) + 512, 1024, 3);
	expect(f, v, 9 << 20, 512, 0);
	expect(f, v, 32 << 20, 4096, 0);
	assert_int_equal(bs_io_flush(f->port), 0);
	bs_volume_close(v);
	close_store(f);
	open_store(f);
	v = vol(f, "a");
	expect(f, v, 0, 1 << 20, 1);
	expect(f, v, (5 << 20) + 4096, 8192, 2);
	expect(f, v, (9 << 20) + 512, 1024, 3);
	bs_volume_close(v);
}

static void expect_scattered(struct fixture *f, struct bs_volume *v)
{
	enum { LEN = 128 << 10 };
	uint8_t *want = malloc(256 << 10), *have = malloc(LEN);

	pattern(want, 256 << 10, 1);
	for (uint64_t block = 1; block < 32; block += 2)
		pattern(want + block * 4096, 4096, 100 + block);
	assert_int_equal(bs_io_read(f->port, v, 0, have, LEN), 0);
	assert_memory_equal(want, have, LEN);
	free(want);
	free(have);
}

/* What lies together is read together, in whatever order its blocks stand in the volume. */
static void test_read_scattered(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info before, after;
	struct bs_volume *v;

	create(f, "a", 1 << 20);
	v = vol(f, "a");
	put(f, v, 0, 256 << 10, 1);
	for (uint64_t block = 31; block < 32; block -= 2)
		put(f, v, block * 4096, 4096, 100 + block);
	bs_volume_close(v);
	close_store(f);
	open_store(f);
	v = vol(f, "a");
	expect(f, v, 0, 512, 1); /* brings the tables */
	bs_store_info(f->s, &before);
	expect_scattered(f, v);
	bs_store_info(f->s, &after);
	assert_in_range(after.device_reads - before.device_reads, 1, 3);
	bs_volume_close(v);
}

/* Behind much that does not shrink, what does is soon found again. */
static void test_compresses_again(void **state)
{
	enum { LEN = 1 << 20 };
	struct fixture *f = *state;
	struct bs_store_info noise, text;
	struct bs_volume *v;
	uint8_t *buf = malloc(LEN);

	create(f, "a", 2 * LEN);
	v = vol(f, "a");
	put(f, v, 0, LEN, 1);
	bs_store_info(f->s, &noise);
	assert_int_equal(noise.stored_content_bytes, LEN);
	for (size_t i = 0; i < LEN; i += 4)
		vs_put_le32(buf + i, (uint32_t)(i / 4096));
	assert_int_equal(bs_io_write(f->port, v, LEN, buf, LEN), 0);
	bs_store_info(f->s, &text);
	assert_in_range(text.stored_content_bytes - LEN, 1, LEN / 16);
	bs_volume_close(v);
	free(buf);
}

static void test_snapshots_and_clones(void **state)
{
	struct fixture *f = *state;
	const char *one = "a@one", *two = "a@two";
	struct bs_volume *v, *s, *c;
	struct vs_error err = {0};

	create(f, "a", 64 << 20);
	v = vol(f, "a");
	put(f, v, 0, 4 << 20, 1);
	assert_int_equal(bs_snapshot_create(f->s, &one, 1, &err), 0);
	put(f, v, 1 << 20, 1 << 20, 2);
	assert_int_equal(bs_snapshot_create(f->s, &two, 1, &err), 0);
	put(f, v, 2 << 20, 1 << 20, 3);
	assert_int_equal(bs_volume_clone(f->s, one, "b", NULL, &err), 0);
	c = vol(f, "b");
	expect(f, c, 0, 4 << 20, 1);
	put(f, c, 0, 1 << 20, 4);
	s = vol(f, one);
	expect(f, s, 0, 4 << 20, 1);
	bs_volume_close(s);
	expect(f, v, 1 << 20, 1 << 20, 2);
	expect(f, v, 2 << 20, 1 << 20, 3);
	bs_volume_close(v);
	assert_int_equal(bs_snapshot_rollback(f->s, one, &err), 0);
	v = vol(f, "a");
	expect(f, v, 0, 4 << 20, 1);
	bs_volume_close(v);
	assert_int_equal(bs_snapshot_delete(f->s, one, &err), 0);
	assert_int_equal(bs_volume_delete(f->s, "a", BS_DELETE_WITH_SNAPSHOTS, &err), 0);
	expect(f, c, 0, 1 << 20, 4);
	bs_volume_close(c);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
}

static void test_trim_and_space(void **state)
{
	struct fixture *f = *state;
	struct bs_req trim = {.op = BS_TRIM, .offset = 0, .length = 32 << 20};
	struct bs_store_info info;
	struct bs_volume *v;
	struct vs_error err = {0};

	create(f, "a", 64 << 20);
	v = vol(f, "a");
	for (unsigned i = 0; i < 32; i++)
		put(f, v, (uint64_t)i << 20, 1 << 20, i + 1);
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, 32 << 20);
	assert_int_equal(info.logical_used_bytes, 32 << 20);
	trim.volume = v;
	assert_int_equal(bs_io_wait(f->port, &trim), 0);
	expect(f, v, 1 << 20, 1 << 20, 0);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, 0);
	assert_int_equal(info.logical_used_bytes, 0);
	bs_volume_close(v);
}

/* What overwrites let go is counted no more soon after they end, though nobody asks. */
static void test_overwritten_goes(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info info;
	struct bs_volume *v;

	create(f, "a", 64 << 20);
	v = vol(f, "a");
	for (unsigned i = 0; i < 8; i++)
		put(f, v, 0, 4 << 20, i + 1);
	bs_store_info(f->s, &info);
	assert_int_equal(info.referenced_bytes, 4 << 20);
	for (unsigned i = 0; i < 600 && info.unique_content_bytes != 4 << 20; i++) {
		usleep(100000);
		bs_store_info(f->s, &info);
	}
	assert_int_equal(info.unique_content_bytes, 4 << 20);
	expect(f, v, 0, 4 << 20, 8);
	bs_volume_close(v);
}

#define VOLUMES 64u

struct opener {
	struct fixture *f;
	pthread_barrier_t *both;
	struct bs_volume *v[VOLUMES];
};

static void *open_all(void *arg)
{
	struct opener *o = arg;

	for (unsigned i = 0; i < VOLUMES; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "v%u", i);
		(void)pthread_barrier_wait(o->both);
		if (bs_volume_open(o->f->s, name, &o->v[i], NULL))
			o->v[i] = NULL;
		(void)pthread_barrier_wait(o->both);
	}
	return NULL;
}

/* Of an open and a delete at once one is first, also where the delete waits for the device. */
static void test_open_or_delete(void **state)
{
	struct fixture *f = *state;
	pthread_barrier_t both;
	struct opener o = {.f = f, .both = &both};
	pthread_t thread;

	pthread_barrier_init(&both, NULL, 2);
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct bs_volume *v;
		char name[8];

		(void)snprintf(name, sizeof(name), "v%u", i);
		create(f, name, 1 << 20);
		v = vol(f, name);
		put(f, v, 0, 4096, i + 1);
		bs_volume_close(v);
	}
	close_store(f); /* no page of a map is in memory now */
	open_store(f);
	assert_int_equal(pthread_create(&thread, NULL, open_all, &o), 0);
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct vs_error err = {0};
		char name[8];
		int rc;

		(void)snprintf(name, sizeof(name), "v%u", i);
		(void)pthread_barrier_wait(&both);
		rc = bs_volume_delete(f->s, name, BS_DELETE_PLAIN, &err);
		(void)pthread_barrier_wait(&both);
		assert_int_equal(rc, o.v[i] ? VS_E_BUSY : 0);
		if (!o.v[i])
			continue;
		expect(f, o.v[i], 0, 4096, i + 1);
		bs_volume_close(o.v[i]);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&both);
}

static void test_dedup(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info info;
	struct bs_volume *v;

	create(f, "a", 64 << 20);
	v = vol(f, "a");
	put(f, v, 0, 4 << 20, 1);
	put(f, v, 16 << 20, 4 << 20, 1);
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, 4 << 20);
	assert_int_equal(info.referenced_bytes, 8 << 20);
	expect(f, v, 16 << 20, 4 << 20, 1);
	bs_volume_close(v);
}

/* Overwrites several times the device's size: only works while garbage is cleaned. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OVERWRITES 600u
#else
#define OVERWRITES 1500u
#endif

/* The store is filled several times over. */
static void test_overwrite_many_times(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *v;

	create(f, "a", 96 << 20);
	v = vol(f, "a");
	for (unsigned i = 0; i < OVERWRITES; i++)
		put(f, v, (uint64_t)(i * 37 % 96) << 20, 1 << 20, i + 1);
	for (unsigned i = OVERWRITES - 96; i < OVERWRITES; i++)
		expect(f, v, (uint64_t)(i * 37 % 96) << 20, 1 << 20, i + 1);
	bs_volume_close(v);
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	struct bs_req trim = {.op = BS_TRIM, .length = SIZE};
	struct bs_volume *v;
	uint8_t *buf = malloc(1 << 20);
	unsigned full = 0;

	create(f, "a", SIZE * 2);
	v = vol(f, "a");
	trim.volume = v;
	for (unsigned round = 0; round < 3; round++) {
		unsigned n = 0;
		int rc = 0;

		while (rc == 0 && n < SIZE >> 20) {
			pattern(buf, 1 << 20, round * 1000 + n + 1);
			rc = bs_io_write(f->port, v, (uint64_t)n << 20, buf, 1 << 20);
			n += rc == 0;
		}
		assert_int_equal(rc, VS_E_NOSPC);
		assert_true(round == 0 || n + 8 >= full);
		full = n;
		for (unsigned i = 0; i < n; i += 17)
			expect(f, v, (uint64_t)i << 20, 1 << 20, round * 1000 + i + 1);
		assert_int_equal(bs_io_wait(f->port, &trim), 0);
	}
	bs_volume_close(v);
	free(buf);
}

static void test_compare_write(void **state)
{
	struct fixture *f = *state;
	uint8_t both[1024];
	struct iovec iov = {both, sizeof(both)};
	struct bs_req req = {
	    .op = BS_COMPARE_WRITE, .offset = 1536, .length = 512, .iov = &iov, .iovcnt = 1};
	struct bs_volume *v;

	create(f, "a", 1 << 20);
	v = vol(f, "a");
	put(f, v, 0, 8192, 5);
	assert_int_equal(bs_io_read(f->port, v, 1536, both, 512), 0);
	memset(both + 512, 7, 512);
	req.volume = v;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_MISMATCH);
	assert_int_equal(req.mismatch_at, 0);
	assert_int_equal(bs_io_read(f->port, v, 1536, both, 512), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(both[i], 7);
	bs_volume_close(v);
}

static void test_bad_requests(void **state)
{
	struct fixture *f = *state;
	struct bs_volume_spec spec = {.name = "odd", .size = 5000, .compression = -1};
	struct vs_error err = {0};
	struct bs_volume *v;
	uint8_t buf[4096];

	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), VS_E_INVAL);
	create(f, "a", 1 << 20);
	spec = (struct bs_volume_spec){.name = "a", .size = 4096, .compression = -1};
	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), VS_E_EXIST);
	assert_int_equal(bs_volume_find(f->s, "nothing", NULL, &err), VS_E_NOENT);
	assert_int_equal(bs_volume_find(f->s, "-x", NULL, &err), VS_E_INVAL);
	v = vol(f, "a");
	assert_int_equal(bs_io_read(f->port, v, 1 << 20, buf, 4096), VS_E_RANGE);
	assert_int_equal(bs_io_read(f->port, v, UINT64_MAX - 4095, buf, 4096), VS_E_RANGE);
	assert_int_equal(bs_io_read(f->port, v, 100, buf, 512), VS_E_INVAL);
	assert_int_equal(bs_volume_delete(f->s, "a", BS_DELETE_PLAIN, &err), VS_E_BUSY);
	bs_volume_close(v);
	assert_int_equal(bs_volume_delete(f->s, "a", BS_DELETE_PLAIN, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_write_read_reopen, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_read_scattered, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_compresses_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_snapshots_and_clones, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_trim_and_space, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_overwritten_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_open_or_delete, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_dedup, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_compare_write, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_requests, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_overwrite_many_times, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
