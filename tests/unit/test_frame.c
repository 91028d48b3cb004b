/* Several that need one table page at the same time, on the engine itself. */
#include "blockstore/ahead.h"
#include "blockstore/checkpoint.h"
#include "blockstore/store_int.h"
#include "blockstore/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TREE BS_TREE_DIGEST /* its bytes mean nothing while their contents have no references */
#define LEAF 7u
#define MANY 3u /* as many calls as run at once */

struct fixture {
	char path[64];
	struct bs_device *dev;
	struct bs_engine *e;
	uint64_t at; /* of the leaf on the device */
	unsigned done, failed;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options opts = {.segment_size = 1 << 20};
	struct bs_engine_config cfg;
	struct bs_env env;
	struct vs_error err = {0};

	snprintf(f->path, sizeof(f->path), "/tmp/vstore-frame-%d.img", getpid());
	unlink(f->path);
	bs_store_budget(0, &cfg);
	bs_store_env(&env);
	cfg.frames = 2048;
	if (bs_device_open(f->path, BS_DEVICE_CREATE, UINT64_C(256) << 20, &f->dev, &err) ||
	    bs_store_init(f->dev, &opts, &err) ||
	    bs_engine_open(&f->dev, 1, &cfg, &env, &f->e, &err))
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};

	if (bs_engine_close(f->e, &err))
		fail_msg("%s", err.text);
	bs_device_close(f->dev);
	unlink(f->path);
	free(f);
	return 0;
}

static void call(struct fixture *f, int (*fn)(struct bs_engine *e, struct bs_call *c))
{
	struct bs_call c = {.fn = fn, .arg = f};

	assert_int_equal(bs_engine_call_wait(f->e, &c), 0);
}

static void evict(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;

	for (unsigned i = 0; i < fs->count; i++) {
		struct bs_frame *f = &fs->all[i];

		if (f->state == BS_FRAME_VALID && !f->at[0] && !f->at[1] && !f->pins && !f->old)
			bs_frame_drop(e, f);
	}
}

/* The leaf lies on the device only; what is above it is in memory. */
static int leave_on_device(struct bs_engine *e, struct bs_call *c)
{
	struct fixture *fix = c->arg;
	struct bs_frame *f;
	struct bs_ptr ptr;

	assert_int_equal(bs_frames_room(e, 8), 0);
	assert_int_equal(bs_tree_get_w(e, TREE, LEAF, &f), 0);
	bs_frame_touch(e, f);
	memset(f->data, 'x', BS_PAGE);
	bs_frames_unkeep(e);
	assert_int_equal(bs_checkpoint_run(e, false), 0);
	while (e->checkpointing)
		bs_fiber_yield(e->fibers);
	evict(e);
	assert_int_equal(bs_tree_ptr(e, TREE, 0, LEAF, &ptr), 0);
	assert_null(bs_frame_find(e, bs_key_tree(TREE, 0, LEAF)));
	fix->at = bs_engine_where(e, ptr.seg[0], ptr.off[0]);
	return 0;
}

/* The leaf's bytes are damaged, or sound again. */
static int flip(struct bs_engine *e, struct bs_call *c)
{
	struct fixture *f = c->arg;
	uint8_t *page = aligned_alloc(BS_PAGE, BS_PAGE);

	assert_int_equal(bs_engine_dev(e, BS_DEV_READ, f->at, page, BS_PAGE), 0);
	page[100] ^= 1;
	assert_int_equal(bs_engine_dev(e, BS_DEV_WRITE, f->at, page, BS_PAGE), 0);
	free(page);
	return 0;
}

static int want(struct bs_engine *e, struct bs_call *c)
{
	struct bs_frame *f;
	int rc = bs_tree_get(e, TREE, 0, LEAF, true, &f);

	(void)c;
	if (rc == 0)
		assert_int_equal(f->data[0], 'x');
	return rc;
}

static void wanted(struct bs_call *c)
{
	struct fixture *f = c->arg;

	f->done++;
	f->failed += c->status != 0;
}

static void want_at_once(struct fixture *f)
{
	struct bs_call calls[MANY];
	uint64_t wake;

	f->done = f->failed = 0;
	for (unsigned i = 0; i < MANY; i++) {
		calls[i] = (struct bs_call){.fn = want, .done = wanted, .arg = f};
		bs_engine_call(f->e, &calls[i]);
	}
	while (f->done < MANY)
		if (!bs_engine_poll(f->e, &wake) && f->done < MANY)
			f->e->dev->ops->wait(f->e->dev);
}

/* One reads it for all, also when that is in vain; then it can be tried again. */
static void test_read_for_all(void **state)
{
	struct fixture *f = *state;
	const struct bs_counters *n = &f->e->count;
	uint64_t before;

	call(f, leave_on_device);
	call(f, flip);
	for (unsigned i = 0; i < 2; i++) {
		before = n->device_reads;
		want_at_once(f);
		assert_int_equal(f->failed, MANY);
		assert_int_equal(n->device_reads, before + 1);
	}
	call(f, flip);
	before = n->device_reads;
	want_at_once(f);
	assert_int_equal(f->failed, 0);
	assert_int_equal(n->device_reads, before + 1);
}

static int want_after_ahead(struct bs_engine *e, struct bs_call *c)
{
	assert_true(bs_ahead_leaf(e, TREE, LEAF));
	assert_int_equal(e->ahead.busy, 1);
	e->ahead.ios[0].check ^= 1; /* it will be found wrong */
	return want(e, c);
}

/* Who waits for what was read ahead in vain reads it itself. */
static void test_read_ahead_in_vain(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	call(f, leave_on_device);
	before = f->e->count.device_reads;
	call(f, want_after_ahead);
	assert_int_equal(f->e->count.device_reads, before + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_read_for_all, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_read_ahead_in_vain, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
