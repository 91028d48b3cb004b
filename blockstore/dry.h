/*
 * A dry run of the release queue: what dropping one reference of a map page would free.
 *
 * Pages of one position of the map (a level, a range of blocks) refer only to pages of the same
 * position (bases) and of those below, so the run goes position by position from the top and keeps
 * in memory only what the few pages of one position lose. Of contents with several references the
 * decrements are counted in a table of fixed size; when it is full, the contents with the larger
 * slots are left for another pass, so the result is exact whatever the size. Engine's thread.
 */
#ifndef BS_DRY_H
#define BS_DRY_H

#include "blockstore/engine.h"

struct bs_dry;
/* slots: contents counted in one pass; a power of two, at least 16. */
int bs_dry_new(unsigned slots, struct bs_dry **out) vs_must_check;
void bs_dry_free(struct bs_dry *d);
/*
 * In a fiber. level: of page root. *bytes: stored bytes of contents, and 4096 for each page. The
 * map may change meanwhile: then *bytes is of no state, or VS_E_CORRUPT comes back. VS_E_CANCELED:
 * the store is being closed.
 */
int bs_dry_run(struct bs_engine *e, struct bs_dry *d, uint64_t root, unsigned level,
	       uint64_t *bytes) vs_must_check;

#endif
