/* Runs of drops: whatever the order in which they come, they are taken out leaf by leaf. */
#include "blockstore/drop_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 20000u
#define SLOTS 5000u

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *seed >> 33;
}

/* Takes one leaf out; returns its entries, counted off in `owed`. */
static uint64_t take_leaf(struct bs_droprun *r, uint32_t *owed, uint64_t most, uint64_t *leaf)
{
	uint64_t n;

	while (!bs_droprun_collect(r, most))
		assert_true(most > 0);
	n = r->left - r->heap;
	assert_true(n > 0);
	*leaf = bs_drop_leaf(r->cid[r->heap]);
	for (uint64_t i = r->heap, same; i < r->left; i += same) {
		uint64_t slot = bs_cid_slot(r->cid[i]);

		same = bs_droprun_same(r, i);
		assert_int_equal(bs_drop_leaf(r->cid[i]), *leaf);
		assert_int_equal(owed[slot], same); /* all at once */
		owed[slot] = 0;
	}
	r->left = r->heap;
	return n;
}

static void out_in_order(uint64_t seed, uint64_t most)
{
	uint32_t *owed = calloc(SLOTS, sizeof(*owed));
	struct bs_droprun r = {0};
	uint64_t done = 0, from = 0, leaf;

	assert_int_equal(bs_droprun_grow(&r, MANY), 0);
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t slot = seed == 1   ? i % SLOTS
				: seed == 2 ? SLOTS - 1 - i / 4
					    : next(&seed) % SLOTS;

		owed[slot]++;
		bs_droprun_push(&r, bs_cid(slot, (uint16_t)(slot * 7)));
	}
	while (r.left) {
		done += take_leaf(&r, owed, most, &leaf);
		assert_true(leaf >= from);
		from = leaf + 1;
	}
	assert_int_equal(done, MANY);
	free(r.cid);
	free(owed);
}

static void test_orders(void **state)
{
	(void)state;
	out_in_order(1, UINT64_MAX); /* ascending, again and again */
	out_in_order(2, UINT64_MAX); /* descending */
	for (uint64_t seed = 3; seed < 20; seed++)
		out_in_order(seed, seed);
}

static void test_bound(void **state)
{
	struct bs_droprun r = {0};

	(void)state;
	assert_int_equal(bs_droprun_grow(&r, UINT64_C(1) << 40), VS_E_NOMEM);
	assert_true(bs_droprun_collect(&r, 0));
	assert_int_equal(r.left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_orders),
	    cmocka_unit_test(test_bound),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
