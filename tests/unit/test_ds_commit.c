/* Commits that find no space, changes that are committed together, many names in one directory. */
#include "tests/unit/ds_scene.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <xxhash.h>

#define DEPTH 256u
#define LONG_NAME 200
#define ROOM (128u << 10)
#define BEHIND 1000u /* a page that no database here reaches */

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));

	scene_make_fast(x, "dscommit", UINT64_C(96) << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	scene_end(*state);
	free(*state);
	return 0;
}

static void long_name(char name[LONG_NAME + 1], unsigned i)
{
	memset(name, 'n', LONG_NAME);
	name[(size_t)snprintf(name, LONG_NAME, "%06u", i)] = '-';
	name[LONG_NAME] = 0;
}

static uint64_t entries(struct scene *x, struct ds_handle dir)
{
	assert_int_equal(do_getattr(x, dir), 0);
	return x->req.attr.size;
}

/* Noise until nothing more fits; how much did. */
static uint64_t fill_up(struct scene *x, struct ds_handle f)
{
	uint8_t noise[65536];
	uint64_t at = 0;

	for (size_t len = sizeof(noise); len >= 4096; len /= 2) {
		int rc;

		do {
			assert_int_equal(getrandom(noise, 256, 0), 256);
			for (size_t i = 256; i < len; i++)
				noise[i] = (uint8_t)(noise[i - 256] * 167 + noise[i - 255] + i);
			rc = do_write(x, f, at, noise, len);
			at += rc == 0 ? len : 0;
		} while (rc == 0);
		assert_int_equal(rc, VS_E_NOSPC);
	}
	return at;
}

/* Names until they do not fit either: the last one is not there, and nothing of it. */
static unsigned name_until_full(struct scene *x, struct ds_handle dir, unsigned max)
{
	char name[LONG_NAME + 1];
	unsigned n = 0;
	int rc = 0;

	while (n < max) {
		uint64_t before = entries(x, dir);

		long_name(name, n);
		rc = do_create(x, dir, name, DS_REG, 0644);
		if (rc) {
			assert_int_equal(rc, VS_E_NOSPC);
			assert_int_equal(entries(x, dir), before);
			assert_int_equal(do_lookup(x, dir, name), VS_E_NOENT);
			return n;
		}
		n++;
	}
	return n;
}

static void counted(struct ds_req *req)
{
	--*(unsigned *)req->arg;
}

/* Of changes that wait together only those fail that want space: the last names go, among new
 * ones. */
static void together(struct scene *x, struct ds_handle dir, unsigned n)
{
	struct ds_req req[40];
	char name[40][LONG_NAME + 1];
	unsigned out = 40;

	for (unsigned i = 0; i < 40; i++) {
		long_name(name[i], i % 2 ? n - 1 - i / 2 : n + i);
		req[i] = (struct ds_req){.op = i % 2 ? DS_REMOVE : DS_CREATE,
					 .file = dir,
					 .name = name[i],
					 .name_len = LONG_NAME,
					 .type = DS_REG,
					 .how = DS_GUARDED,
					 .done = counted,
					 .arg = &out};
		ds_submit(x->c, &req[i]);
	}
	while (out)
		vs_loop_turn(x->loop, -1);
	for (unsigned i = 0; i < 40; i++) {
		assert_true(req[i].status == 0 || (i % 2 == 0 && req[i].status == VS_E_NOSPC));
		if (i % 2 == 0 && req[i].status == 0)
			assert_int_equal(do_remove(x, dir, name[i]), 0);
	}
	assert_int_equal(entries(x, dir), n - 20);
}

static void full_then_empty(struct scene *x, unsigned max, const char *what)
{
	struct ds_handle dir, f;
	uint64_t bytes;
	char name[LONG_NAME + 1];
	unsigned n, tries = 0;

	assert_int_equal(do_create(x, ds_root, what, DS_DIR, 0755), 0);
	dir = x->req.attr.handle;
	assert_int_equal(do_create(x, ds_root, "fill", DS_REG, 0644), 0);
	f = x->req.attr.handle;
	bytes = fill_up(x, f);
	assert_true(bytes > 0);
	assert_int_equal(do_getattr(x, f), 0);
	assert_int_equal(x->req.attr.size, bytes);
	/* room for some names */
	assert_int_equal(do_truncate(x, f, bytes - ROOM), 0);
	do
		n = name_until_full(x, dir, max);
	while (n < 40 && tries++ < 5000);
	assert_true(n < max && n > 20);
	assert_int_equal(entries(x, dir), n);
	together(x, dir, n);
	for (unsigned i = 0; i < n - 20; i++) {
		long_name(name, i);
		assert_int_equal(do_remove(x, dir, name), 0);
	}
	assert_int_equal(do_rmdir(x, ds_root, what), 0);
	assert_int_equal(do_remove(x, ds_root, "fill"), 0);
	/* its space comes back in the background */
	while (do_create(x, ds_root, "again", DS_REG, 0644) && tries++ < 5000)
		usleep(1000);
	assert_int_equal(x->req.status, 0);
	f = x->req.attr.handle;
	while (do_write(x, f, 0, name, LONG_NAME) && tries++ < 5000)
		usleep(1000);
	assert_int_equal(x->req.status, 0);
	assert_int_equal(do_remove(x, ds_root, "again"), 0);
}

static void test_a_quota(void **state)
{
	struct scene *x = *state;

	ds_set_quota(x->d, UINT64_C(768) << 10);
	full_then_empty(x, 20000, "quota");
	x->req = (struct ds_req){.op = DS_STATFS, .file = ds_root};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.fs_total, UINT64_C(768) << 10);
	assert_true(x->req.fs_free <= x->req.fs_total);
	ds_set_quota(x->d, 0);
}

static void test_a_full_store(void **state)
{
	full_then_empty(*state, 20000, "full");
}

/* ---- a long commit that a death left half way ----------------------------------------------- */

static int stage(struct bs_port *port, struct bs_volume *v, uint64_t at, void *bytes, size_t len)
{
	struct iovec iov = {bytes, len};
	struct bs_req req = {.op = BS_WRITE,
			     .flags = BS_SPARE,
			     .volume = v,
			     .object = DS_BASE,
			     .offset = at,
			     .length = len,
			     .iov = &iov,
			     .iovcnt = 1};

	return bs_io_wait(port, &req);
}

/* A page behind the database's last, which takes a block more, as if it had been staged. */
static struct bs_volume *leave_staged(struct scene *x)
{
	struct bs_object_change c = {.object = DS_BASE,
				     .check = BS_NO_WORD,
				     .end = BS_NO_WORD,
				     .set = DS_BIT(DS_B_STAGED) | DS_BIT(DS_B_CHECK)};
	struct bs_req count = {.op = BS_RECORDS, .flags = BS_FUA, .changes = &c, .nchanges = 1};
	uint8_t page[BS_BLOCK], *list = calloc(DS_COMMIT_MAX, 8);
	struct bs_port *port;
	struct vs_error err;

	for (size_t i = 0; i < sizeof(page); i += 256)
		assert_int_equal(getrandom(page + i, 256, 0), 256);
	vs_put_le64(list, BEHIND);
	c.word[DS_B_STAGED] = 1;
	c.word[DS_B_CHECK] = XXH3_64bits(list, DS_COMMIT_MAX * 8u);
	assert_int_equal(bs_objects_open(x->s, "d", &count.volume, &err), 0);
	assert_int_equal(bs_port_open(x->s, x->loop, 4, &port, &err), 0);
	assert_int_equal(stage(port, count.volume, DS_STAGE_LIST, list, DS_COMMIT_MAX * 8u), 0);
	assert_int_equal(stage(port, count.volume, DS_STAGE_PAGES, page, sizeof(page)), 0);
	assert_int_equal(bs_io_wait(port, &count), 0);
	bs_port_close(port);
	free(list);
	return count.volume;
}

/* Where nothing more fits it is opened all the same, and what makes room can be done. */
static void test_a_full_one_with_a_staged_commit(void **state)
{
	struct scene *x = *state;
	struct bs_volume *v;
	uint64_t mapped;

	assert_int_equal(do_create(x, ds_root, "fill", DS_REG, 0644), 0);
	assert_int_equal(do_write(x, x->req.attr.handle, 0, "full", 4), 0);
	scene_shut(x);
	v = leave_staged(x);
	assert_int_equal(bs_objects_mapped(v, &mapped, NULL), 0);
	bs_objects_limit(v, mapped);
	scene_open(x);
	assert_int_equal(do_create(x, ds_root, "more", DS_REG, 0644), 0);
	assert_int_equal(do_remove(x, ds_root, "fill"), 0);
	assert_int_equal(do_remove(x, ds_root, "more"), 0);
	bs_volume_close(v);
	scene_blocks(x, 0);
}

/* ---- changes that wait together ------------------------------------------------------------- */

struct many {
	struct scene *x;
	struct ds_req req[DEPTH];
	char name[DEPTH][16];
	struct ds_handle dir;
	enum ds_op op;
	unsigned next, end, step, out;
	unsigned refused;
};

static void begin(struct many *m, struct ds_req *req);

static void one_done(struct ds_req *req)
{
	struct many *m = req->arg;

	m->out--;
	m->refused += req->status == VS_E_EXIST;
	assert_true(req->status == 0 || req->status == VS_E_EXIST);
	if (m->next < m->end)
		begin(m, req);
}

static void begin(struct many *m, struct ds_req *req)
{
	char *name = m->name[req - m->req];

	(void)snprintf(name, 16, "f%u", m->next / m->step);
	m->next++;
	m->out++;
	*req = (struct ds_req){.op = m->op,
			       .file = m->dir,
			       .name = name,
			       .name_len = strlen(name),
			       .type = DS_REG,
			       .how = DS_GUARDED,
			       .done = one_done,
			       .arg = m};
	ds_submit(m->x->c, req);
}

static void run_many(struct many *m, enum ds_op op, unsigned first, unsigned end)
{
	m->op = op;
	m->next = first;
	m->end = end;
	for (unsigned i = 0; i < DEPTH && m->next < end; i++)
		begin(m, &m->req[i]);
	while (m->out)
		vs_loop_turn(m->x->loop, -1);
}

/* Each name is asked for twice: one makes it, the other meets it. */
static void test_of_two_one_makes_it(void **state)
{
	struct many m = {.x = *state, .step = 2};

	assert_int_equal(do_create(m.x, ds_root, "twice", DS_DIR, 0755), 0);
	m.dir = m.x->req.attr.handle;
	run_many(&m, DS_CREATE, 0, 400);
	assert_int_equal(m.refused, 200);
	assert_int_equal(entries(m.x, m.dir), 200);
	m.step = 1;
	run_many(&m, DS_REMOVE, 0, 200);
	assert_int_equal(entries(m.x, m.dir), 0);
	assert_int_equal(do_rmdir(m.x, ds_root, "twice"), 0);
}

static double cpu_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TENTH 300u
#else
#define TENTH 10000u
#endif

static void test_many_in_one_directory(void **state)
{
	struct many m = {.step = 1};
	struct scene x;
	double start, first, last, look;

	(void)state;
	scene_make_fast(&x, "dsmany", UINT64_C(256) << 20);
	m.x = &x;
	assert_int_equal(do_create(&x, ds_root, "many", DS_DIR, 0755), 0);
	m.dir = x.req.attr.handle;
	start = cpu_seconds();
	run_many(&m, DS_CREATE, 0, TENTH);
	first = cpu_seconds() - start;
	run_many(&m, DS_CREATE, TENTH, 9 * TENTH);
	start = cpu_seconds();
	run_many(&m, DS_CREATE, 9 * TENTH, 10 * TENTH);
	last = cpu_seconds() - start;
	start = cpu_seconds();
	run_many(&m, DS_LOOKUP, 0, 10 * TENTH);
	look = cpu_seconds() - start;
	assert_int_equal(entries(&x, m.dir), 10 * TENTH);
	print_message("# of %u names: the first tenth %.2f s, the last %.2f s, all found %.2f s\n",
		      10 * TENTH, first, last, look);
	assert_true(last < 4 * first + 0.5);
	run_many(&m, DS_REMOVE, 0, TENTH);
	assert_int_equal(entries(&x, m.dir), 9 * TENTH);
	scene_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_quota),
	    cmocka_unit_test(test_a_full_store),
	    cmocka_unit_test(test_a_full_one_with_a_staged_commit),
	    cmocka_unit_test(test_of_two_one_makes_it),
	    cmocka_unit_test(test_many_in_one_directory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
