/* Room: thick volumes beside a thin one that takes all it can, and a store filled again and again.
 */
#include "common/bytes.h"

#include "tests/unit/store_scene.h"

#define MIB (UINT64_C(1) << 20)
#define DEVICE (64 * MIB)
#define PIECE ((size_t)32 * BS_BLOCK)
#define THICK (8 * MIB)

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	uint64_t seed;
	uint8_t piece[PIECE];
};

static void open_store(struct fixture *f)
{
	struct bs_open_options opts = {.memory = 256 * MIB};

	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
}

static void close_store(struct fixture *f)
{
	store_close(f->s, f->port);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options opts = {.segment_size = 256 << 10, .compression = BS_CODING_LZ4};
	struct vs_error err = {0};

	store_make(f->path, "space", DEVICE, &opts);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	assert_int_equal(store_problems(f->path), 0);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

static int make(struct fixture *f, const char *name, uint64_t size, bool thick,
		struct vs_error *err)
{
	struct bs_volume_spec spec = {
	    .name = name, .size = size, .compression = -1, .thick = thick};

	return bs_volume_create(f->s, &spec, NULL, err);
}

static struct bs_volume *vol(struct fixture *f, const char *name)
{
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	if (bs_volume_open(f->s, name, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

/* Noise that was never written before. */
static int put(struct fixture *f, struct bs_volume *v, uint64_t offset)
{
	for (size_t i = 0; i < PIECE; i += 8) {
		f->seed = f->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		vs_put_le64(f->piece + i, f->seed ^ f->seed >> 29);
	}
	return bs_io_write(f->port, v, offset, f->piece, PIECE);
}

/* Bytes that went in before there was no space left. */
static uint64_t fill(struct fixture *f, struct bs_volume *v)
{
	uint64_t done = 0;
	int rc = 0;

	while (rc == 0 && done < bs_volume_size(v)) {
		rc = put(f, v, done);
		done += rc ? 0 : PIECE;
	}
	assert_int_equal(rc, VS_E_NOSPC);
	return done;
}

/* All of it, in an order that leaves no map page and no segment alone. */
static void overwrite(struct fixture *f, struct bs_volume *v)
{
	uint64_t pieces = bs_volume_size(v) / PIECE;

	for (uint64_t i = 0; i < pieces; i++)
		assert_int_equal(put(f, v, i * 37 % pieces * PIECE), 0);
}

static void snapshot(struct fixture *f, const char *full)
{
	struct vs_error err = {0};

	if (bs_snapshot_create(f->s, &full, 1, &err))
		fail_msg("%s", err.text);
}

static void drain(struct fixture *f)
{
	assert_int_equal(bs_store_drain(f->s, NULL), 0);
}

static void test_thick_beside_full_thin(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	const char *snap = "thick@s";
	struct bs_volume *thick, *thin;

	assert_int_equal(make(f, "thick", THICK, true, &err), 0);
	assert_int_equal(make(f, "thin", DEVICE, false, &err), 0);
	thick = vol(f, "thick");
	thin = vol(f, "thin");
	assert_true(fill(f, thin) > 4 * MIB);
	for (unsigned i = 0; i < 3; i++) {
		overwrite(f, thick);
		(void)fill(f, thin);
	}
	/* A snapshot would need the space again: there is none until the other one goes. */
	assert_int_equal(bs_snapshot_create(f->s, &snap, 1, &err), VS_E_NOSPC);
	assert_non_null(strstr(err.text, "thick"));
	assert_int_equal(bs_volume_find(f->s, snap, NULL, &err), VS_E_NOENT);
	bs_volume_close(thin);
	assert_int_equal(bs_volume_delete(f->s, "thin", BS_DELETE_PLAIN, &err), 0);
	drain(f);
	snapshot(f, snap);
	assert_int_equal(make(f, "thin", DEVICE, false, &err), 0);
	thin = vol(f, "thin");
	(void)fill(f, thin);
	overwrite(f, thick);
	(void)fill(f, thin);
	overwrite(f, thick);
	bs_volume_close(thick);
	bs_volume_close(thin);
}

static void test_thick_after_reopening(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	struct bs_volume *thick, *thin;
	struct bs_volume_info info;

	assert_int_equal(make(f, "thick", THICK, true, &err), 0);
	assert_int_equal(make(f, "thin", DEVICE, false, &err), 0);
	thick = vol(f, "thick");
	thin = vol(f, "thin");
	overwrite(f, thick);
	(void)fill(f, thin);
	bs_volume_close(thick);
	bs_volume_close(thin);
	close_store(f);
	open_store(f);
	thick = vol(f, "thick");
	thin = vol(f, "thin");
	assert_true(fill(f, thin) < 4 * MIB);
	overwrite(f, thick);
	bs_volume_close(thick);
	/* Room that is given up can be had by others. */
	assert_int_equal(bs_volume_set_thick(f->s, "thick", false, &err), 0);
	assert_int_equal(bs_volume_find(f->s, "thick", &info, &err), 0);
	assert_false(info.thick);
	assert_int_equal(bs_volume_delete(f->s, "thick", BS_DELETE_PLAIN, &err), 0);
	drain(f);
	assert_true(fill(f, thin) > THICK / 2);
	bs_volume_close(thin);
}

static void test_thick_limits(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	struct bs_store_info info;
	struct bs_volume_info v;
	struct bs_volume *thin;
	uint64_t most, all;

	bs_store_info(f->s, &info);
	assert_int_equal(info.thick_reserved_bytes, 0);
	all = info.capacity_bytes / BS_BLOCK * BS_BLOCK;
	assert_int_equal(make(f, "a", all, true, &err), VS_E_NOSPC);
	assert_int_equal(make(f, "a", THICK, true, &err), 0);
	assert_int_equal(bs_volume_find(f->s, "a", &v, &err), 0);
	assert_true(v.thick && !v.dedup && v.reserved_bytes > THICK);
	bs_store_info(f->s, &info);
	assert_int_equal(info.thick_reserved_bytes, v.reserved_bytes);
	assert_int_equal(bs_volume_resize(f->s, "a", all, false, &err), VS_E_NOSPC);
	assert_int_equal(bs_volume_resize(f->s, "a", THICK + MIB, false, &err), 0);
	assert_int_equal(make(f, "thin", DEVICE, false, &err), 0);
	thin = vol(f, "thin");
	most = fill(f, thin);
	assert_true(most < info.capacity_bytes - THICK);
	assert_int_equal(bs_volume_set_thick(f->s, "thin", true, &err), VS_E_NOSPC);
	assert_int_equal(make(f, "b", MIB, true, &err), VS_E_NOSPC);
	assert_int_equal(make(f, "c", MIB, false, &err), 0);
	/* A clone of a thick volume's snapshot, and the snapshot itself, are thin. */
	bs_volume_close(thin);
	assert_int_equal(bs_volume_delete(f->s, "thin", BS_DELETE_PLAIN, &err), 0);
	drain(f);
	snapshot(f, "a@s");
	assert_int_equal(bs_volume_clone(f->s, "a@s", "clone", &v, &err), 0);
	assert_false(v.thick);
	assert_int_equal(bs_volume_find(f->s, "a@s", &v, &err), 0);
	assert_false(v.thick);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FILLS 13u
#else
#define FILLS 50u
#endif

/* What is left of a store after everything was trimmed or deleted is the same each time. */
static void test_filled_many_times(void **state)
{
	struct fixture *f = *state;
	struct bs_req trim = {.op = BS_TRIM, .length = DEVICE};
	struct vs_error err = {0};
	struct bs_store_info info;
	struct bs_volume *v;
	uint64_t first = 0, used = 0;

	assert_int_equal(make(f, "v", DEVICE, false, &err), 0);
	trim.volume = v = vol(f, "v");
	for (unsigned round = 0; round < FILLS; round++) {
		uint64_t n = fill(f, v);

		assert_true(round == 0 || n + first / 50 >= first);
		first = round ? first : n;
		snapshot(f, "v@s");
		assert_int_equal(bs_io_wait(f->port, &trim), 0);
		if (round % 3 == 0)
			assert_int_equal(put(f, v, 0), VS_E_NOSPC);
		assert_int_equal(bs_snapshot_delete(f->s, "v@s", &err), 0);
		drain(f);
		bs_store_info(f->s, &info);
		assert_int_equal(info.unique_content_bytes, 0);
		assert_int_equal(info.referenced_bytes, 0);
		assert_true(round < 10 || info.physical_used_bytes <= used + used / 10);
		used = round == 9 ? info.physical_used_bytes : used;
	}
	bs_volume_close(v);
}

/* Who deletes in order to write need not wait by hand until the deletion has made room. */
static void test_room_right_after_a_deletion(void **state)
{
	struct fixture *f = *state;
	struct vs_error err = {0};
	struct bs_volume *v;
	uint64_t first, second;

	assert_int_equal(make(f, "v", DEVICE / 2, false, &err), 0);
	v = vol(f, "v");
	for (first = 0; first < bs_volume_size(v); first += PIECE)
		assert_int_equal(put(f, v, first), 0);
	for (unsigned round = 0; round < 5; round++) {
		snapshot(f, "v@s");
		second = fill(f, v);
		assert_int_equal(bs_snapshot_delete(f->s, "v@s", &err), 0);
		for (; second < bs_volume_size(v); second += PIECE)
			assert_int_equal(put(f, v, second), 0);
		drain(f);
	}
	bs_volume_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_thick_beside_full_thin, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_thick_after_reopening, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_thick_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_room_right_after_a_deletion, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_filled_many_times, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
