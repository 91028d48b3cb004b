/* Stores of several devices: found in any order, refused when incomplete, mirrors with one side. */
#include "blockstore/check.h"
#include "blockstore/super_format.h"
#include "blockstore/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (UINT64_C(64) << 20)
#define DEVICES 3

static char paths[DEVICES][64];

static struct bs_device *device(unsigned i, unsigned flags)
{
	struct bs_device *dev = NULL;
	struct vs_error err = {0};

	if (bs_device_open(paths[i], flags, SIZE, &dev, &err))
		fail_msg("%s", err.text);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DEVICES; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/tmp/vstore-pool-%d-%u.img", getpid(), i);
		unlink(paths[i]);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DEVICES; i++)
		unlink(paths[i]);
	return 0;
}

static void format(unsigned n, bool mirror)
{
	struct bs_init_options opts = {.segment_size = 256 << 10, .mirror = mirror};
	struct bs_device *devs[DEVICES];
	struct vs_error err = {0};

	for (unsigned i = 0; i < n; i++)
		devs[i] = device(i, BS_DEVICE_CREATE);
	if (bs_store_init_all(devs, n, &opts, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < n; i++)
		bs_device_close(devs[i]);
}

/* which: the devices by number, in this order, as a string. */
static int open_store(const char *which, struct bs_store **s, struct vs_error *err)
{
	struct bs_open_options opts = {.memory = 0};
	struct bs_device *devs[DEVICES];
	unsigned n = 0;

	for (; *which; which++)
		devs[n++] = device((unsigned)(*which - '0'), 0);
	return bs_store_open_all(devs, n, &opts, s, err);
}

/* Opens, makes a volume of that name, closes. */
static void create(const char *which, const char *name)
{
	struct bs_volume_spec spec = {.name = name, .size = 1 << 20, .compression = -1};
	struct vs_error err = {0};
	struct bs_store *s;

	if (open_store(which, &s, &err) || bs_volume_create(s, &spec, NULL, &err) ||
	    bs_store_close(s, &err))
		fail_msg("%s", err.text);
}

static bool has(const char *which, const char *name)
{
	struct bs_volume_info info;
	struct vs_error err = {0};
	struct bs_store *s;
	bool found;

	if (open_store(which, &s, &err))
		fail_msg("%s", err.text);
	found = bs_volume_find(s, name, &info, NULL) == 0;
	if (bs_store_close(s, &err))
		fail_msg("%s", err.text);
	return found;
}

static void refused(const char *which, int code, const char *says)
{
	struct vs_error err = {0};
	struct bs_store *s;

	assert_int_equal(open_store(which, &s, &err), code);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
}

static void sound(const char *which)
{
	struct bs_check_options opts = {.read_data = true};
	struct bs_device *devs[DEVICES];
	struct bs_check_result res;
	struct vs_error err = {0};
	unsigned n = 0;

	for (; *which; which++)
		devs[n++] = device((unsigned)(*which - '0'), BS_DEVICE_READ_ONLY);
	if (bs_check_run_all(devs, n, &opts, &res, &err))
		fail_msg("%s", err.text);
	assert_int_equal(res.problems, 0);
}

static void test_any_order(void **state)
{
	(void)state;
	format(3, false);
	create("012", "a");
	create("201", "b");
	assert_true(has("120", "a"));
	assert_true(has("021", "b"));
	sound("210");
}

static void test_missing(void **state)
{
	(void)state;
	format(2, false);
	create("01", "a");
	refused("0", VS_E_NOENT, "missing");
	refused("1", VS_E_NOENT, "missing");
	assert_true(has("10", "a"));
}

static void test_mirror(void **state)
{
	(void)state;
	format(2, true);
	create("01", "a");
	assert_true(has("10", "a"));
	sound("0");
	sound("1");
	sound("10");
}

/* A side that was absent while the other was written is never the one that is read. */
static void test_stale_side(void **state)
{
	(void)state;
	format(2, true);
	create("01", "a");
	create("1", "b");
	sound("1");
	assert_true(has("01", "b"));
	assert_true(has("10", "b"));
}

/* Each side went on without the other: nobody may choose. */
static void test_split(void **state)
{
	(void)state;
	format(2, true);
	create("01", "a");
	create("0", "b");
	create("1", "c");
	refused("01", VS_E_MISMATCH, "give only the one to keep");
	refused("10", VS_E_MISMATCH, "give only the one to keep");
	assert_true(has("0", "b"));
	assert_true(has("1", "c"));
}

static void test_strangers(void **state)
{
	struct bs_init_options opts = {.segment_size = 256 << 10};
	struct bs_device *dev;
	struct vs_error err = {0};

	(void)state;
	format(2, true);
	dev = device(2, BS_DEVICE_CREATE);
	assert_int_equal(bs_store_init(dev, &opts, &err), 0);
	bs_device_close(dev);
	refused("02", VS_E_INVAL, "different stores");
	unlink(paths[2]);
	bs_device_close(device(2, BS_DEVICE_CREATE)); /* blank: not used, and said */
	assert_false(has("021", "a"));
}

static void test_copy_of_a_side(void **state)
{
	char command[256];

	(void)state;
	format(2, true);
	snprintf(command, sizeof(command), "cp %s %s", paths[0], paths[2]);
	assert_int_equal(system(command), 0);
	refused("02", VS_E_INVAL, "same device");
}

static void test_init_refuses(void **state)
{
	struct bs_init_options opts = {.segment_size = 256 << 10, .mirror = true};
	struct bs_device *dev = device(0, BS_DEVICE_CREATE);
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(bs_store_init_all(&dev, 1, &opts, &err), VS_E_INVAL);
	bs_device_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mirror, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stale_side, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_split, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_copy_of_a_side, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_init_refuses, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
