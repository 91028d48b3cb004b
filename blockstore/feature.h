/*
 * Features of the format that a store starts to use while it is open. Engine's thread.
 *
 * Software that does not know a feature must not find what it means in table or log. So both
 * superblocks say that it is used before the first record that needs it is appended.
 */
#ifndef BS_FEATURE_H
#define BS_FEATURE_H

#include "blockstore/engine.h"

/* In a fiber: returns once both superblocks have the flag. VS_E_FAILED: the store has failed. */
int bs_feature_use(struct bs_engine *e, uint64_t incompat) vs_must_check;
bool bs_feature_used(const struct bs_engine *e, uint64_t incompat);

#endif
