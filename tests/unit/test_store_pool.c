/* Stores of several devices: found in any order, refused when incomplete, mirrors with one side. */
#include "blockstore/check.h"
#include "blockstore/devices.h"
#include "blockstore/io.h"
#include "blockstore/super_format.h"
#include "blockstore/volume.h"

#include "tests/unit/files.h"

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
	struct bs_device *devs[DEVICES] = {0};
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
	(void)state;
	format(2, true);
	assert_int_equal(files_copy(paths[0], paths[2]), 0);
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

/* The state of each device, in the order of the table, once nothing is being copied any more. */
static unsigned settled(struct bs_store *s, struct bs_device_info *info)
{
	struct vs_error err = {0};
	bool again = true;
	size_t n = 0;

	for (unsigned tries = 0; again && tries < 6000; tries++) {
		again = false;
		if (bs_devices_list(s, info, BS_POOL_DEVICES, &n, &err))
			fail_msg("%s", err.text);
		for (size_t i = 0; i < n; i++)
			again |= info[i].state == BS_DEVICE_RESILVERING ||
				 info[i].state == BS_DEVICE_LEAVING;
		if (again)
			usleep(10000);
	}
	assert_false(again);
	return (unsigned)n;
}

static void add(struct bs_store *s, unsigned i, const struct bs_device_add *how)
{
	struct vs_error err = {0};

	if (bs_devices_add(s, device(i, BS_DEVICE_CREATE), how, &err))
		fail_msg("%s", err.text);
}

static void open_or_fail(const char *which, struct bs_store **s)
{
	struct vs_error err = {0};

	if (open_store(which, s, &err))
		fail_msg("%s", err.text);
}

static void close_or_fail(struct bs_store *s)
{
	struct vs_error err = {0};

	if (bs_store_close(s, &err))
		fail_msg("%s", err.text);
}

/* A store of one device gets a mirror while it runs; then either is enough. */
static void test_add_mirror(void **state)
{
	struct bs_device_add how = {.mirror_of = paths[0]};
	struct bs_device_info info[BS_POOL_DEVICES];
	struct bs_store *s;

	(void)state;
	format(1, false);
	create("0", "a");
	open_or_fail("0", &s);
	add(s, 1, &how);
	assert_int_equal(settled(s, info), 2);
	assert_int_equal(info[0].state, BS_DEVICE_SYNC);
	assert_int_equal(info[1].state, BS_DEVICE_SYNC);
	assert_int_equal(info[0].group, info[1].group);
	close_or_fail(s);
	sound("1");
	sound("0");
	assert_true(has("1", "a"));
}

/* A device is replaced by another one; the old one is no part of the store any more. */
static void test_replace(void **state)
{
	struct bs_device_add how = {.replaces = paths[0]};
	struct bs_device_info info[BS_POOL_DEVICES];
	struct bs_store *s;

	(void)state;
	format(2, false);
	create("01", "a");
	open_or_fail("01", &s);
	add(s, 2, &how);
	assert_int_equal(settled(s, info), 2);
	close_or_fail(s);
	refused("0", VS_E_NOTSTORE, "not a vstore store");
	sound("12");
	assert_true(has("21", "a"));
}

static void test_remove(void **state)
{
	struct bs_device_info info[BS_POOL_DEVICES];
	struct vs_error err = {0};
	struct bs_store *s;

	(void)state;
	format(2, true);
	create("01", "a");
	open_or_fail("01", &s);
	assert_int_equal(bs_devices_remove(s, paths[2], &err), VS_E_NOENT);
	assert_int_equal(bs_devices_remove(s, paths[0], &err), 0);
	assert_int_equal(settled(s, info), 1);
	assert_int_equal(bs_devices_remove(s, paths[1], &err), VS_E_NOTSUP);
	close_or_fail(s);
	refused("0", VS_E_NOTSTORE, "not a vstore store");
	assert_true(has("1", "a"));
	sound("1");
}

/* Adding without saying whose mirror makes the store larger. */
static void test_extend(void **state)
{
	struct bs_device_add how = {0};
	struct bs_store_info was, now;
	struct bs_store *s;

	(void)state;
	format(1, false);
	create("0", "a");
	open_or_fail("0", &s);
	bs_store_info(s, &was);
	add(s, 1, &how);
	bs_store_info(s, &now);
	assert_true(now.segments >= was.segments + 250 && now.free_segments > was.free_segments);
	close_or_fail(s);
	refused("0", VS_E_NOENT, "missing");
	create("10", "b");
	sound("01");
}

static void test_grow(void **state)
{
	struct bs_store_info was, now;
	struct vs_error err = {0};
	struct bs_store *s;
	uint64_t bytes;

	(void)state;
	format(2, true);
	open_or_fail("01", &s);
	bs_store_info(s, &was);
	assert_int_equal(bs_devices_grow(s, &bytes, &err), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(truncate(paths[0], 8 * SIZE), 0);
	assert_int_equal(bs_devices_grow(s, &bytes, &err), 0);
	assert_int_equal(bytes, 0); /* the other side has not grown */
	assert_int_equal(truncate(paths[1], 8 * SIZE), 0);
	assert_int_equal(bs_devices_grow(s, &bytes, &err), 0);
	assert_int_equal(bytes, 7 * SIZE);
	bs_store_info(s, &now);
	assert_int_equal(now.segments, was.segments + 7 * SIZE / (256 << 10));
	close_or_fail(s);
	create("01", "a");
	sound("0");
	sound("1");
	assert_true(has("1", "a"));
}

static void test_add_refuses(void **state)
{
	struct bs_device_add mirror = {.mirror_of = paths[0]}, unknown = {.mirror_of = "sdz"};
	struct vs_error err = {0};
	struct bs_store *s;

	(void)state;
	format(1, false);
	assert_int_equal(link(paths[0], paths[2]), 0);
	unlink(paths[0]);
	format(1, false);
	open_or_fail("0", &s); /* 2 holds another store */
	assert_int_equal(bs_devices_add(s, device(2, 0), &mirror, &err), VS_E_EXIST);
	unlink(paths[2]);
	assert_int_equal(bs_devices_add(s, device(2, BS_DEVICE_CREATE), &unknown, &err),
			 VS_E_NOENT);
	unlink(paths[2]);
	close_or_fail(s);
	assert_false(has("0", "a"));
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
	    cmocka_unit_test_setup_teardown(test_add_mirror, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_extend, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_add_refuses, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
