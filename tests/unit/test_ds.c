/* Files and directories, one operation after the other. */
#include "tests/unit/ds_scene.h"

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));

	scene_make(x, "ds", UINT64_C(256) << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	scene_end(*state);
	free(*state);
	return 0;
}

static void test_a_file_has_what_was_written(void **state)
{
	struct scene *x = *state;
	struct ds_handle f;
	char buf[64] = {0};

	assert_int_equal(do_create(x, ds_root, "a", DS_REG, 0644), 0);
	f = x->req.attr.handle;
	assert_true(x->req.created);
	assert_int_equal(x->req.before.size, 0);
	assert_int_equal(x->req.after.size, 1);
	assert_int_equal(x->req.after.change, x->req.before.change + 1);
	assert_int_equal(do_write(x, f, 10, "hello", 5), 0);
	assert_int_equal(x->req.count, 5);
	assert_int_equal(x->req.before.size, 0);
	assert_int_equal(x->req.after.size, 15);
	assert_int_equal(x->req.after.used, 4096);
	assert_int_equal(do_read(x, f, 8, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 7);
	assert_true(x->req.eof);
	assert_memory_equal(buf, "\0\0hello", 7);
	assert_int_equal(do_lookup(x, ds_root, "a"), 0);
	assert_int_equal(x->req.attr.handle.object, f.object);
	assert_int_equal(x->req.attr.size, 15);
	assert_int_equal(do_remove(x, ds_root, "a"), 0);
	assert_int_equal(do_lookup(x, ds_root, "a"), VS_E_NOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_file_has_what_was_written),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
