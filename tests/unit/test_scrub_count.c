/* The part of a scrub that counts references and space again. */
#include "blockstore/checkpoint.h"
#include "blockstore/content.h"
#include "blockstore/io.h"
#include "blockstore/scrub.h"
#include "blockstore/store_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCKS 3000u /* more than one leaf of each table that counts */

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bs_volume *v;
	struct bs_scrub *scrub;
	uint8_t buf[BS_BLOCK];
};

static void write_block(struct fixture *f, uint64_t block, uint64_t tag)
{
	memset(f->buf, 0, BS_BLOCK);
	vs_put_le64(f->buf, tag);
	assert_int_equal(bs_io_write(f->port, f->v, block * BS_BLOCK, f->buf, BS_BLOCK), 0);
}

static int setup(void **state)
{
	const struct bs_init_options init = {.segment_size = 256 << 10,
					     .compression = BS_CODING_LZ4};
	const struct bs_volume_spec spec = {.name = "v", .size = 64 << 20, .compression = -1};
	const struct bs_open_options o = {.memory = UINT64_C(256) << 20};
	const char *snap = "v@one";
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_device *dev;
	struct vs_error err = {0};

	snprintf(f->path, sizeof(f->path), "/tmp/vstore-count-%d.img", getpid());
	unlink(f->path);
	if (bs_device_open(f->path, BS_DEVICE_CREATE, UINT64_C(64) << 20, &dev, &err) ||
	    bs_store_init(dev, &init, &err) || bs_store_open(dev, &o, &f->s, &err) ||
	    vs_loop_new(&f->loop, &err) || bs_port_open(f->s, f->loop, 8, &f->port, &err) ||
	    bs_volume_create(f->s, &spec, NULL, &err) || bs_volume_open(f->s, "v", &f->v, &err))
		fail_msg("%s", err.text);
	assert_int_equal(bs_scrub_new(f->s, &f->scrub), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		write_block(f, i, i % 2500); /* some twice */
	if (bs_snapshot_create(f->s, &snap, 1, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < 100; i++)
		write_block(f, 7 * i, 10000 + i);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};

	bs_scrub_free(f->scrub);
	bs_volume_close(f->v);
	bs_port_close(f->port);
	if (bs_store_close(f->s, &err))
		fail_msg("%s", err.text);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static int checkpoint(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	return bs_checkpoint_run(e, false);
}

static void call(struct fixture *f, int (*fn)(struct bs_engine *, struct bs_call *), void *arg)
{
	struct vs_error err = {0};

	if (bs_store_call(f->s, true, fn, arg, &err))
		fail_msg("%s", err.text);
}

/* One pass of that part alone; `between` its steps something happens. */
static enum bs_scrub_counts
count(struct fixture *f, int (*between)(struct bs_engine *, struct bs_call *), unsigned *found)
{
	struct bs_scrub_position at = {.part = BS_SCRUB_COUNTS};
	struct bs_scrub_result r;
	struct vs_error err = {0};

	*found = 0;
	for (unsigned steps = 0; at.part != BS_SCRUB_END; steps++) {
		assert_true(steps < 10000);
		if (bs_scrub_step(f->scrub, &at, &r, &err))
			fail_msg("%s", err.text);
		*found += r.nfound;
		if (between)
			call(f, between, f);
	}
	return r.counts;
}

static int held(struct bs_engine *e, struct bs_call *c)
{
	*(uint64_t *)c->arg = e->segs.held;
	return 0;
}

static void test_right(void **state)
{
	struct fixture *f = *state;
	unsigned found;
	uint64_t h = 1;

	call(f, checkpoint, NULL);
	assert_int_equal(count(f, NULL, &found), BS_COUNTS_RIGHT);
	assert_int_equal(found, 0);
	call(f, held, &h);
	assert_int_equal(h, 0);
}

/* Checkpoints come and go meanwhile, and so does what was written before. */
static void test_beside_changes(void **state)
{
	struct fixture *f = *state;
	unsigned found;

	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 400; i++)
			write_block(f, (i * 13) % BLOCKS, 20000 + 1000 * round + i);
		assert_int_equal(count(f, checkpoint, &found), BS_COUNTS_RIGHT);
		assert_int_equal(found, 0);
	}
}

/* The first content that is alive gets a reference that no map has. */
static int one_too_many(struct bs_engine *e, struct bs_call *c)
{
	struct bs_place p;
	uint64_t slot = 1;
	int rc;

	(void)c;
	while ((rc = bs_content_raw(e, slot, &p)) == VS_E_NOENT || (rc == 0 && !p.refs))
		slot++;
	if (rc == 0)
		rc = bs_content_ready(e, bs_cid(slot, p.gen));
	if (rc)
		return rc;
	bs_content_ref(e, bs_cid(slot, p.gen));
	return bs_checkpoint_run(e, false);
}

static void test_one_reference_too_many(void **state)
{
	struct fixture *f = *state;
	unsigned found;

	call(f, one_too_many, NULL);
	assert_int_equal(count(f, NULL, &found), BS_COUNTS_WRONG);
	assert_int_equal(found, 2); /* that count, and the store's sum of them */
}

static int one_byte_too_many(struct bs_engine *e, struct bs_call *c)
{
	uint32_t seg = 0;

	(void)c;
	while (e->segs.seg[seg].ent.state != BS_SEG_LOG || !e->segs.seg[seg].ent.live)
		seg++;
	bs_seg_live(e, seg, 1);
	return bs_checkpoint_run(e, false);
}

static void test_one_byte_too_many(void **state)
{
	struct fixture *f = *state;
	unsigned found;

	call(f, one_byte_too_many, NULL);
	assert_int_equal(count(f, NULL, &found), BS_COUNTS_WRONG);
	assert_int_equal(found, 1);
}

static int let_go(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	e->segs.held = 0;
	return 0;
}

/* The engine needs the space each time: nothing is said about counts, and nothing wrong found. */
static void test_put_off(void **state)
{
	struct fixture *f = *state;
	unsigned found;

	call(f, checkpoint, NULL);
	assert_int_equal(count(f, let_go, &found), BS_COUNTS_PUT_OFF);
	assert_int_equal(found, 0);
	assert_int_equal(count(f, NULL, &found), BS_COUNTS_RIGHT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_right, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_beside_changes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_reference_too_many, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_byte_too_many, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_put_off, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
