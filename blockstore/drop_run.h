/*
 * A run of drops in memory: given in any order, taken out leaf by leaf of the place table.
 *
 * Invariants: cid[0, heap) is a heap, the lowest slot on top; cid[heap, left) are those of the
 * lowest leaf, once collected, equal ones together. Owned by whoever holds the run; no locks.
 */
#ifndef BS_DROP_RUN_H
#define BS_DROP_RUN_H

#include "blockstore/table_format.h"

struct bs_droprun {
	uint64_t *cid;
	uint64_t room;	/* entries of cid */
	uint64_t count; /* entries in the drop table, those that are done included */
	uint64_t left, heap;
};

static inline uint64_t bs_drop_leaf(uint64_t cid)
{
	return bs_cid_slot(cid) / BS_PLACES_PER_PAGE;
}

/* Makes sure of room for so many. VS_E_NOMEM. cid is freed by the owner. */
int bs_droprun_grow(struct bs_droprun *r, uint64_t room) vs_must_check;
/* There is room, and nothing is collected. */
void bs_droprun_push(struct bs_droprun *r, uint64_t cid);
/*
 * All entries of the lowest leaf stand in cid[heap, left) afterwards. false: not yet, because that
 * takes more than `most` moves.
 */
bool bs_droprun_collect(struct bs_droprun *r, uint64_t most);
/* How many of the collected ones are equal to that at `at`, itself and those behind it. */
uint32_t bs_droprun_same(const struct bs_droprun *r, uint64_t at);

#endif
