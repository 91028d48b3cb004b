/* Files that lose their last name: with it, when nobody holds them, or after the next opening. */
#include "tests/unit/ds_scene.h"

#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 100u
#else
#define ROUNDS 400u
#endif
#define LATER_NS UINT64_C(10000)
#define BETWEEN 8u /* names of others that go between the two of a file */

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));

	scene_make_fast(x, "dsgone", UINT64_C(256) << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	scene_end(*state);
	free(*state);
	return 0;
}

static void test_a_held_file_outlives_its_name(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "held", DS_REG);
	char buf[8];

	assert_int_equal(do_write(x, f, 0, "still", 5), 0);
	assert_int_equal(ds_hold(x->d, f), 0);
	assert_int_equal(ds_hold(x->d, f), 0);
	assert_int_equal(do_remove(x, ds_root, "held"), 0);
	assert_int_equal(do_read(x, f, 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 5);
	assert_int_equal(x->req.attr.links, 0);
	assert_int_equal(do_link(x, f, ds_root, "back"), VS_E_STALE);
	ds_release(x->d, f);
	assert_int_equal(do_write(x, f, 5, " here", 5), 0);
	ds_release(x->d, f);
	while (do_getattr(x, f) != VS_E_STALE)
		usleep(1000);
	assert_int_equal(do_write(x, f, 0, "x", 1), VS_E_STALE);
	assert_int_equal(do_read(x, f, 0, buf, sizeof(buf)), VS_E_STALE);
}

/* A file without blocks goes with its name, unless somebody has it open; sizes and holes do not
 * matter. Its object serves another file at once, which has nothing of it. */
static void test_an_empty_file_goes_with_its_name(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "hollow", DS_REG), next;
	char buf[8];

	assert_int_equal(do_set(x, f, (struct ds_set){.what = DS_SET_SIZE, .size = 1 << 20}), 0);
	assert_int_equal(do_remove(x, ds_root, "hollow"), 0);
	assert_int_equal(do_getattr(x, f), VS_E_STALE);
	next = made(x, ds_root, "next", DS_REG);
	assert_int_equal(next.object, f.object);
	assert_int_equal(do_write(x, f, 0, "x", 1), VS_E_STALE);
	assert_int_equal(do_read(x, next, 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 0);
	assert_int_equal(do_write(x, next, 0, "bytes", 5), 0);
	assert_int_equal(do_remove(x, ds_root, "next"), 0);
	f = made(x, ds_root, "open", DS_REG);
	assert_int_equal(ds_hold(x->d, f), 0);
	assert_int_equal(do_remove(x, ds_root, "open"), 0);
	assert_int_equal(do_getattr(x, f), 0);
	ds_release(x->d, f);
	while (do_getattr(x, f) != VS_E_STALE)
		usleep(1000);
	scene_blocks(x, 0);
}

/* What a stop leaves without a name is taken apart after the next opening. */
static void test_orphans_of_an_earlier_run(void **state)
{
	struct scene *x = *state;
	char name[16];

	scene_blocks(x, 0);
	for (unsigned i = 0; i < 150; i++) {
		(void)snprintf(name, sizeof(name), "o%u", i);
		assert_int_equal(do_create(x, ds_root, name, DS_REG, 0644), 0);
		assert_int_equal(ds_hold(x->d, x->req.attr.handle), 0);
		assert_int_equal(do_write(x, x->req.attr.handle, i * 5000, "held", 4), 0);
		assert_int_equal(do_remove(x, ds_root, name), 0);
	}
	assert_true(blocks_of(x, 0) > 0);
	scene_shut(x); /* nobody releases them */
	scene_open(x);
	scene_blocks(x, 0);
}

/* ---- a write beside the removal ------------------------------------------------------------- */

struct writer {
	struct scene *x;
	struct ds_client *c;
	struct vs_loop *loop;
	atomic_uint round, done;
	struct ds_handle file; /* of the round */
};

/* One write in each round, sooner or later. */
static void *write_on(void *arg)
{
	static char bytes[4096] = "written while its name went";
	struct writer *w = arg;
	struct iovec iov = {bytes, sizeof(bytes)};

	for (unsigned round = 1; round <= ROUNDS; round++) {
		struct ds_req req;
		uint64_t until;
		int rc;

		while (atomic_load(&w->round) < round)
			sched_yield();
		req = (struct ds_req){.op = DS_WRITE,
				      .file = w->file,
				      .length = sizeof(bytes),
				      .iov = &iov,
				      .iovcnt = 1};
		until = vs_now_ns() + round % 50 * LATER_NS;
		while (vs_now_ns() < until)
			;
		rc = ds_wait(w->c, &req);
		VS_ASSERT(rc == 0 || rc == VS_E_STALE);
		atomic_store(&w->done, round);
	}
	return NULL;
}

static void one_less(struct ds_req *req)
{
	VS_ASSERT(req->status == 0);
	--*(unsigned *)req->arg;
}

/* All go in one group of changes: the file is looked at with its first name, and may be written to
 * until the last one takes it along. */
static void remove_all(struct scene *x, char name[][8], unsigned n)
{
	struct ds_req req[BETWEEN + 2];
	unsigned out = n;

	for (unsigned i = 0; i < n; i++) {
		req[i] = (struct ds_req){.op = DS_REMOVE,
					 .file = ds_root,
					 .name = name[i],
					 .name_len = strlen(name[i]),
					 .done = one_less,
					 .arg = &out};
		ds_submit(x->c, &req[i]);
	}
	while (out)
		vs_loop_turn(x->loop, -1);
}

/* Its blocks go too: none is left in an object that counts as free, for the next file to show. */
static void test_what_is_written_while_its_name_goes(void **state)
{
	struct scene *x = *state;
	struct writer w = {.x = x};
	char name[BETWEEN + 2][8];
	struct vs_error err;
	pthread_t thread;

	for (unsigned i = 0; i < BETWEEN + 2; i++)
		(void)snprintf(name[i], sizeof(name[i]), "n%u", i);
	assert_int_equal(vs_loop_new(&w.loop, &err), 0);
	assert_int_equal(ds_client_open(x->d, w.loop, 4, &w.c, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		w.file = made(x, ds_root, name[0], DS_REG);
		for (unsigned i = 1; i <= BETWEEN; i++)
			(void)made(x, ds_root, name[i], DS_REG);
		assert_int_equal(do_link(x, w.file, ds_root, name[BETWEEN + 1]), 0);
		atomic_store(&w.round, round);
		remove_all(x, name, BETWEEN + 2);
		while (atomic_load(&w.done) < round)
			sched_yield();
	}
	pthread_join(thread, NULL);
	ds_client_close(w.c);
	vs_loop_free(w.loop);
	scene_blocks(x, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_held_file_outlives_its_name),
	    cmocka_unit_test(test_an_empty_file_goes_with_its_name),
	    cmocka_unit_test(test_orphans_of_an_earlier_run),
	    cmocka_unit_test(test_what_is_written_while_its_name_goes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
