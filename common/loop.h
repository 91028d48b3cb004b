/*
 * Event loop over epoll(7): descriptors, one-shot timers, and calls posted by other threads.
 *
 * A loop belongs to the thread that runs it. Only vs_loop_post and vs_loop_stop may be called from
 * other threads. Callbacks may add and remove anything, themselves included. Structures of watches,
 * timers and posts belong to the caller and must stay until removed (posts: until called).
 */
#ifndef VS_COMMON_LOOP_H
#define VS_COMMON_LOOP_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct vs_loop;

struct vs_watch {
	int fd;
	void (*ready)(struct vs_watch *w, uint32_t events); /* EPOLLIN | EPOLLOUT | ... */
	void *arg;
	bool active; /* private */
};

struct vs_timer {
	void (*fired)(struct vs_timer *t);
	void *arg;
	uint64_t due_ns; /* private */
	unsigned slot;	 /* private: 0 when not armed */
};

/* A call made on the loop's thread; may be posted again from inside the call. */
struct vs_post {
	void (*call)(struct vs_post *p);
	void *arg;
	struct vs_post *next; /* private */
};

/* Called once each turn, after all callbacks, before sleeping; returns true to skip the sleep. */
struct vs_idle {
	bool (*idle)(struct vs_idle *i);
	void *arg;
	struct vs_idle *next; /* private */
};

int vs_loop_new(struct vs_loop **out, struct vs_error *err) vs_must_check;
void vs_loop_free(struct vs_loop *loop); /* not while it runs; drops posts not yet called */

int vs_loop_add(struct vs_loop *loop, struct vs_watch *w, uint32_t events) vs_must_check;
int vs_loop_modify(struct vs_loop *loop, struct vs_watch *w, uint32_t events) vs_must_check;
void vs_loop_remove(struct vs_loop *loop, struct vs_watch *w);

/* Arms t, again if it is armed. Fails with VS_E_LIMIT beyond 65536 timers. */
int vs_loop_timer(struct vs_loop *loop, struct vs_timer *t, uint64_t after_ns) vs_must_check;
void vs_loop_cancel(struct vs_loop *loop, struct vs_timer *t);

void vs_loop_add_idle(struct vs_loop *loop, struct vs_idle *i);
void vs_loop_remove_idle(struct vs_loop *loop, struct vs_idle *i);

/*
 * Before it sleeps the loop looks on for a while, up to 0.1 ms, when what it slept for lately came
 * within that time, and nobody else has use for the CPU. For threads that hand requests to each
 * other; by default a loop sleeps at once.
 */
void vs_loop_look_on(struct vs_loop *loop);

void vs_loop_post(struct vs_loop *loop, struct vs_post *p); /* any thread */
void vs_loop_stop(struct vs_loop *loop);		    /* any thread */
void vs_loop_run(struct vs_loop *loop);			    /* until vs_loop_stop */
/* One turn: waits at most timeout_ms (-1: for ever) and runs what is due. */
void vs_loop_turn(struct vs_loop *loop, int timeout_ms);

/* Readable when a watch is: for a loop inside of another one. Timers and posts do not show there.
 */
int vs_loop_fd(const struct vs_loop *loop);

uint64_t vs_now_ns(void); /* CLOCK_MONOTONIC */

#endif
