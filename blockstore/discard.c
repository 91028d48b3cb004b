#include "blockstore/discard.h"

/* One segment at a time: giving back is never in a hurry. */
static uint32_t next(struct bs_engine *e)
{
	struct bs_segs *s = &e->segs;

	for (uint32_t n = 0; n < s->count && s->discards; n++) {
		uint32_t seg = e->discard_at;

		e->discard_at = (seg + 1) % s->count;
		if (s->seg[seg].discard && !s->seg[seg].readers && !s->seg[seg].writers)
			return seg;
	}
	return BS_SEG_NONE;
}

static void discard_fiber(void *arg)
{
	struct bs_engine *e = arg;
	uint32_t seg;

	while (!e->stopping && !e->failed && (seg = next(e)) != BS_SEG_NONE) {
		e->segs.seg[seg].discard = false;
		e->segs.discards--;
		e->segs.seg[seg].writers++; /* nobody takes it meanwhile */
		if (bs_engine_dev(e, BS_DEV_DISCARD, bs_engine_where(e, seg, 0), NULL,
				  e->segs.size) == 0)
			e->count.discarded += e->segs.size;
		e->segs.seg[seg].writers--;
		bs_engine_room(e);
	}
	e->discarding = false;
}

void bs_discard_start(struct bs_engine *e)
{
	if (!e->segs.discards || e->discarding || e->read_only || e->failed || e->stopping)
		return;
	e->discarding = true;
	if (!bs_fiber_start(e->fibers, discard_fiber, e))
		e->discarding = false;
}
