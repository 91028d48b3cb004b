/*
 * What is kept of a unit's reservations when the keeper takes its time or fails: who waits for it
 * is told the truth, and what is kept is what is.
 */
#include "targets/iscsi/internal.h"
#include "targets/iscsi/keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct scene {
	struct iscsi_server *srv;
	struct iscsi_lu lu;
	int fails;	/* of the next saves */
	bool forgotten; /* while the next save runs, APTPL is taken back */
	unsigned saves;
	size_t len; /* of what is kept */
};

static uint64_t ask(struct scene *s)
{
	uint64_t number;

	pthread_mutex_lock(&s->lu.lock);
	number = iscsi_keep(s->srv, &s->lu);
	pthread_mutex_unlock(&s->lu.lock);
	return number;
}

static int save(void *arg, const struct vs_uuid *volume, const uint8_t *kept, size_t len,
		struct vs_error *err)
{
	struct scene *s = arg;

	(void)volume;
	(void)kept;
	s->saves++;
	if (s->forgotten) {
		s->forgotten = false;
		s->lu.pr.aptpl = false;
		(void)ask(s);
	}
	if (s->fails) {
		s->fails--;
		return vs_fail(err, VS_E_IO, "this keeper is meant to fail");
	}
	s->len = len;
	return 0;
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct vs_error err = {0};

	s->srv = calloc(1, sizeof(*s->srv));
	s->srv->keeper = (struct iscsi_keeper){.save = save, .arg = s};
	assert_int_equal(vs_loop_new(&s->srv->loop, &err), 0);
	pthread_mutex_init(&s->lu.lock, NULL);
	s->lu.pr.r = calloc(ISCSI_PR_MAX, sizeof(*s->lu.pr.r));
	s->lu.pr.r[0] =
	    (struct iscsi_pr_registrant){.nexus = {.port = "a", .target = "t"}, .key = 1};
	s->lu.pr.n = 1;
	s->lu.pr.aptpl = true;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	vs_loop_free(s->srv->loop);
	iscsi_pr_destroy(&s->lu.pr);
	pthread_mutex_destroy(&s->lu.lock);
	free(s->srv);
	free(s);
	return 0;
}

/* Two asked, one save was for both, and it failed. */
static void all_that_one_save_was_for_fail_with_it(void **state)
{
	struct scene *s = *state;
	uint64_t first = ask(s), second = ask(s), third;

	assert_int_equal(iscsi_keep_look(&s->lu, first), ISCSI_KEEP_BUSY);
	s->fails = 1;
	vs_loop_turn(s->srv->loop, 0);
	assert_int_equal(s->saves, 1);
	assert_int_equal(iscsi_keep_look(&s->lu, first), ISCSI_KEEP_FAILED);
	assert_int_equal(iscsi_keep_look(&s->lu, second), ISCSI_KEEP_FAILED);
	third = ask(s);
	vs_loop_turn(s->srv->loop, 0);
	assert_int_equal(iscsi_keep_look(&s->lu, third), ISCSI_KEEP_DONE);
	s->fails = 1;
	(void)ask(s);
	vs_loop_turn(s->srv->loop, 0);
	assert_int_equal(iscsi_keep_look(&s->lu, third), ISCSI_KEEP_DONE);
}

/* APTPL is taken back while the first save is on its way. */
static void nothing_stays_that_was_taken_back_meanwhile(void **state)
{
	struct scene *s = *state;

	s->forgotten = true;
	(void)ask(s);
	for (int i = 0; i < 3; i++)
		vs_loop_turn(s->srv->loop, 0);
	assert_int_equal(s->saves, 2);
	assert_int_equal(s->len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(all_that_one_save_was_for_fail_with_it, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(nothing_stays_that_was_taken_back_meanwhile, setup,
					    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
