/* Logins that failed before: lines of addresses and names, who may pass them, what is remembered.
 */
#include "targets/iscsi/throttle.h"

#include "common/bytes.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define S ISCSI_THROTTLE_SECOND
#define REFUSED UINT64_MAX

static struct iscsi_throttle *t;

static int setup(void **state)
{
	(void)state;
	t = iscsi_throttle_new();
	assert_non_null(t);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	iscsi_throttle_free(t);
	return 0;
}

static uint64_t address(const char *text)
{
	struct sockaddr_storage ss = {.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET};
	void *at = strchr(text, ':') ? (void *)&((struct sockaddr_in6 *)&ss)->sin6_addr
				     : (void *)&((struct sockaddr_in *)&ss)->sin_addr;

	assert_int_equal(inet_pton(ss.ss_family, text, at), 1);
	return iscsi_throttle_address(t, &ss);
}

static struct iscsi_throttle_who who(const char *from, const char *initiator)
{
	return iscsi_throttle_who(t, address(from), initiator, "target");
}

static uint64_t wait_of(const char *from, const char *initiator, uint64_t now)
{
	struct iscsi_throttle_who w = who(from, initiator);
	uint64_t wait;

	return iscsi_throttle_enter(t, &w, now, &wait) ? wait : REFUSED;
}

static void failed(const char *from, const char *initiator, unsigned times, uint64_t now)
{
	struct iscsi_throttle_who w = who(from, initiator);

	while (times--)
		(void)iscsi_throttle_failed(t, &w, now);
}

static void an_address_gets_in_line_after_some_failures(void **state)
{
	uint64_t now = 1000 * S;

	(void)state;
	failed("10.0.0.1", "a", ISCSI_THROTTLE_FREE - 1, now);
	assert_int_equal(wait_of("10.0.0.1", "b", now), 0);
	failed("10.0.0.1", "a", 1, now);
	for (unsigned i = 1; i <= 4; i++) /* one a second, and no more than that many wait */
		assert_int_equal(wait_of("10.0.0.1", "b", now), i * S);
	assert_int_equal(wait_of("10.0.0.1", "b", now), REFUSED);
	assert_int_equal(wait_of("10.0.0.1", "c", now + S), 4 * S);
	assert_int_equal(wait_of("10.0.0.2", "b", now), 0); /* others are no part of it */
	assert_int_equal(wait_of("10.0.0.1", "c", now + 20 * S), 0);
	assert_int_equal(wait_of("10.0.0.1", "c", now + 20 * S), S);
}

static void failures_are_forgotten(void **state)
{
	(void)state;
	failed("10.0.0.1", "a", 50, 1000 * S);
	assert_int_equal(wait_of("10.0.0.1", "a", 1000 * S), S);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(wait_of("10.0.0.1", "a", 1301 * S), 0);
	failed("10.0.0.1", "a", 1, 1301 * S); /* counted from one again */
	assert_int_equal(wait_of("10.0.0.1", "a", 1301 * S), 0);
}

/* Failures of two threads: who looked at the clock first comes last. */
static void a_clock_that_was_read_earlier_forgets_nothing(void **state)
{
	uint64_t now = 1000 * S;

	(void)state;
	for (unsigned i = 0; i < 2 * ISCSI_THROTTLE_FREE; i++)
		failed("10.0.0.1", "a", 1, now - i);
	assert_true(wait_of("10.0.0.1", "b", now - 10) > 0);
	assert_true(wait_of("10.0.0.1", "b", now) > 0);
}

static void a_name_is_guarded_from_many_addresses(void **state)
{
	char from[32];
	uint64_t now = 1000 * S, wait = 0, longest = 0;
	unsigned in = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(from, sizeof(from), "10.0.1.%u", i);
		failed(from, "victim", 1, now);
	}
	for (unsigned i = 0; i < 100; i++) { /* each address fresh */
		snprintf(from, sizeof(from), "10.0.2.%u", i);
		wait = wait_of(from, "victim", now);
		if (wait == REFUSED)
			continue;
		in++;
		longest = VS_MAX(longest, wait);
	}
	assert_int_equal(in, 16); /* two a second, 8 s at most */
	assert_int_equal(longest, 8 * S);
	assert_int_equal(wait_of("10.0.2.1", "other", now), 0);
}

/* However long one address goes on, somebody else by the name it uses gets in. */
static void one_address_cannot_fill_a_names_line(void **state)
{
	uint64_t wait;

	(void)state;
	failed("10.0.0.1", "victim", 100, 1000 * S);
	for (unsigned i = 0; i < 1000; i++) {
		(void)wait_of("10.0.0.1", "victim", 1000 * S + i * S / 20);
		if (i % 50)
			continue;
		wait = wait_of("10.0.0.2", "victim", 1000 * S + i * S / 20);
		assert_true(wait != REFUSED && wait <= 6 * S);
	}
}

static void who_has_logged_in_before_passes(void **state)
{
	struct iscsi_throttle_who known = who("10.0.0.1", "known"), other;

	(void)state;
	failed("10.0.0.1", "a", 50, 1000 * S);
	failed("10.0.0.3", "known", 50, 1000 * S);
	iscsi_throttle_passed(t, &known);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(wait_of("10.0.0.1", "known", 1000 * S), 0);
	other = iscsi_throttle_who(t, address("10.0.0.1"), "known", "another target");
	for (unsigned i = 0; i < 20; i++) {
		uint64_t wait = 0;

		assert_true(!iscsi_throttle_enter(t, &other, 1000 * S, &wait) || wait > 0);
	}
	(void)iscsi_throttle_failed(t, &known, 1000 * S); /* once is enough */
	assert_true(wait_of("10.0.0.1", "known", 1000 * S) > 0);
}

static void a_host_has_all_of_an_ipv6_network(void **state)
{
	(void)state;
	assert_true(address("2001:db8::1") == address("2001:db8::ffff:1"));
	assert_true(address("2001:db8::1") != address("2001:db8:0:1::1"));
	assert_true(address("::ffff:10.0.0.1") == address("10.0.0.1"));
	assert_true(address("10.0.0.2") != address("10.0.0.1"));
}

/* More addresses and names than there is room for: the newest are kept, the others forgotten. */
static void memory_is_bounded(void **state)
{
	char from[32], name[32];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(from, sizeof(from), "10.1.%u.%u", i / 250, i % 250);
		snprintf(name, sizeof(name), "name%u", i);
		failed(from, name, ISCSI_THROTTLE_FREE, 1000 * S);
	}
	assert_int_equal(wait_of("10.1.19.249", "x", 1000 * S), S);
	assert_int_equal(wait_of("10.1.0.0", "x", 1000 * S), 0);
}

static void people_are_told_of_few(void **state)
{
	struct iscsi_throttle_who w = who("10.0.0.1", "a");
	unsigned told = 0, last = 0;
	char from[32];

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		unsigned n = iscsi_throttle_failed(t, &w, 1000 * S);

		told += n != 0;
		last = n ? n : last;
	}
	assert_int_equal(told, 7); /* 1, 2, 4 ... 64 */
	assert_int_equal(last, 64);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(from, sizeof(from), "10.2.0.%u", i);
		w = who(from, "b");
		told += iscsi_throttle_failed(t, &w, 1000 * S) != 0;
	}
	assert_int_equal(told, 10);
	w = who("10.3.0.1", "c");
	assert_int_equal(iscsi_throttle_failed(t, &w, 1060 * S), 1); /* the next minute */
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(an_address_gets_in_line_after_some_failures),
	    T(failures_are_forgotten),
	    T(a_clock_that_was_read_earlier_forgets_nothing),
	    T(a_name_is_guarded_from_many_addresses),
	    T(one_address_cannot_fill_a_names_line),
	    T(who_has_logged_in_before_passes),
	    T(a_host_has_all_of_an_ipv6_network),
	    T(memory_is_bounded),
	    T(people_are_told_of_few),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
