/*
 * Giving the bytes of free segments back to the devices, in the background. Engine's thread.
 *
 * bs_seg.discard: the segment has become free, which means that neither superblock nor the log
 * behind the older one needs it, and has not been taken since.
 */
#ifndef BS_DISCARD_H
#define BS_DISCARD_H

#include "blockstore/engine.h"

void bs_discard_start(struct bs_engine *e);

#endif
