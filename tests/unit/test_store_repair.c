/*
 * vstore check --repair: each kind of damage is made in the file, with right checksums where a bug
 * would have left them, found, repaired, and found no more; or it cannot be repaired, and then not
 * a byte is written.
 */
#include "blockstore/check.h"
#include "blockstore/io.h"
#include "blockstore/super_format.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (UINT64_C(64) << 20)
#define BLOCKS 100u

static char path[64];
static uint8_t page[BS_PAGE];
static uint8_t before[2][BLOCKS * BS_BLOCK], after[2][BLOCKS * BS_BLOCK];

/* Every other block compresses. */
static void fill(uint8_t *b, uint64_t seed)
{
	memset(b, 'x', BS_BLOCK);
	for (unsigned k = 0; k < BS_BLOCK / 8 / (seed % 2 ? 4 : 1); k++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		vs_put_le64(b + 8 * k, seed ^ seed >> 29);
	}
}

static struct bs_device *device(unsigned flags)
{
	struct bs_device *dev = NULL;
	struct vs_error err = {0};

	if (bs_device_open(path, flags, SIZE, &dev, &err))
		fail_msg("%s", err.text);
	return dev;
}

/* Runs use on the open store's volume and snapshot. */
static void with_store(void (*use)(struct bs_store *s, struct bs_port *p))
{
	const struct bs_open_options o = {.memory = UINT64_C(256) << 20};
	struct vs_loop *loop;
	struct bs_store *s;
	struct bs_port *p;
	struct vs_error err = {0};

	if (vs_loop_new(&loop, &err) || bs_store_open(device(0), &o, &s, &err) ||
	    bs_port_open(s, loop, 8, &p, &err))
		fail_msg("%s", err.text);
	use(s, p);
	bs_port_close(p);
	if (bs_store_close(s, &err))
		fail_msg("%s", err.text);
	vs_loop_free(loop);
}

static void make(struct bs_store *s, struct bs_port *p)
{
	const struct bs_volume_spec spec = {.name = "v", .size = 8 << 20, .compression = -1};
	const char *snap = "v@one";
	struct bs_volume *v;
	struct vs_error err = {0};

	if (bs_volume_create(s, &spec, NULL, &err) || bs_volume_open(s, "v", &v, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < BLOCKS; i++) {
		fill(page, i % 80); /* some twice */
		assert_int_equal(bs_io_write(p, v, i * BS_BLOCK, page, BS_BLOCK), 0);
	}
	if (bs_snapshot_create(s, &snap, 1, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 10; i < 20; i++) {
		fill(page, 1000 + i);
		assert_int_equal(bs_io_write(p, v, i * BS_BLOCK, page, BS_BLOCK), 0);
	}
	bs_volume_close(v);
	if (bs_store_drain(s, &err))
		fail_msg("%s", err.text);
}

/* Forty blocks again and again, stored each time, then merged. */
static void make_aliases(struct bs_store *s, struct bs_port *p)
{
	const struct bs_volume_spec spec = {.name = "v", .size = 8 << 20, .compression = -1};
	const char *snap = "v@one";
	struct bs_merge_info info = {0};
	struct bs_volume *v;
	struct vs_error err = {0};

	assert_int_equal(bs_store_set_index(s, 0, &err), 0);
	assert_int_equal(bs_volume_create(s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(s, "v", &v, &err), 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		fill(page, i % 40);
		assert_int_equal(bs_io_write(p, v, i * BS_BLOCK, page, BS_BLOCK), 0);
	}
	bs_volume_close(v);
	assert_int_equal(bs_snapshot_create(s, &snap, 1, &err), 0);
	assert_int_equal(bs_store_merge_begin(s, &err), 0);
	while (!info.finished)
		assert_int_equal(bs_store_merge_step(s, &info, &err), 0);
	bs_store_merge_end(s);
	assert_int_equal(info.merged, BLOCKS - 40);
}

static void read_to(struct bs_store *s, struct bs_port *p, uint8_t to[2][BLOCKS * BS_BLOCK])
{
	static const char *const names[] = {"v", "v@one"};

	for (unsigned i = 0; i < 2; i++) {
		struct bs_volume *v;
		struct vs_error err = {0};

		if (bs_volume_open(s, names[i], &v, &err))
			fail_msg("%s", err.text);
		assert_int_equal(bs_io_read(p, v, 0, to[i], BLOCKS * BS_BLOCK), 0);
		bs_volume_close(v);
	}
}

static void read_before(struct bs_store *s, struct bs_port *p)
{
	read_to(s, p, before);
}

static void read_after(struct bs_store *s, struct bs_port *p)
{
	read_to(s, p, after);
}

static int setup_with(void (*use)(struct bs_store *s, struct bs_port *p))
{
	const struct bs_init_options init = {.segment_size = 256 << 10,
					     .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct vs_error err = {0};

	snprintf(path, sizeof(path), "/tmp/vstore-repair-%d.img", getpid());
	unlink(path);
	dev = device(BS_DEVICE_CREATE);
	if (bs_store_init(dev, &init, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	with_store(use);
	with_store(read_before);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(make);
}

static int setup_aliases(void **state)
{
	(void)state;
	return setup_with(make_aliases);
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void access_page(uint64_t at, uint8_t *b, bool write)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(
	    write ? pwrite(fd, b, BS_PAGE, (off_t)at) : pread(fd, b, BS_PAGE, (off_t)at), BS_PAGE);
	close(fd);
}

static struct bs_super newest(void)
{
	struct bs_super sb, best = {0};

	for (unsigned slot = 0; slot < 2; slot++) {
		access_page(bs_super_offset(SIZE, slot, 0), page, false);
		if (bs_super_decode(page, &sb) == 0 && sb.checkpoint >= best.checkpoint)
			best = sb;
	}
	return best;
}

static uint64_t place_of(const struct bs_super *sb, uint32_t seg, uint32_t off)
{
	return BS_HEAD_AREA + (uint64_t)seg * sb->segment_size + off;
}

/* The only leaf of a table, which its root is. */
static void leaf(unsigned tree, uint8_t *b)
{
	struct bs_super sb = newest();

	assert_int_equal(sb.roots[tree].height, 1);
	access_page(place_of(&sb, sb.roots[tree].ptr.seg[0], sb.roots[tree].ptr.off[0]), b, false);
}

static void put_super(struct bs_super *sb)
{
	bs_super_encode(page, sb);
	for (unsigned copy = 0; copy < 2; copy++)
		access_page(bs_super_offset(SIZE, sb->checkpoint % 2, copy), page, true);
}

static void put_leaf(unsigned tree, uint8_t *b)
{
	struct bs_super sb = newest();
	struct bs_ptr *p = &sb.roots[tree].ptr;

	for (unsigned i = 0; i < 2; i++)
		if (p->seg[i] != BS_SEG_NONE)
			access_page(place_of(&sb, p->seg[i], p->off[i]), b, true);
	p->check = bs_checksum(b, BS_PAGE);
	put_super(&sb);
}

/* Noise instead of a table's leaf, its checksum left as it was. */
static void destroy_leaf(unsigned tree, unsigned copy)
{
	struct bs_super sb = newest();

	fill(page, 5);
	access_page(place_of(&sb, sb.roots[tree].ptr.seg[copy], sb.roots[tree].ptr.off[copy]), page,
		    true);
}

static struct bs_check_result check(bool repair)
{
	const struct bs_check_options o = {.read_data = true, .repair = repair};
	struct bs_check_result r;
	struct vs_error err = {0};

	if (bs_check_run(device(repair ? 0 : BS_DEVICE_READ_ONLY), &o, &r, &err))
		fail_msg("%s", err.text);
	return r;
}

static void repaired(bool same)
{
	struct bs_check_result r = check(true);

	assert_int_equal(r.problems, 0);
	assert_true(r.repaired > 0);
	r = check(false);
	assert_int_equal(r.problems, 0);
	with_store(read_after);
	if (same)
		assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(check(false).problems, 0);
}

static uint64_t sum(void)
{
	uint8_t *all = malloc(SIZE);
	int fd = open(path, O_RDONLY);
	uint64_t s;

	assert_true(all && fd >= 0 && pread(fd, all, SIZE, 0) == (ssize_t)SIZE);
	memset(all + BS_OWNER_OFFSET, 0, BS_PAGE); /* says who looks at it */
	s = bs_checksum(all, SIZE);
	close(fd);
	free(all);
	return s;
}

static void refused(void)
{
	uint64_t s = sum();
	struct bs_check_result r = check(true);

	assert_true(r.problems > 0);
	assert_int_equal(r.repaired, 0);
	assert_int_equal(sum(), s);
}

static void test_nothing_to_do(void **state)
{
	uint64_t s = sum();
	struct bs_check_result r = check(true);

	(void)state;
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.repaired, 0);
	assert_int_equal(sum(), s);
}

static void test_references(void **state)
{
	uint8_t b[BS_PAGE];
	struct bs_place p;
	unsigned changed = 0;

	(void)state;
	leaf(BS_TREE_PLACE, b);
	for (unsigned i = 1; i < BS_PLACES_PER_PAGE && changed < 4; i++) {
		bs_place_get(b + i * BS_PLACE_SIZE, &p);
		if (!p.refs)
			continue;
		p.refs = changed++ < 2 ? p.refs + 3 : 0; /* two too many, two lost */
		bs_place_put(b + i * BS_PLACE_SIZE, &p);
	}
	put_leaf(BS_TREE_PLACE, b);
	assert_true(check(false).problems > 0);
	repaired(true);
}

static void test_counts_of_pages(void **state)
{
	uint8_t b[BS_PAGE];
	struct bs_mapent ent;
	unsigned changed = 0;

	(void)state;
	leaf(BS_TREE_MAP, b);
	for (unsigned i = 1; i < BS_MAPENTS_PER_PAGE; i++) {
		bs_mapent_get(b + i * BS_MAPENT_SIZE, &ent);
		if (!ent.live)
			continue;
		ent.count += 7;
		ent.place.refs += changed % 2;
		ent.xors ^= changed++ % 3;
		bs_mapent_put(b + i * BS_MAPENT_SIZE, &ent);
	}
	assert_true(changed > 3);
	put_leaf(BS_TREE_MAP, b);
	assert_true(check(false).problems > 3);
	repaired(true);
}

static void test_segments(void **state)
{
	struct bs_super sb = newest();
	struct bs_segent ent;
	struct bs_ptr ptr;
	uint8_t b[BS_PAGE], above[BS_PAGE];
	unsigned changed = 0;
	bool inner = sb.roots[BS_TREE_SEGMENT].height == 2;

	(void)state;
	ptr = sb.roots[BS_TREE_SEGMENT].ptr;
	access_page(place_of(&sb, ptr.seg[0], ptr.off[0]), above, false);
	if (inner)
		bs_ptr_get(above, &ptr);
	access_page(place_of(&sb, ptr.seg[0], ptr.off[0]), b, false);
	for (unsigned i = 0; i < BS_SEGENTS_PER_PAGE; i++) {
		bs_segent_get(b + i * BS_SEGENT_SIZE, &ent);
		if (ent.live < 100)
			continue;
		ent.live -= 17;
		changed++;
		bs_segent_put(b + i * BS_SEGENT_SIZE, &ent);
	}
	assert_true(changed > 1);
	ptr.check = bs_checksum(b, BS_PAGE);
	for (unsigned i = 0; i < 2; i++)
		access_page(place_of(&sb, ptr.seg[i], ptr.off[i]), b, true);
	if (inner) {
		struct bs_ptr *root = &sb.roots[BS_TREE_SEGMENT].ptr;

		bs_ptr_put(above, &ptr);
		root->check = bs_checksum(above, BS_PAGE);
		for (unsigned i = 0; i < 2; i++)
			access_page(place_of(&sb, root->seg[i], root->off[i]), above, true);
	} else {
		sb.roots[BS_TREE_SEGMENT].ptr = ptr;
	}
	put_super(&sb);
	assert_true(check(false).problems > 0);
	repaired(true);
}

static void test_totals(void **state)
{
	struct bs_super sb = newest();

	(void)state;
	sb.contents += 5;
	sb.stored_bytes -= 100;
	sb.references++;
	put_super(&sb);
	assert_int_equal(check(false).problems, 1);
	repaired(true);
}

static void test_lost_leaves(void **state)
{
	(void)state;
	destroy_leaf(BS_TREE_PLACE, 0);
	repaired(true);
	destroy_leaf(BS_TREE_DIGEST, 0);
	repaired(true);
	destroy_leaf(BS_TREE_PLACE, 0);
	destroy_leaf(BS_TREE_DIGEST, 0);
	repaired(true);
}

/* What stores aliases has a reference too few; digests are lost. */
static void test_aliases(void **state)
{
	uint8_t b[BS_PAGE];
	struct bs_place p = {0};
	unsigned slot = 0;

	(void)state;
	leaf(BS_TREE_PLACE, b);
	while (!p.alias)
		bs_place_get(b + ++slot * BS_PLACE_SIZE, &p);
	slot = (unsigned)bs_cid_slot(p.alias);
	bs_place_get(b + slot * BS_PLACE_SIZE, &p);
	assert_true(p.aliased && p.refs > 1);
	p.refs--;
	bs_place_put(b + slot * BS_PLACE_SIZE, &p);
	put_leaf(BS_TREE_PLACE, b);
	assert_true(check(false).problems > 0);
	repaired(true);
	destroy_leaf(BS_TREE_DIGEST, 0);
	repaired(true);
}

static void test_one_copy(void **state)
{
	(void)state;
	destroy_leaf(BS_TREE_VOLUME, 1);
	repaired(true);
	destroy_leaf(BS_TREE_VOLUME, 0);
	repaired(true);
}

/* An entry that a map has lost leaves its content behind, and its page counts one too many. */
static void test_orphan(void **state)
{
	struct bs_super sb = newest();
	uint8_t b[BS_PAGE], map[BS_PAGE];
	struct bs_mapent ent = {0};
	unsigned i = 0;

	(void)state;
	leaf(BS_TREE_MAP, b);
	do
		bs_mapent_get(b + ++i * BS_MAPENT_SIZE, &ent);
	while (!ent.live || ent.level != 0 || ent.base);
	access_page(place_of(&sb, ent.place.seg, ent.place.off), map, false);
	bs_map_entry_put(map, 12, 0);
	access_page(place_of(&sb, ent.place.seg, ent.place.off), map, true);
	ent.place.check = bs_checksum(map, BS_PAGE) & BS_CHECK56;
	bs_mapent_put(b + i * BS_MAPENT_SIZE, &ent);
	put_leaf(BS_TREE_MAP, b);
	assert_true(check(false).problems > 0);
	repaired(false);
}

/* The bytes of a content are gone too: its place cannot be found, and nothing is changed. */
static void test_lost_content(void **state)
{
	struct bs_super sb = newest();
	struct bs_place p;
	uint8_t b[BS_PAGE];
	unsigned i = 0;

	(void)state;
	leaf(BS_TREE_PLACE, b);
	do
		bs_place_get(b + ++i * BS_PLACE_SIZE, &p);
	while (!p.refs);
	access_page(place_of(&sb, p.seg, p.off & ~4095u), page, false);
	page[p.off % BS_PAGE] ^= 1;
	access_page(place_of(&sb, p.seg, p.off & ~4095u), page, true);
	destroy_leaf(BS_TREE_PLACE, 0);
	refused();
}

static void test_lost_map_page(void **state)
{
	struct bs_super sb = newest();
	struct bs_mapent ent = {0};
	uint8_t b[BS_PAGE];
	unsigned i = 0;

	(void)state;
	leaf(BS_TREE_MAP, b);
	do
		bs_mapent_get(b + ++i * BS_MAPENT_SIZE, &ent);
	while (!ent.live);
	fill(page, 9);
	access_page(place_of(&sb, ent.place.seg, ent.place.off), page, true);
	refused();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_nothing_to_do, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_references, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_counts_of_pages, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_totals, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lost_leaves, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_aliases, setup_aliases, teardown),
	    cmocka_unit_test_setup_teardown(test_one_copy, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_orphan, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lost_content, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lost_map_page, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
