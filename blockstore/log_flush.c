#include "blockstore/engine.h"
#include "blockstore/op.h"
#include "blockstore/plant.h"

/* lone rises by one with a flush for one unit, falls by two with one for more, and counts from: */
#define LONE_ENOUGH 4u
#define LONE_MOST 8u

static uint64_t appended_seq(const struct bs_log *l)
{
	bool any = l->open && (l->open->records || l->open->npages);

	return any ? l->next_seq : l->next_seq - 1;
}

static void want_flush(struct bs_log *l, uint64_t seq)
{
	if (!l->flush_wanted || seq < l->flush_first)
		l->flush_first = seq;
	l->flush_wanted = true;
}

static void note_flush(struct bs_log *l, uint64_t seq)
{
	if (seq == l->asked_seq + 1)
		l->lone = VS_MIN(l->lone + 1, LONE_MOST);
	else if (seq > l->asked_seq)
		l->lone -= VS_MIN(l->lone, 2u);
}

void bs_log_flush_op(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_log *l = &e->log;

	if (op->seq == 0) {
		op->seq = appended_seq(l);
		note_flush(l, op->seq);
	}
	l->asked_seq = VS_MAX(l->asked_seq, op->seq);
	if (e->failed || l->durable_seq >= op->seq) {
		bs_op_flushed(e, op, e->failed ? VS_E_FAILED : 0);
		return;
	}
	op->next = l->flush_ops;
	l->flush_ops = op;
	want_flush(l, op->seq);
}

int bs_log_commit(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	uint64_t seq = appended_seq(l);

	while (l->durable_seq < seq && !e->failed) {
		want_flush(l, seq);
		bs_fiber_block(e->fibers, &l->flush_wait);
	}
	return e->failed ? VS_E_FAILED : 0;
}

bool bs_log_flush_lone(const struct bs_log *l)
{
	return l->lone >= LONE_ENOUGH;
}

/* All before u is durable, and nothing else would be lost without a word if its write fails. */
static bool may_be_alone(const struct bs_engine *e, const struct bs_unit *u)
{
	const struct bs_log *l = &e->log;

	if (l->never_alone || (e->checkpointing && !bs_planted(FAILED_ALONE)) || l->flight[0] != u)
		return false;
	return l->durable_seq + 1 == u->seq || bs_planted(HASTY_ALONE);
}

bool bs_log_flush_alone(const struct bs_engine *e, const struct bs_unit *u)
{
	const struct bs_log *l = &e->log;
	bool expected = bs_log_flush_lone(l) && l->asked_seq + 1 == u->seq;

	return (u->fua || l->flush_wanted || expected) && may_be_alone(e, u);
}

void bs_log_flush_reached(struct bs_engine *e, uint64_t seq)
{
	struct bs_log *l = &e->log;

	if (seq > l->durable_seq)
		l->durable_seq = seq;
	if (e->env.witness_put)
		e->env.witness_put(e->env.arg, l->epoch, l->durable_seq);
}

void bs_log_flush_answer(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	struct bs_iop *op = l->flush_ops, *next;

	l->flush_ops = NULL;
	l->flush_wanted = false;
	bs_fiber_wake_all(e->fibers, &l->flush_wait); /* those not served ask again */
	for (; op; op = next) {
		next = op->next;
		bs_log_flush_op(e, op);
	}
}

static void flush_done(struct bs_devio *io)
{
	struct bs_engine *e = io->arg;
	struct bs_log *l = &e->log;

	l->flush_busy = false;
	if (io->status && bs_planted(FLUSH_AGAIN)) {
		l->flush_wanted = true;
		return;
	}
	if (io->status) {
		bs_engine_fail(e, "the device failed a flush: what it holds is not known");
		return;
	}
	bs_log_flush_reached(e, l->flush_target);
	bs_log_flush_answer(e);
}

bool bs_log_flush_start(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	uint64_t written = l->written_seq + (bs_planted(EARLY_DURABLE) && l->nflight);

	if (!l->flush_wanted || l->flush_busy || written < l->flush_first)
		return false;
	l->flush_busy = true;
	l->flush_target = written;
	l->flush_io = (struct bs_devio){.op = BS_DEV_FLUSH, .done = flush_done, .arg = e};
	if (bs_planted(SKIPPED_FLUSH) && written % 5 == 0) {
		flush_done(&l->flush_io);
		return true;
	}
	e->count.flushes++;
	bs_device_submit(e->dev, &l->flush_io);
	return true;
}
