/* Free segments in the order in which they came: the last first, a bounded number. */
#include "blockstore/stock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEGMENTS 320u
#define MOST (SEGMENTS / 32)

static int setup(void **state)
{
	struct bs_segs *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->count = SEGMENTS;
	s->seg = calloc(SEGMENTS, sizeof(*s->seg));
	assert_non_null(s->seg);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct bs_segs *s = *state;

	free(s->seg);
	free(s);
	return 0;
}

static void test_last_first(void **state)
{
	struct bs_segs *s = *state;

	assert_int_equal(bs_stock_take(s), BS_SEG_NONE);
	for (uint32_t i = 0; i < MOST + 3; i++)
		bs_stock_put(s, i);
	assert_int_equal(s->nstocked, MOST);
	assert_false(s->seg[2].stocked);
	for (uint32_t i = MOST + 3; i-- > 3;)
		assert_int_equal(bs_stock_take(s), i);
	assert_int_equal(bs_stock_take(s), BS_SEG_NONE);
	assert_int_equal(s->nstocked, 0);
}

/* One that others took, and one that came back meanwhile. */
static void test_named_in_vain(void **state)
{
	struct bs_segs *s = *state;

	bs_stock_put(s, 7);
	bs_stock_put(s, 8);
	bs_stock_drop(s, 8);
	bs_stock_drop(s, 7);
	bs_stock_put(s, 7);
	assert_int_equal(s->nstocked, 1);
	assert_int_equal(bs_stock_take(s), 7);
	assert_int_equal(bs_stock_take(s), BS_SEG_NONE);
	for (uint32_t i = 0; i < 100 * MOST; i++) {
		bs_stock_put(s, 9);
		bs_stock_drop(s, 9);
	}
	assert_true(s->stock_named <= MOST);
	assert_int_equal(s->nstocked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_last_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_named_in_vain, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
