/*
 * Bounded single-producer single-consumer queue of pointers. The size is fixed when it is opened.
 * One thread pushes, one pops; they may be the same.
 */
#ifndef VS_COMMON_RING_H
#define VS_COMMON_RING_H

#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct vs_ring {
	void **slots;
	size_t mask;
	_Alignas(64) atomic_size_t head; /* next to pop; written by the consumer */
	_Alignas(64) atomic_size_t tail; /* next to push; written by the producer */
};

int vs_ring_init(struct vs_ring *r, size_t capacity) vs_must_check; /* rounded up to 2^n */
void vs_ring_destroy(struct vs_ring *r);

static inline bool vs_ring_push(struct vs_ring *r, void *item)
{
	size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&r->head, memory_order_acquire) > r->mask)
		return false;
	r->slots[tail & r->mask] = item;
	atomic_store_explicit(&r->tail, tail + 1, memory_order_seq_cst);
	return true;
}

static inline void *vs_ring_pop(struct vs_ring *r) /* NULL when empty */
{
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	void *item;

	if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
		return NULL;
	item = r->slots[head & r->mask];
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return item;
}

static inline bool vs_ring_empty(struct vs_ring *r)
{
	return atomic_load_explicit(&r->head, memory_order_seq_cst) ==
	       atomic_load_explicit(&r->tail, memory_order_seq_cst);
}

#endif
