/* Stores that must be refused or opened with less: each says why. */
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

static char path[64];

static struct bs_device *device(unsigned flags)
{
	struct bs_device *dev = NULL;
	struct vs_error err = {0};

	if (bs_device_open(path, flags, SIZE, &dev, &err))
		fail_msg("%s", err.text);
	return dev;
}

static int setup(void **state)
{
	struct bs_init_options opts = {.segment_size = 256 << 10};
	struct bs_device *dev;
	struct vs_error err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vstore-open-%d.img", getpid());
	unlink(path);
	dev = device(BS_DEVICE_CREATE);
	if (bs_store_init(dev, &opts, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* Changes all four superblocks. Bytes, so that a field this code does not know can be set. */
static void edit(void (*change)(uint8_t *b))
{
	struct bs_device *dev = device(0);
	uint8_t *b = aligned_alloc(4096, 4096);

	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = bs_super_offset(dev->size, i & 1, i >> 1);

		assert_int_equal(bs_device_sync(dev, BS_DEV_READ, at, b, 4096), 0);
		change(b);
		vs_put_le64(b + 4088, bs_checksum(b, 4088));
		assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, at, b, 4096), 0);
	}
	free(b);
	bs_device_close(dev);
}

static int try_open(struct vs_error *err)
{
	struct bs_open_options opts = {.memory = 0};
	struct bs_volume_spec spec = {.name = "a", .size = 1 << 20, .compression = -1};
	struct bs_store_info info;
	struct bs_store *s;
	int rc = bs_store_open(device(0), &opts, &s, err);

	if (rc)
		return rc;
	bs_store_info(s, &info);
	rc = bs_volume_create(s, &spec, NULL, err);
	assert_true(info.read_only == (rc == VS_E_ROFS));
	(void)bs_store_close(s, NULL);
	return rc;
}

static void later_version(uint8_t *b)
{
	vs_put_le32(b + 8, 2);
}
static void unknown_compat(uint8_t *b)
{
	vs_put_le64(b + 16, UINT64_C(1) << 63);
}
static void unknown_ro_compat(uint8_t *b)
{
	vs_put_le64(b + 24, UINT64_C(1) << 40);
}
static void unknown_incompat(uint8_t *b)
{
	vs_put_le64(b + 32, UINT64_C(1) << 63);
}
static void other_magic(uint8_t *b)
{
	b[0] = 'X';
}
static void mad_segments(uint8_t *b)
{
	vs_put_le32(b + 64, 1u << 30);
}

static void test_features(void **state)
{
	struct vs_error err = {0};

	(void)state;
	edit(unknown_compat);
	assert_int_equal(try_open(&err), 0);
	edit(unknown_ro_compat);
	assert_int_equal(try_open(&err), VS_E_ROFS);
	edit(unknown_incompat);
	assert_int_equal(try_open(&err), VS_E_FEATURE);
	assert_non_null(strstr(err.text, "later vstore"));
}

static void test_later_version(void **state)
{
	struct vs_error err = {0};

	(void)state;
	edit(later_version);
	assert_int_equal(try_open(&err), VS_E_VERSION);
	assert_non_null(strstr(err.text, "version 2"));
}

static void test_not_a_store(void **state)
{
	struct vs_error err = {0};

	(void)state;
	edit(other_magic);
	assert_int_equal(try_open(&err), VS_E_NOTSTORE);
	assert_non_null(strstr(err.text, "vstore init"));
}

static void test_impossible_fields(void **state)
{
	struct vs_error err = {0};

	(void)state;
	edit(mad_segments);
	assert_int_equal(try_open(&err), VS_E_CORRUPT);
}

static void test_opened_twice(void **state)
{
	struct bs_device *dev = device(0), *again;
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(bs_device_open(path, 0, 0, &again, &err), VS_E_BUSY);
	bs_device_close(dev);
}

static void test_device_shrunk(void **state)
{
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(try_open(&err), VS_E_CORRUPT);
	assert_non_null(strstr(err.text, "smaller"));
}

static void test_init_keeps_data(void **state)
{
	struct bs_init_options opts = {.segment_size = 256 << 10};
	struct bs_device *dev = device(0);
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(bs_store_init(dev, &opts, &err), VS_E_EXIST);
	opts.force = true;
	assert_int_equal(bs_store_init(dev, &opts, &err), 0);
	opts.segment_size = 100000;
	assert_int_equal(bs_store_init(dev, &opts, &err), VS_E_INVAL);
	opts.segment_size = 16 << 20;
	assert_int_equal(bs_store_init(dev, &opts, &err), VS_E_INVAL);
	bs_device_close(dev);
}

/* One copy of the newest superblock is lost: the other three serve. */
static void test_lost_superblock(void **state)
{
	struct bs_device *dev;
	struct vs_error err = {0};
	uint8_t *b = aligned_alloc(4096, 4096);

	(void)state;
	assert_int_equal(try_open(&err), 0);
	memset(b, 0xff, 4096);
	dev = device(0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, b, 4096), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 4096, b, 4096), 0);
	bs_device_close(dev);
	assert_int_equal(try_open(&err), VS_E_EXIST); /* the volume of the first time is there */
	free(b);
}

/* A reference that the maps do not have must be found. */
static void test_check_finds(void **state)
{
	struct bs_check_options opts = {0};
	struct bs_check_result res;
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(try_open(&err), 0);
	assert_int_equal(bs_check_run(device(BS_DEVICE_READ_ONLY), &opts, &res, &err), 0);
	assert_int_equal(res.problems, 0);
	assert_int_equal(res.volumes, 1);
}

static void more_contents(uint8_t *b)
{
	vs_put_le64(b + 168, vs_get_le64(b + 168) + 1);
}

static void test_check_finds_miscount(void **state)
{
	struct bs_check_options opts = {0};
	struct bs_check_result res;
	struct vs_error err = {0};

	(void)state;
	edit(more_contents);
	assert_int_equal(bs_check_run(device(BS_DEVICE_READ_ONLY), &opts, &res, &err), 0);
	assert_int_equal(res.problems, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_features, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_later_version, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_not_a_store, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_impossible_fields, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_opened_twice, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_device_shrunk, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_init_keeps_data, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lost_superblock, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_check_finds, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_check_finds_miscount, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
