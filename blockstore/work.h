/*
 * The release queue: map pages to be taken apart, on a stack in the work table.
 *
 * RELEASE: the page has no reference left. ABSORB: the page is held by one copy only and is
 * dissolved into it. Entries are hints that are verified when they are taken off.
 */
#ifndef BS_WORK_H
#define BS_WORK_H

#include "blockstore/engine.h"

int bs_work_ready(struct bs_engine *e, unsigned pushes) vs_must_check;	      /* prepares pushes */
void bs_work_push(struct bs_engine *e, uint64_t cid, enum bs_work_kind kind); /* (step) */

/* Blocking, in a fiber: works off the top entry. VS_E_NOENT: nothing to do. */
int bs_work_one(struct bs_engine *e) vs_must_check;
/* Replay of one record, in a fiber. */
int bs_work_replay(struct bs_engine *e, const struct bs_rec *r) vs_must_check;
void bs_work_start(struct bs_engine *e); /* starts the background fiber when there is work */

#endif
