#include "blockstore/context.h"

#include "common/bytes.h"

#if BS_CONTEXT_OWN

/* In the order in which resume pops them. */
struct kept {
	uint64_t r15, r14, r13, r12, rbx, rbp;
	void (*back)(void);
};

void bs_context_resume(void **from, void *to);
void bs_context_begin(void);

__asm__(".text\n"
	".hidden bs_context_resume\n"
	".globl bs_context_resume\n"
	".type bs_context_resume, @function\n"
	"bs_context_resume:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size bs_context_resume, . - bs_context_resume\n"
	".hidden bs_context_begin\n"
	".globl bs_context_begin\n"
	".type bs_context_begin, @function\n"
	"bs_context_begin:\n"
	"	movq %r13, %rdi\n"
	"	callq *%r12\n"
	"	ud2\n"
	".size bs_context_begin, . - bs_context_begin\n");

void bs_context_make(struct bs_context *c, void *stack, size_t size, void (*fn)(void *arg),
		     void *arg)
{
	uint8_t *top = (uint8_t *)VS_ALIGN_DOWN((uintptr_t)stack + size, 16u);
	struct kept *k = (struct kept *)(void *)(top - sizeof(*k)); /* then a call is aligned */

	*k = (struct kept){.r12 = (uintptr_t)fn, .r13 = (uintptr_t)arg, .back = bs_context_begin};
	c->sp = k;
}

void bs_context_switch(struct bs_context *from, struct bs_context *to)
{
	bs_context_resume(&from->sp, to->sp);
}

#else

/* makecontext passes ints only, so pointers travel as halves. */
static void begin(unsigned fn_hi, unsigned fn_lo, unsigned arg_hi, unsigned arg_lo)
{
	void (*fn)(void *) = (void (*)(void *))((uintptr_t)fn_hi << 32 | fn_lo);

	fn((void *)((uintptr_t)arg_hi << 32 | arg_lo));
}

void bs_context_make(struct bs_context *c, void *stack, size_t size, void (*fn)(void *arg),
		     void *arg)
{
	uintptr_t f = (uintptr_t)fn, a = (uintptr_t)arg;

	getcontext(&c->uc);
	c->uc.uc_stack.ss_sp = stack;
	c->uc.uc_stack.ss_size = size;
	c->uc.uc_link = NULL;
	makecontext(&c->uc, (void (*)(void))begin, 4, (unsigned)(f >> 32), (unsigned)f,
		    (unsigned)(a >> 32), (unsigned)a);
}

void bs_context_switch(struct bs_context *from, struct bs_context *to)
{
	swapcontext(&from->uc, &to->uc);
}

#endif
