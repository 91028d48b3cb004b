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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_sequence_is_found_by_its_neighbours, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_single_blocks_profit_when_sequential, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_lone_hits_load_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_filled_again_after_opening, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_shared_by_clones, setup,
					    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
