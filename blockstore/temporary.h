/*
 * Temporary volumes inside the engine (volume.h has the call that makes one). In fibers, by calls
 * that change volumes.
 */
#ifndef BS_TEMPORARY_H
#define BS_TEMPORARY_H

#include "blockstore/engine.h"

struct bs_vol;

int bs_temporary_delete(struct bs_engine *e, const struct bs_vol *v) vs_must_check;
/* After recovery: those whose holders did not live to close them. */
int bs_temporary_purge(struct bs_engine *e) vs_must_check;

#endif
