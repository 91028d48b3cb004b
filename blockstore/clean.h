/*
 * The cleaner: empties the segments that hold least by appending what lives, so that space which
 * overwrites and deletions have left behind can be used again. Greedy; one fiber.
 */
#ifndef BS_CLEAN_H
#define BS_CLEAN_H

#include "blockstore/engine.h"

void bs_clean_start(struct bs_engine *e); /* when free segments are few */

#endif
