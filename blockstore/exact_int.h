/*
 * The engine's side of exact.h. Engine's thread.
 */
#ifndef BS_EXACT_INT_H
#define BS_EXACT_INT_H

#include "blockstore/engine.h"

int bs_exact_init(struct bs_engine *e) vs_must_check;
void bs_exact_destroy(struct bs_engine *e);
/* Starts the background fiber when there is something to compute; ends waits whose time is up. */
void bs_exact_start(struct bs_engine *e);
bool bs_exact_busy(const struct bs_engine *e);
uint64_t bs_exact_wake(const struct bs_engine *e); /* when to call start again; UINT64_MAX: never */

#endif
