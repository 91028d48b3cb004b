/* What the tests of deduplication share: a store with the smallest index, and blocks for it. */
#ifndef TESTS_UNIT_DEDUP_SCENE_H
#define TESTS_UNIT_DEDUP_SCENE_H

#include "common/bytes.h"
#include "tests/unit/store_scene.h"

#define SIZE (UINT64_C(256) << 20)
#define CHUNK (UINT64_C(128) << 10)

struct fixture {
	char path[64];
	struct bs_open_options opts;
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
};

static inline void open_store(struct fixture *f)
{
	store_open(f->path, &f->opts, f->loop, 64, &f->s, &f->port);
}

static inline void close_store(struct fixture *f)
{
	store_close(f->s, f->port);
}

/* The smallest index, 512 digests, and a locality cache of 1,024. */
static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct vs_error err = {0};

	f->opts = (struct bs_open_options){
	    .memory = UINT64_C(256) << 20,
	    .index = {.bytes = 4096, .near_bytes = 8192, .near_digests = 256}};
	store_make(f->path, "dedup", SIZE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static inline struct bs_volume *create(struct fixture *f, const char *name)
{
	struct bs_volume_spec spec = {.name = name, .size = UINT64_C(64) << 20, .compression = -1};
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	if (bs_volume_create(f->s, &spec, NULL, &err) || bs_volume_open(f->s, name, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

/* Blocks [first, first + n) of an endless sequence in which no two are equal. */
static inline void fill(uint8_t *buf, uint64_t first, unsigned n)
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
static inline void put(struct fixture *f, struct bs_volume *v, uint64_t at, uint64_t first,
		       uint64_t n, unsigned each)
{
	static uint8_t buf[CHUNK];

	for (uint64_t i = 0; i < n; i += each) {
		unsigned k = (unsigned)VS_MIN(n - i, each);

		fill(buf, first + i, k);
		assert_int_equal(
		    bs_io_write(f->port, v, (at + i) * BS_BLOCK, buf, (size_t)k * BS_BLOCK), 0);
	}
}

static inline void expect(struct fixture *f, struct bs_volume *v, uint64_t at, uint64_t first,
			  uint64_t n)
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

static inline uint64_t unique(struct fixture *f)
{
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	return info.unique_content_bytes / BS_BLOCK;
}

/* Waits until the index has been filled with what there is to be found. */
static inline void await_index(struct fixture *f, uint64_t entries)
{
	struct bs_store_info info;

	do {
		bs_store_info(f->s, &info);
	} while (info.index_entries < entries);
}

#endif
