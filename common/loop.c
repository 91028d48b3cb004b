#include "common/loop.h"

#include "common/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_TIMERS 65536
#define BATCH 64

/* Looking on before a sleep, in ns. */
#define LOOK_FIRST 20000u
#define LOOK_MOST UINT64_C(100000)
#define CROWDED 50000u /* giving way takes so long where others have much to do */
#define SLEEPS 16u     /* not looked on before so many, then */

struct vs_loop {
	int epfd;
	int wakefd;
	atomic_bool stop;
	atomic_bool sleeping; /* a post must wake it; else it looks at the posts before it sleeps */
	_Atomic(struct vs_post *) posts; /* LIFO, reversed when taken */
	atomic_uint posting;		 /* threads inside vs_loop_post */
	struct vs_idle *idles;
	struct vs_idle *next_idle; /* while they run: who is next */
	struct vs_timer **heap;	   /* heap[1] is due first */
	unsigned ntimers, cap;
	struct epoll_event events[BATCH];
	int nevents;
	bool looks_on;
	uint64_t look_ns; /* for so long before it sleeps */
	unsigned crowded; /* sleeps to come before it looks on again */
};

uint64_t vs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int vs_loop_new(struct vs_loop **out, struct vs_error *err)
{
	struct vs_loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	if (!loop)
		return vs_fail(err, VS_E_NOMEM, "cannot create an event loop: out of memory");
	loop->wakefd = -1;
	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0)
		goto fail;
	loop->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wakefd < 0 || epoll_ctl(loop->epfd, EPOLL_CTL_ADD, loop->wakefd, &ev) < 0)
		goto fail;
	*out = loop;
	return 0;
fail:
	(void)vs_fail_errno(err, "cannot create an event loop");
	vs_loop_free(loop);
	return err ? err->code : VS_E_IO;
}

int vs_loop_fd(const struct vs_loop *loop)
{
	return loop->epfd;
}

void vs_loop_free(struct vs_loop *loop)
{
	if (!loop)
		return;
	/* What was posted may have led here before its poster has seen to the wake. */
	while (atomic_load(&loop->posting))
		(void)sched_yield();
	if (loop->epfd >= 0)
		close(loop->epfd);
	if (loop->wakefd >= 0)
		close(loop->wakefd);
	free(loop->heap);
	free(loop);
}

int vs_loop_add(struct vs_loop *loop, struct vs_watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return vs_err_from_errno(errno);
	w->active = true;
	return 0;
}

int vs_loop_modify(struct vs_loop *loop, struct vs_watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	return epoll_ctl(loop->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? vs_err_from_errno(errno) : 0;
}

void vs_loop_remove(struct vs_loop *loop, struct vs_watch *w)
{
	if (!w->active)
		return;
	w->active = false;
	(void)epoll_ctl(loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < loop->nevents; i++)
		if (loop->events[i].data.ptr == w)
			loop->events[i].events = 0;
}

static void heap_set(struct vs_loop *loop, unsigned slot, struct vs_timer *t)
{
	loop->heap[slot] = t;
	t->slot = slot;
}

static void heap_up(struct vs_loop *loop, unsigned slot, struct vs_timer *t)
{
	while (slot > 1 && loop->heap[slot / 2]->due_ns > t->due_ns) {
		heap_set(loop, slot, loop->heap[slot / 2]);
		slot /= 2;
	}
	heap_set(loop, slot, t);
}

static void heap_down(struct vs_loop *loop, unsigned slot, struct vs_timer *t)
{
	for (;;) {
		unsigned child = slot * 2;

		if (child > loop->ntimers)
			break;
		if (child < loop->ntimers &&
		    loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns)
			child++;
		if (loop->heap[child]->due_ns >= t->due_ns)
			break;
		heap_set(loop, slot, loop->heap[child]);
		slot = child;
	}
	heap_set(loop, slot, t);
}

int vs_loop_timer(struct vs_loop *loop, struct vs_timer *t, uint64_t after_ns)
{
	vs_loop_cancel(loop, t);
	if (loop->ntimers >= MAX_TIMERS)
		return VS_E_LIMIT;
	if (loop->ntimers + 1 >= loop->cap) {
		unsigned cap = loop->cap ? loop->cap * 2 : 64;
		struct vs_timer **heap = realloc(loop->heap, cap * sizeof(struct vs_timer *));

		if (!heap)
			return VS_E_NOMEM;
		loop->heap = heap;
		loop->cap = cap;
	}
	t->due_ns = vs_now_ns() + after_ns;
	loop->ntimers++;
	heap_up(loop, loop->ntimers, t);
	return 0;
}

void vs_loop_cancel(struct vs_loop *loop, struct vs_timer *t)
{
	unsigned slot = t->slot;
	struct vs_timer *last;

	if (slot == 0)
		return;
	t->slot = 0;
	last = loop->heap[loop->ntimers--];
	if (last == t)
		return;
	heap_up(loop, slot, last);
	heap_down(loop, last->slot, last);
}

void vs_loop_add_idle(struct vs_loop *loop, struct vs_idle *i)
{
	i->next = loop->idles;
	loop->idles = i;
}

void vs_loop_remove_idle(struct vs_loop *loop, struct vs_idle *i)
{
	if (loop->next_idle == i)
		loop->next_idle = i->next;
	for (struct vs_idle **p = &loop->idles; *p; p = &(*p)->next) {
		if (*p == i) {
			*p = i->next;
			return;
		}
	}
}

static void wake(struct vs_loop *loop)
{
	uint64_t one = 1;

	while (write(loop->wakefd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void vs_loop_post(struct vs_loop *loop, struct vs_post *p)
{
	struct vs_post *head = atomic_load(&loop->posts);

	atomic_fetch_add(&loop->posting, 1);
	do {
		p->next = head;
	} while (!atomic_compare_exchange_weak(&loop->posts, &head, p));
	if (atomic_exchange(&loop->sleeping, false))
		wake(loop);
	atomic_fetch_sub(&loop->posting, 1);
}

void vs_loop_stop(struct vs_loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
}

static void run_posts(struct vs_loop *loop)
{
	struct vs_post *list = atomic_exchange(&loop->posts, NULL), *fifo = NULL;

	while (list) {
		struct vs_post *next = list->next;

		list->next = fifo;
		fifo = list;
		list = next;
	}
	while (fifo) {
		struct vs_post *next = fifo->next;

		fifo->call(fifo);
		fifo = next;
	}
}

static void run_timers(struct vs_loop *loop)
{
	uint64_t now = loop->ntimers ? vs_now_ns() : 0;
	unsigned bound = loop->ntimers; /* a timer that rearms itself at 0 cannot starve the rest */

	while (loop->ntimers && bound-- && loop->heap[1]->due_ns <= now) {
		struct vs_timer *t = loop->heap[1];

		vs_loop_cancel(loop, t);
		t->fired(t);
	}
}

static bool run_idles(struct vs_loop *loop)
{
	bool again = false;

	for (struct vs_idle *i = loop->idles; i; i = loop->next_idle) {
		loop->next_idle = i->next;
		again |= i->idle(i);
	}
	return again;
}

static int sleep_ms(struct vs_loop *loop, int timeout_ms)
{
	uint64_t now, ms;

	if (!loop->ntimers)
		return timeout_ms;
	now = vs_now_ns();
	if (loop->heap[1]->due_ns <= now)
		return 0;
	ms = (loop->heap[1]->due_ns - now + 999999) / 1000000;
	if (timeout_ms >= 0 && ms > (uint64_t)timeout_ms)
		return timeout_ms;
	return ms > 60000 ? 60000 : (int)ms;
}

void vs_loop_look_on(struct vs_loop *loop)
{
	loop->looks_on = true;
}

/*
 * Whether there is something to do, after looking for it for a while. Where giving way takes long,
 * others have use for the CPU, so the loop sleeps, as it does the next few times.
 */
static bool look_on(struct vs_loop *loop)
{
	uint64_t start = vs_now_ns(), now, before;

	do {
		if (run_idles(loop) || atomic_load(&loop->posts) || atomic_load(&loop->stop))
			return true;
		loop->nevents = epoll_wait(loop->epfd, loop->events, BATCH, 0);
		if (loop->nevents)
			return true;
		before = vs_now_ns();
		sched_yield();
		now = vs_now_ns();
		if (now - before > CROWDED) {
			loop->look_ns = 0;
			loop->crowded = SLEEPS;
			return false;
		}
	} while (now - start < loop->look_ns);
	return false;
}

/* What came soon after the loop had gone to sleep would have been found by looking on. */
static void slept(struct vs_loop *loop, uint64_t ns)
{
	if (loop->crowded)
		loop->crowded--;
	else if (ns > LOOK_MOST)
		loop->look_ns = 0;
	else
		loop->look_ns = VS_MIN(LOOK_MOST, VS_MAX(2 * loop->look_ns, LOOK_FIRST));
}

static void wait_for(struct vs_loop *loop, int wait)
{
	uint64_t start = wait && loop->looks_on ? vs_now_ns() : 0;

	if (wait) {
		atomic_store(&loop->sleeping, true);
		if (atomic_load(&loop->posts) || atomic_load(&loop->stop))
			wait = 0;
	}
	loop->nevents = epoll_wait(loop->epfd, loop->events, BATCH, wait);
	atomic_store(&loop->sleeping, false);
	if (start && wait)
		slept(loop, vs_now_ns() - start);
}

void vs_loop_turn(struct vs_loop *loop, int timeout_ms)
{
	int wait = run_idles(loop) || atomic_load(&loop->posts) ? 0 : sleep_ms(loop, timeout_ms);

	if (!wait || !loop->look_ns || !look_on(loop))
		wait_for(loop, wait);
	else if (!loop->nevents)
		wait_for(loop, 0);
	for (int i = 0; i < loop->nevents; i++) {
		struct epoll_event *ev = &loop->events[i];
		struct vs_watch *w = ev->data.ptr;
		uint64_t drop;

		if (w && ev->events)
			w->ready(w, ev->events);
		else if (!w && read(loop->wakefd, &drop, sizeof(drop)) < 0)
			continue; /* another wake-up took it */
	}
	loop->nevents = 0;
	run_posts(loop);
	run_timers(loop);
}

void vs_loop_run(struct vs_loop *loop)
{
	while (!atomic_exchange(&loop->stop, false))
		vs_loop_turn(loop, -1);
}
