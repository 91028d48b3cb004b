/* When a checkpoint is due: recovery must not take longer than was asked for. */
#include "blockstore/engine.h"
#include "blockstore/store_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS 30000u

/* Records that change nothing: a list of no pages. */
static int append(struct bs_engine *e, struct bs_call *c)
{
	struct bs_rec r = {.type = BS_REC_PAGES};

	(void)c;
	for (unsigned i = 0; i < RECORDS; i++) {
		int rc = bs_log_room(e, BS_NEED_DATA, BS_REC_PAGES_HEAD, 0, 0);

		if (rc)
			return rc;
		bs_rec_put_array_head(bs_log_record(e, BS_REC_PAGES_HEAD), &r);
		if (i % 64)
			continue;
		do { /* what is due begins in another turn of the engine */
			bs_fiber_yield(e->fibers);
		} while (e->checkpointing);
	}
	return bs_log_commit(e);
}

static uint64_t checkpoints_after(uint64_t recovery_us)
{
	struct bs_init_options opts = {.segment_size = 1 << 20};
	struct bs_call c = {.fn = append, .writer = true};
	struct bs_engine_config cfg;
	struct bs_device *dev;
	struct bs_engine *e;
	struct bs_env env;
	struct vs_error err = {0};
	uint64_t made;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/vstore-test-%d.img", getpid());
	unlink(path);
	bs_store_budget(0, &cfg);
	bs_store_env(&env);
	cfg.recovery_us = recovery_us;
	if (bs_device_open(path, BS_DEVICE_CREATE, UINT64_C(128) << 20, &dev, &err) ||
	    bs_store_init(dev, &opts, &err) || bs_engine_open(&dev, 1, &cfg, &env, &e, &err))
		fail_msg("%s", err.text);
	made = e->count.checkpoints;
	assert_int_equal(bs_engine_call_wait(e, &c), 0);
	made = e->count.checkpoints - made;
	if (bs_engine_close(e, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	unlink(path);
	return made;
}

static void test_records(void **state)
{
	uint64_t often = checkpoints_after(RECORDS / 4);

	(void)state;
	assert_true(often >= 2 && often <= 6);
	assert_int_equal(checkpoints_after(100 * RECORDS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
