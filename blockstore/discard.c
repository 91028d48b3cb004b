#include "blockstore/discard.h"

#include "blockstore/plant.h"
#include "blockstore/stock.h"

/* A segment is given back at the end of this many periods, begun ones included. */
#define PERIODS 3u
#define READY 2u /* segments with space that the log wants before it */
#define LOOKS_PER_STEP 4096u

static bool halted(const struct bs_engine *e)
{
	return e->read_only || e->failed || e->stopping;
}

static bool idle(const struct bs_seg *g)
{
	bool hasty = bs_planted(HASTY_DISCARD) && g->ent.state == BS_SEG_FREEING;

	return (g->ent.state == BS_SEG_FREE || hasty) && !g->shut && !g->readers && !g->writers;
}

static int run(struct bs_engine *e, enum bs_devop op, uint32_t seg)
{
	int rc;

	e->segs.seg[seg].writers++; /* nobody takes it meanwhile */
	rc = bs_engine_dev(e, op, bs_engine_where(e, seg, 0), NULL, e->segs.size);
	e->segs.seg[seg].writers--;
	bs_engine_room(e);
	return rc;
}

static void give_back(struct bs_engine *e, uint32_t seg)
{
	e->segs.seg[seg].discard = false;
	e->segs.discards--;
	if (run(e, BS_DEV_DISCARD, seg) == 0)
		e->count.discarded += e->segs.size;
}

static bool old(const struct bs_segs *s, const struct bs_seg *g)
{
	return g->discard && !g->stocked && (uint8_t)(s->period - g->freed) >= PERIODS;
}

static void give_back_all(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	s->period++;
	for (uint32_t seg = 0; seg < s->count && s->discards > s->nstocked && !halted(e); seg++) {
		if (old(s, &s->seg[seg]) && idle(&s->seg[seg]))
			give_back(e, seg);
		if (seg % LOOKS_PER_STEP == LOOKS_PER_STEP - 1)
			bs_fiber_yield(e->fibers);
	}
	e->discard_due = e->env.now_ns(e->env.arg) + e->cfg.discard_ns / PERIODS;
}

/* Whoever flushes each write would wait for space to be found each time. */
static bool ready_due(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	return bs_log_flush_lone(&e->log) && s->nstocked < READY && !e->checkpointing &&
	       s->nfree > s->reserve[BS_NEED_DATA] + bs_segs_margin(s);
}

static void make_ready(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;
	uint32_t seg = s->hint;

	for (uint32_t n = 1; n < s->count && (s->seg[seg].stocked || !idle(&s->seg[seg])); n++) {
		seg = (seg + 1) % s->count;
		if (n % LOOKS_PER_STEP == 0)
			bs_fiber_yield(e->fibers);
	}
	if (!idle(&s->seg[seg]) || run(e, BS_DEV_READY, seg))
		return;
	s->discards += e->cfg.discard && !s->seg[seg].discard;
	s->seg[seg].discard = e->cfg.discard;
	s->seg[seg].freed = s->period;
	bs_stock_put(s, seg);
}

static bool give_back_due(const struct bs_engine *e)
{
	return e->segs.discards > e->segs.nstocked && e->env.now_ns(e->env.arg) >= e->discard_due;
}

static void discard_fiber(void *arg)
{
	struct bs_engine *e = arg;

	if (ready_due(e))
		make_ready(e);
	else
		give_back_all(e);
	e->discarding = false;
}

void bs_discard_start(struct bs_engine *e)
{
	if (e->discarding || halted(e) || (!ready_due(e) && !give_back_due(e)))
		return;
	e->discarding = true;
	if (!bs_fiber_start(e->fibers, discard_fiber, e))
		e->discarding = false;
}

uint64_t bs_discard_wake(const struct bs_engine *e)
{
	bool waits = e->segs.discards > e->segs.nstocked && !e->discarding && !halted(e);

	return waits ? e->discard_due : UINT64_MAX;
}

void bs_discard_open(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	for (uint32_t seg = 0; seg < s->count && e->cfg.discard && !e->read_only; seg++) {
		s->seg[seg].discard = s->seg[seg].ent.state == BS_SEG_FREE && !s->seg[seg].shut;
		s->discards += s->seg[seg].discard;
	}
	e->discard_due = e->env.now_ns(e->env.arg) + e->cfg.discard_ns / PERIODS;
}
