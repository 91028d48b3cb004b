/* A LUN of an array: opened, refused, read, written, asked what it holds. */
#include "tests/unit/lun_scene.h"

static void test_read_write(void **state)
{
	struct scene *s = *state;
	uint8_t *big = pattern(5 * MIB, 1), *small = pattern(512, 2);
	struct bs_lun_info i;

	open_lun(s, 0);
	i = bs_lun_info(s->lun);
	assert_int_equal(i.size, SIZE);
	assert_int_equal(i.sector, 512);
	assert_true(i.unmap && i.sparse && i.up && !i.read_only);
	/* more than is kept: it flushes by itself */
	assert_int_equal(io(s, BS_FAR_WRITE, 4096, big, 5 * MIB), 0);
	assert_int_equal(io(s, BS_FAR_WRITE, 4096 + 512, small, 512), 0);
	memcpy(big + 512, small, 512);
	assert_holds(s, 4096, big, 5 * MIB);
	assert_int_equal(io(s, BS_FAR_WRITE, SIZE - 512, small, 512), 0);
	assert_holds(s, SIZE - 512, small, 512);
	assert_int_equal(io(s, BS_FAR_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(io(s, BS_FAR_READ, SIZE, small, 512), VS_E_RANGE);
	assert_int_equal(io(s, BS_FAR_READ, UINT64_MAX - 511, small, 512), VS_E_RANGE);
	assert_int_equal(io(s, BS_FAR_READ, 100, small, 512), VS_E_RANGE);
	free(big);
	free(small);
}

static void test_durable(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(4096, 3);

	open_lun(s, 0);
	assert_int_equal(io_as(s, BS_FAR_WRITE, true, 0, data, 4096), 0);
	assert_holds(s, 0, data, 4096);
	free(data);
}

/* Which blocks of [offset, offset + length) hold data, by STATUS from run to run. */
static void look(struct scene *s, uint64_t offset, uint64_t length, char *out)
{
	struct bs_far_run runs[3];

	while (length) {
		bool ended = false;
		struct bs_far_req req = {.op = BS_FAR_STATUS,
					 .offset = offset,
					 .length = length,
					 .runs = runs,
					 .max_runs = 3,
					 .done = done,
					 .arg = &ended};

		bs_lun_submit(s->lun, &req);
		turn_until(s, &ended);
		assert_int_equal(req.status, 0);
		assert_in_range(req.nruns, 1, 3);
		for (unsigned i = 0; i < req.nruns; i++) {
			assert_true(runs[i].length && runs[i].length <= length);
			assert_int_equal(runs[i].length % 4096, 0);
			memset(out, runs[i].mapped ? '#' : '.', runs[i].length / 4096);
			out += runs[i].length / 4096;
			offset += runs[i].length;
			length -= runs[i].length;
		}
	}
	*out = '\0';
}

static void test_status(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(4096, 4);
	char map[17];

	open_lun(s, 0);
	for (unsigned i = 1; i < 16; i += 2 + i % 3)
		assert_int_equal(io(s, BS_FAR_WRITE, i * UINT64_C(4096), data, 4096), 0);
	look(s, 0, 16 * 4096, map);
	assert_string_equal(map, ".#..#..#..#..#..");
	look(s, 4 * 4096, 4 * 4096, map);
	assert_string_equal(map, "#..#");
	assert_int_equal(io(s, BS_FAR_UNMAP, 4 * 4096, NULL, 4 * 4096), 0);
	look(s, 0, 16 * 4096, map);
	assert_string_equal(map, ".#........#..#..");
	free(data);
}

static void test_zero(void **state)
{
	struct scene *s = *state;
	uint8_t *data = pattern(MIB, 5), *none = calloc(1, MIB);

	open_lun(s, 0);
	assert_int_equal(io(s, BS_FAR_WRITE, MIB, data, MIB), 0);
	assert_int_equal(io(s, BS_FAR_ZERO, MIB + 4096, NULL, MIB - 2 * 4096), 0);
	assert_holds(s, MIB, data, 4096);
	assert_holds(s, MIB + 4096, none, MIB - 2 * 4096);
	assert_holds(s, 2 * MIB - 4096, data + MIB - 4096, 4096);
	assert_int_equal(io(s, BS_FAR_ZERO, 0, NULL, SIZE), 0);
	assert_holds(s, MIB, none, 4096);
	free(data);
	free(none);
}

static void test_read_only(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = MIB};
	uint8_t data[4096] = {1};

	must(s, try_open(s, IQN, 1, &spec));
	assert_true(bs_lun_info(s->lun).read_only);
	assert_int_equal(bs_lun_info(s->lun).sector, 4096);
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), VS_E_ROFS);
	assert_int_equal(io(s, BS_FAR_READ, 0, data, 4096), 0);
	bs_lun_close(s->lun);
	spec.keep = 0; /* opened to be read only */
	must(s, try_open(s, IQN, 0, &spec));
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, 4096), VS_E_ROFS);
}

static void assert_refused(struct scene *s, int rc, int code, const char *words)
{
	assert_null(s->lun);
	if (rc != code || !strstr(s->err.text, words) || strchr(s->err.text, '\n'))
		fail_msg("%s: %s", vs_err_name(rc), s->err.text);
}

static void test_refused(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = MIB};
	uint16_t port = s->port;
	atomic_bool cancel = true;

	assert_refused(s, try_open(s, IQN "x", 0, &spec), VS_E_NOENT, "no such target");
	assert_refused(s, try_open(s, IQN, 9, &spec), VS_E_NOENT, "no such LUN");
	spec.cancel = &cancel;
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_CANCELED, "cancel");
	spec.cancel = NULL;
	stop_array(s);
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_IO, "Connection refused");
	start_array(s, SECRET);
	assert_int_equal(s->port, port);
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_ACCESS, "CHAP");
	spec.login.user = "joe";
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_INVAL, "go together");
	spec.login.secret = "another secret";
	assert_refused(s, try_open(s, IQN, 0, &spec), VS_E_ACCESS, "wrong CHAP user or secret");
	spec.login.secret = SECRET;
	must(s, try_open(s, IQN, 0, &spec));
}

/* A target that has moved is followed; one that sends in circles is not for ever. */
static void test_redirected(void **state)
{
	struct scene *s = *state;
	struct iscsi_server *there = s->server;
	struct bs_lun_spec spec = {.keep = MIB};
	uint8_t *data = pattern(MIB, 11);
	struct iscsi_session_info info;
	char to[32];

	snprintf(to, sizeof(to), "127.0.0.1:%u,1", s->port);
	s->port = 0;
	s->redirect = to;
	start_array(s, NULL);
	must(s, try_open(s, IQN, 0, &spec));
	assert_int_equal(io(s, BS_FAR_WRITE, 0, data, MIB), 0);
	assert_holds(s, 0, data, MIB);
	assert_int_equal(iscsi_server_sessions(there, IQN, &info, 1), 1);
	bs_lun_close(s->lun);
	s->lun = NULL;
	stop_array(s);
	snprintf(to, sizeof(to), "127.0.0.1:%u", s->port);
	start_array(s, NULL);
	assert_int_not_equal(try_open(s, IQN, 0, &spec), 0);
	assert_non_null(strstr(s->err.text, "moved"));
	iscsi_server_stop(there);
	free(data);
}

/* The array has to know a secret, too. */
static void test_mutual(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.login = {.user = "joe",
					     .secret = SECRET,
					     .mutual_user = "array",
					     .mutual_secret = "what an impostor says"}};

	stop_array(s);
	start_array(s, SECRET);
	assert_int_not_equal(try_open(s, IQN, 0, &spec), 0);
	assert_null(s->lun);
	spec.login.mutual_secret = MUTUAL;
	must(s, try_open(s, IQN, 0, &spec));
}

/* A thin LUN whose array is full says so, and still reads. */
static void test_full(void **state)
{
	struct scene *s = *state;
	struct bs_lun_spec spec = {.keep = 4 * MIB};
	uint8_t *data;
	uint64_t at = 0;
	int rc = 0;

	must(s, try_open(s, IQN, BIG, &spec));
	for (; rc == 0 && at < 16 * SIZE; at += 4 * MIB) {
		data = pattern(4 * MIB, (unsigned)(at / MIB));

		rc = io(s, BS_FAR_WRITE, at, data, 4 * MIB);
		free(data);
	}
	assert_int_equal(rc, VS_E_NOSPC);
	assert_true(at > SIZE / 4);
	data = pattern(4096, 0);
	assert_holds(s, 0, data, 4096);
	free(data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_read_write), TEST(test_durable),	 TEST(test_status),
	    TEST(test_zero),	   TEST(test_read_only), TEST(test_refused),
	    TEST(test_redirected), TEST(test_mutual),	 TEST(test_full),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
