/* Copies: between volumes of every kind and within one, against a copy in memory. */
#include "common/bytes.h"

#include "tests/unit/files.h"
#include "tests/unit/store_scene.h"

#define DEVICE (UINT64_C(256) << 20)
#define SIZE ((size_t)4 << 20)
#define SECTOR 512u
#define VOLUMES 3u

/* a is deduplicated, what b writes is private, t is thick. */
static const struct bs_volume_spec specs[VOLUMES] = {
    {.name = "a", .size = SIZE, .compression = -1},
    {.name = "b", .size = SIZE, .compression = -1, .no_dedup = true},
    {.name = "t", .size = SIZE, .compression = BS_CODING_PLAIN, .thick = true}};

struct fixture {
	char path[64];
	unsigned depth;
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v[VOLUMES];
	uint8_t *want[VOLUMES];
	uint64_t seed;
};

static uint64_t next_random(struct fixture *f)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return f->seed >> 24;
}

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct vs_error err = {0};

	store_open(f->path, &opts, f->loop, f->depth, &f->s, &f->port);
	for (unsigned i = 0; i < VOLUMES; i++)
		if (bs_volume_open(f->s, specs[i].name, &f->v[i], &err))
			fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	for (unsigned i = 0; i < VOLUMES; i++)
		bs_volume_close(f->v[i]);
	store_close(f->s, f->port);
}

static void put(struct fixture *f, unsigned v, uint64_t offset, size_t len)
{
	uint8_t *to = f->want[v] + offset;

	for (size_t i = 0; i < len; i += 8)
		vs_put_le64(to + i, next_random(f) % 5 ? next_random(f) : 0);
	assert_int_equal(bs_io_write(f->port, f->v[v], offset, to, len), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct vs_error err = {0};

	f->depth = 64;
	f->seed = 1;
	store_make(f->path, "copy", DEVICE, &init);
	if (bs_device_open(f->path, 0, 0, &dev, &err) ||
	    bs_store_open(dev, &(struct bs_open_options){.memory = UINT64_C(256) << 20}, &f->s,
			  &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < VOLUMES; i++)
		if (bs_volume_create(f->s, &specs[i], NULL, &err))
			fail_msg("%s", err.text);
	assert_int_equal(bs_store_close(f->s, &err), 0);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	for (unsigned i = 0; i < VOLUMES; i++) {
		f->want[i] = calloc(1, SIZE);
		put(f, i, 64u << 10, SIZE / 2);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
	for (unsigned i = 0; i < VOLUMES; i++)
		free(f->want[i]);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static void check_all(struct fixture *f)
{
	uint8_t *buf = malloc(SIZE);

	for (unsigned i = 0; i < VOLUMES; i++) {
		assert_int_equal(bs_io_read(f->port, f->v[i], 0, buf, SIZE), 0);
		for (size_t at = 0; at < SIZE; at += SECTOR)
			if (memcmp(buf + at, f->want[i] + at, SECTOR) != 0)
				fail_msg("%s differs at %zu", specs[i].name, at);
	}
	free(buf);
}

static struct bs_req copy_of(struct fixture *f, unsigned from, uint64_t at, unsigned to,
			     uint64_t offset, uint64_t length)
{
	return (struct bs_req){.op = BS_COPY,
			       .volume = f->v[to],
			       .offset = offset,
			       .length = length,
			       .source = f->v[from],
			       .source_offset = at};
}

static void copy(struct fixture *f, unsigned from, uint64_t at, unsigned to, uint64_t offset,
		 uint64_t length)
{
	struct bs_req req = copy_of(f, from, at, to, offset, length);

	assert_int_equal(bs_io_wait(f->port, &req), 0);
	memmove(f->want[to] + offset, f->want[from] + at, length);
}

static uint64_t unique(struct fixture *f)
{
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	return info.unique_content_bytes;
}

static void test_blocks_are_shared(void **state)
{
	struct fixture *f = *state;
	uint64_t before = unique(f), cut = 4096;
	struct bs_store_info a, b;

	bs_store_info(f->s, &a);
	copy(f, 0, 64u << 10, 0, SIZE / 2 + (128u << 10), SIZE / 4);
	assert_int_equal(unique(f), before);
	bs_store_info(f->s, &b);
	assert_int_equal(b.stored_content_bytes, a.stored_content_bytes);
	assert_int_equal(b.bytes_written, a.bytes_written);
	/* of a range that begins and ends within blocks all but these are */
	copy(f, 0, (64u << 10) + SECTOR, 0, SECTOR, 1u << 20);
	assert_in_range(unique(f), before, before + 2 * cut);
	check_all(f);
}

static void test_zeros_become_holes(void **state)
{
	struct fixture *f = *state;
	uint64_t before = unique(f);
	struct bs_store_info info;

	copy(f, 0, SIZE - (1u << 20), 0, 64u << 10, 1u << 20);
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	assert_int_equal(unique(f), before - (1u << 20));
	bs_store_info(f->s, &info);
	assert_int_equal(info.logical_used_bytes, 3 * SIZE / 2 - (1u << 20));
	check_all(f);
}

/* Neither what is private is shared nor anything with a volume whose content is. */
static void test_private_content_is_copied(void **state)
{
	static const unsigned pairs[][2] = {{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 2}};
	struct fixture *f = *state;

	for (unsigned i = 0; i < VS_ARRAY_LEN(pairs); i++) {
		uint64_t at = SIZE / 2 + ((uint64_t)(i + 1) << 18), before = unique(f);

		copy(f, pairs[i][0], (64u << 10) + ((uint64_t)i << 18), pairs[i][1], at, 1u << 17);
		assert_in_range(unique(f), before + 1, before + (1u << 17));
	}
	check_all(f);
}

static void test_ranges_that_overlap(void **state)
{
	static const uint64_t shifts[] = {512, 1024, 4096, 4608, 65536, 131072, 200704, 393728};
	struct fixture *f = *state;

	for (unsigned v = 0; v < VOLUMES; v++) {
		for (unsigned i = 0; i < VS_ARRAY_LEN(shifts); i++) {
			uint64_t at = (64u << 10) + i * 1536, len = (700u << 10) + i * SECTOR;

			copy(f, v, at, v, at + shifts[i], len);
			copy(f, v, at + shifts[i], v, at, len);
		}
	}
	check_all(f);
}

static void random_copies(struct fixture *f, unsigned n)
{
	while (n--) {
		unsigned from = next_random(f) % VOLUMES, to = next_random(f) % VOLUMES;
		uint64_t unit = next_random(f) % 3 ? SECTOR : BS_BLOCK;
		uint64_t most = next_random(f) % 4 ? 24 : SIZE / unit / 2;
		uint64_t len = (1 + next_random(f) % most) * unit;
		uint64_t room = (SIZE - len) / unit + 1;

		copy(f, from, next_random(f) % room * unit, to, next_random(f) % room * unit, len);
	}
}

static void test_any_ranges(void **state)
{
	struct fixture *f = *state;

	random_copies(f, 300);
	check_all(f);
	close_store(f);
	f->depth = 1; /* one operation is enough for all its ways */
	open_store(f);
	check_all(f);
	random_copies(f, 60);
	check_all(f);
}

struct outcome {
	unsigned left;
	int status;
};

static void one_done(struct bs_req *req)
{
	struct outcome *o = req->arg;

	o->left--;
	o->status |= req->status;
}

/* Writes and reads go on beside copies that take all the staging there is. */
static void test_many_at_once(void **state)
{
	enum { N = 24 };
	struct fixture *f = *state;
	struct outcome o = {.left = N};
	struct bs_req req[N];

	for (unsigned i = 0; i < N; i++) {
		req[i] = copy_of(f, 1, 64u << 10, 0, SECTOR * (i + 1), 1u << 20);
		req[i].done = one_done;
		req[i].arg = &o;
		bs_submit(f->port, &req[i]);
	}
	put(f, 2, 0, 1u << 20);
	while (o.left)
		vs_loop_turn(f->loop, -1);
	assert_int_equal(o.status, 0);
}

static void test_what_is_refused(void **state)
{
	struct fixture *f = *state;
	const char *snap = "a@s";
	struct bs_volume *s;
	struct bs_req req = copy_of(f, 0, SIZE - 4096, 1, 0, 8192);

	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	req = copy_of(f, 0, UINT64_MAX - 511, 1, 0, 8192);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	req = copy_of(f, 0, 0, 1, SIZE - 4096, 8192);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	req = copy_of(f, 0, 100, 1, 0, 4096);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_INVAL);
	assert_int_equal(bs_snapshot_create(f->s, &snap, 1, NULL), 0);
	assert_int_equal(bs_volume_open(f->s, snap, &s, NULL), 0);
	req = copy_of(f, 0, 0, 1, 0, 4096);
	req.volume = s;
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_ROFS);
	memcpy(f->want[0] + SIZE / 2, f->want[0] + (64u << 10), 1u << 20);
	put(f, 0, 64u << 10, 1u << 20);
	req = copy_of(f, 0, 64u << 10, 0, SIZE / 2, 1u << 20);
	req.source = s; /* as it was before the write */
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	req.length = 0;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	bs_volume_close(s);
	check_all(f);
}

static size_t listed(struct fixture *f)
{
	struct bs_volume_info info[8];
	struct bs_store_info store;
	size_t n;

	assert_int_equal(bs_volume_list(f->s, 0, info, VS_ARRAY_LEN(info), &n, NULL), 0);
	bs_store_info(f->s, &store);
	assert_int_equal(store.volumes, n);
	return n;
}

/* What a temporary volume was given stays as it was, and goes with it. */
static void test_temporary_volumes(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *t;
	struct bs_req req;
	struct vs_error err = {0};
	uint64_t before = unique(f), logical;
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	logical = info.logical_used_bytes;
	assert_int_equal(bs_volume_temporary(f->s, UINT64_C(1) << 40, &t, &err), 0);
	assert_int_equal(listed(f), VOLUMES);
	assert_int_equal(bs_volume_find_uuid(f->s, bs_volume_uuid(t), NULL, NULL), VS_E_NOENT);
	req = copy_of(f, 0, 64u << 10, 0, UINT64_C(1) << 39, 1u << 20);
	req.volume = t;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(unique(f), before);
	memcpy(f->want[0] + SIZE / 2, f->want[0] + (64u << 10), 1u << 20);
	put(f, 0, 64u << 10, 1u << 20);
	req = copy_of(f, 0, UINT64_C(1) << 39, 0, SIZE / 2, 1u << 20);
	req.source = t;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	/* private content stays private there */
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	before = unique(f);
	req = copy_of(f, 1, 64u << 10, 0, 0, 1u << 20);
	req.volume = t;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(unique(f), before + (1u << 20));
	bs_store_info(f->s, &info);
	/* of the copies only the one to a, behind what it had */
	assert_int_equal(info.logical_used_bytes, logical + (1u << 20) - (64u << 10));
	bs_volume_close(t);
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	assert_int_equal(unique(f), before);
	check_all(f);
}

/* The file as a killed daemon leaves it. */
static void test_a_crash_leaves_no_temporary_volume(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *t;
	char copy_path[80];
	struct vs_error err = {0};
	struct bs_req req;
	uint64_t before = unique(f);

	assert_int_equal(bs_volume_temporary(f->s, UINT64_C(1) << 40, &t, &err), 0);
	req = copy_of(f, 1, 64u << 10, 0, 0, 1u << 20);
	req.volume = t;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(bs_io_flush(f->port), 0);
	assert_int_equal(unique(f), before + (1u << 20));
	snprintf(copy_path, sizeof(copy_path), "%s.killed", f->path);
	assert_int_equal(files_copy(f->path, copy_path), 0);
	bs_volume_close(t);
	close_store(f);
	assert_int_equal(rename(copy_path, f->path), 0);
	open_store(f);
	assert_int_equal(listed(f), VOLUMES);
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	assert_int_equal(unique(f), before);
	check_all(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_blocks_are_shared, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_zeros_become_holes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_copied, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_ranges_that_overlap, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_any_ranges, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_temporary_volumes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_crash_leaves_no_temporary_volume, setup,
					    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
