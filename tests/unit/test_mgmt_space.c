#include "mgmt/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_marks(void **state)
{
	(void)state;
	assert_int_equal(mg_space_mark(0, 0, 0), 0);
	assert_int_equal(mg_space_mark(0, 1000, 0), 0);
	assert_int_equal(mg_space_mark(799, 1000, 0), 0);
	assert_int_equal(mg_space_mark(800, 1000, 0), 80);
	assert_int_equal(mg_space_mark(899, 1000, 0), 80);
	assert_int_equal(mg_space_mark(900, 1000, 0), 90);
	assert_int_equal(mg_space_mark(950, 1000, 80), 95);
	assert_int_equal(mg_space_mark(2000, 1000, 0), 95);
	assert_int_equal(mg_space_mark(UINT64_MAX, UINT64_MAX, 0), 95);
}

static void test_a_mark_is_left_below_it(void **state)
{
	(void)state;
	assert_int_equal(mg_space_mark(799, 1000, 80), 80);
	assert_int_equal(mg_space_mark(780, 1000, 80), 80);
	assert_int_equal(mg_space_mark(779, 1000, 80), 0);
	assert_int_equal(mg_space_mark(940, 1000, 95), 95);
	assert_int_equal(mg_space_mark(929, 1000, 95), 90);
	assert_int_equal(mg_space_mark(885, 1000, 95), 90);
	assert_int_equal(mg_space_mark(100, 1000, 95), 0);
	/* A higher one is not reached any sooner for it. */
	assert_int_equal(mg_space_mark(889, 1000, 80), 80);
	assert_int_equal(mg_space_mark(899, 1000, 80), 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_marks),
	    cmocka_unit_test(test_a_mark_is_left_below_it),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
