/* Random operations against a tree in memory, over reopenings; and over daemons that are killed. */
#include "tests/unit/ds_model.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define DEVICE (UINT64_C(256) << 20)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 600u
#define KILLS 4u
#else
#define ROUNDS 1500u
#define KILLS 12u
#endif
#define REOPEN 300u

static void choose(const struct model *m, uint64_t *seed, struct model_op *op)
{
	do
		model_choose(m, seed, op);
	while (((op->what == M_CREATE || op->what == M_LINK) && !model_room(m)) ||
	       (model_needs_file(op) && op->file < 0));
}

static void learn_made(struct scene *x, struct model *m, const struct model_op *op)
{
	if (op->what == M_CREATE && x->req.status == 0)
		m->file[m->entry[model_find(m, op->dir, op->name)].file].h = x->req.attr.handle;
}

/* One operation, which answers what the model does. */
static void step(struct scene *x, struct model *m, uint64_t *seed)
{
	struct model_op op;
	int want, got;

	choose(m, seed, &op);
	got = model_run(x, m, &op);
	want = model_apply(m, &op);
	if (got != want)
		fail_msg("operation %d: %d and not %d", op.what, got, want);
	learn_made(x, m, &op);
}

static void follow_model(const char *name, const struct ds_tune *tune)
{
	struct scene x;
	struct model *m = calloc(1, sizeof(*m));
	uint64_t seed = 11, used;

	scene_make_fast(&x, name, DEVICE);
	scene_shut(&x);
	x.tune = *tune;
	scene_open(&x);
	model_init(m);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		step(&x, m, &seed);
		if (i % REOPEN)
			continue;
		scene_down(&x);
		scene_up(&x);
		scene_open(&x);
		used = 0;
		assert_true(model_same(&x, m, 0, ds_root, &used));
	}
	model_no_leak(&x, m);
	scene_end(&x);
	free(m);
}

static void test_what_the_model_says(void **state)
{
	(void)state;
	follow_model("dsmodel", &ds_tune_default);
}

/* Each commit takes the long way, and names meet at the same cookies. */
static void test_the_long_way(void **state)
{
	struct ds_tune tune = ds_tune_default;

	(void)state;
	tune.scatter_max = 0;
	tune.hash_bits = 3;
	follow_model("dslong", &tune);
}

/* ---- killed daemons ------------------------------------------------------------------------- */

struct shared {
	struct model m[2];    /* [now]: what was answered */
	struct model_op next; /* what may have happened beside it */
	uint64_t seed;
	_Atomic unsigned now, done;
};

static void child(struct scene *x, struct shared *s)
{
	alarm(60);
	scene_up(x);
	scene_open(x);
	for (;;) {
		unsigned now = atomic_load(&s->now);
		struct model *m = &s->m[now], *after = &s->m[!now];

		choose(m, &s->seed, &s->next);
		*after = *m;
		if (model_run(x, m, &s->next) != model_apply(after, &s->next))
			_exit(1);
		learn_made(x, after, &s->next);
		atomic_store(&s->now, !now);
		atomic_fetch_add(&s->done, 1);
	}
}

static bool is_same(struct scene *x, const struct model *m)
{
	uint64_t used = 0;

	return model_same(x, m, 0, ds_root, &used);
}

/* What lies behind the new end is zeroed in up to three pieces: parts of blocks, and whole ones. */
static void take_zeros(struct scene *x, struct model_file *f, uint32_t at)
{
	uint8_t bytes[BYTES];

	assert_int_equal(do_read(x, f->h, 0, bytes, sizeof(bytes)), 0);
	for (uint32_t i = at; i < f->size; i++)
		if (!bytes[i])
			f->bytes[i] = 0;
}

/* Which it was: without the last operation, with it, or a new size whose zeros came first. */
static void settle(struct scene *x, struct shared *s)
{
	struct model *m = &s->m[atomic_load(&s->now)], *with = &s->m[!atomic_load(&s->now)];
	struct model_file *f = model_needs_file(&s->next) ? &m->file[s->next.file] : NULL;

	if (is_same(x, m))
		return;
	*with = *m;
	(void)model_apply(with, &s->next);
	if (is_same(x, with)) {
		*m = *with;
		return;
	}
	if (!f || s->next.what != M_TRUNCATE || s->next.at >= f->size)
		fail_msg("neither before nor after operation %d", s->next.what);
	else
		take_zeros(x, f, s->next.at);
	assert_true(is_same(x, m));
}

/* Handles of what the child made: it could not tell them all. */
static void learn(struct scene *x, struct model *m, int dir)
{
	for (int i = 0; i < ENTRIES; i++) {
		const struct model_entry *e = &m->entry[i];

		if (!e->used || e->dir != dir)
			continue;
		assert_int_equal(do_lookup(x, m->file[dir].h, model_name[e->name]), 0);
		m->file[e->file].h = x->req.attr.handle;
		if (m->file[e->file].type == DS_DIR)
			learn(x, m, e->file);
	}
}

static void kill_one(struct scene *x, struct shared *s)
{
	unsigned before = atomic_load(&s->done);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		child(x, s);
	while (atomic_load(&s->done) < before + 40 && waitpid(pid, NULL, WNOHANG) == 0)
		usleep(500);
	assert_true(atomic_load(&s->done) >= before + 40);
	usleep((useconds_t)(model_random(&s->seed) % 3000));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_killed_at_any_moment(void **state)
{
	struct shared *s =
	    mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct scene x;

	(void)state;
	assert_true(s != MAP_FAILED);
	scene_make_fast(&x, "dskill", DEVICE);
	scene_down(&x);
	model_init(&s->m[0]);
	s->seed = 5;
	for (unsigned i = 0; i < KILLS; i++) {
		struct model *m;

		x.tune.scatter_max = i % 2 ? DS_SCATTER_MAX : 0;
		kill_one(&x, s);
		scene_up(&x);
		scene_open(&x);
		settle(&x, s);
		m = &s->m[atomic_load(&s->now)];
		learn(&x, m, 0);
		model_no_leak(&x, m);
		scene_down(&x);
	}
	scene_up(&x);
	scene_open(&x);
	scene_end(&x);
	munmap(s, sizeof(*s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_the_model_says),
	    cmocka_unit_test(test_the_long_way),
	    cmocka_unit_test(test_killed_at_any_moment),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
