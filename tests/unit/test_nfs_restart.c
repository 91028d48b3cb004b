/*
 * Files of an NFS server that restarts, loses what was not committed, or does late what a broken
 * connection had asked for: what was flushed is there.
 */
#include "tests/unit/nfs_scene.h"

/* Each way to lose a cache, and none of what a flush covers is lost. */
static void survive(enum nfs_mode mode)
{
	struct scene *s = begin_with(mode, 0, 100 * MS);

	for (unsigned i = 0; i < 5; i++)
		write_block(s, i, (uint8_t)(i + 1));
	write_block(s, 1, 99); /* one that is to be behind an older one */
	assert_int_equal(flush(s), 0);
	/* only what it has on disk counts */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(s->server->disk[i * BLOCK + 17], i == 1 ? 99 : i + 1);
	stop(s);
}

static void test_lost_at_commit(void **state)
{
	(void)state;
	survive(LOSES_AT_COMMIT);
}

static void test_lost_at_write(void **state)
{
	(void)state;
	survive(LOSES_AT_WRITE);
}

static void test_forgotten(void **state)
{
	(void)state;
	survive(FORGETS);
}

static void test_cut(void **state)
{
	(void)state;
	survive(CUTS);
}

/* A write that is half done when its server restarts begins anew. */
static void test_half_lost(void **state)
{
	struct scene *s = begin_with(HALF_AND_GONE, 0, 100 * MS);
	uint8_t buf[2 * BLOCK];
	struct bs_far_req req[2];
	unsigned ended = 0;

	(void)state;
	memset(buf, 6, sizeof(buf));
	for (unsigned i = 0; i < 2; i++) {
		req[i] = (struct bs_far_req){.op = BS_FAR_WRITE,
					     .offset = i * BLOCK,
					     .length = BLOCK,
					     .iov = {{buf + i * BLOCK, BLOCK}},
					     .iovcnt = 1,
					     .done = done,
					     .arg = &ended};
		bs_far_submit(s->far, &req[i]);
	}
	wait_for(s, &ended, 2);
	assert_true(req[0].status == 0 && req[1].status == 0);
	expect_block(s, 0, 6);
	expect_block(s, 1, 6);
	stop(s);
}

/* With the verifier that it had, what it acknowledged is not sent again. */
static void test_same_verifier(void **state)
{
	struct scene *s = begin_with(CUTS, 0, 100 * MS);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		write_block(s, i, 1);
	assert_int_equal(atomic_load(&s->server->written), 6); /* the third one twice */
	stop(s);
}

/* A durable write is not undone by an older one that is sent again. */
static void test_durable(void **state)
{
	uint8_t buf[BLOCK];
	unsigned ended = 0;
	struct bs_far_req req = {.op = BS_FAR_WRITE,
				 .durable = true,
				 .length = BLOCK,
				 .iov = {{buf, BLOCK}},
				 .iovcnt = 1,
				 .done = done,
				 .arg = &ended};
	struct scene *s = begin(LOSES_AT_COMMIT);

	(void)state;
	write_block(s, 0, 1);
	memset(buf, 2, sizeof(buf));
	bs_far_submit(s->far, &req);
	wait_for(s, &ended, 1);
	assert_int_equal(s->server->disk[0], 2);
	assert_int_equal(flush(s), 0);
	assert_int_equal(s->server->disk[0], 2);
	expect_block(s, 0, 2);
	stop(s);
}

/* A server that says UNSTABLE of it is asked to commit before it is done. */
static void test_durable_and_unsynced(void **state)
{
	uint8_t buf[BLOCK];
	unsigned ended = 0;
	struct bs_far_req req = {.op = BS_FAR_WRITE,
				 .durable = true,
				 .length = BLOCK,
				 .iov = {{buf, BLOCK}},
				 .iovcnt = 1,
				 .done = done,
				 .arg = &ended};
	struct scene *s = begin(UNSYNCED);

	(void)state;
	memset(buf, 3, sizeof(buf));
	bs_far_submit(s->far, &req);
	wait_for(s, &ended, 1);
	assert_int_equal(s->server->disk[0], 3);
	stop(s);
}

/* What the broken connection had asked for lands behind what was sent again, not behind more. */
static void test_late(void **state)
{
	struct scene *s = begin_with(LATE, 0, 2 * NFS_LATE_NS);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		write_block(s, i, 1); /* the third one is that */
	write_block(s, 3, 2);	      /* others do not wait for it */
	write_block(s, 2, 2);
	(void)usleep((useconds_t)(NFS_LATE_NS / 1000));
	expect_block(s, 2, 2);
	stop(s);
}

/*
 * What is sent again may be late too, on a second break: neither what was acknowledged behind it
 * nor what was under way is undone by it.
 */
static void relapse(unsigned third)
{
	struct scene *s = begin_with(RELAPSES, 0, 2 * NFS_LATE_NS);

	write_block(s, 0, 1);
	write_block(s, third ? 0 : 7, 2);
	write_block(s, third, 3);
	(void)usleep((useconds_t)(NFS_LATE_NS / 1000));
	expect_block(s, 0, third ? 2 : 3);
	expect_block(s, third, 3);
	assert_int_equal(flush(s), 0);
	assert_int_equal(s->server->disk[0], third ? 2 : 3);
	stop(s);
}

static void test_late_entry(void **state)
{
	(void)state;
	relapse(5);
}

static void test_late_before_a_call(void **state)
{
	(void)state;
	relapse(0);
}

/* ---- all of it, by chance -------------------------------------------------------------------- */

#define PLACES 64u
#define AT_ONCE 6u

struct chance {
	struct scene *s;
	uint64_t seed;
	uint8_t model[PLACES]; /* of each block: what was acknowledged last */
	struct slot {
		struct chance *of;
		struct bs_far_req req;
		unsigned place, blocks;
		uint8_t value, buf[4 * BLOCK];
		bool busy;
	} slot[AT_ONCE];
};

static unsigned any(struct chance *c, unsigned below)
{
	c->seed = c->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(c->seed >> 33) % below;
}

static void chance_done(struct bs_far_req *req)
{
	struct slot *x = req->arg;

	assert_int_equal(req->status, 0);
	for (unsigned i = 0; i < x->blocks; i++) {
		uint8_t *model = &x->of->model[x->place + i];

		if (req->op == BS_FAR_READ) {
			assert_int_equal(x->buf[i * BLOCK], *model);
			assert_int_equal(x->buf[i * BLOCK + BLOCK - 1], *model);
		} else if (req->op != BS_FAR_FLUSH) {
			*model = x->value;
		}
	}
	x->busy = false;
}

static bool is_free(const struct chance *c, unsigned place, unsigned blocks)
{
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (c->slot[i].busy && c->slot[i].place < place + blocks &&
		    place < c->slot[i].place + c->slot[i].blocks)
			return false;
	return true;
}

static void begin_one(struct chance *c, struct slot *x)
{
	unsigned blocks = 1 + any(c, 4), place = any(c, PLACES - blocks), what = any(c, 8);

	if (!is_free(c, place, blocks))
		return;
	x->of = c;
	x->place = place;
	x->blocks = blocks;
	x->value = what == 0 ? 0 : (uint8_t)(1 + any(c, 255));
	memset(x->buf, x->value, blocks * BLOCK);
	x->req = (struct bs_far_req){.op = what == 0  ? BS_FAR_ZERO
					   : what < 3 ? BS_FAR_READ
						      : BS_FAR_WRITE,
				     .durable = what == 7,
				     .offset = place * (uint64_t)BLOCK,
				     .length = blocks * (uint64_t)BLOCK,
				     .iov = {{x->buf, blocks * BLOCK}},
				     .iovcnt = what != 0,
				     .done = chance_done,
				     .arg = x};
	x->busy = true;
	bs_far_submit(c->s->far, &x->req);
}

static void finish_all(struct chance *c)
{
	for (unsigned i = 0; i < AT_ONCE; i++)
		while (c->slot[i].busy)
			vs_loop_turn(c->s->loop, 100);
}

/* Requests by chance from a server that breaks by chance; a flush means what it says each time. */
static void try_chance(uint64_t seed)
{
	struct chance *c = calloc(1, sizeof(*c));

	c->s = start(CHANCE);
	c->seed = c->s->server->seed = seed;
	c->s->doubt_ns = 2 * NFS_LATE_NS;
	if (open_path(c->s, "/export/folder/disk", NULL) != 0)
		fail_msg("%s", c->s->err.text);
	atomic_store(&c->s->server->breaks, 6);
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 40; i++) {
			struct slot *x = &c->slot[any(c, AT_ONCE)];

			if (!x->busy)
				begin_one(c, x);
			vs_loop_turn(c->s->loop, (int)any(c, 2));
		}
		finish_all(c);
		assert_int_equal(flush(c->s), 0);
		for (unsigned i = 0; i < PLACES; i++)
			if (c->s->server->disk[i * BLOCK + 99] != c->model[i])
				fail_msg("seed %llu, round %u, block %u: %u, not %u",
					 (unsigned long long)seed, round, i,
					 c->s->server->disk[i * BLOCK + 99], c->model[i]);
	}
	stop(c->s);
	free(c);
}

static void test_chance(void **state)
{
	const char *one = getenv("SEED");

	(void)state;
	if (one)
		try_chance(strtoull(one, NULL, 10));
	for (uint64_t seed = 1; seed <= 2 && !one; seed++)
		try_chance(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lost_at_commit),
	    cmocka_unit_test(test_lost_at_write),
	    cmocka_unit_test(test_forgotten),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_half_lost),
	    cmocka_unit_test(test_same_verifier),
	    cmocka_unit_test(test_durable),
	    cmocka_unit_test(test_durable_and_unsynced),
	    cmocka_unit_test(test_late),
	    cmocka_unit_test(test_late_entry),
	    cmocka_unit_test(test_late_before_a_call),
	    cmocka_unit_test(test_chance),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
