/*
 * Where a fiber, or the thread's own stack, goes on. One thread; signal masks and floating-point
 * modes are the thread's and are not switched.
 */
#ifndef BS_CONTEXT_H
#define BS_CONTEXT_H

#include <stddef.h>

/* Other processors, and stacks that the processor shadows, are left to the C library. */
#if defined(__x86_64__) && !(defined(__CET__) && (__CET__ & 2))
#define BS_CONTEXT_OWN 1
struct bs_context {
	void *sp; /* what a call must keep lies there */
};
#else
#define BS_CONTEXT_OWN 0
#include <ucontext.h>
struct bs_context {
	ucontext_t uc;
};
#endif

/* On its first switch to c it calls fn(arg) on the stack; fn must not return. */
void bs_context_make(struct bs_context *c, void *stack, size_t size, void (*fn)(void *arg),
		     void *arg);
void bs_context_switch(struct bs_context *from, struct bs_context *to);

#endif
