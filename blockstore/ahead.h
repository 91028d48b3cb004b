/*
 * Reading ahead: table leaves that will be needed soon come into memory several at a time and
 * without a fiber. A hint: what cannot be had is left out, and what fails is not reported, because
 * whoever needs the leaf reads it again and says so. Engine's thread.
 */
#ifndef BS_AHEAD_H
#define BS_AHEAD_H

#include "blockstore/device.h"

struct bs_engine;
struct bs_frame;

#define BS_AHEAD_MAX 16u

struct bs_ahead {
	struct bs_ahead_io {
		struct bs_engine *e;
		struct bs_frame *f; /* NULL: free */
		uint64_t check;
		uint32_t seg;
		struct bs_devio io;
	} ios[BS_AHEAD_MAX];
	unsigned busy;
};

/* May evict, so not within a step. Whether the leaf is there or on its way now. */
bool bs_ahead_leaf(struct bs_engine *e, unsigned tree, uint64_t leaf);
/* The same if it lies there. False: too many are on their way, it is to be asked for again. */
bool bs_ahead_leaf_at(struct bs_engine *e, unsigned tree, uint64_t leaf, uint32_t seg,
		      uint32_t off);

#endif
