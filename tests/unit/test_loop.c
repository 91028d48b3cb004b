/* The event loop. */
#include "common/bytes.h"
#include "common/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct trace {
	struct vs_loop *loop;
	int order[64];
	int n;
};

struct named_timer {
	struct vs_timer timer;
	uint64_t due_ns;
	int name;
	int rearm;
};

static void timer_fired(struct vs_timer *t)
{
	struct named_timer *nt = vs_container_of(t, struct named_timer, timer);
	struct trace *trace = t->arg;

	trace->order[trace->n++] = nt->name;
	if (nt->rearm-- > 0)
		assert_int_equal(vs_loop_timer(trace->loop, t, 0), 0);
}

static void test_timers_fire_in_order(void **state)
{
	struct trace trace = {0};
	struct named_timer t[16] = {0};

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	for (int i = 0; i < 16; i++) {
		t[i].name = i;
		t[i].timer.fired = timer_fired;
		t[i].timer.arg = &trace;
		/* 7 and 16 have no common divisor: a permutation of the due times */
		assert_int_equal(
		    vs_loop_timer(trace.loop, &t[i].timer, (uint64_t)(i * 7 % 16) * 1000000), 0);
		t[i].due_ns = t[i].timer.due_ns; /* of its own now: this thread may be slow */
	}
	vs_loop_cancel(trace.loop, &t[3].timer);
	vs_loop_cancel(trace.loop, &t[3].timer); /* twice is nothing */
	while (trace.n < 15)
		vs_loop_turn(trace.loop, -1);
	for (int i = 0; i + 1 < trace.n; i++)
		assert_true(t[trace.order[i]].due_ns <= t[trace.order[i + 1]].due_ns);
	for (int i = 0; i < trace.n; i++)
		assert_int_not_equal(trace.order[i], 3);
	vs_loop_free(trace.loop);
}

static void test_a_timer_may_rearm_itself(void **state)
{
	struct trace trace = {0};
	struct named_timer t = {.timer = {.fired = timer_fired, .arg = &trace}, .rearm = 9};

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	assert_int_equal(vs_loop_timer(trace.loop, &t.timer, 0), 0);
	vs_loop_turn(trace.loop, -1);
	assert_true(trace.n < 10); /* one turn is bounded */
	while (trace.n < 10)
		vs_loop_turn(trace.loop, -1);
	vs_loop_turn(trace.loop, 0);
	assert_int_equal(trace.n, 10);
	vs_loop_free(trace.loop);
}

struct counted_post {
	struct vs_post post;
	struct trace *trace;
	int name, again;
};

static void post_called(struct vs_post *p)
{
	struct counted_post *cp = vs_container_of(p, struct counted_post, post);

	cp->trace->order[cp->trace->n++] = cp->name;
	if (cp->again-- > 0)
		vs_loop_post(cp->trace->loop, p);
	else if (cp->trace->n >= 10)
		vs_loop_stop(cp->trace->loop);
}

static void *post_all(void *arg)
{
	struct counted_post *posts = arg;

	for (int i = 0; i < 8; i++)
		vs_loop_post(posts[i].trace->loop, &posts[i].post);
	return NULL;
}

static void test_posts_from_another_thread_keep_their_order(void **state)
{
	struct trace trace = {0};
	struct counted_post posts[8];
	pthread_t thread;
	int last = -1;

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	for (int i = 0; i < 8; i++)
		posts[i] = (struct counted_post){
		    .post = {.call = post_called}, .trace = &trace, .name = i};
	posts[0].again = 2; /* posted again from inside the call */
	assert_int_equal(pthread_create(&thread, NULL, post_all, posts), 0);
	vs_loop_run(trace.loop);
	pthread_join(thread, NULL);
	assert_int_equal(trace.n, 10);
	for (int i = 0; i < trace.n; i++) {
		if (trace.order[i] == 0)
			continue;
		assert_int_equal(trace.order[i], last < 1 ? 1 : last + 1);
		last = trace.order[i];
	}
	vs_loop_free(trace.loop);
}

struct pair {
	struct vs_watch w[2];
	struct vs_loop *loop;
	int calls;
};

static void drop_both(struct vs_watch *w, uint32_t events)
{
	struct pair *pair = w->arg;

	assert_true(events & EPOLLIN);
	pair->calls++;
	vs_loop_remove(pair->loop, &pair->w[0]);
	vs_loop_remove(pair->loop, &pair->w[1]);
}

static void test_a_removed_watch_is_not_called(void **state)
{
	struct pair pair = {0};
	int p[2][2];

	(void)state;
	assert_int_equal(vs_loop_new(&pair.loop, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(p[i]), 0);
		assert_int_equal(write(p[i][1], "x", 1), 1);
		pair.w[i] = (struct vs_watch){.fd = p[i][0], .ready = drop_both, .arg = &pair};
		assert_int_equal(vs_loop_add(pair.loop, &pair.w[i], EPOLLIN), 0);
	}
	/* Both are ready in the same turn; the first call removes both. */
	vs_loop_turn(pair.loop, -1);
	vs_loop_turn(pair.loop, 0);
	assert_int_equal(pair.calls, 1);
	for (int i = 0; i < 2; i++) {
		close(p[i][0]);
		close(p[i][1]);
	}
	vs_loop_free(pair.loop);
}

struct idler {
	struct vs_idle idle;
	struct vs_loop *loop;
	struct vs_idle *victim;
	int calls;
};

static bool idle_called(struct vs_idle *i)
{
	struct idler *it = vs_container_of(i, struct idler, idle);

	it->calls++;
	if (it->victim) {
		vs_loop_remove_idle(it->loop, it->victim);
		it->victim = NULL;
	}
	return it->calls < 3;
}

static void test_idle_calls_run_each_turn(void **state)
{
	struct idler a = {.idle = {.idle = idle_called}}, b = a;

	(void)state;
	assert_int_equal(vs_loop_new(&a.loop, NULL), 0);
	b.loop = a.loop;
	vs_loop_add_idle(a.loop, &a.idle);
	vs_loop_add_idle(a.loop, &b.idle); /* runs first */
	b.victim = &b.idle;		   /* removes itself */
	vs_loop_turn(a.loop, -1);	   /* would sleep for ever did no idle call want more */
	vs_loop_turn(a.loop, -1);
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
	vs_loop_remove_idle(a.loop, &a.idle);
	vs_loop_turn(a.loop, 0);
	assert_int_equal(a.calls, 2);
	vs_loop_free(a.loop);
}

static void test_an_idle_call_may_remove_the_next(void **state)
{
	struct idler last = {.idle = {.idle = idle_called}}, *gone = calloc(1, sizeof(*gone)),
		     first = last;

	(void)state;
	assert_non_null(gone);
	gone->idle.idle = idle_called;
	assert_int_equal(vs_loop_new(&first.loop, NULL), 0);
	vs_loop_add_idle(first.loop, &last.idle);
	vs_loop_add_idle(first.loop, &gone->idle);
	vs_loop_add_idle(first.loop, &first.idle);
	first.victim = &gone->idle;
	vs_loop_turn(first.loop, 0);
	assert_int_equal(gone->calls, 0);
	free(gone);
	vs_loop_turn(first.loop, 0);
	assert_int_equal(first.calls, 2);
	assert_int_equal(last.calls, 2);
	vs_loop_free(first.loop);
}

/* Two threads hand a ball to each other; who has it last rests. */
struct player {
	struct vs_loop *loop;
	struct vs_post ball;
	struct vs_timer rest;
	struct player *other;
	unsigned *throws;
	uint64_t cpu_ns; /* taken while there was nothing to do */
};

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void rested(struct vs_timer *t)
{
	struct player *p = t->arg;

	p->cpu_ns = thread_cpu_ns() - p->cpu_ns;
	vs_loop_stop(p->other->loop);
	vs_loop_stop(p->loop);
}

static void ball_comes(struct vs_post *ball)
{
	struct player *p = ball->arg;

	if ((*p->throws)--) {
		vs_loop_post(p->other->loop, &p->other->ball);
		return;
	}
	p->cpu_ns = thread_cpu_ns();
	assert_int_equal(vs_loop_timer(p->loop, &p->rest, 300000000), 0);
}

static void *play(void *arg)
{
	struct player *p = arg;

	vs_loop_run(p->loop);
	return NULL;
}

static void test_a_loop_that_looks_on_misses_nothing_and_rests(void **state)
{
	unsigned throws = 20001;
	struct player p[2];
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 2; i++) {
		p[i] = (struct player){.ball = {.call = ball_comes, .arg = &p[i]},
				       .rest = {.fired = rested, .arg = &p[i]},
				       .other = &p[!i],
				       .throws = &throws};
		assert_int_equal(vs_loop_new(&p[i].loop, NULL), 0);
		vs_loop_look_on(p[i].loop);
	}
	assert_int_equal(pthread_create(&thread, NULL, play, &p[1]), 0);
	vs_loop_post(p[0].loop, &p[0].ball);
	(void)play(&p[0]);
	pthread_join(thread, NULL);
	assert_true(p[0].cpu_ns == 0 || p[1].cpu_ns == 0);
	assert_true(p[0].cpu_ns + p[1].cpu_ns < 30000000);
	for (int i = 0; i < 2; i++)
		vs_loop_free(p[i].loop);
}

#define LAST_POSTS 2000

static _Atomic(struct vs_loop *) last_loop; /* to post to; NULL: it was taken */
static bool last_done;

static void last_comes(struct vs_post *p)
{
	(void)p;
	last_done = true;
}

static void *post_last(void *arg)
{
	for (unsigned i = 0; i < LAST_POSTS;) {
		struct vs_loop *loop = atomic_exchange(&last_loop, NULL);

		if (!loop)
			continue;
		vs_loop_post(loop, arg);
		i++;
	}
	return NULL;
}

/* The sanitizers see it when the poster still touches the loop. */
static void test_a_loop_may_be_freed_for_what_was_posted(void **state)
{
	struct vs_post post = {.call = last_comes};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, post_last, &post), 0);
	for (unsigned i = 0; i < LAST_POSTS; i++) {
		struct vs_loop *loop;

		assert_int_equal(vs_loop_new(&loop, NULL), 0);
		last_done = false;
		atomic_store(&last_loop, loop);
		while (!last_done)
			vs_loop_turn(loop, 1000);
		vs_loop_free(loop);
	}
	pthread_join(thread, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_timers_fire_in_order),
	    cmocka_unit_test(test_a_timer_may_rearm_itself),
	    cmocka_unit_test(test_posts_from_another_thread_keep_their_order),
	    cmocka_unit_test(test_a_removed_watch_is_not_called),
	    cmocka_unit_test(test_idle_calls_run_each_turn),
	    cmocka_unit_test(test_an_idle_call_may_remove_the_next),
	    cmocka_unit_test(test_a_loop_may_be_freed_for_what_was_posted),
	    cmocka_unit_test(test_a_loop_that_looks_on_misses_nothing_and_rests),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
