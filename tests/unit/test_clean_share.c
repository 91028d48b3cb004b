/* Who may append how much while free segments are scarce. */
#include "blockstore/checkpoint.h"
#include "blockstore/clean_int.h"
#include "blockstore/store_int.h"
#include "blockstore/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS 128u
#define BURST (512u << 10) /* of either side, ahead of the other */

/* Runs fn on the engine of a new store in which nothing else happens. */
static void with_engine(int (*fn)(struct bs_engine *e, struct bs_call *c))
{
	struct bs_init_options opts = {.segment_size = 1 << 20};
	struct bs_call c = {.fn = fn, .writer = true};
	struct bs_engine_config cfg;
	struct bs_device *dev;
	struct bs_engine *e;
	struct bs_env env;
	struct vs_error err = {0};
	char path[64];

	snprintf(path, sizeof(path), "/tmp/vstore-share-%d.img", getpid());
	unlink(path);
	bs_store_budget(0, &cfg);
	bs_store_env(&env);
	if (bs_device_open(path, BS_DEVICE_CREATE, UINT64_C(512) << 20, &dev, &err) ||
	    bs_store_init(dev, &opts, &err) || bs_engine_open(&dev, 1, &cfg, &env, &e, &err))
		fail_msg("%s", err.text);
	assert_int_equal(bs_engine_call_wait(e, &c), 0);
	if (bs_engine_close(e, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	unlink(path);
}

/* What the cleaner has begun is not for data that may begin nothing. */
static int at_reserve(struct bs_engine *e, struct bs_call *c)
{
	uint32_t reserve = e->segs.reserve[BS_NEED_DATA];

	(void)c;
	assert_int_equal(bs_log_room(e, BS_NEED_DATA, RECORDS, BS_BLOCK, 0), 0);
	e->segs.reserve[BS_NEED_DATA] = e->segs.nfree;
	e->clean_stuck = true; /* or it would wait */
	assert_int_equal(bs_log_room(e, BS_NEED_CLEAN, RECORDS, BS_BLOCK, 0), 0);
	assert_int_equal(bs_log_room(e, BS_NEED_DATA, RECORDS, BS_BLOCK, 0), VS_E_NOSPC);
	assert_int_equal(bs_log_room(e, BS_NEED_THICK, RECORDS, BS_BLOCK, 0), VS_E_NOSPC);
	assert_int_equal(bs_log_room(e, BS_NEED_DELETE, RECORDS, 0, 0), 0);
	assert_int_equal(bs_log_room(e, BS_NEED_DATA, RECORDS, 0, 0), 0); /* what needs no space */
	e->segs.reserve[BS_NEED_DATA] = reserve;
	e->clean_stuck = false;
	return 0;
}

/* Bytes that data may append now, in steps of a block; as if it had. */
static uint64_t allowed(struct bs_engine *e)
{
	uint64_t n = 0;

	for (; !bs_clean_holds_data(e) && n < 16 * BURST; n += BS_BLOCK)
		e->log.bytes += BS_BLOCK;
	return n;
}

/* As if the cleaner had moved so much. */
static void move(struct bs_engine *e, uint64_t bytes)
{
	for (uint64_t n = 0; n < bytes; n += BS_BLOCK) {
		e->log.bytes += BS_BLOCK;
		e->count.bytes_cleaner += BS_BLOCK;
		bs_clean_pace(e, BS_BLOCK);
	}
}

/* Of the half of the margin, so many segments in 100 are left. */
static void leave(struct bs_engine *e, uint32_t percent)
{
	uint32_t half = bs_segs_margin(&e->segs) / 2;

	e->segs.reserve[BS_NEED_DATA] = bs_segs_coming(&e->segs) - half * percent / 100;
}

static int shares(struct bs_engine *e, struct bs_call *c)
{
	uint32_t reserve = e->segs.reserve[BS_NEED_DATA];
	uint64_t bytes = e->log.bytes, half;

	(void)c;
	assert_true(bs_segs_margin(&e->segs) >= 16);
	assert_int_equal(allowed(e), 16 * BURST); /* nothing is scarce */
	e->cleaning = true;
	assert_int_equal(allowed(e), 16 * BURST);
	leave(e, 100);
	assert_int_equal(allowed(e), BURST); /* what it may be ahead */
	assert_int_equal(allowed(e), 0);
	move(e, 64 * BS_BLOCK);
	assert_int_equal(allowed(e), 64 * BS_BLOCK);
	leave(e, 50);
	move(e, 64 * BS_BLOCK);
	half = allowed(e);
	assert_true(half >= 24 * BS_BLOCK && half <= 32 * BS_BLOCK);
	leave(e, 0);
	move(e, 64 * BS_BLOCK);
	assert_int_equal(allowed(e), 0);
	leave(e, 100);
	move(e, 1024 * BS_BLOCK); /* while nobody writes no more gathers than that */
	assert_int_equal(allowed(e), BURST);
	e->segs.reserve[BS_NEED_DATA] = reserve;
	assert_int_equal(allowed(e), 16 * BURST);
	e->cleaning = false;
	e->log.bytes = bytes;
	e->count.bytes_cleaner = 0;
	return 0;
}

/* Page numbers of a forged record are no keys of other trees' pages. */
static int forged(struct bs_engine *e, struct bs_call *c)
{
	const uint64_t other = (uint64_t)(BS_TREE_DROP ^ BS_TREE_PLACE) << 60;
	struct bs_frame *f;

	(void)c;
	assert_int_equal(bs_key_tree(BS_TREE_PLACE, 0, 0) ^ other, bs_key_tree(BS_TREE_DROP, 0, 0));
	assert_int_equal(bs_tree_get_w(e, BS_TREE_DROP, 0, &f), 0);
	assert_false(bs_ahead_leaf(e, BS_TREE_PLACE, other));
	assert_false(bs_ahead_leaf(e, BS_TREE_PLACE, UINT64_MAX));
	assert_true(bs_ahead_leaf_at(e, BS_TREE_PLACE, UINT64_MAX, 0, 0));
	assert_int_equal(e->ahead.busy, 0);
	assert_false(bs_key_fits(other));
	return 0;
}

static void test_forged(void **state)
{
	(void)state;
	with_engine(forged);
}

static void test_at_reserve(void **state)
{
	(void)state;
	with_engine(at_reserve);
}

static void test_shares(void **state)
{
	(void)state;
	with_engine(shares);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_at_reserve),
	    cmocka_unit_test(test_shares),
	    cmocka_unit_test(test_forged),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
