/* Changes between the steps of a running checkpoint, on the engine itself. */
#include "blockstore/check.h"
#include "blockstore/checkpoint.h"
#include "blockstore/clean_int.h"
#include "blockstore/engine.h"
#include "blockstore/store_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TREE BS_TREE_DIGEST /* its bytes mean nothing while their contents have no references */
#define LEAVES 300u	    /* two levels of inner pages */
#define FAR 20000u	    /* a third one */

struct fixture {
	char path[64];
	struct bs_device *dev;
	struct bs_engine *e;
};

static void make_store(const struct fixture *f, uint32_t segment)
{
	struct bs_init_options opts = {.segment_size = segment};
	struct bs_device *dev;
	struct vs_error err = {0};

	unlink(f->path);
	if (bs_device_open(f->path, BS_DEVICE_CREATE, UINT64_C(256) << 20, &dev, &err) ||
	    bs_store_init(dev, &opts, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
}

static void open_engine(struct fixture *f)
{
	struct bs_engine_config cfg;
	struct bs_env env;
	struct vs_error err = {0};

	bs_store_budget(0, &cfg);
	bs_store_env(&env);
	cfg.frames = 2048;
	cfg.checkpoint_step = 1;
	if (bs_device_open(f->path, 0, 0, &f->dev, &err) ||
	    bs_engine_open(&f->dev, 1, &cfg, &env, &f->e, &err))
		fail_msg("%s", err.text);
}

/* As when the daemon is killed. */
static void kill_engine(struct fixture *f)
{
	bs_engine_quiesce(f->e);
	bs_engine_abandon(f->e);
	bs_device_close(f->dev);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/vstore-test-%d.img", getpid());
	make_store(f, 1 << 20);
	open_engine(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res;
	struct vs_error err = {0};

	if (bs_engine_close(f->e, &err))
		fail_msg("%s", err.text);
	if (bs_check_run(f->dev, &opts, &res, &err))
		fail_msg("%s", err.text);
	assert_int_equal(res.problems, 0);
	unlink(f->path);
	free(f);
	return 0;
}

static void call(struct fixture *f, int (*fn)(struct bs_engine *e, struct bs_call *c))
{
	struct bs_call c = {.fn = fn, .writer = true};

	assert_int_equal(bs_engine_call_wait(f->e, &c), 0);
}

/* Every byte of the leaf becomes `value`. */
static void fill(struct bs_engine *e, uint64_t leaf, int value)
{
	struct bs_frame *f = NULL;
	uint64_t blocks;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		assert_int_equal(bs_frames_room(e, 8), 0);
		assert_int_equal(bs_tree_get_w(e, TREE, leaf, &f), 0);
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_frame_touch(e, f);
	memset(f->data, value, BS_PAGE);
	bs_frames_unkeep(e);
}

static void expect(struct bs_engine *e, uint64_t leaf, int value)
{
	struct bs_frame *f = NULL;
	uint8_t want[BS_PAGE];

	memset(want, value, sizeof(want));
	assert_int_equal(bs_tree_get(e, TREE, 0, leaf, true, &f), 0);
	assert_non_null(f);
	assert_memory_equal(f->data, want, BS_PAGE);
	bs_frames_unkeep(e);
}

/* All that may go goes, so that what is read next comes from the device. */
static void evict(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;

	for (unsigned i = 0; i < fs->count; i++) {
		struct bs_frame *f = &fs->all[i];

		if (f->state == BS_FRAME_VALID && !f->at[0] && !f->at[1] && !f->pins && !f->old)
			bs_frame_drop(e, f);
	}
}

static int fill_all(struct bs_engine *e, int value)
{
	for (uint64_t l = 0; l < LEAVES; l++)
		fill(e, l, value);
	return bs_checkpoint_run(e, false);
}

/* Waits until a checkpoint has made its cut. */
static void begin(struct bs_engine *e)
{
	bs_checkpoint_want(e);
	while (!e->segs.cut.running)
		bs_fiber_yield(e->fibers);
}

static void finish(struct bs_engine *e)
{
	while (e->checkpointing)
		bs_fiber_block(e->fibers, &e->checkpoint_wait);
}

/* Leaf l as of the cut is 2 where it was changed before, else 1. */
static int at_cut(uint64_t l)
{
	return l % 3 ? 1 : 2;
}

static bool changed_since(uint64_t l)
{
	return l % 5 == 0;
}

static int change_meanwhile(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	assert_int_equal(fill_all(e, 1), 0);
	for (uint64_t l = 0; l < LEAVES; l += 3)
		fill(e, l, 2);
	begin(e);
	for (uint64_t l = 0; l < LEAVES; l += 5) {
		assert_true(e->checkpointing);
		fill(e, l, 3);
		if (l % 2) /* the checkpoint gets on by some pages */
			bs_fiber_yield(e->fibers);
	}
	assert_true(e->checkpointing);
	finish(e);
	evict(e);
	for (uint64_t l = 0; l < LEAVES; l++)
		expect(e, l, changed_since(l) ? 3 : at_cut(l));
	return 0;
}

static int expect_cut(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	for (uint64_t l = 0; l < LEAVES; l++)
		expect(e, l, at_cut(l));
	return 0;
}

static int expect_changed(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	assert_int_equal(bs_checkpoint_run(e, false), 0);
	evict(e);
	for (uint64_t l = 0; l < LEAVES; l++)
		expect(e, l, changed_since(l) ? 3 : at_cut(l));
	return 0;
}

/* Changes reach only the next checkpoint; in force, every page is found at its new place. */
static void test_changes(void **state)
{
	struct fixture *f = *state;

	call(f, change_meanwhile);
	kill_engine(f); /* no record tells of the changes since */
	open_engine(f);
	call(f, expect_cut);
	call(f, change_meanwhile);
	call(f, expect_changed);
	kill_engine(f);
	open_engine(f);
	call(f, expect_changed);
}

static int grow_meanwhile(struct bs_engine *e, struct bs_call *c)
{
	unsigned height;

	(void)c;
	assert_int_equal(fill_all(e, 1), 0);
	for (uint64_t l = 0; l < LEAVES; l += 3)
		fill(e, l, 2);
	height = e->trees[TREE].root.height;
	begin(e);
	fill(e, FAR, 4);
	assert_true(e->segs.cut.running && e->trees[TREE].root.height > height);
	finish(e);
	evict(e);
	expect(e, FAR, 4);
	return expect_cut(e, NULL);
}

static int expect_grown(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	assert_int_equal(bs_checkpoint_run(e, false), 0);
	evict(e);
	expect(e, FAR, 4);
	return expect_cut(e, NULL);
}

/* The tree gets a new root above the one that the checkpoint writes. */
static void test_growth(void **state)
{
	struct fixture *f = *state;

	call(f, grow_meanwhile);
	kill_engine(f);
	open_engine(f);
	call(f, expect_cut);
	call(f, grow_meanwhile);
	call(f, expect_grown);
	kill_engine(f);
	open_engine(f);
	call(f, expect_grown);
}

static int read_meanwhile(struct bs_engine *e, struct bs_call *c)
{
	unsigned read = 0;

	(void)c;
	for (uint64_t l = 0; l < LEAVES; l++)
		fill(e, l, 1);
	begin(e);
	while (e->checkpointing) {
		struct bs_frame *f = bs_frame_find(e, bs_key_tree(TREE, 0, read));

		if (read < LEAVES && (!f || (!f->at[0] && !f->at[1]))) {
			evict(e);
			expect(e, read++, 1);
		}
		bs_fiber_yield(e->fibers);
	}
	assert_int_equal(read, LEAVES);
	return 0;
}

/* A page that has been placed may be evicted and read again before it is on the device. */
static void test_read_of_staged(void **state)
{
	call(*state, read_meanwhile);
}

static int shortage(struct bs_engine *e, struct bs_call *c)
{
	unsigned least = e->frames.nspare;

	(void)c;
	assert_int_equal(fill_all(e, 1), 0);
	for (uint64_t l = 0; l < LEAVES; l++)
		fill(e, l, 2);
	begin(e);
	e->frames.nspare -= least - 100; /* as if so many were in use */
	for (uint64_t l = 0; l < LEAVES; l++)
		fill(e, l, 3);
	e->frames.nspare += least - 100;
	finish(e);
	assert_int_equal(e->frames.nspare, least);
	return 0;
}

/* Changes wait until the checkpoint has placed pages when old versions run short. */
static void test_shortage(void **state)
{
	call(*state, shortage);
}

/* Takes segments that stay full until n are free. */
static void leave_free(struct bs_engine *e, uint32_t n)
{
	while (e->segs.nfree > n)
		bs_seg_live(e, bs_seg_take(e, BS_SEG_LOG, BS_NEED_SYSTEM), e->segs.size);
}

/* As few as a checkpoint of what is changed would need twice. */
static int changed_and_short(struct bs_engine *e, struct bs_call *c)
{
	unsigned changed;

	(void)c;
	assert_int_equal(fill_all(e, 1), 0);
	for (uint64_t l = 0; l < LEAVES; l++)
		fill(e, l, 2);
	changed = e->frames.ndirty;
	assert_true(changed >= LEAVES);
	leave_free(e, 2 * changed * BS_PAGE / e->segs.size + 4);
	assert_true(e->segs.nfree <= e->segs.reserve[BS_NEED_CLEAN]);
	assert_false(bs_clean_may_append(e));
	assert_true(bs_clean_wants_checkpoint(e));
	do { /* until what the first has emptied is free */
		assert_int_equal(bs_checkpoint_run(e, false), 0);
	} while (e->segs.nfreeing || e->segs.emptied);
	assert_true(bs_clean_may_append(e));
	leave_free(e, 4);
	assert_false(bs_clean_may_append(e));
	assert_false(bs_clean_wants_checkpoint(e)); /* it would be one after the other */
	return 0;
}

/* The cleaner is not at its end while a checkpoint of many pages gives it room. */
static void test_checkpoint_for_the_cleaner(void **state)
{
	struct fixture *f = *state;

	kill_engine(f);
	make_store(f, 256 << 10);
	open_engine(f);
	call(f, changed_and_short);
	kill_engine(f); /* what it says of segments is made up */
	make_store(f, 1 << 20);
	open_engine(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_growth, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_read_of_staged, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_shortage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_checkpoint_for_the_cleaner, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
