/*
 * Space of the devices (DESIGN.md): what has been free for a while is given back, and what the log
 * needs next is made ready. In the background, one segment at a time. Engine's thread.
 *
 * bs_seg.discard: the segment is free, which means that neither superblock nor the log behind the
 * older one needs it, and its space may not have been given back. bs_seg.freed: in which period.
 */
#ifndef BS_DISCARD_H
#define BS_DISCARD_H

#include "blockstore/engine.h"

void bs_discard_open(struct bs_engine *e); /* (step) what was free before counts as free from now */
void bs_discard_start(struct bs_engine *e);
uint64_t bs_discard_wake(const struct bs_engine *e); /* when it wants to be started */

#endif
