/*
 * The dedup index across a clean stop.
 *
 * At the end of a clean stop the index is written to segments that are free and stay free: nothing
 * counts them, nothing needs to give them back, and software that knows nothing of it is not
 * disturbed. The superblock of the closing checkpoint names the first. The next open holds them
 * until they are read in the background; whatever is damaged or missing is entered again from the
 * tables. After a crash no superblock names any.
 *
 * In fibers of the engine.
 */
#ifndef BS_INDEX_SAVE_H
#define BS_INDEX_SAVE_H

#include "blockstore/engine.h"

/* Before the closing checkpoint. Saves nothing when segments are short. */
void bs_index_save(struct bs_engine *e);
/* After replay, before anything is written: holds the segments of what was saved. */
void bs_index_open(struct bs_engine *e);
/* One segment of index.loading. */
void bs_index_load(struct bs_engine *e);
void bs_index_drop_saved(struct bs_engine *e); /* what was not loaded yet is of no use */
void bs_index_close(struct bs_engine *e);      /* frees what opening took */

#endif
