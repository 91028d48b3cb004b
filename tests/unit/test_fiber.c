/* Fibers: each finds again what it held, in registers and on its stack, whatever ran meanwhile. */
#include "blockstore/fiber.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FIBERS 40u
#define ROUNDS 200u

struct task {
	struct bs_fiber_pool *pool;
	uint64_t seed;
	unsigned yields; /* 0: never */
	uint64_t sum;
	double real;
	bool done;
};

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

static void pause_now(struct task *t)
{
	if (t->yields)
		bs_fiber_yield(t->pool);
}

/* More values than there are registers live across each switch. */
static void compute(struct task *t)
{
	uint64_t a = mix(t->seed), b = mix(a), c = mix(b), d = mix(c), e = mix(d), f = mix(e);
	uint64_t g = mix(f), h = mix(g);
	double x = (double)(t->seed + 1), y = x / 3;

	for (unsigned i = 0; i < ROUNDS; i++) {
		pause_now(t);
		a += b ^ i;
		b = mix(b + c);
		c += d;
		d ^= mix(e);
		pause_now(t);
		e += f;
		f = mix(f ^ g);
		g += h;
		h ^= a;
		x = x * 1.000001 + y;
		y = y * 0.999 + (double)i;
	}
	t->sum = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
	t->real = x + y;
}

/* A frame of some size at each depth, and a switch at the bottom and on the way back. */
static uint64_t deep(struct task *t, unsigned depth)
{
	volatile uint64_t page[16];
	uint64_t sum = 0;

	for (unsigned i = 0; i < 16; i++)
		page[i] = mix(t->seed + depth * 16 + i);
	if (depth)
		sum = deep(t, depth - 1);
	pause_now(t);
	for (unsigned i = 0; i < 16; i++)
		sum = mix(sum ^ page[i]);
	return sum;
}

static void run(void *arg)
{
	struct task *t = arg;
	char aligned[64] __attribute__((aligned(16)));

	assert_int_equal((uintptr_t)(void *)aligned % 16, 0);
	compute(t);
	t->sum ^= deep(t, 100);
	t->done = true;
}

static void test_each_keeps_what_it_holds(void **state)
{
	struct bs_fiber_pool *pool;
	struct task t[2 * FIBERS];

	(void)state;
	assert_int_equal(bs_fiber_pool_new(FIBERS, &pool), 0);
	for (unsigned turn = 0; turn < 2; turn++) { /* stacks are used again */
		for (unsigned i = 0; i < FIBERS; i++) {
			struct task *k = &t[turn * FIBERS + i];

			*k = (struct task){.pool = pool, .seed = i + 7 * turn, .yields = 1};
			assert_true(bs_fiber_start(pool, run, k));
		}
		assert_int_equal(bs_fiber_idle(pool), 0);
		while (bs_fiber_run_ready(pool))
			;
		assert_int_equal(bs_fiber_idle(pool), FIBERS);
	}
	for (unsigned i = 0; i < 2 * FIBERS; i++) {
		struct task alone = {.seed = t[i].seed};

		run(&alone);
		assert_true(t[i].done);
		assert_int_equal(t[i].sum, alone.sum);
		assert_true(t[i].real == alone.real);
	}
	bs_fiber_pool_free(pool);
}

struct waiter {
	struct bs_fiber_pool *pool;
	struct bs_waitq *q;
	unsigned *order, *n, name;
};

static void wait_in_line(void *arg)
{
	struct waiter *w = arg;

	bs_fiber_block(w->pool, w->q);
	w->order[(*w->n)++] = w->name;
}

static void test_first_in_first_out(void **state)
{
	struct bs_fiber_pool *pool;
	struct bs_waitq q = {0};
	struct waiter w[FIBERS];
	unsigned order[FIBERS], n = 0;

	(void)state;
	assert_int_equal(bs_fiber_pool_new(FIBERS, &pool), 0);
	for (unsigned i = 0; i < FIBERS; i++) {
		w[i] = (struct waiter){pool, &q, order, &n, i};
		assert_true(bs_fiber_start(pool, wait_in_line, &w[i]));
	}
	assert_false(bs_fiber_start(pool, wait_in_line, &w[0])); /* all are taken */
	bs_fiber_wake_one(pool, &q);
	assert_int_equal(bs_fiber_run_ready(pool), 1);
	bs_fiber_wake_all(pool, &q);
	assert_int_equal(bs_fiber_run_ready(pool), FIBERS - 1);
	for (unsigned i = 0; i < FIBERS; i++)
		assert_int_equal(order[i], i);
	bs_fiber_pool_free(pool);
}

/* As when the daemon is killed: fibers that have not returned are simply gone. */
static void test_freed_while_they_wait(void **state)
{
	struct bs_fiber_pool *pool;
	struct bs_waitq q = {0};
	unsigned order[2], n = 0;
	struct waiter w = {.q = &q, .order = order, .n = &n};

	(void)state;
	assert_int_equal(bs_fiber_pool_new(2, &pool), 0);
	w.pool = pool;
	assert_true(bs_fiber_start(pool, wait_in_line, &w));
	bs_fiber_pool_free(pool);
	assert_int_equal(n, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_keeps_what_it_holds),
	    cmocka_unit_test(test_first_in_first_out),
	    cmocka_unit_test(test_freed_while_they_wait),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("fibers", tests, NULL, NULL);
}
