#include "blockstore/content.h"
#include "blockstore/origin_int.h"

/*
 * A read that waits is in the list of all that do, in the order in which they came, and holds
 * nothing but, where it is part of a write, its lock. Of a piece that it waits for `place` says
 * where that is, and `filled` that the runner was told. `seq` is the time at which it gives up.
 */

static bool waits_for(const struct bs_piece *p)
{
	return p->cid && bs_place_at_origin(&p->place);
}

static bool is_lock(const struct bs_iop *op)
{
	return op->then == BS_OP_WRITE;
}

static void call_runners(struct bs_engine *e, const struct bs_iop *op)
{
	uint32_t last = 0;

	for (unsigned i = 0; i < op->count; i++) {
		const struct bs_vol *o;

		if (!waits_for(&op->piece[i]) || op->piece[i].place.origin == last)
			continue;
		last = op->piece[i].place.origin;
		o = bs_vol_origin(e, last);
		if (o && o->origin)
			o->origin->wake(o->origin->arg);
	}
}

int bs_origin_park(struct bs_engine *e, struct bs_iop *op)
{
	for (unsigned i = 0; i < op->count; i++) {
		struct bs_piece *p = &op->piece[i];

		if (waits_for(p) && !bs_origin_of(e, &p->place))
			return VS_E_CORRUPT;
		p->filled = false;
	}
	if (e->read_only) /* nobody can bring it */
		return VS_E_IO;
	op->stage = is_lock(op) ? BS_OP_LOCK : BS_OP_READ;
	op->seq = e->env.now_ns(e->env.arg) + e->cfg.origin_hold_ns;
	op->next = NULL;
	if (e->parked.tail)
		e->parked.tail->next = op;
	else
		e->parked.head = op;
	e->parked.tail = op;
	call_runners(e, op);
	return 0;
}

/* Takes those out of the list that have nothing left to wait for, or failed. */
static void let_go(struct bs_engine *e, bool (*is_over)(const struct bs_iop *op, uint64_t arg),
		   uint64_t arg, int status)
{
	struct bs_iop *op = e->parked.head, *next;

	e->parked = (struct bs_opq){0};
	for (; op; op = next) {
		bool over = is_over(op, arg);

		next = op->next;
		op->next = NULL;
		if (!over) {
			if (e->parked.tail)
				e->parked.tail->next = op;
			else
				e->parked.head = op;
			e->parked.tail = op;
			continue;
		}
		op->seq = 0;
		if (status)
			bs_op_done(e, op, status);
		else
			bs_op_resume(e, op);
	}
}

static bool has_all(const struct bs_iop *op, uint64_t arg)
{
	(void)arg;
	for (unsigned i = 0; i < op->count; i++)
		if (waits_for(&op->piece[i]))
			return false;
	return true;
}

void bs_origin_left(struct bs_engine *e, uint64_t cid)
{
	bool any = false;

	for (struct bs_iop *op = e->parked.head; op; op = op->next) {
		for (unsigned i = 0; i < op->count; i++) {
			struct bs_piece *p = &op->piece[i];

			if (p->cid != cid || !waits_for(p))
				continue;
			p->place.coding = BS_CODING_PLAIN;
			any = true;
		}
	}
	if (any)
		let_go(e, has_all, 0, 0);
}

static bool needs(const struct bs_iop *op, uint64_t cid)
{
	for (unsigned i = 0; i < op->count; i++)
		if (op->piece[i].cid == cid && waits_for(&op->piece[i]))
			return true;
	return false;
}

void bs_origin_lost(struct bs_engine *e, uint64_t cid)
{
	let_go(e, needs, cid, VS_E_IO);
}

static bool has_waited(const struct bs_iop *op, uint64_t now)
{
	return op->seq <= now;
}

void bs_origin_expire(struct bs_engine *e)
{
	uint64_t now;

	if (!e->parked.head)
		return;
	now = e->env.now_ns(e->env.arg);
	if (has_waited(e->parked.head, now))
		let_go(e, has_waited, now, VS_E_IO);
}

void bs_origin_expire_all(struct bs_engine *e)
{
	let_go(e, has_waited, UINT64_MAX, VS_E_IO);
}

uint64_t bs_origin_wake(const struct bs_engine *e)
{
	return e->parked.head ? e->parked.head->seq : UINT64_MAX;
}

size_t bs_origin_ask(struct bs_engine *e, uint32_t id, struct bs_want *out, size_t max)
{
	size_t n = 0;

	for (struct bs_iop *op = e->parked.head; op && n < max; op = op->next) {
		for (unsigned i = 0; i < op->count && n < max; i++) {
			struct bs_piece *p = &op->piece[i];

			if (!waits_for(p) || p->filled || p->place.origin != id)
				continue;
			p->filled = true;
			out[n++] = (struct bs_want){p->cid, p->place.block};
		}
	}
	return n;
}

void bs_origin_forget_asked(struct bs_engine *e, uint32_t id)
{
	for (struct bs_iop *op = e->parked.head; op; op = op->next)
		for (unsigned i = 0; i < op->count; i++)
			if (op->piece[i].place.origin == id)
				op->piece[i].filled = false;
}
