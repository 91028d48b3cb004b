/* Files in use: who waits for whom, and orphans that are held. */
#include "common/bytes.h"
#include "datastore/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct waiter {
	struct ds_wait wait;
	unsigned *turn, when; /* 0: not yet */
};

static void granted(struct ds_wait *w)
{
	struct waiter *me = vs_container_of(w, struct waiter, wait);

	me->when = ++*me->turn;
}

static void test_first_come_first_served(void **state)
{
	struct ds_nodes *all = malloc(sizeof(*all));
	struct vs_loop *loop;
	struct waiter w[6] = {0};
	struct ds_node *n;
	unsigned turn = 0;

	(void)state;
	assert_int_equal(vs_loop_new(&loop, NULL), 0);
	ds_nodes_init(all);
	n = ds_node_get(all, 7);
	for (unsigned i = 0; i < 6; i++) {
		w[i].turn = &turn;
		w[i].wait =
		    (struct ds_wait){.loop = loop, .granted = granted, .alone = i == 2 || i == 5};
	}
	assert_true(ds_node_enter(all, n, &w[0].wait));
	assert_true(ds_node_enter(all, n, &w[1].wait));
	assert_false(ds_node_enter(all, n, &w[2].wait)); /* alone */
	assert_false(ds_node_enter(all, n, &w[3].wait)); /* not past it */
	assert_false(ds_node_enter(all, n, &w[4].wait));
	assert_false(ds_node_enter(all, n, &w[5].wait));
	ds_node_leave(all, n, &w[0].wait);
	vs_loop_turn(loop, 0);
	assert_int_equal(turn, 0);
	ds_node_leave(all, n, &w[1].wait);
	vs_loop_turn(loop, 0);
	assert_int_equal(w[2].when, 1);
	assert_int_equal(turn, 1);
	ds_node_leave(all, n, &w[2].wait);
	vs_loop_turn(loop, 0);
	assert_true(w[3].when == 2 && w[4].when == 3 && !w[5].when);
	ds_node_leave(all, n, &w[3].wait);
	ds_node_leave(all, n, &w[4].wait);
	vs_loop_turn(loop, 0);
	assert_int_equal(w[5].when, 4);
	ds_node_leave(all, n, &w[5].wait);
	ds_node_put(all, n);
	ds_nodes_destroy(all);
	vs_loop_free(loop);
	free(all);
}

/* Nobody uses, holds or waits for what is seized, and who comes meanwhile waits. */
static void test_what_is_used_is_not_seized(void **state)
{
	struct ds_nodes *all = malloc(sizeof(*all));
	struct vs_loop *loop;
	struct ds_node *n, *s;
	unsigned turn = 0;
	struct waiter w = {.turn = &turn};

	(void)state;
	assert_int_equal(vs_loop_new(&loop, NULL), 0);
	w.wait = (struct ds_wait){.loop = loop, .granted = granted};
	ds_nodes_init(all);
	assert_int_equal(ds_node_hold(all, 9), 0);
	assert_null(ds_node_seize(all, 9));
	assert_false(ds_node_release(all, 9));
	n = ds_node_get(all, 9);
	assert_null(ds_node_seize(all, 9));
	ds_node_put(all, n);
	s = ds_node_seize(all, 9);
	assert_non_null(s);
	assert_null(ds_node_seize(all, 9));
	assert_int_equal(ds_node_hold(all, 9), VS_E_AGAIN);
	n = ds_node_get(all, 9);
	assert_ptr_equal(n, s);
	assert_false(ds_node_enter(all, n, &w.wait));
	ds_node_yield(all, s);
	vs_loop_turn(loop, 0);
	assert_int_equal(w.when, 1);
	assert_int_equal(ds_node_hold(all, 9), 0);
	assert_false(ds_node_release(all, 9));
	ds_node_leave(all, n, &w.wait);
	ds_node_put(all, n);
	s = ds_node_seize(all, 9);
	assert_non_null(s);
	ds_node_yield(all, s);
	ds_nodes_destroy(all);
	vs_loop_free(loop);
	free(all);
}

static void test_orphans_come_once(void **state)
{
	struct ds_nodes *all = malloc(sizeof(*all));
	struct ds_node *n;

	(void)state;
	ds_nodes_init(all);
	assert_int_equal(ds_node_hold(all, 5), 0);
	assert_int_equal(ds_node_orphan(all, 5), 0);
	assert_null(ds_node_next_orphan(all));
	assert_true(ds_node_release(all, 5));
	/* held again before it is taken, and released: once is enough */
	assert_int_equal(ds_node_hold(all, 5), 0);
	assert_true(ds_node_release(all, 5));
	n = ds_node_next_orphan(all);
	assert_non_null(n);
	assert_null(ds_node_next_orphan(all));
	/* and while it is taken apart, or looked for again */
	assert_int_equal(ds_node_hold(all, 5), 0);
	(void)ds_node_release(all, 5);
	assert_int_equal(ds_node_orphan(all, 5), 0);
	assert_null(ds_node_next_orphan(all));
	ds_node_apart(all, n);
	ds_node_put(all, n);
	assert_null(ds_node_next_orphan(all));
	/* the object is another file now, which goes as well */
	assert_int_equal(ds_node_orphan(all, 5), 0);
	n = ds_node_next_orphan(all);
	assert_non_null(n);
	ds_node_apart(all, n);
	ds_node_put(all, n);
	ds_nodes_destroy(all);
	free(all);
}

static void test_what_is_not_used_is_bounded(void **state)
{
	struct ds_nodes *all = malloc(sizeof(*all));
	struct ds_wait in = {.alone = true};
	struct ds_perm perm = {DS_REG, 0644, 1, 2}, got;
	struct ds_node *n;

	(void)state;
	ds_nodes_init(all);
	for (uint32_t i = 1; i <= DS_NODES_KEPT + 10; i++) {
		n = ds_node_get(all, i);
		assert_true(ds_node_enter(all, n, &in));
		ds_node_learn(all, n, i, &perm);
		ds_node_leave(all, n, &in);
		ds_node_put(all, n);
	}
	assert_int_equal(all->kept, DS_NODES_KEPT);
	n = ds_node_get(all, 1); /* the oldest has gone */
	assert_int_equal(ds_node_perm(all, n, 1, &got), VS_E_AGAIN);
	ds_node_put(all, n);
	n = ds_node_get(all, DS_NODES_KEPT);
	assert_int_equal(ds_node_perm(all, n, DS_NODES_KEPT, &got), 0);
	assert_int_equal(got.mode, 0644);
	assert_int_equal(ds_node_perm(all, n, 3, &got), VS_E_STALE);
	ds_node_put(all, n);
	ds_nodes_destroy(all);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_first_come_first_served),
	    cmocka_unit_test(test_what_is_used_is_not_seized),
	    cmocka_unit_test(test_orphans_come_once),
	    cmocka_unit_test(test_what_is_not_used_is_bounded),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
