/* The cleaner on a store that is nearly full: nothing is lost, and it costs what it should. */
#include "common/bytes.h"

#include "tests/unit/store_scene.h"

#include <string.h>

#define SIZE (UINT64_C(160) << 20)
#define DEPTH 32u
#define RUN 32u /* blocks of a large request */

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v;
	uint32_t *seed; /* of each block: what was written last */
	uint64_t blocks, rng, left;
	uint32_t next_seed, hot; /* percent of the blocks that nine of ten writes go to */
	unsigned outstanding;
	struct slot {
		struct bs_req req;
		struct iovec iov;
		struct fixture *f;
		uint8_t *buf;
	} slots[DEPTH];
};

static uint64_t chance(struct fixture *f)
{
	f->rng ^= f->rng << 13;
	f->rng ^= f->rng >> 7;
	f->rng ^= f->rng << 17;
	return f->rng;
}

static void pattern(uint8_t *block, uint32_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (unsigned i = 0; i < BS_BLOCK; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(block + i, &x, 8);
	}
}

static void submit(struct slot *s)
{
	struct fixture *f = s->f;
	uint64_t span = chance(f) % 10 && f->hot ? f->blocks * f->hot / 100 : f->blocks;
	uint64_t block = chance(f) % span;

	/* of two writes to a block at once either may be the last: none is allowed */
	for (unsigned i = 0; i < DEPTH; i++)
		if (f->slots[i].req.arg && f->slots[i].req.offset == block * BS_BLOCK)
			block = (block + 1 + DEPTH) % f->blocks;
	f->left--;
	f->outstanding++;
	f->seed[block] = ++f->next_seed;
	pattern(s->buf, f->seed[block]);
	s->req.offset = block * BS_BLOCK;
	s->req.arg = s;
	bs_submit(f->port, &s->req);
}

static void done(struct bs_req *req)
{
	struct slot *s = req->arg;

	assert_int_equal(req->status, 0);
	s->f->outstanding--;
	req->arg = NULL;
	if (s->f->left)
		submit(s);
}

static void overwrite(struct fixture *f, uint64_t count, uint32_t hot)
{
	f->left = count;
	f->hot = hot;
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *s = &f->slots[i];

		s->f = f;
		s->iov = (struct iovec){s->buf, BS_BLOCK};
		s->req = (struct bs_req){.op = BS_WRITE,
					 .volume = f->v,
					 .length = BS_BLOCK,
					 .iov = &s->iov,
					 .iovcnt = 1,
					 .done = done};
		submit(s);
	}
	while (f->outstanding)
		vs_loop_turn(f->loop, -1);
}

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};

	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
}

static void close_store(struct fixture *f)
{
	bs_volume_close(f->v);
	store_close(f->s, f->port);
}

static void reopen(struct fixture *f)
{
	struct vs_error err = {0};

	close_store(f);
	open_store(f);
	if (bs_volume_open(f->s, "v", &f->v, &err))
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options opts = {.segment_size = 1 << 20, .compression = BS_CODING_PLAIN};
	struct bs_volume_spec spec = {.name = "v", .compression = -1};
	struct bs_store_info info;
	struct vs_error err = {0};

	f->rng = 88172645463325252u;
	store_make(f->path, "clean", SIZE, &opts);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	bs_store_info(f->s, &info);
	f->blocks = info.capacity_bytes / 100 * 75 / (RUN * BS_BLOCK) * RUN;
	spec.size = f->blocks * BS_BLOCK;
	if (bs_volume_create(f->s, &spec, NULL, &err) || bs_volume_open(f->s, "v", &f->v, &err))
		fail_msg("%s", err.text);
	f->seed = calloc(f->blocks, sizeof(*f->seed));
	for (unsigned i = 0; i < DEPTH; i++)
		f->slots[i].buf = malloc((size_t)RUN * BS_BLOCK);
	for (uint64_t b = 0; b < f->blocks; b += RUN) {
		for (unsigned i = 0; i < RUN; i++)
			pattern(f->slots[0].buf + i * BS_BLOCK, f->seed[b + i] = ++f->next_seed);
		assert_int_equal(bs_io_write(f->port, f->v, b * BS_BLOCK, f->slots[0].buf,
					     (size_t)RUN * BS_BLOCK),
				 0);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < DEPTH; i++)
		free(f->slots[i].buf);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f->seed);
	free(f);
	return 0;
}

static void expect_all(struct fixture *f)
{
	uint8_t want[BS_BLOCK], *have = f->slots[0].buf;

	for (uint64_t b = 0; b < f->blocks; b += RUN) {
		assert_int_equal(
		    bs_io_read(f->port, f->v, b * BS_BLOCK, have, (size_t)RUN * BS_BLOCK), 0);
		for (unsigned i = 0; i < RUN; i++) {
			pattern(want, f->seed[b + i]);
			assert_memory_equal(want, have + i * BS_BLOCK, BS_BLOCK);
		}
	}
}

static double amplification(const struct bs_store_info *was, const struct bs_store_info *is)
{
	return (double)(is->device_write_bytes - was->device_write_bytes) /
	       (double)(is->bytes_written - was->bytes_written);
}

/* Before the cleaner knew that pages need no log, this store made 17,000 checkpoints or none. */
static void test_overwritten_twice(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info was, is;

	overwrite(f, f->blocks, 0);
	bs_store_info(f->s, &was);
	overwrite(f, f->blocks, 0);
	bs_store_info(f->s, &is);
	assert_true(is.segments_cleaned > was.segments_cleaned);
	assert_true(amplification(&was, &is) < 12);
	assert_true(is.bytes_written - was.bytes_written == f->blocks * BS_BLOCK);
	assert_true(is.device_write_bytes >=
		    is.bytes_data + is.bytes_maps + is.bytes_tables + is.bytes_cleaner);
	expect_all(f);
	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
}

/* Old and new segments beside each other, also after a restart. */
static void test_hot_and_cold(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info was, uniform, zero = {0}, skewed;

	overwrite(f, f->blocks, 0);
	bs_store_info(f->s, &was);
	overwrite(f, f->blocks, 0);
	bs_store_info(f->s, &uniform);
	reopen(f);
	overwrite(f, f->blocks, 10);
	bs_store_info(f->s, &zero);
	overwrite(f, f->blocks, 10);
	bs_store_info(f->s, &skewed);
	print_message("# amplification: uniform %.2f, nine of ten to a tenth %.2f\n",
		      amplification(&was, &uniform), amplification(&zero, &skewed));
	assert_true(amplification(&was, &uniform) < 12 && amplification(&zero, &skewed) < 12);
	expect_all(f);
	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_overwritten_twice, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hot_and_cold, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
