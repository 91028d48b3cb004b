/* How many reads a device has at once, with devices of both kinds. */
#include "blockstore/device_pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SMALL 4096u
#define TURNS 2000u

/* Reads that one client keeps outstanding: those that wait, and those that the device has. */
struct client {
	struct bs_device_pace pace;
	unsigned waiting;
};

static void give(struct client *c, uint64_t length)
{
	while (c->waiting && bs_device_pace_may(&c->pace, length, c->waiting)) {
		bs_device_pace_began(&c->pace, length);
		c->waiting--;
	}
}

/* The device ends n of them at once; the client asks for as many again. */
static void take(struct client *c, unsigned n, uint64_t length)
{
	for (unsigned i = 0; i < n; i++)
		bs_device_pace_ended(&c->pace, length);
	bs_device_pace_looked(&c->pace, n);
	c->waiting += n;
}

/* All that the device has comes back together, turn after turn. */
static unsigned all_at_once(struct client *c, unsigned depth)
{
	c->waiting = depth - c->pace.running;
	for (unsigned i = 0; i < TURNS; i++) {
		give(c, SMALL);
		assert_true(c->pace.running > 0);
		take(c, c->pace.running, SMALL);
	}
	give(c, SMALL);
	return c->pace.running;
}

/* One comes back at a time. */
static unsigned one_by_one(struct client *c, unsigned depth)
{
	c->waiting = depth - c->pace.running;
	for (unsigned i = 0; i < TURNS; i++) {
		give(c, SMALL);
		assert_true(c->pace.running > 0);
		take(c, 1, SMALL);
	}
	give(c, SMALL);
	return c->pace.running;
}

static void test_half(void **state)
{
	(void)state;
	for (unsigned depth = 6; depth <= 256; depth += 5) {
		struct client c = {0};
		unsigned has = all_at_once(&c, depth);

		assert_in_range(has, depth / 2, depth / 2 + 1);
	}
}

static void test_all(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= 256; depth += 5) {
		struct client c = {0};

		assert_int_equal(one_by_one(&c, depth), depth);
	}
}

/* One or two always: a bound would leave the device nothing to do. */
static void test_few(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= 3; depth++) {
		struct client c = {0};

		assert_int_equal(all_at_once(&c, depth), depth);
	}
}

/* What is known of a device changes, and how much is wanted as well. */
static void test_changes(void **state)
{
	struct client c = {0};

	(void)state;
	assert_in_range(all_at_once(&c, 32), 16, 17);
	assert_int_equal(one_by_one(&c, 32), 32);
	assert_in_range(all_at_once(&c, 32), 16, 17);
	assert_in_range(all_at_once(&c, 64), 32, 33);
	assert_int_equal(one_by_one(&c, 64), 64);
}

/* Long ones are bounded by their bytes, and one always goes. */
static void test_long(void **state)
{
	struct client c = {.waiting = 32};

	(void)state;
	give(&c, 128u << 10);
	assert_int_equal(c.pace.running, 8);
	take(&c, 8, 128u << 10);
	give(&c, UINT64_C(64) << 20);
	assert_int_equal(c.pace.running, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_half),    cmocka_unit_test(test_all),	 cmocka_unit_test(test_few),
	    cmocka_unit_test(test_changes), cmocka_unit_test(test_long),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
