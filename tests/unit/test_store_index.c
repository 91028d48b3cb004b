/* The dedup index across stops and kills, and in other sizes. */
#include "tests/unit/dedup_scene.h"
#include "tests/unit/files.h"

#include <pthread.h>
#include <stdatomic.h>

static struct bs_store_info ready(struct fixture *f)
{
	struct bs_store_info info;

	do {
		bs_store_info(f->s, &info);
	} while (!info.index_ready);
	return info;
}

/* After a clean stop the index is read, and the tables are not gone through. */
static void test_index_outlives_a_clean_stop(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b;
	struct bs_store_info info;
	uint64_t before;

	put(f, a, 0, 0, 8192, 32);
	bs_volume_close(a);
	for (unsigned i = 0; i < 3; i++) {
		close_store(f);
		open_store(f);
		info = ready(f);
		assert_int_equal(info.index_entries, 512);
		assert_int_equal(info.index_scanned, 0);
	}
	b = create(f, "b");
	before = unique(f);
	put(f, b, 0, 0, 8192, 32);
	assert_in_range(unique(f), before, before + 8192 * 5 / 100);
	bs_volume_close(b);
}

/* An index of another size cannot use it: it is made anew. */
static void test_index_of_another_size_is_filled(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a");
	struct bs_store_info info;

	put(f, a, 0, 0, 2048, 32);
	bs_volume_close(a);
	close_store(f);
	f->opts.index.bytes = 65536;
	open_store(f);
	info = ready(f);
	assert_int_equal(info.index_entries, 2048);
	assert_int_equal(info.index_scanned, 2048);
}

struct writer {
	struct fixture *f;
	struct bs_volume *v;
	atomic_bool stop;
	uint64_t n;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!atomic_load(&w->stop)) {
		put(w->f, w->v, w->n % 8192, w->n % 3000, 32, 32);
		w->n += 32;
	}
	return NULL;
}

/* The index goes and comes back in any size under writes, and finds everything in the end. */
static void test_index_changes_size_under_load(void **state)
{
	static const uint64_t sizes[] = {65536, 0, 4096, 1 << 20, 8192, 262144};
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a"), *b = create(f, "b");
	struct writer w = {.f = f, .v = b};
	struct bs_store_info info;
	struct vs_error err = {0};
	pthread_t thread;

	put(f, a, 0, 0, 4096, 32);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(bs_store_set_index(f->s, sizes[i % VS_ARRAY_LEN(sizes)], &err), 0);
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(bs_store_set_index(f->s, 100, &err), VS_E_INVAL);
	put(f, b, 0, 0, 32, 32); /* without an index everything is new */
	assert_int_equal(bs_store_set_index(f->s, 262144, &err), 0);
	(void)ready(f);
	assert_int_equal(bs_store_drain(f->s, &err), 0);
	bs_store_info(f->s, &info);
	assert_int_equal(info.index_bytes, 262144);
	assert_true(info.index_scanned >= 4096);
	put(f, b, 8192, 0, 4096, 32);
	assert_int_equal(info.unique_content_bytes / BS_BLOCK, unique(f));
	bs_volume_close(a);
	bs_volume_close(b);
}

/* What a clean stop saved is not taken for the index of a store that was killed later. */
static void test_index_is_filled_after_a_kill(void **state)
{
	struct fixture *f = *state;
	struct bs_volume *a = create(f, "a");
	struct bs_store_info info;
	char path[64], killed[80];

	put(f, a, 0, 0, 1024, 32);
	bs_volume_close(a);
	close_store(f);
	open_store(f);
	(void)ready(f);
	assert_int_equal(bs_volume_open(f->s, "a", &a, NULL), 0);
	put(f, a, 1024, 1024, 1024, 32);
	assert_int_equal(bs_io_flush(f->port), 0);
	snprintf(killed, sizeof(killed), "%s.killed", f->path);
	assert_int_equal(files_copy(f->path, killed), 0);
	bs_volume_close(a);
	close_store(f);
	memcpy(path, f->path, sizeof(path));
	memcpy(f->path, killed, sizeof(f->path));
	open_store(f);
	info = ready(f);
	assert_int_equal(info.index_scanned, 2048);
	close_store(f);
	unlink(killed);
	memcpy(f->path, path, sizeof(path));
	open_store(f);
}

/* More than one segment of it; blocks of nearly nothing, as only their number matters. */
static void test_long_index_outlives_a_clean_stop(void **state)
{
	struct fixture *f = *state;
	struct bs_volume_spec spec = {.name = "a", .size = UINT64_C(1) << 30, .compression = -1};
	enum { BLOCKS = 160000, EACH = 1024 };
	uint8_t *buf = calloc(EACH, BS_BLOCK);
	struct bs_volume *a = NULL;
	struct bs_store_info info;
	struct vs_error err = {0};

	close_store(f);
	f->opts.index.bytes = 2 << 20;
	open_store(f);
	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(f->s, "a", &a, &err), 0);
	for (uint64_t i = 0; i < BLOCKS; i += EACH) {
		for (uint64_t k = 0; k < EACH; k++)
			vs_put_le64(buf + BS_BLOCK * k, i + k + 1);
		assert_int_equal(
		    bs_io_write(f->port, a, i * BS_BLOCK, buf, (size_t)EACH * BS_BLOCK), 0);
	}
	bs_volume_close(a);
	bs_store_info(f->s, &info);
	assert_true(info.index_entries * 8 > UINT64_C(1) << 20); /* a segment has 1 MiB */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t before = info.index_entries;

		close_store(f);
		open_store(f);
		info = ready(f);
		assert_int_equal(info.index_entries, before);
		assert_int_equal(info.index_scanned, 0);
	}
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_index_outlives_a_clean_stop, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_of_another_size_is_filled, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_changes_size_under_load, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_is_filled_after_a_kill, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_long_index_outlives_a_clean_stop, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
