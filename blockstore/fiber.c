#include "blockstore/fiber.h"

#include "blockstore/context.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_SIZE ((size_t)512 << 10)
#else
#define STACK_SIZE ((size_t)128 << 10)
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

struct bs_fiber {
	struct bs_context ctx;
	struct bs_fiber_pool *pool;
	struct bs_fiber *next;
	void (*fn)(void *arg);
	void *arg;
	void *stack;
	void *local;
	uint64_t blocks;
	bool finished;
#if defined(__SANITIZE_ADDRESS__)
	void *fake;
#endif
#if defined(__SANITIZE_THREAD__)
	void *tsan;
#endif
};

struct bs_fiber_pool {
	struct bs_context main;
	struct bs_fiber *fibers, *free, *here;
	struct bs_waitq ready;
	unsigned count, idle;
#if defined(__SANITIZE_ADDRESS__)
	void *main_fake;
	const void *main_stack;
	size_t main_size;
#endif
#if defined(__SANITIZE_THREAD__)
	void *main_tsan;
#endif
};

static void queue_put(struct bs_waitq *q, struct bs_fiber *f)
{
	f->next = NULL;
	if (q->tail)
		q->tail->next = f;
	else
		q->head = f;
	q->tail = f;
}

static struct bs_fiber *queue_take(struct bs_waitq *q)
{
	struct bs_fiber *f = q->head;

	if (f) {
		q->head = f->next;
		if (!q->head)
			q->tail = NULL;
	}
	return f;
}

static void enter(struct bs_fiber_pool *p, struct bs_fiber *f)
{
	p->here = f;
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&p->main_fake, f->stack, STACK_SIZE);
#endif
#if defined(__SANITIZE_THREAD__)
	p->main_tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(f->tsan, 0);
#endif
	bs_context_switch(&p->main, &f->ctx);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(p->main_fake, NULL, NULL);
#endif
	p->here = NULL;
	if (f->finished) {
		f->next = p->free;
		p->free = f;
		p->idle++;
	}
}

static void leave(struct bs_fiber *f)
{
	struct bs_fiber_pool *p = f->pool;

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&f->fake, p->main_stack, p->main_size);
#endif
#if defined(__SANITIZE_THREAD__)
	__tsan_switch_to_fiber(p->main_tsan, 0);
#endif
	bs_context_switch(&f->ctx, &p->main);
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(f->fake, &p->main_stack, &p->main_size);
#endif
}

static void body(void *arg)
{
	struct bs_fiber *f = arg;

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(f->fake, &f->pool->main_stack, &f->pool->main_size);
#endif
	for (;;) {
		f->fn(f->arg);
		f->finished = true;
		leave(f);
	}
}

static int fiber_init(struct bs_fiber_pool *p, struct bs_fiber *f)
{
	f->pool = p;
	f->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (f->stack == MAP_FAILED) {
		f->stack = NULL;
		return VS_E_NOMEM;
	}
#if defined(__SANITIZE_ADDRESS__)
	/* marks of fibers that never returned may be left from when it was their stack */
	__asan_unpoison_memory_region(f->stack, STACK_SIZE);
#endif
	bs_context_make(&f->ctx, f->stack, STACK_SIZE, body, f);
#if defined(__SANITIZE_THREAD__)
	f->tsan = __tsan_create_fiber(0);
#endif
	f->next = p->free;
	p->free = f;
	p->idle++;
	return 0;
}

int bs_fiber_pool_new(unsigned count, struct bs_fiber_pool **out)
{
	struct bs_fiber_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return VS_E_NOMEM;
	p->fibers = calloc(count, sizeof(*p->fibers));
	p->count = p->fibers ? count : 0;
	for (unsigned i = 0; i < p->count; i++) {
		if (fiber_init(p, &p->fibers[i])) {
			bs_fiber_pool_free(p);
			return VS_E_NOMEM;
		}
	}
	if (!p->fibers) {
		bs_fiber_pool_free(p);
		return VS_E_NOMEM;
	}
	*out = p;
	return 0;
}

void bs_fiber_pool_free(struct bs_fiber_pool *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->count; i++) {
		if (!p->fibers[i].stack)
			continue;
#if defined(__SANITIZE_THREAD__)
		__tsan_destroy_fiber(p->fibers[i].tsan);
#endif
		munmap(p->fibers[i].stack, STACK_SIZE);
	}
	free(p->fibers);
	free(p);
}

bool bs_fiber_start(struct bs_fiber_pool *p, void (*fn)(void *arg), void *arg)
{
	struct bs_fiber *f = p->free;

	VS_ASSERT(!p->here);
	if (!f)
		return false;
	p->free = f->next;
	p->idle--;
	f->fn = fn;
	f->arg = arg;
	f->finished = false;
	f->blocks = 0;
	enter(p, f);
	return true;
}

unsigned bs_fiber_idle(const struct bs_fiber_pool *p)
{
	return p->idle;
}

unsigned bs_fiber_run_ready(struct bs_fiber_pool *p)
{
	struct bs_waitq batch = p->ready; /* those woken from now on run in the next turn */
	struct bs_fiber *f;
	unsigned n = 0;

	p->ready = (struct bs_waitq){0};
	while ((f = queue_take(&batch))) {
		enter(p, f);
		n++;
	}
	return n;
}

bool bs_fiber_here(const struct bs_fiber_pool *p)
{
	return p->here != NULL;
}

void bs_fiber_block(struct bs_fiber_pool *p, struct bs_waitq *q)
{
	struct bs_fiber *f = p->here;

	VS_ASSERT(f);
	f->blocks++;
	queue_put(q, f);
	leave(f);
}

void bs_fiber_yield(struct bs_fiber_pool *p)
{
	bs_fiber_block(p, &p->ready);
}

uint64_t bs_fiber_blocks(const struct bs_fiber_pool *p)
{
	return p->here ? p->here->blocks : 0;
}

void bs_fiber_wake_one(struct bs_fiber_pool *p, struct bs_waitq *q)
{
	struct bs_fiber *f = queue_take(q);

	if (f)
		queue_put(&p->ready, f);
}

void bs_fiber_wake_all(struct bs_fiber_pool *p, struct bs_waitq *q)
{
	while (q->head)
		bs_fiber_wake_one(p, q);
}

void **bs_fiber_local(struct bs_fiber_pool *p)
{
	return &p->here->local;
}
