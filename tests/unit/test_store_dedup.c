/* Duplicates that a small index finds by locality; private content. */
#include "tests/unit/dedup_scene.h"

/* A 16th of the digests are kept; what is written in the same order is found almost wholly. */
static void test_sequence_is_found_by_its_neighbours(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct bs_store_info info;
	uint64_t before;

	put(f, a, 0, 0, 8192, 32);
	before = unique(f);
	assert_int_equal(before, 8192);
	put(f, b, 0, 0, 8192, 32);
	assert_in_range(unique(f), before, before + 8192 * 5 / 100);
	bs_store_info(f->s, &info);
	assert_int_equal(info.index_bytes, 4096);
	assert_int_equal(info.index_entries, 512);
	assert_true(info.near_hits > 8192 * 8 / 10);
	bs_volume_close(a);
	bs_volume_close(b);
}

/* Single blocks one after the other profit too, from the second hit on. */
static void test_single_blocks_profit_when_sequential(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	uint64_t before;

	put(f, a, 0, 0, 8192, 32);
	before = unique(f);
	put(f, b, 0, 0, 8192, 1);
	assert_in_range(unique(f), before, before + 8192 * 40 / 100);
	bs_volume_close(a);
	bs_volume_close(b);
}

/* Single blocks far from one another ask for no neighbours, but by chance. */
static void test_lone_hits_load_nothing(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct bs_store_info info;

	put(f, a, 0, 0, 8192, 32);
	for (uint64_t i = 0; i < 256; i++)
		put(f, b, i, i * 5003 % 8192, 1, 1);
	bs_store_info(f->s, &info);
	assert_in_range(info.near_loads, 0, 10);
	bs_volume_close(a);
	bs_volume_close(b);
}

/* What the index was filled with after opening is as good as what it held before. */
static void test_filled_again_after_opening(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b;
	uint64_t before;

	put(f, a, 0, 0, 8192, 32);
	bs_volume_close(a);
	close_store(f);
	open_store(f);
	await_index(f, 512);
	b = create(f, "b");
	before = unique(f);
	put(f, b, 0, 0, 8192, 32);
	assert_in_range(unique(f), before, before + 8192 * 5 / 100);
	bs_volume_close(b);
}

static void set_dedup(struct fixture *f, const char *name, bool on)
{
	struct bs_volume_info info;
	struct vs_error err = {0};

	if (bs_volume_set_dedup(f->s, name, on, &err) || bs_volume_find(f->s, name, &info, &err))
		fail_msg("%s", err.text);
	assert_int_equal(info.dedup, on);
}

/*
 * What is written with deduplication off neither finds content nor is found, not even by content of
 * its own volume, also after the index was filled again from the tables and the log was replayed.
 */
static void test_private_content_is_apart(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct bs_store_info before, info;
	struct dd_digest digest;
	struct dd_hasher *h;
	uint8_t mapped;
	struct bs_req link = {
	    .op = BS_LINK, .digests = &digest, .mapped = &mapped, .length = BS_BLOCK};
	static uint8_t buf[BS_BLOCK];

	put(f, a, 0, 0, 100, 32);
	set_dedup(f, "b", false);
	bs_store_info(f->s, &before);
	put(f, b, 0, 0, 100, 32);      /* as a's */
	put(f, b, 1000, 0, 100, 32);   /* as its own */
	put(f, b, 2000, 5000, 64, 32); /* new */
	assert_int_equal(unique(f), 100 + 264);
	put(f, a, 100, 5000, 64, 32); /* only b has it */
	assert_int_equal(unique(f), 100 + 264 + 64);
	bs_store_info(f->s, &info);
	assert_int_equal(info.dedup_hits, before.dedup_hits);
	assert_int_equal(info.index_entries, 164);
	put(f, a, 200, 5000, 64, 32); /* a has it now */
	assert_int_equal(unique(f), 100 + 264 + 64);
	bs_volume_close(a);
	bs_volume_close(b);
	close_store(f);
	open_store(f);
	await_index(f, 164);
	assert_int_equal(bs_volume_open(f->s, "a", &a, NULL), 0);
	assert_int_equal(bs_volume_open(f->s, "b", &b, NULL), 0);
	put(f, b, 3000, 6000, 32, 32);
	bs_store_info(f->s, &info);
	assert_int_equal(info.index_entries, 164);
	/* a link is a question that dedup answers too */
	assert_int_equal(dd_hasher_new(&h, NULL), 0);
	fill(buf, 0, 1);
	dd_hash(h, buf, BS_BLOCK, &digest);
	link.volume = b;
	link.offset = 4000 * BS_BLOCK;
	assert_int_equal(bs_io_wait(f->port, &link), 0);
	assert_int_equal(mapped, 0);
	link.volume = a;
	assert_int_equal(bs_io_wait(f->port, &link), 0);
	assert_int_equal(mapped, 1);
	dd_hasher_free(h);
	set_dedup(f, "b", true);
	put(f, b, 5000, 0, 32, 32);
	assert_int_equal(unique(f), 100 + 264 + 64 + 32);
	bs_volume_close(a);
	bs_volume_close(b);
}

/* Clones and snapshots of such a volume share with it, and a clone is one itself. */
static void test_private_content_is_shared_by_clones(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *c = NULL;
	const char *snap = "a@s";
	struct bs_volume_info info;

	set_dedup(f, "a", false);
	put(f, a, 0, 0, 64, 32);
	assert_int_equal(bs_snapshot_create(f->s, &snap, 1, NULL), 0);
	assert_int_equal(bs_volume_clone(f->s, snap, "c", &info, NULL), 0);
	assert_false(info.dedup);
	assert_int_equal(unique(f), 64);
	assert_int_equal(bs_volume_open(f->s, "c", &c, NULL), 0);
	put(f, c, 0, 0, 32, 32);
	assert_int_equal(unique(f), 64 + 32);
	bs_volume_close(a);
	bs_volume_close(c);
}

static struct dd_digest digest_of(uint64_t block)
{
	static uint8_t bytes[BS_BLOCK];
	struct dd_hasher *h;
	struct dd_digest d;

	fill(bytes, block, 1);
	assert_int_equal(dd_hasher_new(&h, NULL), 0);
	dd_hash(h, bytes, BS_BLOCK, &d);
	dd_hasher_free(h);
	return d;
}

/* Damages the table page that has the digests of this block and the next, or undoes that. */
static unsigned flip_digests(struct fixture *f, uint64_t block, bool undo)
{
	struct dd_digest a = digest_of(block), b = digest_of(block + 1);
	static uint8_t page[BS_BLOCK];
	FILE *file = fopen(f->path, "r+b");
	unsigned n = 0;

	a.b[0] ^= undo;
	assert_non_null(file);
	for (long at = 0;
	     fseek(file, at, SEEK_SET) == 0 && fread(page, 1, sizeof(page), file) == sizeof(page);
	     at += BS_BLOCK)
		for (unsigned i = 0; i + 64 <= sizeof(page); i += 32)
			if (memcmp(page + i, a.b, 32) == 0 && memcmp(page + i + 32, b.b, 32) == 0) {
				n++;
				assert_int_equal(fseek(file, at + i, SEEK_SET), 0);
				(void)fputc(page[i] ^ 1, file);
			}
	(void)fclose(file);
	return n;
}

/* What may be a duplicate cannot be looked at: it is stored once more, and at once. */
static void test_digests_that_cannot_be_read(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *v = create(f, "v");
	struct vs_error err = {0};
	struct dd_digest digest = digest_of(20);
	uint8_t mapped = 1;
	struct bs_req link = {.op = BS_LINK,
			      .offset = 500 * BS_BLOCK,
			      .length = BS_BLOCK,
			      .digests = &digest,
			      .mapped = &mapped};

	put(f, v, 0, 0, 240, 16);
	bs_volume_close(v);
	close_store(f);
	assert_true(flip_digests(f, 20, false) > 0);
	open_store(f);
	assert_int_equal(bs_volume_open(f->s, "v", &v, &err), 0);
	put(f, v, 300, 0, 64, 32);
	put(f, v, 400, 0, 64, 1);
	link.volume = v;
	assert_int_equal(bs_io_wait(f->port, &link), 0);
	expect(f, v, 300, 0, 64);
	expect(f, v, 400, 0, 64);
	assert_true(unique(f) > 240);
	bs_volume_close(v);
	close_store(f);
	assert_true(flip_digests(f, 20, true) > 0);
	open_store(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_sequence_is_found_by_its_neighbours, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_single_blocks_profit_when_sequential, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_lone_hits_load_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_filled_again_after_opening, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_digests_that_cannot_be_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_shared_by_clones, setup,
					    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
