/*
 * Recovery: from the newest valid superblock over the tables to the log's end. Runs in a fiber.
 */
#ifndef BS_REPLAY_H
#define BS_REPLAY_H

#include "blockstore/engine.h"

/* Loads tables and executes the log's tail. Damage makes the engine read-only, with an event. */
int bs_replay_run(struct bs_engine *e, struct vs_error *err) vs_must_check;
/* (step, in replay) The id that the record being replayed gave to its next new map page. */
uint64_t bs_replay_page(struct bs_engine *e);

#endif
