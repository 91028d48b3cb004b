/* LUNs of arrays that break the protocol: requests fail or wait, and nothing else happens. */
#include "blockstore/lun.h"

#include "tests/unit/hostile_array.h"

#include <stdio.h>

/* The initiator's side. */
struct scene {
	struct array *array;
	struct vs_loop *loop;
	struct bs_lun *lun;
	struct vs_error err;
};

static struct scene *start(enum mode mode)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->array = array_start(mode);
	assert_int_equal(vs_loop_new(&s->loop, &s->err), 0);
	return s;
}

static int open_it(struct scene *s, const atomic_bool *cancel)
{
	struct bs_lun_spec spec = {.keep = 32 << 20,
				   .hold_ns = s->array->mode >= HURRIED ? 0 : UINT64_C(200000000),
				   .cancel = cancel};
	char url[128];

	snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/iqn.2026-11.org.example:bad/0",
		 s->array->port);
	assert_int_equal(bs_lun_url_parse(url, &spec.url, &s->err), 0);
	return bs_lun_open(s->loop, &spec, &s->lun, &s->err);
}

static void stop(struct scene *s)
{
	if (s->lun)
		bs_lun_close(s->lun);
	vs_loop_free(s->loop);
	array_stop(s->array);
	free(s);
}

static void done(struct bs_far_req *req)
{
	uint8_t *buf = req->iov[0].iov_base;

	if (req->op == BS_FAR_READ && req->status == 0)
		assert_int_equal(buf[req->length - 1], 0x77);
	free(buf);
	++*(unsigned *)req->arg;
}

static struct scene *begin(enum mode mode)
{
	struct scene *s = start(mode);

	if (open_it(s, NULL) != 0)
		fail_msg("%s", s->err.text);
	return s;
}

/* Several requests, each in a buffer that goes when it is done. */
static int use(enum mode mode, enum bs_far_op op, uint32_t length)
{
	struct scene *s = begin(mode);
	struct bs_far_req req[64];
	unsigned ended = 0;
	int status = 0;

	assert_int_equal(bs_lun_info(s->lun).size, BLOCKS * UINT64_C(512));
	for (unsigned i = 0; i < VS_ARRAY_LEN(req); i++) {
		req[i] = (struct bs_far_req){.op = op,
					     .offset = i * (uint64_t)length,
					     .length = length,
					     .iov = {{malloc(length + 1), length}},
					     .iovcnt = 1,
					     .done = done,
					     .arg = &ended};
		memset(req[i].iov[0].iov_base, 0x11, length);
		bs_lun_submit(s->lun, &req[i]);
	}
	while (ended < VS_ARRAY_LEN(req))
		vs_loop_turn(s->loop, 100);
	for (unsigned i = 0; i < VS_ARRAY_LEN(req); i++) {
		status = req[i].status ? req[i].status : status;
	}
	for (unsigned i = 0; i < 10; i++) /* what libiscsi still has in its queue goes out */
		vs_loop_turn(s->loop, 10);
	stop(s);
	return status;
}

static void test_honest(void **state)
{
	(void)state;
	assert_int_equal(use(HONEST, BS_FAR_READ, 4096), 0);
	assert_int_equal(use(HONEST, BS_FAR_WRITE, 262144), 0);
}

static void test_reads(void **state)
{
	static const enum mode modes[] = {SHORT, LONG, HUGE_PDU, NOISE, SENSELESS, CUT};

	(void)state;
	for (unsigned i = 0; i < VS_ARRAY_LEN(modes); i++)
		if (use(modes[i], BS_FAR_READ, 4096) != VS_E_IO)
			fail_msg("mode %d: no error", modes[i]);
}

static void test_writes(void **state)
{
	(void)state;
	(void)use(EARLY, BS_FAR_WRITE, 262144); /* it said that all is well: so be it */
	assert_int_equal(use(FAR, BS_FAR_WRITE, 4096), VS_E_IO);
}

static void submit(struct scene *s, struct bs_far_req *req, enum bs_far_op op, uint32_t length,
		   unsigned *ended)
{
	*req = (struct bs_far_req){.op = op,
				   .length = length,
				   .iov = {{calloc(1, length + 1), length}},
				   .iovcnt = 1,
				   .done = done,
				   .arg = ended};
	bs_lun_submit(s->lun, req);
}

static void turn_until(struct scene *s, const unsigned *ended, unsigned n)
{
	while (*ended < n)
		vs_loop_turn(s->loop, 100);
}

/* What is sent again after a reconnect stays before all else, also when the array asks to wait. */
static void test_order(void **state)
{
	struct scene *s = begin(HURRIED);
	struct bs_far_req old, new, flush;
	unsigned ended = 0;

	(void)state;
	submit(s, &old, BS_FAR_WRITE, 4096, &ended);
	turn_until(s, &ended, 1);
	submit(s, &new, BS_FAR_WRITE, 8192, &ended);
	turn_until(s, &ended, 2);
	submit(s, &flush, BS_FAR_FLUSH, 0, &ended);
	turn_until(s, &ended, 3);
	assert_int_equal(new.status, 0);
	for (unsigned i = 0; i < 30; i++) /* a write that was put off comes in this time */
		vs_loop_turn(s->loop, 10);
	assert_int_equal(atomic_load(&s->array->written), 8192 / 512);
	stop(s);
}

/* Whoever may have lost a write gets it again before anything else, and before a flush is done. */
static void lose(enum mode mode)
{
	struct scene *s = begin(mode);
	struct bs_far_req first, read, flush;
	unsigned ended = 0;

	submit(s, &first, BS_FAR_WRITE, 4096, &ended);
	turn_until(s, &ended, 1);
	submit(s, &read, BS_FAR_READ, 4096, &ended);
	if (mode == DEFERRED)
		turn_until(s, &ended, 2);
	submit(s, &flush, BS_FAR_FLUSH, 0, &ended);
	turn_until(s, &ended, 3);
	assert_true(first.status == 0 && read.status == 0 && flush.status == 0);
	assert_int_equal(atomic_load(&s->array->total), 2);
	stop(s);
}

static void exchanged(enum mode mode)
{
	struct scene *s = begin(mode);
	struct bs_far_req req[2];
	unsigned ended = 0;

	for (unsigned i = 0; i < 2; i++) {
		submit(s, &req[i], BS_FAR_WRITE, 4096, &ended);
		turn_until(s, &ended, i + 1);
	}
	assert_int_equal(req[0].status, 0);
	assert_int_equal(req[1].status, VS_E_IO);
	assert_int_equal(atomic_load(&s->array->total), 1);
	stop(s);
}

static void test_exchanged(void **state)
{
	(void)state;
	exchanged(EXCHANGED);
	exchanged(SWAPPED);
}

static void test_flush(void **state)
{
	(void)state;
	assert_int_equal(use(HONEST, BS_FAR_FLUSH, 0), 0); /* there is no such command */
	assert_int_equal(use(NO_SYNC, BS_FAR_FLUSH, 0), VS_E_IO);
	lose(DEFERRED);
	lose(RESET);
}

static void *cancel_soon(void *flag)
{
	(void)usleep(200000);
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void test_login(void **state)
{
	atomic_bool cancel = false;
	struct scene *s = start(MUTE);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
	assert_int_equal(open_it(s, &cancel), VS_E_CANCELED);
	pthread_join(thread, NULL);
	stop(s);
	s = start(BABBLE);
	assert_int_not_equal(open_it(s, NULL), 0);
	assert_null(strchr(s->err.text, '\n'));
	stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_honest), cmocka_unit_test(test_reads),
	    cmocka_unit_test(test_writes), cmocka_unit_test(test_order),
	    cmocka_unit_test(test_flush),  cmocka_unit_test(test_exchanged),
	    cmocka_unit_test(test_login),
	};

	alarm(300); /* a bound on waiting, not a verdict on speed */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
