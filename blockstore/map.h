/*
 * Volume maps: block -> CID, a radix tree of map pages (page.h). Engine's thread.
 */
#ifndef BS_MAP_H
#define BS_MAP_H

#include "blockstore/object.h"
#include "blockstore/page.h"

#define BS_MAP_LEVELS 7u

/* The bottom page that covers block, or NULL where nothing is mapped. Getter rules of tree.h. */
int bs_map_leaf(struct bs_engine *e, const struct bs_vol *v, uint64_t block,
		struct bs_frame **out) vs_must_check;
/* The CID of the page of a level that covers block; 0: there is none. */
int bs_map_page(struct bs_engine *e, const struct bs_vol *v, uint64_t block, unsigned level,
		uint64_t *cid) vs_must_check;
/* Its CID as far as the pages above it are in memory; 0: not known, or none. */
uint64_t bs_map_leaf_hint(struct bs_engine *e, const struct bs_vol *v, uint64_t block);

/* What a change of one bottom page needs; filled by prepare. */
struct bs_map_need {
	unsigned pages; /* new map pages at most */
	unsigned drops; /* contents let go at most */
};
/*
 * Prepares that blocks [block, block + n), all in one bottom page, may be set. old[i], when not
 * NULL, receives the CID mapped now. The caller then reserves need->pages ids, need->drops drops,
 * frames and log room.
 */
int bs_map_prepare(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned n,
		   struct bs_map_need *need, uint64_t *old) vs_must_check;
/* (step) Sets them; cids must be ready (content.h) and 0 means zeros. */
void bs_map_apply(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned n,
		  const uint64_t *cids);

/*
 * Objects (object.h), in volumes of them. Words: prepared and set as blocks are; those of mask are
 * taken from word. The caller reserves what need says.
 */
int bs_map_words(struct bs_engine *e, const struct bs_vol *v, uint32_t object,
		 uint64_t word[BS_OBJECT_WORDS]) vs_must_check;
int bs_map_words_prepare(struct bs_engine *e, struct bs_vol *v, uint32_t object,
			 struct bs_map_need *need) vs_must_check;
void bs_map_words_apply(struct bs_engine *e, struct bs_vol *v, uint32_t object, uint16_t mask,
			const uint64_t word[BS_OBJECT_WORDS]);
/*
 * Object `to`, of which nothing is mapped, becomes what object `from` is: one reference to its
 * page. Both volumes go on copy-on-write, as after a snapshot. *page 0: there is nothing of `from`.
 * VS_E_EXIST: something of `to` is mapped.
 */
struct bs_map_graft {
	struct bs_vol *to, *from;
	uint32_t to_object, from_object;
	uint64_t page;
};
int bs_map_graft_prepare(struct bs_engine *e, struct bs_map_graft *g,
			 struct bs_map_need *need) vs_must_check;
void bs_map_graft_apply(struct bs_engine *e, const struct bs_map_graft *g);

/*
 * Trims: one step clears blocks [first, *end) of a single page at some level, *end at most limit.
 * prepare picks the step; level and need are its results. *end > first with need->pages 0 and
 * nothing == true when there is nothing to clear.
 */
int bs_map_trim_prepare(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t limit,
			uint64_t *end, bool *nothing, struct bs_map_need *need) vs_must_check;
void bs_map_trim_apply(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t end);

/* Levels that a volume of so many blocks needs. */
uint8_t bs_map_height(uint64_t blocks);
uint64_t bs_map_span(unsigned level); /* blocks below one page of a level */
/* (step) Puts pages on top until the map has the height; needs height ids and frames. */
void bs_map_raise(struct bs_engine *e, struct bs_vol *v, uint8_t height);
uint64_t bs_map_count(struct bs_engine *e, const struct bs_vol *v, int *rc); /* mapped blocks */

/* As bs_volume_diff, on the engine, in a fiber. a may be NULL. */
int bs_map_diff(struct bs_engine *e, const struct bs_vol *a, const struct bs_vol *b,
		uint64_t *cursor, struct bs_diff_entry *out, size_t max, size_t *n) vs_must_check;

#endif
