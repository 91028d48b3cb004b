/*
 * Segments that were given up last and are taken first: the device still has space for them, so a
 * write there needs none (DESIGN.md, "Space of the devices"). Engine's thread.
 *
 * bs_seg.stocked: the segment is free and counted in bs_segs.nstocked. bs_segs.stock names all that
 * are, the oldest first; also some that have been taken since by others, or are named twice.
 */
#ifndef BS_STOCK_H
#define BS_STOCK_H

#include "blockstore/segment.h"

/* (step) seg is free and has space: at most bs_stock_most are kept, the oldest falls out. */
void bs_stock_put(struct bs_segs *s, uint32_t seg);
/* (step) The one put in last; it is no longer stocked. BS_SEG_NONE: there is none. */
uint32_t bs_stock_take(struct bs_segs *s);
/* (step) seg is no longer free. */
void bs_stock_drop(struct bs_segs *s, uint32_t seg);

static inline uint32_t bs_stock_most(const struct bs_segs *s)
{
	return VS_MIN(VS_MAX(s->count / 32, 2u), BS_STOCK_MAX);
}

#endif
