/*
 * Stores that former versions wrote, kept in tests/unit/stores: they open, hold what they held, can
 * be written to and are sound afterwards. Each was closed, or copied while it was open with flushed
 * writes in its log.
 *
 * test_store_upgrade make FOLDER writes such a pair with the present version. Its contents follow
 * from the functions below, which therefore must not change.
 */
#include "blockstore/check.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#define STORE_SIZE (UINT64_C(96) << 20)
#define VOL_BLOCKS 600u
#define OWNER_AT 8192u
#define STORES "tests/unit/stores/"

struct scene {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
};

static void must(int rc, const struct vs_error *err)
{
	if (rc)
		fail_msg("%s", err->text);
}

static void open_scene(struct scene *c)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct vs_error err = {0};

	must(bs_device_open(c->path, 0, 0, &dev, &err), &err);
	must(bs_store_open(dev, &opts, &c->s, &err), &err);
	must(vs_loop_new(&c->loop, &err), &err);
	must(bs_port_open(c->s, c->loop, 16, &c->port, &err), &err);
}

static void close_scene(struct scene *c)
{
	struct vs_error err = {0};

	bs_port_close(c->port);
	vs_loop_free(c->loop);
	must(bs_store_close(c->s, &err), &err);
}

/* Generation g of a volume's block: zero, shared with other blocks, or its own; compressible. */
static void fill(uint8_t block[BS_BLOCK], unsigned n, unsigned g)
{
	uint64_t seed = (n % 5 == 1 ? n % 64 : n) * UINT64_C(0x9e3779b97f4a7c15) + g;

	memset(block, 0, BS_BLOCK);
	if (n % 7 == 3)
		return;
	for (unsigned i = 0; i < BS_BLOCK; i += 64)
		vs_put_le64(block + i, seed);
}

/* Which generation the block has after the changes up to `stage`. */
static unsigned generation(unsigned n, unsigned stage)
{
	unsigned g = 1;

	for (unsigned s = 2; s <= stage; s++)
		if (n % (s + 2) == 0)
			g = s;
	return g;
}

static struct bs_volume *open_volume(struct scene *c, const char *name)
{
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	must(bs_volume_open(c->s, name, &v, &err), &err);
	return v;
}

static void change(struct scene *c, const char *name, unsigned stage)
{
	struct bs_volume *v = open_volume(c, name);
	uint8_t block[BS_BLOCK];

	for (unsigned n = 0; n < VOL_BLOCKS; n++) {
		if (generation(n, stage) != stage)
			continue;
		fill(block, n, stage);
		assert_int_equal(
		    bs_io_write(c->port, v, (uint64_t)n * BS_BLOCK, block, sizeof(block)), 0);
	}
	assert_int_equal(bs_io_flush(c->port), 0);
	bs_volume_close(v);
}

static void trim_last(struct scene *c, const char *name)
{
	struct bs_req trim = {.op = BS_ZERO,
			      .volume = open_volume(c, name),
			      .offset = (VOL_BLOCKS - 100) * (uint64_t)BS_BLOCK,
			      .length = 100 * (uint64_t)BS_BLOCK};

	assert_int_equal(bs_io_wait(c->port, &trim), 0);
	bs_volume_close(trim.volume);
}

static void expect(struct scene *c, const char *name, unsigned stage, bool trimmed)
{
	struct bs_volume *v = open_volume(c, name);
	uint8_t want[BS_BLOCK], have[BS_BLOCK];

	for (unsigned n = 0; n < VOL_BLOCKS; n++) {
		fill(want, n, generation(n, stage));
		if (trimmed && n >= VOL_BLOCKS - 100)
			memset(want, 0, sizeof(want));
		assert_int_equal(bs_io_read(c->port, v, (uint64_t)n * BS_BLOCK, have, sizeof(have)),
				 0);
		if (memcmp(want, have, sizeof(want)) != 0)
			fail_msg("%s differs at block %u", name, n);
	}
	bs_volume_close(v);
}

static void snapshot(struct scene *c, const char *full)
{
	struct vs_error err = {0};

	must(bs_snapshot_create(c->s, &full, 1, &err), &err);
}

static void make_scene(struct scene *c)
{
	struct bs_volume_spec spec = {
	    .name = "disk", .size = VOL_BLOCKS * (uint64_t)BS_BLOCK, .compression = -1};
	struct bs_volume_spec plain = spec;
	struct vs_error err = {0};

	plain.name = "plain";
	plain.compression = BS_CODING_PLAIN;
	must(bs_volume_create(c->s, &spec, NULL, &err), &err);
	must(bs_volume_create(c->s, &plain, NULL, &err), &err);
	change(c, "disk", 1);
	change(c, "plain", 1);
	snapshot(c, "disk@one");
	change(c, "disk", 2);
	snapshot(c, "disk@two");
	must(bs_volume_clone(c->s, "disk@one", "copy", NULL, &err), &err);
	change(c, "copy", 2);
	change(c, "copy", 3);
	snapshot(c, "disk@gone");
	change(c, "disk", 3);
	change(c, "disk", 4);
	must(bs_snapshot_delete(c->s, "disk@gone", &err), &err);
	trim_last(c, "disk");
	must(bs_store_drain(c->s, &err), &err);
	assert_int_equal(bs_io_flush(c->port), 0);
}

static void expect_scene(struct scene *c)
{
	expect(c, "disk", 4, true);
	expect(c, "disk@one", 1, false);
	expect(c, "disk@two", 2, false);
	expect(c, "copy", 3, false);
}

static void check(const struct scene *c)
{
	struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res;
	struct bs_device *dev;
	struct vs_error err = {0};

	must(bs_device_open(c->path, BS_DEVICE_READ_ONLY, 0, &dev, &err), &err);
	must(bs_check_run(dev, &opts, &res, &err), &err);
	assert_int_equal(res.problems, 0);
}

static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "re");
	uint8_t *buf;
	long n;

	if (!f)
		fail_msg("cannot open %s", path);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = ftell(f);
	assert_true(n > 0);
	rewind(f);
	buf = malloc((size_t)n);
	assert_non_null(buf);
	*len = fread(buf, 1, (size_t)n, f);
	assert_int_equal(*len, n);
	fclose(f);
	return buf;
}

static void write_file(const char *path, const void *buf, size_t len)
{
	FILE *f = fopen(path, "we");

	if (!f)
		fail_msg("cannot write %s", path);
	assert_int_equal(fwrite(buf, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void unpack(const char *packed, const char *to)
{
	size_t len, n;
	uint8_t *in = read_file(packed, &len), *out = malloc(STORE_SIZE);

	assert_non_null(out);
	n = ZSTD_decompress(out, STORE_SIZE, in, len);
	assert_false(ZSTD_isError(n));
	write_file(to, out, n);
	free(in);
	free(out);
}

static void pack(const char *store, const char *to)
{
	size_t len, n;
	uint8_t *in = read_file(store, &len), *out = malloc(ZSTD_compressBound(len));

	assert_non_null(out);
	memset(in + OWNER_AT, 0, BS_BLOCK); /* names the machine */
	n = ZSTD_compress(out, ZSTD_compressBound(len), in, len, 19);
	assert_false(ZSTD_isError(n));
	write_file(to, out, n);
	free(in);
	free(out);
}

static void upgrade(const char *name)
{
	struct scene c = {0};
	char packed[128];

	snprintf(packed, sizeof(packed), STORES "%s.zst", name);
	snprintf(c.path, sizeof(c.path), "/tmp/vstore-upgrade-%d.img", getpid());
	unpack(packed, c.path);
	open_scene(&c);
	expect_scene(&c);
	expect(&c, "plain", 1, false);
	change(&c, "plain", 2);
	snapshot(&c, "plain@now");
	change(&c, "plain", 3);
	close_scene(&c);
	check(&c);
	open_scene(&c);
	expect_scene(&c);
	expect(&c, "plain", 3, false);
	expect(&c, "plain@now", 2, false);
	close_scene(&c);
	unlink(c.path);
}

static void test_closed(void **state)
{
	(void)state;
	upgrade("first-closed");
}

static void test_log(void **state)
{
	(void)state;
	upgrade("first-log");
}

/* Blocks hold their seed over and over: 64 a round, 1 in the very first block. */
static void expect_round(struct scene *c, const char *name, unsigned first, unsigned end,
			 unsigned round)
{
	uint8_t want[BS_BLOCK], have[BS_BLOCK];
	struct bs_volume *v;
	struct vs_error err = {0};

	must(bs_volume_open(c->s, name, &v, &err), &err);
	for (unsigned n = first; n < end; n++) {
		for (unsigned i = 0; i < BS_BLOCK; i += 8)
			vs_put_le64(want + i, 1 + round * 64 + n);
		assert_int_equal(bs_io_read(c->port, v, n * BS_BLOCK, have, BS_BLOCK), 0);
		assert_memory_equal(have, want, BS_BLOCK);
	}
	bs_volume_close(v);
}

/*
 * Ten rounds of overwriting 64 blocks, the last five in the log only: there each overwrite freed
 * the old content at once, and the log gives its number to new content soon after.
 */
static void test_log_reuse(void **state)
{
	struct scene c = {0};

	(void)state;
	snprintf(c.path, sizeof(c.path), "/tmp/vstore-upgrade-%d.img", getpid());
	unpack(STORES "first-reuse.zst", c.path);
	check(&c);
	open_scene(&c);
	expect_round(&c, "a", 0, 64, 9);
	expect_round(&c, "a@s", 0, 11, 7);
	expect_round(&c, "a@s", 11, 64, 6);
	close_scene(&c);
	check(&c);
	unlink(c.path);
}

static int make(const char *folder)
{
	struct bs_init_options opts = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct scene c = {.path = "/tmp/vstore-upgrade-make.img"};
	struct bs_device *dev;
	struct vs_error err = {0};
	char packed[256];

	unlink(c.path);
	must(bs_device_open(c.path, BS_DEVICE_CREATE, STORE_SIZE, &dev, &err), &err);
	must(bs_store_init(dev, &opts, &err), &err);
	bs_device_close(dev);
	open_scene(&c);
	make_scene(&c);
	snprintf(packed, sizeof(packed), "%s/log.zst", folder);
	pack(c.path, packed);
	close_scene(&c);
	snprintf(packed, sizeof(packed), "%s/closed.zst", folder);
	pack(c.path, packed);
	unlink(c.path);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_closed),
	    cmocka_unit_test(test_log),
	    cmocka_unit_test(test_log_reuse),
	};

	if (argc == 3 && strcmp(argv[1], "make") == 0)
		return make(argv[2]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
