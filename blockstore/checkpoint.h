/*
 * Checkpoints: all changed pages as they were at one cut of the log, then the superblock.
 * Engine's thread; see DESIGN.md, "Checkpoint".
 */
#ifndef BS_CHECKPOINT_H
#define BS_CHECKPOINT_H

#include "blockstore/frame.h"

void bs_checkpoint_want(struct bs_engine *e);
/* Starts one when it is wanted or due. */
void bs_checkpoint_start(struct bs_engine *e);
/* In a fiber: makes one that covers everything up to now. clean: nothing will follow in the log. */
int bs_checkpoint_run(struct bs_engine *e, bool clean) vs_must_check;
/* The running checkpoint keeps buf for its entry: the frame has changed or is gone. */
void bs_checkpoint_keep(struct bs_engine *e, uint32_t entry, uint8_t *buf);
void bs_checkpoint_destroy(struct bs_engine *e);

#endif
