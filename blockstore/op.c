#include "blockstore/op.h"

#include "blockstore/exact_int.h"
#include "blockstore/mem.h"
#include "blockstore/mend.h"
#include "blockstore/plant.h"
#include "blockstore/port.h"

#include <stdlib.h>

int bs_arena_new(unsigned pages, struct bs_arena **out)
{
	struct bs_arena *a = calloc(1, sizeof(*a));

	if (!a)
		return VS_E_NOMEM;
	a->count = a->nfree = pages;
	a->mem = bs_mem_new((size_t)pages * BS_PAGE);
	a->used = calloc(pages, 1);
	if (!a->mem || !a->used) {
		bs_arena_free(a);
		return VS_E_NOMEM;
	}
	*out = a;
	return 0;
}

void bs_arena_free(struct bs_arena *a)
{
	if (!a)
		return;
	bs_mem_free(a->mem, (size_t)a->count * BS_PAGE);
	free(a->used);
	free(a);
}

static bool run_free(const struct bs_arena *a, unsigned at, unsigned pages, unsigned *next)
{
	for (unsigned i = 0; i < pages; i++) {
		if (a->used[at + i]) {
			*next = at + i + 1;
			return false;
		}
	}
	return true;
}

uint8_t *bs_arena_take(struct bs_arena *a, unsigned pages)
{
	unsigned at;

	if (a->nfree < pages)
		return NULL;
	while (a->used[a->low])
		a->low++;
	at = a->low;
	while (at + pages <= a->count) {
		if (!run_free(a, at, pages, &at))
			continue;
		memset(a->used + at, 1, pages);
		a->nfree -= pages;
		return a->mem + (size_t)at * BS_PAGE;
	}
	return NULL;
}

void bs_arena_give(struct bs_arena *a, uint8_t *run, unsigned pages)
{
	size_t at = (size_t)(run - a->mem) / BS_PAGE;

	memset(a->used + at, 0, pages);
	a->nfree += pages;
	a->low = VS_MIN(a->low, (unsigned)at);
}

static void put(struct bs_opq *q, struct bs_iop *op)
{
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
}

static struct bs_iop *take(struct bs_opq *q)
{
	struct bs_iop *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

/* The blocks that an operation changes: of what is scattered, its whole object. */
static uint64_t span(const struct bs_iop *op)
{
	return op->scattered || op->stage == BS_OP_CLONE ? UINT64_C(1) << BS_OBJECT_SHIFT
							 : op->count;
}

/* What holds blocks is with its port, which may change its stage, and is neither of those. */
bool bs_op_conflicts(const struct bs_engine *e, const struct bs_iop *op)
{
	for (const struct bs_iop *l = e->locks; l; l = l->lock_next)
		if (!bs_planted(NO_LOCKS) && l != op && l->vol == op->vol &&
		    l->block < op->block + span(op) && op->block < l->block + l->count)
			return true;
	return false;
}

void bs_op_lock(struct bs_engine *e, struct bs_iop *op)
{
	op->locked = true;
	op->lock_next = e->locks;
	e->locks = op;
}

static void unlock(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_iop **p = &e->locks, *w;

	if (!op->locked)
		return;
	op->locked = false;
	while (*p != op)
		p = &(*p)->lock_next;
	*p = op->lock_next;
	while ((w = take(&e->locked)))
		put(&e->pending, w);
}

void bs_op_answer(struct bs_engine *e, struct bs_iop *op, enum bs_stage stage)
{
	op->stage = stage;
	bs_port_answer(op->port, op);
	(void)e;
}

void bs_op_done(struct bs_engine *e, struct bs_iop *op, int status)
{
	bs_op_read_release(e, op);
	unlock(e, op);
	op->status = status;
	bs_op_answer(e, op, BS_OP_DONE);
}

void bs_op_acked(struct bs_engine *e, struct bs_iop *op, int status)
{
	unlock(e, op);
	if (status == 0 && op->fua && !bs_planted(EARLY_FUA))
		bs_log_flush_op(e, op);
	else
		bs_op_done(e, op, status);
}

void bs_op_flushed(struct bs_engine *e, struct bs_iop *op, int status)
{
	bs_op_done(e, op, status);
}

void bs_op_resume(struct bs_engine *e, struct bs_iop *op)
{
	put(&e->pending, op);
}

static bool changes(const struct bs_iop *op)
{
	return op->stage == BS_OP_WRITE || op->stage == BS_OP_LINK || op->stage == BS_OP_TRIM ||
	       op->stage == BS_OP_LOCK || op->stage == BS_OP_COPY || op->stage == BS_OP_CLONE;
}

/* One attempt; VS_E_AGAIN only outside fibers. */
static int run(struct bs_engine *e, struct bs_iop *op)
{
	if (e->locks && changes(op) && !op->locked && bs_op_conflicts(e, op)) {
		put(&e->locked, op);
		return 0;
	}
	switch (op->stage) {
	case BS_OP_READ:
		return bs_op_read(e, op);
	case BS_OP_LOCK:
		if (!op->locked)
			bs_op_lock(e, op);
		return bs_op_read(e, op);
	case BS_OP_MEND:
		return bs_op_mend(e, op);
	case BS_OP_WRITE:
		return bs_op_write(e, op);
	case BS_OP_LINK:
		return bs_op_link(e, op);
	case BS_OP_COPY:
		return bs_op_copy(e, op);
	case BS_OP_TRIM:
		return bs_op_trim(e, op);
	case BS_OP_FILL:
		return bs_op_fill(e, op);
	case BS_OP_WORDS:
		return bs_op_words(e, op);
	case BS_OP_CLONE:
		return bs_op_clone(e, op);
	case BS_OP_STATUS:
		return bs_op_status(e, op);
	case BS_OP_FLUSH:
		op->seq = 0;
		bs_log_flush_op(e, op);
		return 0;
	case BS_OP_RELEASE:
		if (op->req && op->then == BS_OP_COPY && op->status == 0) {
			bs_op_read_release(e, op);
			bs_op_answer(e, op, BS_OP_LOADED);
		} else if (op->req) {
			bs_op_done(e, op, op->status);
		} else {
			bs_op_read_release(e, op);
			bs_port_return(op->port, op);
		}
		return 0;
	default:
		VS_ASSERT(!"not the engine's stage");
	}
	return 0;
}

/* Errors end an operation here, in one place. */
static void finish(struct bs_engine *e, struct bs_iop *op, int rc)
{
	if (rc)
		bs_op_done(e, op, rc);
}

static void op_fiber(void *arg)
{
	struct bs_iop *op = arg;
	struct bs_engine *e = bs_port_engine(op->port);
	int rc;

	do {
		rc = run(e, op);
		if (rc == VS_E_AGAIN)
			bs_fiber_yield(e->fibers);
	} while (rc == VS_E_AGAIN);
	finish(e, op, rc);
	bs_frames_unkeep(e);
	e->op_fibers--;
}

void bs_op_submit(struct bs_engine *e, struct bs_iop *op)
{
	int rc = VS_E_AGAIN;

	if (op->stage == BS_OP_WRITE) /* in line it must not hold what others there wait for */
		bs_op_read_release(e, op);
	if (!e->pending.head || op->stage == BS_OP_RELEASE || op->stage == BS_OP_READ)
		rc = run(e, op);
	if (rc == VS_E_AGAIN)
		put(&e->pending, op);
	else
		finish(e, op, rc);
}

unsigned bs_ops_limit(const struct bs_engine *e)
{
	return e->cfg.fibers - BS_FIBERS_KEPT;
}

bool bs_ops_pump(struct bs_engine *e)
{
	unsigned limit = bs_ops_limit(e);
	bool did = false;

	while (e->pending.head && e->op_fibers < limit && bs_fiber_idle(e->fibers)) {
		struct bs_iop *op = take(&e->pending);

		e->op_fibers++;
		did = true;
		if (!bs_fiber_start(e->fibers, op_fiber, op))
			VS_ASSERT(!"an idle fiber did not start");
	}
	return did;
}
