/* Objects of a volume and their records, against a copy in memory. */
#include "blockstore/object.h"
#include "common/bytes.h"

#include "tests/unit/store_scene.h"

#define DEVICE (UINT64_C(256) << 20)
#define OBJECTS 6u
#define SIZE ((size_t)3 << 20)
#define ROUNDS 1500u
#define FAR (BS_OBJECT_MAX - SIZE) /* half of the objects are used at their end */

static const uint32_t ids[OBJECTS] = {0, 1, 31, 32, 513, BS_OBJECTS - 1};

struct object {
	uint8_t *bytes;
	uint64_t word[BS_OBJECT_WORDS];
};

struct fixture {
	char path[64];
	struct vs_loop *loop;
	struct bs_store *s;
	struct bs_port *port;
	struct bs_volume *v;
	struct object o[OBJECTS], kept[OBJECTS]; /* kept: as of the snapshot "s" */
	uint64_t seed;
};

static uint64_t next_random(struct fixture *f)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return f->seed >> 24;
}

static uint64_t base(unsigned i)
{
	return i % 2 ? FAR : 0;
}

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct vs_error err = {0};

	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
	if (bs_objects_open(f->s, "d", &f->v, &err))
		fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	bs_volume_close(f->v);
	store_close(f->s, f->port);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct bs_volume_info info;
	struct vs_error err = {0};

	f->seed = 7;
	for (unsigned i = 0; i < OBJECTS; i++) {
		f->o[i].bytes = calloc(1, SIZE);
		f->kept[i].bytes = calloc(1, SIZE);
	}
	store_make(f->path, "objects", DEVICE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	if (bs_device_open(f->path, 0, 0, &dev, &err) ||
	    bs_store_open(dev, &(struct bs_open_options){.memory = UINT64_C(256) << 20}, &f->s,
			  &err) ||
	    bs_objects_create(f->s, "d", &info, &err))
		fail_msg("%s", err.text);
	assert_true(info.objects);
	assert_int_equal(info.size, 0);
	assert_int_equal(bs_store_close(f->s, &err), 0);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
	vs_loop_free(f->loop);
	for (unsigned i = 0; i < OBJECTS; i++) {
		free(f->o[i].bytes);
		free(f->kept[i].bytes);
	}
	unlink(f->path);
	free(f);
	return 0;
}

static void fill(struct fixture *f, uint8_t *to, size_t len)
{
	uint64_t style = next_random(f) % 3;

	for (size_t i = 0; i < len; i++)
		to[i] = style == 0   ? 0
			: style == 1 ? (uint8_t)(i / 4096 + 1)
				     : (uint8_t)next_random(f);
}

/* A change of one or two records, as the model has it too. */
static unsigned some_changes(struct fixture *f, struct bs_object_change c[2], unsigned i,
			     uint64_t end)
{
	unsigned n = (unsigned)(next_random(f) % 3);

	for (unsigned k = 0; k < n; k++) {
		unsigned which = k ? (unsigned)(next_random(f) % OBJECTS) : i;
		struct object *o = &f->o[which];

		c[k] = (struct bs_object_change){.object = ids[which],
						 .check = 5,
						 .is = o->word[5],
						 .end = end && which == i && !k ? 2 : BS_NO_WORD,
						 .set = 1u << 0 | 1u << 15,
						 .add = 1u << 3};
		c[k].word[0] = o->word[0] = next_random(f);
		c[k].word[15] = o->word[15] = next_random(f);
		c[k].word[3] = 3;
		o->word[3] += 3;
		if (c[k].end == 2)
			o->word[2] = VS_MAX(o->word[2], end);
	}
	return n;
}

static void do_write(struct fixture *f, unsigned i)
{
	size_t at = next_random(f) % SIZE, len = 1 + next_random(f) % VS_MIN(SIZE - at, 300000u);
	struct bs_object_change c[2];
	struct iovec iov = {f->o[i].bytes + at, len};
	struct bs_req req = {.op = BS_WRITE,
			     .volume = f->v,
			     .object = ids[i],
			     .offset = base(i) + at,
			     .length = len,
			     .iov = &iov,
			     .iovcnt = 1,
			     .changes = c};
	bool pieces;

	fill(f, iov.iov_base, len);
	/* what is added is added by each piece: only one piece here */
	pieces = at / 4096 != (at + len - 1) / 4096;
	req.nchanges = pieces ? 0 : some_changes(f, c, i, base(i) + at + len);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
}

static void do_scatter(struct fixture *f, unsigned i)
{
	uint64_t blocks[32];
	unsigned n = 1 + (unsigned)(next_random(f) % 32);
	uint8_t *bytes = malloc((size_t)n * BS_BLOCK);
	struct bs_object_change c[2];
	struct iovec iov = {bytes, (size_t)n * BS_BLOCK};
	struct bs_req req = {.op = BS_WRITE,
			     .flags = BS_SCATTER,
			     .volume = f->v,
			     .object = ids[i],
			     .length = iov.iov_len,
			     .iov = &iov,
			     .iovcnt = 1,
			     .blocks = blocks,
			     .changes = c};

	fill(f, bytes, iov.iov_len);
	for (unsigned k = 0; k < n; k++) {
		uint64_t block = k && next_random(f) % 2 ? (blocks[k - 1] - base(i) / BS_BLOCK + 1)
							 : next_random(f);

		block %= SIZE / BS_BLOCK;
		for (unsigned m = 0; m < k; m++) /* each once: what would hold is not said */
			if (blocks[m] == base(i) / BS_BLOCK + block) {
				block = (block + 1) % (SIZE / BS_BLOCK);
				m = UINT32_MAX;
			}
		blocks[k] = base(i) / BS_BLOCK + block;
		memcpy(f->o[i].bytes + block * BS_BLOCK, bytes + (size_t)k * BS_BLOCK, BS_BLOCK);
	}
	req.nchanges = some_changes(f, c, i, 0);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	free(bytes);
}

static void do_zero(struct fixture *f, unsigned i)
{
	size_t at = next_random(f) % SIZE, len = 1 + next_random(f) % (SIZE - at);
	struct bs_req req = {
	    .op = BS_ZERO, .volume = f->v, .object = ids[i], .offset = base(i) + at, .length = len};

	memset(f->o[i].bytes + at, 0, len);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
}

static void erase(struct fixture *f, unsigned i)
{
	struct bs_req req = {
	    .op = BS_TRIM, .volume = f->v, .object = ids[i], .length = BS_OBJECT_MAX};

	memset(f->o[i].bytes, 0, SIZE);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
}

/* Objects with bytes at the same place can be compared as a whole. */
static void do_clone(struct fixture *f, unsigned i)
{
	unsigned k = (i + 2) % OBJECTS;
	struct bs_object_change c[2];
	struct bs_req req = {.op = BS_CLONE,
			     .volume = f->v,
			     .object = ids[i],
			     .source = f->v,
			     .source_object = ids[k],
			     .changes = c};

	erase(f, i);
	req.nchanges = some_changes(f, c, i, 0);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	memcpy(f->o[i].bytes, f->o[k].bytes, SIZE);
}

static void do_copy(struct fixture *f, unsigned i)
{
	unsigned k = (unsigned)(next_random(f) % OBJECTS);
	size_t len = 1 + next_random(f) % 400000, from = next_random(f) % (SIZE - len),
	       to = next_random(f) % (SIZE - len);
	struct bs_req req = {.op = BS_COPY, .volume = f->v, .source = f->v, .length = len};

	if (next_random(f) % 2)
		to = to / 4096 * 4096 + from % 4096;
	if (to + len > SIZE)
		return;
	req.object = ids[i];
	req.source_object = ids[k];
	req.offset = base(i) + to;
	req.source_offset = base(k) + from;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	memmove(f->o[i].bytes + to, f->o[k].bytes + from, len);
}

static void do_read(struct fixture *f, struct bs_volume *v, const struct object *o, unsigned i)
{
	size_t at = next_random(f) % SIZE, len = 1 + next_random(f) % VS_MIN(SIZE - at, 300000u);
	struct bs_object_change c = {.object = ids[i], .check = BS_NO_WORD, .end = BS_NO_WORD};
	uint8_t *have = malloc(len);
	struct iovec iov = {have, len};
	struct bs_req req = {.op = BS_READ,
			     .volume = v,
			     .object = ids[i],
			     .offset = base(i) + at,
			     .length = len,
			     .iov = &iov,
			     .iovcnt = 1,
			     .changes = &c,
			     .nchanges = 1};

	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_memory_equal(have, o[i].bytes + at, len);
	assert_memory_equal(c.now, o[i].word, sizeof(c.now));
	free(have);
}

static void check_all(struct fixture *f, struct bs_volume *v, const struct object *o)
{
	uint64_t sum = 0, all;

	for (unsigned i = 0; i < OBJECTS; i++) {
		struct bs_object_change c = {
		    .object = ids[i], .check = BS_NO_WORD, .end = BS_NO_WORD};
		struct bs_req req = {
		    .op = BS_RECORDS, .volume = v, .object = ids[i], .changes = &c, .nchanges = 1};

		for (unsigned k = 0; k < 8; k++)
			do_read(f, v, o, i);
		assert_int_equal(bs_io_wait(f->port, &req), 0);
		sum += c.mapped;
	}
	assert_int_equal(bs_objects_mapped(v, &all, NULL), 0);
	assert_int_equal(sum, all);
}

static void do_snapshot(struct fixture *f)
{
	const char *name = "d@s";
	struct vs_error err = {0};

	if (bs_snapshot_delete(f->s, name, &err) && err.code != VS_E_NOENT)
		fail_msg("%s", err.text);
	if (bs_snapshot_create(f->s, &name, 1, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < OBJECTS; i++) {
		memcpy(f->kept[i].bytes, f->o[i].bytes, SIZE);
		memcpy(f->kept[i].word, f->o[i].word, sizeof(f->kept[i].word));
	}
}

static void check_snapshot(struct fixture *f)
{
	struct bs_volume *v;
	struct vs_error err = {0};

	if (bs_objects_open(f->s, "d@s", &v, &err))
		return;
	check_all(f, v, f->kept);
	bs_volume_close(v);
}

static void test_what_objects_hold(void **state)
{
	struct fixture *f = *state;
	static void (*const steps[])(struct fixture *, unsigned) = {
	    do_write, do_write, do_write, do_scatter, do_scatter,
	    do_zero,  erase,	do_clone, do_copy,    do_copy};

	for (unsigned n = 0; n < ROUNDS; n++) {
		steps[next_random(f) % VS_ARRAY_LEN(steps)](f,
							    (unsigned)(next_random(f) % OBJECTS));
		do_read(f, f->v, f->o, (unsigned)(next_random(f) % OBJECTS));
		if (n % 100 == 50)
			do_snapshot(f);
		if (n % 300 == 299) {
			check_all(f, f->v, f->o);
			check_snapshot(f);
			close_store(f);
			assert_int_equal(store_problems(f->path), 0);
			open_store(f);
			check_all(f, f->v, f->o);
		}
	}
}

static void test_what_is_not_as_expected_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 1;
	struct iovec iov = {&byte, 1};
	struct bs_object_change c[2] = {
	    {.object = 1, .check = BS_NO_WORD, .end = BS_NO_WORD, .set = 1, .word = {99}},
	    {.object = 1, .check = 5, .is = 77, .end = BS_NO_WORD}};
	struct bs_req req = {.op = BS_WRITE,
			     .volume = f->v,
			     .object = 1,
			     .offset = FAR,
			     .length = 1,
			     .iov = &iov,
			     .iovcnt = 1,
			     .changes = c,
			     .nchanges = 2};

	for (unsigned i = 0; i < 3; i++) {
		static const enum bs_op ops[] = {BS_WRITE, BS_RECORDS, BS_READ};

		req.op = ops[i];
		c[0].set = i < 2;
		assert_int_equal(bs_io_wait(f->port, &req), VS_E_STALE);
	}
	check_all(f, f->v, f->o);
	c[1].is = f->o[1].word[5];
	req.op = BS_RECORDS;
	c[0].set = 1;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(c[0].was[0], f->o[1].word[0]);
	assert_int_equal(c[1].was[0], 99); /* the change before it has taken effect */
	f->o[1].word[0] = 99;
	check_all(f, f->v, f->o);
}

static void test_a_clone_of_what_is_there_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bs_req req = {.op = BS_CLONE, .volume = f->v, .object = 1, .source = f->v};

	f->o[1].bytes[0] = 5;
	assert_int_equal(
	    bs_io_wait(f->port, &(struct bs_req){.op = BS_WRITE,
						 .volume = f->v,
						 .object = 1,
						 .offset = FAR,
						 .length = 1,
						 .iov = &(struct iovec){f->o[1].bytes, 1},
						 .iovcnt = 1}),
	    0);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_EXIST);
	check_all(f, f->v, f->o);
}

static void test_a_limit_holds(void **state)
{
	struct fixture *f = *state;
	uint64_t have;
	uint8_t *bytes = malloc(4 * BS_BLOCK);
	struct iovec iov = {bytes, (size_t)4 * BS_BLOCK};
	struct bs_req req = {.op = BS_WRITE,
			     .volume = f->v,
			     .object = 900,
			     .length = iov.iov_len,
			     .iov = &iov,
			     .iovcnt = 1};

	memset(bytes, 3, iov.iov_len);
	assert_int_equal(bs_objects_mapped(f->v, &have, NULL), 0);
	bs_objects_limit(f->v, have + 3);
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_NOSPC);
	bs_objects_limit(f->v, have + 4);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	assert_int_equal(bs_io_wait(f->port, &req), 0); /* nothing more by that */
	req.op = BS_TRIM;
	assert_int_equal(bs_io_wait(f->port, &req), 0);
	bs_objects_limit(f->v, 0);
	free(bytes);
}

static void test_what_is_no_object_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bs_volume_spec spec = {.name = "plain", .size = 1 << 20, .compression = -1};
	struct bs_object_change c = {.object = BS_OBJECTS, .check = BS_NO_WORD, .end = BS_NO_WORD};
	uint8_t byte = 0;
	struct iovec iov = {&byte, 1};
	struct bs_req req = {.op = BS_RECORDS, .volume = f->v, .changes = &c, .nchanges = 1};
	struct bs_volume *plain;
	struct vs_error err = {0};

	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	c.object = 0;
	c.check = BS_OBJECT_WORDS;
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	c.check = BS_NO_WORD;
	c.end = BS_NO_WORD - 1;
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	c.end = BS_NO_WORD;
	req.object = BS_OBJECTS;
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	req = (struct bs_req){.op = BS_READ,
			      .volume = f->v,
			      .offset = BS_OBJECT_MAX,
			      .length = 1,
			      .iov = &iov,
			      .iovcnt = 1};
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_RANGE);
	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(f->s, "plain", &plain, &err), 0);
	req = (struct bs_req){.op = BS_RECORDS, .volume = plain, .changes = &c, .nchanges = 1};
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_INVAL);
	req = (struct bs_req){
	    .op = BS_READ, .volume = plain, .object = 1, .length = 512, .iov = &iov, .iovcnt = 1};
	assert_int_equal(bs_io_wait(f->port, &req), VS_E_INVAL);
	bs_volume_close(plain);
	assert_int_equal(bs_volume_open(f->s, "d", &plain, &err), VS_E_NOTSUP);
	assert_int_equal(bs_objects_open(f->s, "plain", &plain, &err), VS_E_NOTSUP);
	assert_int_equal(bs_volume_resize(f->s, "d", 1 << 20, false, &err), VS_E_NOTSUP);
	assert_int_equal(bs_volume_set_thick(f->s, "d", true, &err), VS_E_NOTSUP);
	assert_int_equal(bs_volume_delete(f->s, "plain", BS_DELETE_PLAIN, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_objects_hold),
	    cmocka_unit_test(test_what_is_not_as_expected_changes_nothing),
	    cmocka_unit_test(test_a_clone_of_what_is_there_is_refused),
	    cmocka_unit_test(test_a_limit_holds),
	    cmocka_unit_test(test_what_is_no_object_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
