/*
 * The dedup index of an open store: which content has a digest. A hint over the digest table
 * (dedup/index.h), helped by locality (near.h) once it cannot hold every digest.
 *
 * Engine's thread. Filled in the background after each open; the store serves meanwhile and misses
 * what has not been entered yet.
 */
#ifndef BS_INDEX_H
#define BS_INDEX_H

#include "blockstore/index_format.h"
#include "blockstore/near.h"
#include "blockstore/super_format.h"

struct bs_index {
	struct dd_index *all; /* NULL: no content is looked for */
	struct bs_near near;
	bool filled;		     /* or nothing is to be filled */
	bool changing;		     /* about to be made anew: nothing is entered */
	bool running;		     /* the background fiber */
	struct bs_saved_index saved; /* named by the closing checkpoint */
	uint32_t *chain; /* saved segments still to be loaded: the last `loading` first */
	uint32_t loading;
	uint64_t nonce; /* of them */
	uint8_t *buf;	/* the segment that is being loaded, with its head and next word */
	struct bs_ixseg head;
	uint32_t word;
	bool reading;
	uint64_t leaf;	    /* of the place table, entered next */
	uint64_t fill_seen; /* contents entered by it */
};

int bs_index_init(struct bs_engine *e) vs_must_check;
void bs_index_destroy(struct bs_engine *e);

/* A live content with this digest and room for a reference; VS_E_NOENT: none. */
int bs_index_find(struct bs_engine *e, const struct dd_digest *d, uint64_t *cid) vs_must_check;
void bs_index_warm(const struct bs_engine *e, const struct dd_digest *d); /* soon looked for */
/* (step) New content in slot, which held `old` before; d NULL: that nobody may find. */
void bs_index_enter(struct bs_engine *e, const struct dd_digest *d, const struct dd_digest *old,
		    uint64_t slot);

void bs_index_forget(struct bs_engine *e, const struct dd_digest *d, uint64_t slot); /* (step) */

/*
 * In a fiber: frees the index and makes one of another size, filled in the background; 0: none.
 * VS_E_NOMEM, VS_E_INVAL (too small): there is none from then on.
 */
int bs_index_resize(struct bs_engine *e, uint64_t bytes) vs_must_check;
void bs_index_start(struct bs_engine *e); /* the background fiber, when there is work for it */
void bs_index_info(const struct bs_engine *e, struct bs_store_info *out);
bool bs_index_busy(const struct bs_engine *e);

#endif
