/* Clients on several threads in the same directories and files. */
#include "tests/unit/ds_scene.h"

#include <pthread.h>

#define THREADS 3u
#define FILES 6u
#define DIRS 3u
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 250u
#else
#define ROUNDS 1500u
#endif

struct shared {
	struct scene *x;
	struct ds_handle dir[DIRS], file[FILES]; /* the files keep their names */
};

struct worker {
	struct shared *s;
	uint64_t seed;
	unsigned me;
	struct ds_client *c;
	struct ds_req req;
	struct ds_handle mine;
	bool have;
};

static unsigned some(struct worker *w, unsigned n)
{
	w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(w->seed >> 33) % n;
}

static int run(struct worker *w)
{
	int rc = ds_wait(w->c, &w->req);

	return rc == VS_E_INVAL && w->req.why ? (int)w->req.why : rc;
}

/* Names that all threads fight for. */
static void on_names(struct worker *w)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	const char *name = names[some(w, 4)], *other = names[some(w, 4)];
	int rc;

	w->req = (struct ds_req){
	    .op = (enum ds_op[]){DS_CREATE, DS_REMOVE, DS_RENAME, DS_LOOKUP, DS_CREATE}[some(w, 5)],
	    .file = w->s->dir[some(w, DIRS)],
	    .other = w->s->dir[some(w, DIRS)],
	    .name = name,
	    .name_len = 1,
	    .other_name = other,
	    .other_name_len = 1,
	    .type = DS_REG,
	    .how = DS_GUARDED,
	    .set = {.what = DS_SET_MODE, .mode = 0644}};
	rc = run(w);
	if (rc && rc != VS_E_EXIST && rc != VS_E_NOENT) {
		(void)fprintf(stderr, "operation %d: %d\n", w->req.op, rc);
		abort();
	}
	if (rc || w->req.op != DS_CREATE || w->have)
		return;
	w->mine = w->req.attr.handle;
	w->have = ds_hold(w->s->x->d, w->mine) == 0;
}

/* The file that this thread made, and holds: others take its name away. */
static void on_mine(struct worker *w)
{
	char bytes[300];
	struct iovec iov = {bytes, sizeof(bytes)};
	int rc;

	if (!w->have)
		return;
	memset(bytes, (int)w->me + 1, sizeof(bytes));
	w->req = (struct ds_req){.op = some(w, 2) ? DS_WRITE : DS_READ,
				 .file = w->mine,
				 .offset = some(w, 10000),
				 .length = sizeof(bytes),
				 .iov = &iov,
				 .iovcnt = 1};
	rc = run(w);
	/* its name may have gone before it was held */
	VS_ASSERT(rc == 0 || rc == VS_E_STALE);
	for (size_t i = 0; rc == 0 && i < w->req.count; i++)
		VS_ASSERT(bytes[i] == 0 || bytes[i] == (char)(w->me + 1));
	if (some(w, 8))
		return;
	ds_release(w->s->x->d, w->mine);
	w->have = false;
}

/* Files that all threads write to, cut and clone, also crosswise. */
static void on_files(struct worker *w)
{
	static const uint8_t ones[8192] = {[0 ... 8191] = 1};
	struct iovec iov = {(void *)(uintptr_t)ones, sizeof(ones)};
	unsigned what = some(w, 4);

	w->req = (struct ds_req){.file = w->s->file[some(w, FILES)],
				 .other = w->s->file[some(w, FILES)],
				 .offset = some(w, 4) * 4096u,
				 .length = sizeof(ones),
				 .iov = &iov,
				 .iovcnt = 1,
				 .set = {.what = DS_SET_SIZE, .size = some(w, 20000)}};
	w->req.op = (enum ds_op[]){DS_WRITE, DS_SETATTR, DS_CLONE, DS_DEALLOCATE}[what];
	if (w->req.op == DS_CLONE)
		w->req.offset = w->req.length = 0;
	if (w->req.op == DS_CLONE && w->req.file.object == w->req.other.object)
		return;
	VS_ASSERT(run(w) == 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct vs_loop *loop;

	VS_ASSERT(vs_loop_new(&loop, NULL) == 0);
	VS_ASSERT(ds_client_open(w->s->x->d, loop, 8, &w->c, NULL) == 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		on_names(w);
		on_mine(w);
		on_files(w);
	}
	if (w->have)
		ds_release(w->s->x->d, w->mine);
	ds_client_close(w->c);
	vs_loop_free(loop);
	return NULL;
}

static bool counted(struct ds_req *req, const struct ds_entry *e)
{
	unsigned *n = (unsigned *)(uintptr_t)req->verifier;

	if (e->cookie < 3)
		return true;
	assert_int_equal(e->attr->links, 1);
	++*n;
	return true;
}

static void check(struct scene *x, struct shared *s)
{
	uint8_t bytes[30000];

	for (unsigned i = 0; i < DIRS; i++) {
		unsigned n = 0;

		x->req = (struct ds_req){.op = DS_READDIR,
					 .file = s->dir[i],
					 .plus = true,
					 .entry = counted,
					 .verifier = (uintptr_t)&n};
		assert_int_equal(scene_run(x), 0);
		assert_int_equal(x->req.attr.size, n);
	}
	for (unsigned i = 0; i < FILES; i++) {
		uint64_t size;

		assert_int_equal(do_getattr(x, s->file[i]), 0);
		size = x->req.attr.size;
		/* what lies behind the end is zeros, whoever came last */
		assert_int_equal(do_truncate(x, s->file[i], sizeof(bytes)), 0);
		assert_int_equal(do_read(x, s->file[i], 0, bytes, sizeof(bytes)), 0);
		for (uint64_t k = 0; k < sizeof(bytes); k++)
			assert_true(bytes[k] == 0 || (k < size && bytes[k] == 1));
	}
}

static void test_together(void **state)
{
	struct scene x;
	struct shared s = {.x = &x};
	struct worker w[THREADS] = {0};
	pthread_t thread[THREADS];
	char name[8];

	(void)state;
	scene_make_fast(&x, "dsthreads", UINT64_C(256) << 20);
	for (unsigned i = 0; i < DIRS + FILES; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(do_create(&x, ds_root, name, i < DIRS ? DS_DIR : DS_REG, 0755), 0);
		*(i < DIRS ? &s.dir[i] : &s.file[i - DIRS]) = x.req.attr.handle;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.s = &s, .seed = i + 1, .me = i};
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	check(&x, &s);
	scene_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_together),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
