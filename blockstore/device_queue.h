/*
 * Requests of a device in the order in which they came, linked by the field that is the device's
 * own from submit to done. Unbounded by itself: who submits has a bound. No lock: one thread, or
 * the owner's.
 */
#ifndef BS_DEVICE_QUEUE_H
#define BS_DEVICE_QUEUE_H

#include "blockstore/device.h"

#include <stddef.h>

struct bs_device_queue {
	struct bs_devio *first, **last; /* *last ends it */
};

static inline void bs_device_queue_init(struct bs_device_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static inline void bs_device_queue_put(struct bs_device_queue *q, struct bs_devio *io)
{
	io->next = NULL;
	*q->last = io;
	q->last = &io->next;
}

/* Before all others: it was got too early. */
static inline void bs_device_queue_return(struct bs_device_queue *q, struct bs_devio *io)
{
	io->next = q->first;
	if (!q->first)
		q->last = &io->next;
	q->first = io;
}

/* NULL: it is empty. */
static inline struct bs_devio *bs_device_queue_get(struct bs_device_queue *q)
{
	struct bs_devio *io = q->first;

	if (io) {
		q->first = io->next;
		if (!q->first)
			q->last = &q->first;
	}
	return io;
}

/* All of them, linked by next. */
static inline struct bs_devio *bs_device_queue_take(struct bs_device_queue *q)
{
	struct bs_devio *io = q->first;

	bs_device_queue_init(q);
	return io;
}

/* What a poll does with requests that are finished but for done; returns how many. What done puts
 * here waits for the next time. */
static inline unsigned bs_device_queue_answer(struct bs_device_queue *q)
{
	struct bs_devio *io = bs_device_queue_take(q);
	unsigned n = 0;

	while (io) {
		struct bs_devio *next = io->next;

		io->done(io);
		io = next;
		n++;
	}
	return n;
}

#endif
