/*
 * Bringing a mirror's side up to date: copying the segments in use to it while everything that is
 * written goes to it as well. Engine's thread.
 *
 * bs_seg.behind: a side that is being resilvered lacks what the segment held when the side came.
 * Segments that are still being written at that time are copied once they no longer are.
 */
#ifndef BS_RESILVER_H
#define BS_RESILVER_H

#include "blockstore/engine.h"

/* Device i has just become RESILVER: what of its group it has not got yet. */
void bs_resilver_mark(struct bs_engine *e, unsigned i);
/* Starts copying when there is something to copy, or to finish. */
void bs_resilver_start(struct bs_engine *e);
/* Segments in use of device i's group, and how many of them are still to be copied. */
void bs_resilver_progress(const struct bs_engine *e, unsigned i, uint32_t *left, uint32_t *used);

#endif
