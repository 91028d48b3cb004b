/*
 * What sessions get of a store when one of them asks for much more than the others. The device
 * serves reads one after the other, when the test says so, in the order in which they come; so the
 * places of commands are counted and nothing is timed.
 */
#include "tests/unit/iscsi_share_scene.h"

/* What DESIGN.md says that a session may have at the store, alone and of two on its thread. */
#define ALONE 64
#define OF_TWO 16
#define ALONE_BYTES (9 << 20)
#define OF_TWO_BYTES (2 << 20)
#define AROUND (256 << 10) /* whole pages, and the modest one's own */

/* Two sessions of one I/O thread: the second login goes to the other thread. */
static void login_three(struct scene *s, struct session *first, struct session *elsewhere,
			struct session *beside)
{
	login(s, first, "iqn.1994-05.org.example:first");
	login(s, elsewhere, "iqn.1994-05.org.example:elsewhere");
	login(s, beside, "iqn.1994-05.org.example:beside");
	beside->half = 1;
	write_volume(first);
}

/* All of depth 32, and of 1 MiB at depth 8, is at the store: as without limits. */
static void who_is_alone_loses_nothing(void **state)
{
	struct scene *s = *state;
	struct session alone, elsewhere;
	uint64_t sum;

	login(s, &alone, "iqn.1994-05.org.example:first");
	login(s, &elsewhere, "iqn.1994-05.org.example:elsewhere");
	write_volume(&alone);
	sum = commands(s);
	shut(s);
	fill_up(&alone, 32);
	settle(s, sum + 32);
	assert_int_equal(atomic_load(&s->device->waits), 32);
	drain(s, &alone, &elsewhere);
	alone.bytes = PIECE;
	alone.half = 1;
	shut(s);
	fill_up(&alone, 8);
	settle(s, sum + 40);
	assert_true(atomic_load(&s->device->bytes) >= 8 * PIECE);
	drain(s, &alone, &elsewhere);
	leave(&alone);
	leave(&elsewhere);
}

static void one_read_waits_for_few(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;
	unsigned n, bytes;

	login_three(s, &greedy, &elsewhere, &modest);
	ask_for_much(s, &greedy);
	n = overtaken(s, &greedy, &modest, &bytes);
	print_message("# out of the blue: %u of %u\n", n, DEEP);
	assert_true(n <= ALONE);
	for (int i = 0; i < 3; i++) { /* from then on it has its share */
		fill_up(&greedy, DEEP);
		n = overtaken(s, &greedy, &modest, &bytes);
		print_message("# then: %u\n", n);
		assert_true(n <= OF_TWO);
	}
	drain(s, &greedy, &modest);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

static void another_threads_read_waits_for_few(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere;
	unsigned n, bytes;

	login(s, &greedy, "iqn.1994-05.org.example:first");
	login(s, &elsewhere, "iqn.1994-05.org.example:elsewhere");
	elsewhere.half = 1;
	write_volume(&greedy);
	ask_for_much(s, &greedy);
	n = overtaken(s, &greedy, &elsewhere, &bytes);
	print_message("# on another thread: %u of %u\n", n, DEEP);
	assert_true(n <= ALONE);
	drain(s, &greedy, &elsewhere);
	leave(&greedy);
	leave(&elsewhere);
}

static void one_read_waits_for_few_large_ones(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;
	unsigned bytes;

	login_three(s, &greedy, &elsewhere, &modest);
	greedy.bytes = PIECE;
	ask_for_much(s, &greedy);
	start_read(&modest); /* one more, so that there are always two that use the store */
	(void)overtaken(s, &greedy, &modest, &bytes);
	print_message("# out of the blue: %u\n", bytes);
	assert_true(bytes <= ALONE_BYTES + AROUND);
	for (int i = 0; i < 3; i++) {
		(void)overtaken(s, &greedy, &modest, &bytes);
		print_message("# then: %u\n", bytes);
		assert_true(bytes <= OF_TWO_BYTES + AROUND);
	}
	drain(s, &greedy, &modest);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

/* Both always want something, one much more than the other. */
static void shares_are_near_each_other(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;
	unsigned deep, flat;

	login_three(s, &greedy, &elsewhere, &modest);
	ask_for_much(s, &greedy);
	fill_up(&modest, 4);
	settle(s, commands(s));
	while (greedy.answers < ALONE) { /* that were at the store before there were two */
		step(s, &greedy, &modest);
		fill_up(&modest, 4);
		fill_up(&greedy, DEEP);
	}
	deep = greedy.answers;
	flat = modest.answers;
	while (greedy.answers + modest.answers < deep + flat + 400) {
		step(s, &greedy, &modest);
		fill_up(&modest, 4);
		fill_up(&greedy, DEEP);
	}
	deep = greedy.answers - deep;
	flat = modest.answers - flat;
	print_message("# %u and %u\n", deep, flat);
	assert_true(deep <= flat * (OF_TWO / 4 + 1));
	drain(s, &greedy, &modest);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

/* The store has not seen it: the abort leaves nothing behind that others would have to wait for. */
static void what_waits_is_aborted_at_once(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;
	struct scsi_task *last;
	unsigned waits;
	uint64_t sum;

	login_three(s, &greedy, &elsewhere, &modest);
	ask_for_much(s, &greedy);
	last = greedy.last;
	assert_int_equal(
	    iscsi_task_mgmt_abort_task_async(greedy.iscsi, last, function_answered, &greedy), 0);
	while (!greedy.told)
		turn(&greedy, 100);
	assert_int_equal(greedy.response, 0);
	greedy.outstanding--; /* it gets no answer */
	waits = atomic_load(&s->device->waits);
	sum = commands(s);
	start_read(&modest);
	settle(s, sum + 1);
	assert_int_equal(atomic_load(&s->device->waits), waits + 1);
	drain(s, &greedy, &modest);
	assert_int_equal(greedy.answers, DEEP - 1);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

/* Another session's reset ends what waits, and what is at the store only has to come back. */
static void a_reset_takes_what_waits(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;

	login_three(s, &greedy, &elsewhere, &modest);
	ask_for_much(s, &greedy);
	assert_int_equal(
	    iscsi_task_mgmt_lun_reset_async(elsewhere.iscsi, 0, function_answered, &elsewhere), 0);
	while (!elsewhere.told)
		turn(&elsewhere, 100);
	assert_int_equal(elsewhere.response, 0);
	open_wide(s);
	settle(s, 0);
	greedy.outstanding = 0; /* no answers: TAS is 0 */
	take_attentions(&greedy);
	assert_int_equal(greedy.answers, 0);
	fill_up(&greedy, DEEP);
	drain(s, &greedy, &modest);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

/* A session that closes takes what waits along; the next one of its initiator has all its share. */
static void who_closes_leaves_nothing_in_line(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;

	login_three(s, &greedy, &elsewhere, &modest);
	ask_for_much(s, &greedy);
	vanish(&greedy);
	while (iscsi_server_sessions(s->server, IQN, NULL, 0) == 3)
		usleep(1000);
	settle(s, 0);
	assert_int_equal(atomic_load(&s->device->waits), ALONE);
	open_wide(s);
	fill_up(&modest, DEEP);
	drain(s, &modest, &elsewhere);
	leave(&elsewhere);
	leave(&modest);
}

/* Large writes of which most wait for the store are aborted; all their memory is there again. */
static void aborted_writes_give_their_memory_back(void **state)
{
	struct scene *s = *state;
	struct session greedy, elsewhere, modest;
	uint8_t *data = calloc(1, PIECE);
	uint64_t sum;

	login_three(s, &greedy, &elsewhere, &modest);
	start_read(&modest);
	drain(s, &modest, &elsewhere); /* there are two that use the store */
	sum = commands(s);
	atomic_store(&s->device->all, true);
	shut(s);
	for (uint32_t i = 0; i < 8; i++)
		keep(&greedy, iscsi_write10_task(greedy.iscsi, 0, i * PIECE / BLOCK, data, PIECE,
						 BLOCK, 0, 0, 0, 0, 0, command_answered, &greedy));
	while (commands(s) < sum + 8)
		turn(&greedy, 10);
	for (int i = 0; i < 100; i++) /* their data goes where there is room for it */
		turn(&greedy, 1);
	assert_int_equal(
	    iscsi_task_mgmt_abort_task_set_async(greedy.iscsi, 0, function_answered, &greedy), 0);
	while (!greedy.told)
		turn(&greedy, 100);
	assert_int_equal(greedy.response, 0);
	open_wide(s);
	greedy.bytes = PIECE;
	fill_up(&greedy, 32);
	drain(s, &greedy, &modest);
	write_volume(&greedy);
	free(data);
	leave(&greedy);
	leave(&elsewhere);
	leave(&modest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(who_is_alone_loses_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_read_waits_for_few, setup, teardown),
	    cmocka_unit_test_setup_teardown(another_threads_read_waits_for_few, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_read_waits_for_few_large_ones, setup, teardown),
	    cmocka_unit_test_setup_teardown(shares_are_near_each_other, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_waits_is_aborted_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reset_takes_what_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(aborted_writes_give_their_memory_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(who_closes_leaves_nothing_in_line, setup, teardown),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
