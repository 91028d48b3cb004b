/* Volumes of objects of the node's own: out of everybody's reach, and there after whatever comes.
 */
#include "blockstore/object.h"
#include "blockstore/volume.h"

#include "tests/unit/store_scene.h"

#define DEVICE (UINT64_C(128) << 20)
#define NAME ".catalogue"
#define SIZE (256u << 10)

struct fixture {
	char path[64];
	struct vs_loop *loop;
	struct bs_store *s;
	struct bs_port *port;
	struct bs_volume *own;
	uint8_t bytes[SIZE];
};

static const struct bs_open_options opts = {.memory = UINT64_C(256) << 20};

static int transfer(struct fixture *f, struct bs_volume *v, enum bs_op op, unsigned flags,
		    uint64_t offset, void *bytes)
{
	struct iovec iov = {bytes, SIZE};
	struct bs_req req = {.op = op,
			     .flags = flags,
			     .volume = v,
			     .offset = offset,
			     .length = SIZE,
			     .iov = &iov,
			     .iovcnt = 1};

	return bs_io_wait(f->port, &req);
}

static void fill(struct fixture *f, uint64_t seed)
{
	for (size_t i = 0; i < SIZE; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		f->bytes[i] = (uint8_t)(seed >> 40);
	}
}

static void holds(struct fixture *f)
{
	uint8_t *got = malloc(SIZE);

	assert_non_null(got);
	assert_int_equal(transfer(f, f->own, BS_READ, 0, 0, got), 0);
	assert_memory_equal(got, f->bytes, SIZE);
	free(got);
}

static void reopen(struct fixture *f, const char *path, const struct bs_open_options *o)
{
	struct vs_error err = {0};

	store_open(path, o, f->loop, 64, &f->s, &f->port);
	if (bs_own_open(f->s, NAME, NULL, &f->own, &err))
		fail_msg("%s", err.text);
}

static void close_all(struct fixture *f)
{
	bs_volume_close(f->own);
	store_close(f->s, f->port);
}

static int setup(void **state)
{
	const struct bs_init_options init = {.segment_size = 1 << 20};
	struct fixture *f = calloc(1, sizeof(*f));
	struct vs_error err = {0};
	bool made = false;

	store_make(f->path, "own", DEVICE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
	assert_int_equal(bs_own_open(f->s, NAME, NULL, &f->own, &err), VS_E_NOENT);
	if (bs_own_open(f->s, NAME, &made, &f->own, &err))
		fail_msg("%s", err.text);
	assert_true(made);
	fill(f, 1);
	assert_int_equal(transfer(f, f->own, BS_WRITE, BS_SPARE | BS_FUA, 0, f->bytes), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_all(f);
	assert_int_equal(store_problems(f->path), 0);
	unlink(f->path);
	vs_loop_free(f->loop);
	free(f);
	return 0;
}

static void test_nobody_reaches_it(void **state)
{
	struct fixture *f = *state;
	const struct bs_volume_spec plain = {.name = "plain", .size = 1 << 20, .compression = -1},
				    dotted = {.name = NAME, .size = 1 << 20, .compression = -1};
	static const char *const snaps[] = {NAME "@s"};
	struct bs_volume_info info, list[4];
	struct bs_volume *v;
	struct vs_error err = {0};
	size_t n;

	assert_int_equal(bs_own_info(f->s, NAME, &info, &err), 0);
	assert_int_equal(bs_volume_find_uuid(f->s, &info.uuid, &info, &err), VS_E_NOENT);
	assert_int_equal(bs_volume_find(f->s, NAME, &info, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_open(f->s, NAME, &v, &err), VS_E_INVAL);
	assert_int_equal(bs_objects_open(f->s, NAME, &v, &err), VS_E_INVAL);
	assert_int_equal(bs_objects_create(f->s, NAME, &info, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_create(f->s, &dotted, NULL, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_create(f->s, &plain, NULL, &err), 0);
	assert_int_equal(bs_volume_rename(f->s, NAME, "mine", &err), VS_E_INVAL);
	assert_int_equal(bs_volume_rename(f->s, "plain", ".mine", &err), VS_E_INVAL);
	assert_int_equal(bs_volume_resize(f->s, NAME, 1 << 20, true, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_set_compression(f->s, NAME, 0, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_set_dedup(f->s, NAME, true, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_set_thick(f->s, NAME, true, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_delete(f->s, NAME, BS_DELETE_PLAIN, &err), VS_E_INVAL);
	assert_int_equal(bs_snapshot_create(f->s, snaps, 1, &err), VS_E_INVAL);
	assert_int_equal(bs_snapshot_delete(f->s, NAME "@s", &err), VS_E_INVAL);
	assert_int_equal(bs_snapshot_rollback(f->s, NAME "@s", &err), VS_E_INVAL);
	assert_int_equal(bs_volume_clone(f->s, NAME "@s", "copy", NULL, &err), VS_E_INVAL);
	assert_int_equal(bs_volume_list(f->s, 0, list, 4, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].name, "plain");
	holds(f);
}

static void test_its_space_is_used_but_no_volumes(void **state)
{
	struct fixture *f = *state;
	struct bs_store_info info;

	bs_store_info(f->s, &info);
	assert_int_equal(info.volumes, 0);
	assert_int_equal(info.logical_used_bytes, 0);
	assert_int_equal(info.unique_content_bytes, 0);
	assert_true(info.physical_used_bytes >= SIZE);
}

/* Whichever came first, neither shares the other's. */
static void test_it_shares_nothing(void **state)
{
	struct fixture *f = *state;
	const struct bs_volume_spec spec = {.name = "plain", .size = 4 << 20, .compression = -1};
	struct bs_store_info info;
	struct bs_volume *v;
	struct vs_error err = {0};

	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(f->s, "plain", &v, &err), 0);
	assert_int_equal(transfer(f, v, BS_WRITE, BS_FUA, 0, f->bytes), 0);
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, SIZE); /* without the node's own */
	assert_int_equal(transfer(f, f->own, BS_WRITE, BS_FUA, SIZE, f->bytes), 0);
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, SIZE);
	assert_int_equal(transfer(f, v, BS_WRITE, BS_FUA, SIZE, f->bytes), 0); /* users' do */
	bs_store_info(f->s, &info);
	assert_int_equal(info.unique_content_bytes, SIZE);
	bs_volume_close(v);
}

static void test_it_survives(void **state)
{
	struct fixture *f = *state;
	struct bs_open_options ro = opts;
	struct bs_volume *other;
	struct vs_error err = {0};
	char copy[80], command[200];

	(void)snprintf(copy, sizeof(copy), "%s.killed", f->path);
	(void)snprintf(command, sizeof(command), "cp --sparse=always %s %s", f->path, copy);
	assert_int_equal(system(command), 0); /* as a kill leaves it: nothing is under way */
	close_all(f);
	reopen(f, copy, &opts);
	holds(f);
	close_all(f);
	assert_int_equal(store_problems(copy), 0);
	unlink(copy);
	ro.read_only = true;
	reopen(f, f->path, &ro);
	holds(f);
	assert_true(bs_volume_read_only(f->own));
	assert_int_equal(bs_own_open(f->s, ".other", &(bool){false}, &other, &err), VS_E_ROFS);
	assert_non_null(strstr(err.text, "read-only"));
	close_all(f);
	reopen(f, f->path, &opts);
	holds(f);
}

static void test_a_full_store_takes_its_commits(void **state)
{
	struct fixture *f = *state;
	const struct bs_volume_spec spec = {
	    .name = "big", .size = UINT64_C(1) << 30, .compression = -1};
	struct bs_volume *v, *other = NULL;
	struct vs_error err = {0};
	uint64_t i = 0;
	int rc;

	assert_int_equal(bs_volume_create(f->s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(f->s, "big", &v, &err), 0);
	do {
		fill(f, i + 100);
		rc = transfer(f, v, BS_WRITE, 0, i * SIZE, f->bytes);
	} while (rc == 0 && ++i < 4096);
	assert_int_equal(rc, VS_E_NOSPC);
	for (unsigned k = 0; k < 4; k++) {
		fill(f, k + 10);
		assert_int_equal(transfer(f, f->own, BS_WRITE, BS_SPARE | BS_FUA, 0, f->bytes), 0);
	}
	assert_int_equal(bs_own_open(f->s, ".other", &(bool){false}, &other, &err), 0);
	assert_int_equal(bs_own_delete(f->s, ".other", &err), VS_E_BUSY);
	bs_volume_close(other);
	assert_int_equal(bs_own_delete(f->s, ".other", &err), 0);
	assert_int_equal(bs_own_delete(f->s, ".other", &err), VS_E_NOENT);
	bs_volume_close(v);
	close_all(f);
	reopen(f, f->path, &opts);
	holds(f);
}

static void test_other_names_are_refused(void **state)
{
	static const char *const names[] = {"", ".", "x", "..", "._", ".a@b", ".a/b"};
	struct fixture *f = *state;
	struct bs_volume *v;
	struct vs_error err = {0};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(bs_own_open(f->s, names[i], &(bool){false}, &v, &err), VS_E_INVAL);
}

#define OF(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    OF(test_nobody_reaches_it),
	    OF(test_its_space_is_used_but_no_volumes),
	    OF(test_it_shares_nothing),
	    OF(test_it_survives),
	    OF(test_a_full_store_takes_its_commits),
	    OF(test_other_names_are_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
