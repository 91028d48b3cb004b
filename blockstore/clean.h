/*
 * The cleaner: empties segments by appending what lives in them, so that space which overwrites and
 * deletions have left behind can be used again (DESIGN.md, "Cleaner and space"). One fiber.
 */
#ifndef BS_CLEAN_H
#define BS_CLEAN_H

#include "blockstore/engine.h"

int bs_clean_init(struct bs_engine *e) vs_must_check; /* its memory */
void bs_clean_destroy(struct bs_engine *e);
void bs_clean_start(struct bs_engine *e); /* when free segments are few */
/* Data is to wait until more has been moved: free segments are scarce, and it is ahead. */
bool bs_clean_holds_data(struct bs_engine *e);

#endif
