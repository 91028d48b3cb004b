/*
 * The threaded side of a store: its engine's thread, and calls into it from other threads.
 */
#ifndef BS_STORE_INT_H
#define BS_STORE_INT_H

#include "blockstore/engine.h"
#include "common/loop.h"

/* Runs fn in a fiber of the engine and waits. writer: one such call at a time. */
int bs_store_call(struct bs_store *s, bool writer, int (*fn)(struct bs_engine *, struct bs_call *),
		  void *arg, struct vs_error *err) vs_must_check;
struct bs_engine *bs_store_engine(struct bs_store *s);

/* What a store's engine gets out of a budget of memory. */
void bs_store_budget(uint64_t memory, struct bs_engine_config *cfg);
void bs_store_env(struct bs_env *env); /* clocks and random of the system */

/* On the engine's thread: the store watches and closes dev; or no longer does. */
int bs_store_adopt(struct bs_store *s, struct bs_device *dev, struct vs_error *err) vs_must_check;
void bs_store_disown(struct bs_store *s, struct bs_device *dev);
/* Whether the first or the last MiB has a byte that is not zero. */
int bs_init_holds_data(struct bs_device *dev, bool *data) vs_must_check;

#endif
