/*
 * Checkpoints: all changed pages as they were at one cut of the log, then the superblock.
 * Engine's thread; see DESIGN.md, "Checkpoint".
 */
#ifndef BS_CHECKPOINT_H
#define BS_CHECKPOINT_H

#include "blockstore/frame.h"

#define BS_CK_UNIT_PAGES 31u /* 128 KiB with the header: others' writes wait behind it */

int bs_checkpoint_init(struct bs_engine *e)
    vs_must_check; /* memory only; frames and segments are */
/* The same for so many segments, while none runs. */
int bs_checkpoint_fit(struct bs_engine *e, uint32_t segments) vs_must_check;
void bs_checkpoint_destroy(struct bs_engine *e);
void bs_checkpoint_want(struct bs_engine *e);
/*
 * In a fiber: waits until none runs. The background starts none while somebody waits, or a store
 * that makes one after the other would let them wait for ever.
 */
void bs_checkpoint_settle(struct bs_engine *e);
/* Starts one when it is wanted or due. */
void bs_checkpoint_start(struct bs_engine *e);
/* In a fiber: makes one that covers everything up to now. clean: nothing will follow in the log. */
int bs_checkpoint_run(struct bs_engine *e, bool clean) vs_must_check;
/*
 * Copies bytes that have their place but are not yet on the device; false: the device has them.
 * Whoever reads pages from the device asks this first (bs_engine_read and bs_mend_read do).
 */
bool bs_checkpoint_staged(const struct bs_engine *e, uint32_t seg, uint32_t off, void *buf,
			  uint32_t len);

#endif
