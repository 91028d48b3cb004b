/* What a scrub finds, says, and heals. Damage is done behind the open store's back. */
#include "blockstore/scrub.h"
#include "blockstore/super_format.h"

#include "tests/unit/store_scene.h"

#include <fcntl.h>

#define SIZE (UINT64_C(64) << 20)
#define BLOCKS 256u

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v;
	struct bs_scrub *scrub;
	struct bs_scrub_result res; /* of a whole pass: found and counted together */
	uint8_t *buf;
};

/* Noise, so that a block lies on the device as it is. */
static void fill(uint8_t *b, uint64_t seed)
{
	for (unsigned k = 0; k < BS_BLOCK / 8; k++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		vs_put_le64(b + 8 * k, seed ^ seed >> 29);
	}
}

static void open_store(struct fixture *f)
{
	const struct bs_open_options o = {.memory = UINT64_C(256) << 20};

	store_open(f->path, &o, f->loop, 8, &f->s, &f->port);
	assert_int_equal(bs_scrub_new(f->s, &f->scrub), 0);
}

static void open_volume(struct fixture *f)
{
	struct vs_error err = {0};

	if (bs_volume_open(f->s, "v", &f->v, &err))
		fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	bs_scrub_free(f->scrub);
	bs_volume_close(f->v);
	store_close(f->s, f->port);
}

static void reopen(struct fixture *f)
{
	close_store(f);
	open_store(f);
	open_volume(f);
}

static int setup(void **state)
{
	const struct bs_init_options init = {.segment_size = 256 << 10,
					     .compression = BS_CODING_LZ4};
	const struct bs_volume_spec spec = {.name = "v", .size = 64 << 20, .compression = -1};
	const char *snap = "v@one";
	struct fixture *f = calloc(1, sizeof(*f));
	struct vs_error err = {0};

	f->buf = aligned_alloc(BS_PAGE, BS_PAGE);
	store_make(f->path, "scrub", SIZE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	if (bs_volume_create(f->s, &spec, NULL, &err))
		fail_msg("%s", err.text);
	open_volume(f);
	for (unsigned i = 0; i < BLOCKS; i++) {
		fill(f->buf, i);
		assert_int_equal(
		    bs_io_write(f->port, f->v, (uint64_t)i * BS_BLOCK, f->buf, BS_BLOCK), 0);
	}
	if (bs_snapshot_create(f->s, &snap, 1, &err))
		fail_msg("%s", err.text);
	fill(f->buf, 1000); /* block 3 of the volume is no longer the snapshot's */
	assert_int_equal(bs_io_write(f->port, f->v, 3 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	reopen(f);
	*state = f;
	return 0;
}

/* Of the store at rest; it is open again afterwards. */
static uint64_t problems(struct fixture *f)
{
	uint64_t n;

	close_store(f);
	n = store_problems(f->path);
	open_store(f);
	open_volume(f);
	return n;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f->buf);
	free(f);
	return 0;
}

static void edit(struct fixture *f, uint64_t at, uint8_t *b, bool write)
{
	int fd = open(f->path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(
	    write ? pwrite(fd, b, BS_PAGE, (off_t)at) : pread(fd, b, BS_PAGE, (off_t)at), BS_PAGE);
	close(fd);
}

static void flip(struct fixture *f, uint64_t at)
{
	edit(f, at & ~UINT64_C(4095), f->buf, false);
	f->buf[at % BS_PAGE] ^= 16;
	edit(f, at & ~UINT64_C(4095), f->buf, true);
}

/* Where a block's bytes lie: all that is the same as of its noise. */
static uint64_t find(struct fixture *f, uint64_t seed)
{
	uint8_t want[BS_BLOCK], *all = malloc(SIZE);
	int fd = open(f->path, O_RDONLY);
	uint64_t at = 0;

	fill(want, seed);
	assert_true(all && fd >= 0 && pread(fd, all, SIZE, 0) == (ssize_t)SIZE);
	for (const uint8_t *p = all; !at && (p = memmem(p, (size_t)(all + SIZE - p), want, 64));
	     p++)
		if (memcmp(p, want, BS_BLOCK) == 0)
			at = (uint64_t)(p - all);
	close(fd);
	free(all);
	assert_true(at != 0);
	return at;
}

/* A whole pass; false when it says that others were busy all the time. */
static void scrub(struct fixture *f)
{
	struct bs_scrub_position at = {0};
	struct bs_scrub_result r;
	struct vs_error err = {0};

	memset(&f->res, 0, sizeof(f->res));
	for (unsigned steps = 0; at.part != BS_SCRUB_END; steps++) {
		assert_true(steps < 10000);
		if (bs_scrub_step(f->scrub, &at, &r, &err))
			fail_msg("%s", err.text);
		f->res.contents += r.contents;
		f->res.pages += r.pages;
		f->res.total = r.total;
		for (unsigned i = 0; i < r.nfound; i++)
			f->res.found[f->res.nfound++] = r.found[i];
	}
}

static void expect_range(struct fixture *f, const char *name, uint64_t offset, uint64_t length)
{
	struct bs_scrub_range range[8];
	struct bs_volume_info info;
	struct vs_error err = {0};
	uint64_t cursor = 0;
	size_t n = 0, all = 0;

	if (bs_volume_find(f->s, name, &info, &err))
		fail_msg("%s", err.text);
	while (cursor != UINT64_MAX) {
		if (bs_scrub_name(f->scrub, info.id, false, &cursor, range + all, 8 - all, &n,
				  &err))
			fail_msg("%s", err.text);
		all += n;
	}
	assert_int_equal(all, length != 0);
	if (length) {
		assert_int_equal(range[0].offset, offset);
		assert_int_equal(range[0].length, length);
	}
}

static void test_sound(void **state)
{
	struct fixture *f = *state;

	scrub(f);
	assert_int_equal(f->res.nfound, 0);
	assert_int_equal(f->res.contents, BLOCKS + 1);
	assert_int_equal(f->res.total, BLOCKS + 1);
	assert_true(f->res.pages > 6);
}

static void test_content(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	uint64_t cid;

	flip(f, find(f, 3) + 100);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	assert_int_equal(f->res.found[0].part, BS_SCRUB_CONTENTS);
	assert_false(f->res.found[0].healed);
	cid = f->res.found[0].id;
	expect_range(f, "v@one", 3 * BS_BLOCK, BS_BLOCK);
	expect_range(f, "v", 0, 0);

	/* the same bytes written again are stored again, and not the damaged ones found */
	fill(f->buf, 3);
	assert_int_equal(bs_io_write(f->port, f->v, 9 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	memset(f->buf, 0, BS_BLOCK);
	assert_int_equal(bs_io_read(f->port, f->v, 9 * BS_BLOCK, f->buf, BS_BLOCK), 0);

	fill(f->buf, 4);
	assert_int_equal(bs_scrub_heal(f->scrub, cid, f->buf, &err), VS_E_CHECKSUM);
	fill(f->buf, 3);
	assert_int_equal(bs_scrub_heal(f->scrub, cid, f->buf, &err), 0);
	scrub(f);
	assert_int_equal(f->res.nfound, 0);
	reopen(f);
	scrub(f);
	assert_int_equal(f->res.nfound, 0);
	assert_int_equal(problems(f), 0);
}

/* Read before a scrub and after one: an error both times, never the wrong bytes. */
static void test_damaged_reads_fail(void **state)
{
	struct fixture *f = *state;

	flip(f, find(f, 20) + 4095);
	for (unsigned i = 0; i < 3; i++) /* nor are they in the cache, which they were read to */
		assert_int_equal(bs_io_read(f->port, f->v, 20 * BS_BLOCK, f->buf, BS_BLOCK),
				 VS_E_CHECKSUM);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	assert_int_equal(bs_io_read(f->port, f->v, 20 * BS_BLOCK, f->buf, BS_BLOCK), VS_E_CHECKSUM);
	expect_range(f, "v", 20 * BS_BLOCK, BS_BLOCK);
	expect_range(f, "v@one", 20 * BS_BLOCK, BS_BLOCK);
	assert_int_equal(bs_io_read(f->port, f->v, 19 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	/* written over, it is nobody's any more in the volume */
	fill(f->buf, 77777);
	assert_int_equal(bs_io_write(f->port, f->v, 20 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	expect_range(f, "v", 0, 0);
	expect_range(f, "v@one", 20 * BS_BLOCK, BS_BLOCK);
}

/* What an earlier scrub found is marked again after a restart. */
static void test_marked(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	uint64_t at, cid;

	at = find(f, 8);
	flip(f, at);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	cid = f->res.found[0].id;
	flip(f, at); /* sound again, but nobody has looked */
	assert_int_equal(bs_io_read(f->port, f->v, 8 * BS_BLOCK, f->buf, BS_BLOCK), VS_E_CHECKSUM);
	reopen(f);
	assert_int_equal(bs_io_read(f->port, f->v, 8 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	assert_int_equal(bs_scrub_mark(f->s, &cid, 1, &err), 0);
	assert_int_equal(bs_io_read(f->port, f->v, 8 * BS_BLOCK, f->buf, BS_BLOCK), VS_E_CHECKSUM);
}

static void merge_all(struct fixture *f)
{
	struct bs_merge_info info = {0};
	struct vs_error err = {0};

	assert_int_equal(bs_store_merge_begin(f->s, &err), 0);
	while (!info.finished)
		assert_int_equal(bs_store_merge_step(f->s, &info, &err), 0);
	bs_store_merge_end(f->s);
	assert_int_equal(info.merged, 1);
}

/* Of two contents with the same digest the one that is marked goes, and is sound with the other. */
static void test_merged_with_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t at = find(f, 8);

	flip(f, at);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	flip(f, at); /* its checksum is right, as it is where only the digest tells */
	fill(f->buf, 8);
	assert_int_equal(bs_io_write(f->port, f->v, 9 * BS_BLOCK, f->buf, BS_BLOCK), 0);
	merge_all(f);
	for (uint64_t block = 8; block <= 9; block++)
		assert_int_equal(bs_io_read(f->port, f->v, block * BS_BLOCK, f->buf, BS_BLOCK), 0);
	scrub(f);
	assert_int_equal(f->res.nfound, 0);
}

static struct bs_super newest(struct fixture *f)
{
	struct bs_super sb, best = {0};

	for (unsigned slot = 0; slot < 2; slot++) {
		edit(f, bs_super_offset(SIZE, slot, 0), f->buf, false);
		if (bs_super_decode(f->buf, &sb) == 0 && sb.checkpoint >= best.checkpoint)
			best = sb;
	}
	return best;
}

static uint64_t place_of(const struct bs_super *sb, const struct bs_ptr *p, unsigned copy)
{
	return BS_HEAD_AREA + (uint64_t)p->seg[copy] * sb->segment_size + p->off[copy];
}

/* One copy of a page that has two, then both: the other one, then memory, has it. */
static void test_table_page(void **state)
{
	struct fixture *f = *state;
	struct bs_super sb = newest(f);
	const struct bs_ptr *p = &sb.roots[BS_TREE_VOLUME].ptr;

	flip(f, place_of(&sb, p, 1) + 5);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	assert_int_equal(f->res.found[0].part, BS_SCRUB_TABLES);
	assert_true(f->res.found[0].healed);
	reopen(f);
	scrub(f);
	assert_int_equal(f->res.nfound, 0);

	sb = newest(f);
	flip(f, place_of(&sb, p, 0) + 5);
	flip(f, place_of(&sb, p, 1) + 6);
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	assert_true(f->res.found[0].healed);
	assert_int_equal(problems(f), 0);
}

/* A map page that nobody has in memory is lost with all below it, in volume and snapshot. */
static void test_map_page(void **state)
{
	struct fixture *f = *state;
	struct bs_super sb = newest(f);
	struct bs_mapent ent;
	uint8_t leaf[BS_PAGE];
	unsigned hit = 0;

	edit(f, place_of(&sb, &sb.roots[BS_TREE_MAP].ptr, 0), leaf, false);
	for (unsigned i = 0; i < BS_MAPENTS_PER_PAGE; i++) {
		bs_mapent_get(leaf + i * BS_MAPENT_SIZE, &ent);
		if (!ent.live || ent.level != 0 || ent.base)
			continue;
		flip(f,
		     BS_HEAD_AREA + (uint64_t)ent.place.seg * sb.segment_size + ent.place.off + 9);
		hit++;
	}
	assert_int_equal(hit, 1); /* the snapshot's bottom page, which is the volume's base */
	scrub(f);
	assert_int_equal(f->res.nfound, 1);
	assert_int_equal(f->res.found[0].part, BS_SCRUB_MAPS);
	assert_false(f->res.found[0].healed);
	expect_range(f, "v@one", 0, 512 * BS_BLOCK);
	expect_range(f, "v", 0, 0);
	assert_int_equal(bs_io_read(f->port, f->v, 0, f->buf, BS_BLOCK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_sound, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_content, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_damaged_reads_fail, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_marked, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merged_with_damaged, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_table_page, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_map_page, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
