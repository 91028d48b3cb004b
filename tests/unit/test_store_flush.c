/* How many device flushes guests' flushes cost. What they are worth is the simulation's matter. */
#include "blockstore/io.h"
#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (UINT64_C(256) << 20)
#define TIMES 40u

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v;
	uint64_t written; /* blocks */
	uint8_t *buf;
};

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(f->path, BS_DEVICE_CREATE, SIZE, &dev, &err) ||
	    (!f->v &&
	     bs_store_init(dev, &(struct bs_init_options){.segment_size = 1 << 20}, &err)) ||
	    bs_store_open(dev, &opts, &f->s, &err) ||
	    bs_port_open(f->s, f->loop, 64, &f->port, &err))
		fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	struct vs_error err = {0};

	bs_volume_close(f->v);
	bs_port_close(f->port);
	if (bs_store_close(f->s, &err))
		fail_msg("%s", err.text);
}

static void fill(struct fixture *f, uint64_t block)
{
	for (unsigned i = 0; i < BS_BLOCK; i += 8)
		vs_put_le64(f->buf + i, (block + 1) * UINT64_C(0x9e3779b97f4a7c15) + i);
}

static void write_block(struct fixture *f, unsigned flags)
{
	struct iovec iov = {f->buf, BS_BLOCK};
	struct bs_req req = {.op = BS_WRITE,
			     .flags = flags,
			     .volume = f->v,
			     .offset = f->written * BS_BLOCK,
			     .length = BS_BLOCK,
			     .iov = &iov,
			     .iovcnt = 1};

	fill(f, f->written++);
	assert_int_equal(bs_io_wait(f->port, &req), 0);
}

static uint64_t flushes(struct fixture *f)
{
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	return info.device_flushes;
}

/* Of TIMES times so many writes, then a flush. */
static uint64_t cost_of(struct fixture *f, unsigned writes)
{
	uint64_t before = flushes(f);

	for (unsigned i = 0; i < TIMES; i++) {
		for (unsigned k = 0; k < writes; k++)
			write_block(f, 0);
		assert_int_equal(bs_io_flush(f->port), 0);
	}
	return flushes(f) - before;
}

static void check_all(struct fixture *f)
{
	uint8_t *got = f->buf + BS_BLOCK;

	for (uint64_t b = 0; b < f->written; b++) {
		fill(f, b);
		assert_int_equal(bs_io_read(f->port, f->v, b * BS_BLOCK, got, BS_BLOCK), 0);
		assert_memory_equal(f->buf, got, BS_BLOCK);
	}
}

static void test_flushes(void **state)
{
	struct bs_volume_spec spec = {.name = "v", .size = UINT64_C(16) << 20};
	struct fixture f = {0};
	struct vs_error err = {0};
	uint64_t before;

	(void)state;
	(void)snprintf(f.path, sizeof(f.path), "/var/tmp/test_store_flush.%d", getpid());
	f.buf = aligned_alloc(BS_BLOCK, 2 * BS_BLOCK);
	assert_non_null(f.buf);
	assert_int_equal(vs_loop_new(&f.loop, &err), 0);
	open_store(&f);
	if (bs_volume_create(f.s, &spec, NULL, &err) || bs_volume_open(f.s, "v", &f.v, &err))
		fail_msg("%s", err.text);

	before = flushes(&f);
	for (unsigned i = 0; i < TIMES; i++)
		write_block(&f, BS_FUA);
	assert_true(flushes(&f) - before <= 1); /* of what the store itself had written */
	assert_true(cost_of(&f, 1) <= 6);	/* until it has seen how they come */
	assert_true(cost_of(&f, 3) >= TIMES - 4);
	assert_true(cost_of(&f, 1) <= 6);
	check_all(&f);

	close_store(&f);
	open_store(&f);
	if (bs_volume_open(f.s, "v", &f.v, &err))
		fail_msg("%s", err.text);
	check_all(&f);
	close_store(&f);
	vs_loop_free(f.loop);
	free(f.buf);
	unlink(f.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_flushes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
