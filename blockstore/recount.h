/*
 * Counting everything again from the volumes' maps: references, copies, space, the counters.
 * In a fiber, on an engine on which nothing else happens (offline check, simulation).
 */
#ifndef BS_RECOUNT_H
#define BS_RECOUNT_H

#include "blockstore/check.h"
#include "blockstore/engine.h"

/* Adds to out; one report line for each difference, at most 1,000 lines. */
int bs_recount_run(struct bs_engine *e, const struct bs_check_options *opts,
		   struct bs_check_result *out) vs_must_check;

#endif
