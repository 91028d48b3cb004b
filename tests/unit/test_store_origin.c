#include "blockstore/origin.h"
#include "common/bytes.h"

#include "tests/unit/store_scene.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define STORE (UINT64_C(256) << 20)
#define BLOCKS 2048u /* of the volume: 8 MiB, four bottom pages */
#define HOLD_MS 100u

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v;
	struct vs_uuid uuid;
	struct bs_origin *o;
	struct bs_origin_part part;
	struct bs_want wants[BS_ORIGIN_FAN];
	uint8_t *source; /* what the origin holds */
	atomic_uint woken;
	unsigned filled; /* blocks */
};

static void open_store(struct fixture *f)
{
	const struct bs_open_options opts = {.memory = UINT64_C(256) << 20,
					     .origin_hold_ms = HOLD_MS};

	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
}

static void close_store(struct fixture *f)
{
	bs_volume_close(f->v);
	f->v = NULL;
	store_close(f->s, f->port);
}

/* Blocks of their own, every fourth one and all of the third page zeros, every fifth the same. */
static void make_up(struct fixture *f)
{
	f->source = calloc(BLOCKS, BS_BLOCK);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint8_t *p = f->source + (size_t)b * BS_BLOCK;

		if (b % 4 == 3 || b / 512 == 2)
			continue;
		for (uint32_t i = 0; i < BS_BLOCK; i += 8)
			vs_put_le64(p + i, b % 5 == 0 ? 7 : b * UINT64_C(0x9e3779b97f4a7c15) + i);
	}
}

static void open_volume(struct fixture *f)
{
	assert_int_equal(bs_volume_open(f->s, "v", &f->v, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	const struct bs_volume_spec spec = {
	    .name = "v", .size = BLOCKS * BS_BLOCK, .compression = -1, .origin = &f->uuid};
	struct vs_error err = {0};

	store_make(f->path, "origin", STORE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	assert_int_equal(vs_uuid_new(&f->uuid), 0);
	make_up(f);
	open_store(f);
	if (bs_volume_create(f->s, &spec, NULL, &err))
		fail_msg("%s", err.text);
	open_volume(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bs_origin_detach(f->o);
	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f->source);
	free(f);
	return 0;
}

static void wake(void *arg)
{
	atomic_fetch_add(&((struct fixture *)arg)->woken, 1);
}

static void attach(struct fixture *f)
{
	assert_int_equal(bs_origin_attach(f->s, &f->uuid, wake, f, &f->o, NULL), 0);
}

static void fill(struct fixture *f, const struct bs_want *wants, size_t n)
{
	static uint8_t bytes[BS_FILL_MAX * BS_BLOCK];

	for (size_t i = 0, k; i < n; i += k) {
		struct iovec iov = {bytes, 0};
		struct bs_req req = {.op = BS_FILL,
				     .volume = bs_origin_volume(f->o),
				     .iov = &iov,
				     .iovcnt = 1,
				     .wants = wants + i};

		k = VS_MIN(n - i, (size_t)BS_FILL_MAX);
		for (size_t j = 0; j < k; j++)
			memcpy(bytes + j * BS_BLOCK, f->source + wants[i + j].block * BS_BLOCK,
			       BS_BLOCK);
		iov.iov_len = req.length = k * BS_BLOCK;
		assert_int_equal(bs_io_wait(f->port, &req), 0);
		f->filled += (unsigned)k;
	}
}

static bool zero(const uint8_t *b)
{
	static const uint8_t none[BS_BLOCK];

	return memcmp(b, none, BS_BLOCK) == 0;
}

static void take_page(struct fixture *f)
{
	uint8_t zeros[BS_ORIGIN_FAN / 8] = {0};
	size_t n;

	for (uint64_t b = 0; f->part.each == 1 && b < f->part.blocks; b++)
		if (zero(f->source + (f->part.block + b) * BS_BLOCK))
			zeros[b / 8] |= (uint8_t)(1u << b % 8);
	assert_int_equal(bs_origin_expand(f->o, f->part.cid, zeros, f->wants, &n, NULL), 0);
	fill(f, f->wants, n);
}

/* All that is left; then the origin goes. */
static void fetch_all(struct fixture *f)
{
	uint64_t cursor = 0;

	for (unsigned steps = 0; steps < 1000; steps++) {
		assert_int_equal(bs_origin_next(f->o, &cursor, &f->part, NULL), 0);
		switch (f->part.kind) {
		case BS_ORIGIN_PAGE:
			take_page(f);
			break;
		case BS_ORIGIN_CONTENTS:
			fill(f, f->part.wants, f->part.n);
			break;
		case BS_ORIGIN_LOOKED:
			break;
		case BS_ORIGIN_PASS:
			cursor = 0;
			break;
		case BS_ORIGIN_END:
			assert_int_equal(bs_origin_remove(f->o, NULL), 0);
			f->o = NULL;
			return;
		}
	}
	fail_msg("it does not end");
}

static void reads_as(struct fixture *f, struct bs_volume *v, const uint8_t *want)
{
	uint8_t *have = malloc(BLOCKS * BS_BLOCK);

	assert_int_equal(bs_io_read(f->port, v, 0, have, BLOCKS * BS_BLOCK), 0);
	assert_memory_equal(have, want, BLOCKS * BS_BLOCK);
	free(have);
}

static void test_without_anybody(void **state)
{
	struct fixture *f = *state;
	uint8_t block[BS_BLOCK], back[BS_BLOCK];
	struct bs_volume_info info;
	struct bs_store_info store;
	struct bs_req trim = {
	    .op = BS_TRIM, .volume = f->v, .offset = 64 * BS_BLOCK, .length = 100 * BS_BLOCK};

	memset(block, 0x5a, sizeof(block));
	assert_int_equal(bs_volume_find(f->s, "v", &info, NULL), 0);
	assert_true(info.fetching && info.has_origin && vs_uuid_equal(&info.origin, &f->uuid));
	assert_int_equal(info.logical_bytes, BLOCKS * BS_BLOCK);
	bs_store_info(f->s, &store);
	assert_int_equal(store.unique_content_bytes, 0);
	assert_int_equal(bs_io_write(f->port, f->v, 5 * BS_BLOCK, block, BS_BLOCK), 0);
	assert_int_equal(bs_io_wait(f->port, &trim), 0);
	assert_int_equal(bs_io_read(f->port, f->v, 5 * BS_BLOCK, back, BS_BLOCK), 0);
	assert_memory_equal(back, block, BS_BLOCK);
	assert_int_equal(bs_io_read(f->port, f->v, 70 * BS_BLOCK, back, BS_BLOCK), 0);
	assert_true(zero(back));
	/* what is only there is waited for, but not for ever; so is the rest of a block */
	assert_int_equal(bs_io_read(f->port, f->v, 6 * BS_BLOCK, back, BS_BLOCK), VS_E_IO);
	assert_int_equal(bs_io_write(f->port, f->v, 6 * BS_BLOCK, block, 512), VS_E_IO);
	assert_int_equal(bs_volume_set_thick(f->s, "v", true, NULL), VS_E_BUSY);
}

static void read_done(struct bs_req *req)
{
	*(bool *)req->arg = true;
}

static void test_read_waits(void **state)
{
	struct fixture *f = *state;
	uint8_t back[3 * BS_BLOCK];
	struct iovec iov = {back, sizeof(back)};
	bool done = false;
	struct bs_req req = {.op = BS_READ,
			     .volume = f->v,
			     .offset = 600 * BS_BLOCK,
			     .length = sizeof(back),
			     .iov = &iov,
			     .iovcnt = 1,
			     .done = read_done,
			     .arg = &done};
	struct bs_origin *other;
	size_t n;

	attach(f);
	assert_int_equal(bs_origin_attach(f->s, &f->uuid, wake, f, &other, NULL), VS_E_BUSY);
	assert_int_equal(bs_origin_set_hold(f->s, 60000, NULL), 0);
	bs_submit(f->port, &req);
	while (!atomic_load(&f->woken))
		vs_loop_turn(f->loop, 1);
	assert_int_equal(bs_origin_wants(f->o, f->wants, 8, &n, NULL), 0);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(f->wants[i].block, 600 + i);
	fill(f, f->wants, 2);
	assert_false(done);
	assert_int_equal(bs_origin_wants(f->o, f->wants + 3, 8, &n, NULL), 0);
	assert_int_equal(n, 0); /* said once */
	fill(f, f->wants + 2, 1);
	while (!done)
		vs_loop_turn(f->loop, 1);
	assert_int_equal(req.status, 0);
	assert_memory_equal(back, f->source + 600 * BS_BLOCK, sizeof(back));
	/* a second time is too late and does nothing */
	memset(f->source + 600 * BS_BLOCK, 1, BS_BLOCK);
	fill(f, f->wants, 1);
	assert_int_equal(bs_io_read(f->port, f->v, 600 * BS_BLOCK, back + BS_BLOCK, BS_BLOCK), 0);
	assert_memory_equal(back, back + BS_BLOCK, BS_BLOCK);
	/* what cannot be had is an error, at once */
	done = false;
	req.offset = 700 * BS_BLOCK;
	bs_submit(f->port, &req);
	do {
		vs_loop_turn(f->loop, 1);
		assert_int_equal(bs_origin_wants(f->o, f->wants, 8, &n, NULL), 0);
	} while (n == 0);
	assert_int_equal(bs_origin_fail(f->o, f->wants, n, NULL), 0);
	while (!done)
		vs_loop_turn(f->loop, 1);
	assert_int_equal(req.status, VS_E_IO);
	/* nor does a node that shuts down wait */
	done = false;
	bs_submit(f->port, &req);
	assert_int_equal(bs_origin_set_hold(f->s, 0, NULL), 0);
	while (!done)
		vs_loop_turn(f->loop, 1);
	assert_int_equal(req.status, VS_E_IO);
}

static void test_all_of_it(void **state)
{
	struct fixture *f = *state;
	const char *snap = "v@s";
	uint8_t *now = malloc(BLOCKS * BS_BLOCK), block[BS_BLOCK];
	struct bs_diff_entry diff[4];
	struct bs_volume_info info;
	struct bs_store_info store;
	struct bs_volume *s;
	uint64_t cursor = 0;
	size_t n;

	memcpy(now, f->source, BLOCKS * BS_BLOCK);
	memset(block, 0x5a, sizeof(block));
	assert_int_equal(bs_io_write(f->port, f->v, 9 * BS_BLOCK, block, BS_BLOCK), 0);
	memcpy(now + 9 * BS_BLOCK, block, BS_BLOCK);
	memcpy(f->source + 9 * BS_BLOCK, block, BS_BLOCK); /* so is the snapshot */
	assert_int_equal(bs_snapshot_create(f->s, &snap, 1, NULL), 0);
	assert_int_equal(bs_io_write(f->port, f->v, 1000 * BS_BLOCK, block, BS_BLOCK), 0);
	memcpy(now + 1000 * BS_BLOCK, block, BS_BLOCK);
	assert_int_equal(bs_volume_open(f->s, "v@s", &s, NULL), 0);
	assert_int_equal(bs_volume_diff(NULL, s, &cursor, diff, 4, &n, NULL), VS_E_BUSY);
	bs_volume_close(s);
	close_store(f); /* it goes on where it was */
	open_store(f);
	open_volume(f);
	attach(f);
	fetch_all(f);
	reads_as(f, f->v, now);
	assert_int_equal(bs_volume_open(f->s, "v@s", &s, NULL), 0);
	reads_as(f, s, f->source);
	cursor = 0;
	assert_int_equal(bs_volume_diff(s, f->v, &cursor, diff, 4, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(diff[0].block, 1000);
	bs_volume_close(s);
	assert_int_equal(bs_volume_find(f->s, "v", &info, NULL), 0);
	assert_true(!info.fetching && !info.has_origin);
	assert_int_equal(bs_origin_list(f->s, 0, NULL, 0, &n, NULL), 0);
	/* equal blocks are stored once, zeros not at all */
	bs_store_info(f->s, &store);
	assert_in_range(store.unique_content_bytes / BS_BLOCK, 1100 * 3 / 4, 1536 * 3 / 4);
	free(now);
}

static void test_deleted(void **state)
{
	struct fixture *f = *state;
	struct bs_origin_info left;
	uint8_t block[BS_BLOCK] = {1};

	attach(f);
	assert_int_equal(bs_io_write(f->port, f->v, 9 * BS_BLOCK, block, BS_BLOCK), 0);
	assert_int_equal(bs_origin_find(f->s, &f->uuid, &left, NULL), 0);
	assert_true(left.pages_left == 3 && left.contents_left == 512);
	assert_int_equal(bs_origin_remove(f->o, NULL), VS_E_BUSY);
	bs_volume_close(f->v);
	f->v = NULL;
	assert_int_equal(bs_volume_delete(f->s, "v", BS_DELETE_PLAIN, NULL), 0);
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	assert_int_equal(bs_origin_find(f->s, &f->uuid, &left, NULL), 0);
	assert_true(left.pages_left == 0 && left.contents_left == 0);
	fetch_all(f);
	assert_int_equal(f->filled, 0);
	assert_int_equal(bs_origin_find(f->s, &f->uuid, &left, NULL), VS_E_NOENT);
}

/* What is done last does not reach the device: whoever fetched is told, whatever it asks. */
static void test_removal_that_fails(void **state)
{
	struct fixture *f = *state;
	struct rlimit all, none;
	uint64_t cursor = 0;
	size_t n;

	attach(f);
	bs_volume_close(f->v);
	f->v = NULL;
	assert_int_equal(bs_volume_delete(f->s, "v", BS_DELETE_PLAIN, NULL), 0);
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
	assert_int_equal(bs_origin_next(f->o, &cursor, &f->part, NULL), 0);
	assert_int_equal(f->part.kind, BS_ORIGIN_END);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	none = all;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(bs_origin_remove(f->o, NULL), VS_E_FAILED);
	assert_int_equal(bs_origin_next(f->o, &cursor, &f->part, NULL), VS_E_FAILED);
	assert_int_equal(bs_origin_wants(f->o, f->wants, 8, &n, NULL), VS_E_FAILED);
	assert_int_equal(bs_origin_expand(f->o, 1, NULL, f->wants, &n, NULL), VS_E_FAILED);
	assert_int_equal(bs_origin_remove(f->o, NULL), VS_E_FAILED);
	bs_origin_detach(f->o);
	f->o = NULL;
	bs_port_close(f->port);
	assert_int_not_equal(bs_store_close(f->s, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	open_store(f);
}

static void test_bad_fills(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[(BS_FILL_MAX + 1) * BS_BLOCK];
	static struct bs_want wants[BS_FILL_MAX + 1];
	static const struct {
		uint64_t offset, length, bytes;
	} bad[] = {{0, 0, BS_BLOCK},
		   {0, 512, BS_BLOCK},
		   {BS_BLOCK, BS_BLOCK, BS_BLOCK},
		   {0, BS_BLOCK, BS_BLOCK - 1},
		   {0, sizeof(bytes), sizeof(bytes)}};

	attach(f);
	for (unsigned i = 0; i < VS_ARRAY_LEN(bad); i++) {
		struct iovec iov = {bytes, bad[i].bytes};
		struct bs_req req = {.op = BS_FILL,
				     .volume = bs_origin_volume(f->o),
				     .offset = bad[i].offset,
				     .length = bad[i].length,
				     .iov = &iov,
				     .iovcnt = 1,
				     .wants = wants};

		assert_int_equal(bs_io_wait(f->port, &req), VS_E_INVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_without_anybody, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_read_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_all_of_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_removal_that_fails, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_fills, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
