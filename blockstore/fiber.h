/*
 * Fibers: the engine's cooperative tasks for whatever must wait for the device.
 *
 * All fibers of a pool and the code that resumes them run on one thread. A fiber runs until it
 * blocks or returns; nothing else of the engine runs meanwhile, so code between two blocking calls
 * is one uninterrupted engine step. The pool's size is fixed when it is opened; starts beyond it
 * wait in the caller's queue.
 */
#ifndef BS_FIBER_H
#define BS_FIBER_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct bs_fiber;
struct bs_fiber_pool;

/* Fibers waiting for one event, first in first out. Zero-initialised is empty. */
struct bs_waitq {
	struct bs_fiber *head, *tail;
};

int bs_fiber_pool_new(unsigned count, struct bs_fiber_pool **out) vs_must_check;
/* Frees the stacks, also of fibers that have not returned (the daemon was "killed"). */
void bs_fiber_pool_free(struct bs_fiber_pool *p);

/* Runs fn(arg) on a free fiber until it first blocks: false when all are taken. */
bool bs_fiber_start(struct bs_fiber_pool *p, void (*fn)(void *arg), void *arg);
unsigned bs_fiber_idle(const struct bs_fiber_pool *p);
/* Resumes those that were woken; returns how many ran. */
unsigned bs_fiber_run_ready(struct bs_fiber_pool *p);

/* Of the fiber that runs now. */
bool bs_fiber_here(const struct bs_fiber_pool *p); /* false on the thread's own stack */
void bs_fiber_block(struct bs_fiber_pool *p, struct bs_waitq *q);
void bs_fiber_yield(struct bs_fiber_pool *p); /* lets everything else run once */
/* How often the running fiber has blocked: what it looked up before may have changed since. */
uint64_t bs_fiber_blocks(const struct bs_fiber_pool *p);

void bs_fiber_wake_one(struct bs_fiber_pool *p, struct bs_waitq *q);
void bs_fiber_wake_all(struct bs_fiber_pool *p, struct bs_waitq *q);

/* A slot of the running fiber for its owner's use (pinned frames). */
void **bs_fiber_local(struct bs_fiber_pool *p);

#endif
