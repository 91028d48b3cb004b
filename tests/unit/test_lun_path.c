/* A LUN whose array goes, comes back, has lost its cache or is another one; used as a device. */
#include "tests/unit/lun_scene.h"

/* Older things that are sent again leave what was written durably over them. */
static void test_durable_stays(void **state)
{
	struct scene *s = *state;
	uint8_t *old = pattern(8192, 12), *new = pattern(8192, 13);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_FAR_WRITE, 0, old, 8192), 0);
	assert_int_equal(io(s, BS_FAR_UNMAP, MIB, NULL, MIB), 0);
	assert_int_equal(io_as(s, BS_FAR_WRITE, true, 4096, new, 8192), 0);
	assert_int_equal(io_as(s, BS_FAR_WRITE, true, MIB, new, 8192), 0);
	stop_array(s);
	start_array(s, NULL);
	assert_holds(s, 0, old, 4096);
	assert_holds(s, 4096, new, 8192);
	assert_holds(s, MIB, new, 8192);
	free(old);
	free(new);
}

/* What is under way when the array goes is held, and done when it is back. */
static void test_held(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(MIB, 6);
	bool ended[3] = {false};
	struct bs_far_req req[3];

	open_lun(s, 0);
	for (unsigned i = 0; i < 3; i++) {
		req[i] = (struct bs_far_req){.op = BS_FAR_WRITE,
					     .offset = i * MIB,
					     .length = MIB,
					     .iov = {{data, MIB}},
					     .iovcnt = 1,
					     .done = done,
					     .arg = &ended[i]};
		bs_lun_submit(s->lun, &req[i]);
		if (i == 0) {
			vs_loop_turn(s->loop, 0);
			stop_array(s);
		}
	}
	for (unsigned i = 0; i < 20; i++)
		vs_loop_turn(s->loop, 10);
	assert_false(bs_lun_info(s->lun).up);
	assert_false(ended[1] || ended[2]);
	start_array(s, NULL);
	for (unsigned i = 0; i < 3; i++) {
		turn_until(s, &ended[i]);
		assert_int_equal(req[i].status, 0);
		assert_holds(s, i * MIB, data, MIB);
	}
	assert_true(bs_lun_info(s->lun).up);
	free(data);
}

static void test_gone_too_long(void **state)
{
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, UINT64_C(200000000));
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), 0);
	stop_array(s);
	assert_int_equal(io(s, BS_FAR_READ, 0, data, 4096), VS_E_IO);
	assert_int_equal(io(s, BS_FAR_FLUSH, 0, NULL, 0), VS_E_IO);
	start_array(s, NULL);
	while (!bs_lun_info(s->lun).up)
		vs_loop_turn(s->loop, 100);
	assert_int_equal(io(s, BS_FAR_READ, 0, data, 4096), 0);
	assert_int_equal(data[0], 7);
}

/* The array's volume goes back to what it was: it has lost what was in its cache. */
static void lose(struct scene *s, const char *snapshot)
{
	stop_array(s);
	must(s, bs_snapshot_rollback(s->store, snapshot, &s->err));
	start_array(s, NULL);
}

static void test_lost_cache(void **state)
{
	struct scene *s = *state;
	const char *snap = "v@flushed";
	uint8_t *a = pattern(MIB, 8), *b = pattern(MIB, 9), *none = calloc(1, MIB);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_FAR_WRITE, 0, a, MIB), 0);
	assert_int_equal(io(s, BS_FAR_WRITE, 3 * MIB, a, MIB), 0);
	assert_int_equal(io(s, BS_FAR_FLUSH, 0, NULL, 0), 0);
	must(s, bs_snapshot_create(s->store, &snap, 1, &s->err));
	/* overlapping ones, which are to be sent again in this order */
	assert_int_equal(io(s, BS_FAR_WRITE, 4096, b, MIB), 0);
	assert_int_equal(io(s, BS_FAR_WRITE, 8192, a, MIB / 2), 0);
	assert_int_equal(io(s, BS_FAR_ZERO, 3 * MIB, NULL, MIB / 2), 0);
	lose(s, snap);
	assert_int_equal(io(s, BS_FAR_FLUSH, 0, NULL, 0), 0);
	assert_holds(s, 0, a, 4096);
	assert_holds(s, 4096, b, 4096);
	assert_holds(s, 8192, a, MIB / 2);
	assert_holds(s, 8192 + MIB / 2, b + 4096 + MIB / 2, MIB / 2 - 4096);
	assert_holds(s, 3 * MIB, none, MIB / 2);
	assert_holds(s, 3 * MIB + MIB / 2, a + MIB / 2, MIB / 2);
	free(a);
	free(b);
	free(none);
}

/* What was flushed is the array's own affair: it is not sent again. */
static void test_not_kept(void **state)
{
	struct scene *s = *state;
	const char *snap = "v@empty";
	uint8_t *data = pattern(4096, 10), *none = calloc(1, 4096);

	open_lun(s, 0);
	must(s, bs_snapshot_create(s->store, &snap, 1, &s->err));
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), 0);
	assert_int_equal(io(s, BS_FAR_FLUSH, 0, NULL, 0), 0);
	lose(s, snap);
	assert_holds(s, 0, none, 4096);
	free(data);
	free(none);
}

/* Behind the same name there is another LUN: nothing is written to it. */
static void test_other_lun(void **state)
{
	struct bs_volume_spec v = {.name = "v", .size = SIZE, .sector = 512, .compression = -1};
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, UINT64_C(300000000));
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), 0);
	stop_array(s);
	must(s, bs_volume_delete(s->store, "v", BS_DELETE_PLAIN, &s->err));
	must(s, bs_volume_create(s->store, &v, NULL, &s->err));
	start_array(s, NULL);
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), VS_E_IO);
	bs_lun_close(s->lun);
	open_lun(s, 0);
	assert_int_equal(io(s, BS_FAR_READ, 0, data, 4096), 0);
	assert_int_equal(data[0], 0);
}

static void test_grows(void **state)
{
	struct scene *s = *state;
	uint8_t data[4096] = {7};

	open_lun(s, 0);
	must(s, bs_volume_resize(s->store, "v", 2 * SIZE, false, &s->err));
	assert_int_equal(io(s, BS_FAR_READ, 0, data, 4096), 0); /* meets the unit attention */
	while (bs_lun_info(s->lun).size != 2 * SIZE)
		vs_loop_turn(s->loop, 100);
	assert_int_equal(io(s, BS_FAR_WRITE, 2 * SIZE - 4096, data, 4096), 0);
}

static void io_done(struct bs_devio *io)
{
	*(bool *)io->arg = true;
}

/* Used as an engine does: by submit, kick and poll; one process at a time; away and back. */
static void test_device(void **state)
{
	struct scene *s = *state;
	uint8_t *a = aligned_alloc(4096, MIB), *b = aligned_alloc(4096, MIB);
	struct bs_device *dev, *again;
	bool ended = false;
	struct bs_devio io = {.op = BS_DEV_READ,
			      .length = MIB,
			      .iov = {{b, 4096}, {b + 4096, MIB - 4096}},
			      .iovcnt = 2,
			      .done = io_done,
			      .arg = &ended};
	char url[200];

	memset(a, 0x5a, MIB);
	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/%s/0", s->port, IQN);
	must(s, bs_device_open(url, 0, 0, &dev, &s->err));
	s->dev = dev;
	assert_int_equal(dev->size, SIZE);
	assert_int_equal(bs_device_open(url, 0, 0, &again, &s->err), VS_E_BUSY);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, a, MIB), 0);
	stop_array(s);
	bs_device_submit(dev, &io);
	bs_device_kick(dev);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(bs_device_poll(dev), 0);
		dev->ops->wait(dev);
	}
	start_array(s, NULL);
	while (!ended)
		if (bs_device_poll(dev) == 0)
			dev->ops->wait(dev);
	assert_int_equal(io.status, 0);
	assert_memory_equal(a, b, MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_DISCARD, 0, NULL, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READY, 0, NULL, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, SIZE, b, 4096), VS_E_IO);
	s->dev = NULL;
	bs_device_close(dev);
	must(s, bs_device_open(url, BS_DEVICE_READ_ONLY, 0, &dev, &s->err));
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, a, 4096), VS_E_IO);
	bs_device_close(dev);
	free(a);
	free(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_durable_stays), TEST(test_held),	   TEST(test_gone_too_long),
	    TEST(test_lost_cache),    TEST(test_not_kept), TEST(test_other_lun),
	    TEST(test_grows),	      TEST(test_device),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
