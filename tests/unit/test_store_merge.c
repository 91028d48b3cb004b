/* Merging of duplicates that were missed when they were written. */
#include "tests/unit/dedup_scene.h"

static uint64_t merge_all(struct fixture *f)
{
	struct bs_merge_info info = {0};
	struct vs_error err = {0};

	assert_int_equal(bs_store_merge_begin(f->s, &err), 0);
	assert_int_equal(bs_store_merge_begin(f->s, &err), VS_E_BUSY);
	while (!info.finished)
		if (bs_store_merge_step(f->s, &info, &err))
			fail_msg("%s", err.text);
	bs_store_merge_end(f->s);
	assert_int_equal(info.done, info.total);
	return info.merged;
}

/*
 * Written without an index, everything is there twice, then once: for volumes, snapshots and
 * clones, after opening again, and until the last of them is gone.
 */
static void test_merging_finds_what_was_missed(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b"), *p = create(f, "p");
	const char *snap = "b@s";
	struct bs_store_info before, after;
	struct vs_error err = {0};

	assert_int_equal(bs_store_set_index(f->s, 0, &err), 0);
	put(f, a, 0, 0, 2000, 32);
	put(f, b, 100, 0, 2000, 32);
	assert_int_equal(bs_snapshot_create(f->s, &snap, 1, &err), 0);
	put(f, b, 100, 500, 200, 32); /* over what the snapshot keeps */
	put(f, b, 4000, 0, 100, 32);
	assert_int_equal(bs_volume_set_dedup(f->s, "p", false, &err), 0);
	put(f, p, 0, 0, 50, 32);
	assert_int_equal(unique(f), 4350);
	bs_store_info(f->s, &before);
	assert_int_equal(merge_all(f), 2300);
	assert_int_equal(unique(f), 2050);
	bs_store_info(f->s, &after);
	assert_true(after.stored_content_bytes < before.stored_content_bytes * 6 / 10);
	assert_int_equal(after.referenced_bytes, before.referenced_bytes);
	assert_int_equal(merge_all(f), 0);
	expect(f, b, 100, 500, 200);
	expect(f, b, 300, 200, 1800);
	bs_volume_close(a);
	bs_volume_close(b);
	bs_volume_close(p);
	close_store(f);
	open_store(f);
	assert_int_equal(bs_volume_delete(f->s, "a", BS_DELETE_PLAIN, &err), 0);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
	assert_int_equal(unique(f), 2050);
	assert_int_equal(bs_volume_open(f->s, "b", &b, &err), 0);
	expect(f, b, 100, 500, 200);
	bs_volume_close(b);
	assert_int_equal(bs_volume_open(f->s, snap, &b, &err), 0);
	expect(f, b, 100, 0, 2000);
	bs_volume_close(b);
	assert_int_equal(bs_volume_delete(f->s, "b", BS_DELETE_WITH_SNAPSHOTS, &err), 0);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
	assert_int_equal(unique(f), 50);
	assert_int_equal(bs_volume_delete(f->s, "p", BS_DELETE_PLAIN, &err), 0);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
	bs_store_info(f->s, &after);
	assert_int_equal(after.unique_content_bytes, 0);
	assert_int_equal(after.stored_content_bytes, 0);
}

/* What is merged is found again by whoever writes it, and an alias is never the answer. */
static void test_merged_content_is_found(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct vs_error err = {0};

	assert_int_equal(bs_store_set_index(f->s, 0, &err), 0);
	put(f, a, 0, 0, 1000, 32);
	put(f, b, 0, 0, 1000, 32);
	assert_int_equal(bs_store_set_index(f->s, 262144, &err), 0);
	await_index(f, 2000);
	assert_int_equal(merge_all(f), 1000);
	put(f, a, 2000, 0, 1000, 32);
	put(f, b, 0, 0, 1000, 32);
	assert_int_equal(unique(f), 1000);
	assert_int_equal(merge_all(f), 0);
	bs_volume_close(a);
	bs_volume_close(b);
}

static void flip(struct fixture *f, uint64_t first)
{
	static uint8_t want[BS_BLOCK], page[4 * BS_BLOCK];
	FILE *file = fopen(f->path, "r+b");
	bool done = false;

	assert_non_null(file);
	fill(want, first, 1); /* noise is stored as it is */
	for (long at = 0; !done && fseek(file, at, SEEK_SET) == 0 &&
			  fread(page, 1, sizeof(page), file) == sizeof(page);
	     at += BS_BLOCK)
		for (unsigned i = 0; i + 64 <= sizeof(page) && !done; i++)
			if (memcmp(page + i, want, 64) == 0) {
				done = true;
				assert_int_equal(fseek(file, at + i, SEEK_SET), 0);
				(void)fputc(page[i] ^ 1, file);
			}
	assert_true(done);
	(void)fclose(file);
}

/* The copy that would stay is damaged: the other one is not given up for it. */
static void test_merging_keeps_what_can_be_read(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct vs_error err = {0};

	assert_int_equal(bs_store_set_index(f->s, 0, &err), 0);
	put(f, a, 0, 0, 32, 32);
	put(f, b, 0, 0, 32, 32);
	bs_volume_close(a);
	bs_volume_close(b);
	close_store(f);
	flip(f, 7); /* a's, as it lies first */
	open_store(f);
	assert_int_equal(merge_all(f), 31);
	assert_int_equal(unique(f), 33);
	assert_int_equal(bs_volume_open(f->s, "b", &b, &err), 0);
	expect(f, b, 0, 0, 32);
	bs_volume_close(b);
	assert_int_equal(bs_volume_delete(f->s, "a", BS_DELETE_PLAIN, &err), 0);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_merging_finds_what_was_missed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merged_content_is_found, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merging_keeps_what_can_be_read, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
