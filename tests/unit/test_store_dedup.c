#include "blockstore/check.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include "tests/unit/files.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (UINT64_C(256) << 20)
#define CHUNK (UINT64_C(128) << 10)

struct fixture {
	char path[64];
	struct bs_open_options opts;
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
};

static void open_store(struct fixture *f)
{
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(f->path, 0, 0, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_store_open(dev, &f->opts, &f->s, &err))
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

/* The smallest index, 512 digests, and a locality cache of 1,024. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct vs_error err = {0};

	f->opts = (struct bs_open_options){
	    .memory = UINT64_C(256) << 20,
	    .index = {.bytes = 4096, .near_bytes = 8192, .near_digests = 256}};
	snprintf(f->path, sizeof(f->path), "/tmp/vstore-dedup-%d.img", getpid());
	unlink(f->path);
	if (bs_device_open(f->path, BS_DEVICE_CREATE, SIZE, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_store_init(dev, &init, &err))
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
	struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res;
	struct bs_device *dev;
	struct vs_error err = {0};

	close_store(f);
	if (bs_device_open(f->path, BS_DEVICE_READ_ONLY, 0, &dev, &err))
		fail_msg("%s", err.text);
	if (bs_check_run(dev, &opts, &res, &err))
		fail_msg("%s", err.text);
	assert_int_equal(res.problems, 0);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static struct bs_volume *create(struct fixture *f, const char *name)
{
	struct bs_volume_spec spec = {.name = name, .size = UINT64_C(64) << 20, .compression = -1};
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	if (bs_volume_create(f->s, &spec, NULL, &err) || bs_volume_open(f->s, name, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

/* Blocks [first, first + n) of an endless sequence in which no two are equal. */
static void fill(uint8_t *buf, uint64_t first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t seed = first + i + 1;

		for (unsigned k = 0; k < BS_BLOCK / 8; k++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			vs_put_le64(buf + BS_BLOCK * i + 8 * k, seed ^ seed >> 29);
		}
	}
}

/* Writes blocks [first, first + n) of the sequence, `at` blocks into v, in requests of `each`. */
static void put(struct fixture *f, struct bs_volume *v, uint64_t at, uint64_t first, uint64_t n,
		unsigned each)
{
	static uint8_t buf[CHUNK];

	for (uint64_t i = 0; i < n; i += each) {
		unsigned k = (unsigned)VS_MIN(n - i, each);

		fill(buf, first + i, k);
		assert_int_equal(
		    bs_io_write(f->port, v, (at + i) * BS_BLOCK, buf, (size_t)k * BS_BLOCK), 0);
	}
}

static uint64_t unique(struct fixture *f)
{
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	return info.unique_content_bytes / BS_BLOCK;
}

/* Waits until the index has been filled with what there is to be found. */
static void await_index(struct fixture *f, uint64_t entries)
{
	struct bs_store_info info;

	do {
		bs_store_info(f->s, &info);
	} while (info.index_entries < entries);
}

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

static void expect(struct fixture *f, struct bs_volume *v, uint64_t at, uint64_t first, uint64_t n)
{
	static uint8_t have[CHUNK], want[CHUNK];

	for (uint64_t i = 0; i < n; i += 32) {
		unsigned k = (unsigned)VS_MIN(n - i, 32);

		fill(want, first + i, k);
		assert_int_equal(
		    bs_io_read(f->port, v, (at + i) * BS_BLOCK, have, (size_t)k * BS_BLOCK), 0);
		assert_memory_equal(want, have, (size_t)k * BS_BLOCK);
	}
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
	    cmocka_unit_test_setup_teardown(test_sequence_is_found_by_its_neighbours, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_single_blocks_profit_when_sequential, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_lone_hits_load_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_filled_again_after_opening, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_outlives_a_clean_stop, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_of_another_size_is_filled, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_changes_size_under_load, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_index_is_filled_after_a_kill, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_long_index_outlives_a_clean_stop, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merging_finds_what_was_missed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merged_content_is_found, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_merging_keeps_what_can_be_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_private_content_is_shared_by_clones, setup,
					    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
