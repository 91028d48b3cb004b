/*
 * Block cache: decoded blocks by CID, so that all clones share one copy. The engine's thread owns
 * the table; front ends read and fill blocks that are pinned for them.
 */
#ifndef BS_CACHE_H
#define BS_CACHE_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct bs_cblock {
	uint64_t cid; /* 0: not in the table */
	uint8_t *data;
	struct bs_cblock *next;
	uint32_t pins;
	bool recent;
};

struct bs_cache {
	struct bs_cblock *all, **hash;
	uint8_t *mem;
	unsigned count, mask, hand;
};

int bs_cache_init(struct bs_cache *c, unsigned blocks) vs_must_check; /* 0 blocks: no cache */
void bs_cache_destroy(struct bs_cache *c);
struct bs_cblock *bs_cache_get(struct bs_cache *c, uint64_t cid); /* pinned; NULL: not there */
/* A pinned block to be filled, not in the table yet; NULL when all are pinned. */
struct bs_cblock *bs_cache_new(struct bs_cache *c);
void bs_cache_put(struct bs_cache *c, struct bs_cblock *b);		     /* unpins */
void bs_cache_insert(struct bs_cache *c, struct bs_cblock *b, uint64_t cid); /* filled */
/* cid will be asked for in a moment. */
void bs_cache_expect(const struct bs_cache *c, uint64_t cid);
void bs_cache_forget(struct bs_cache *c, uint64_t cid);

#endif
