/*
 * Map pages: 512 entries of 8 bytes, known by a CID of the map table, shared copy-on-write.
 *
 * A page of an era before its volume's `frozen` is shared and never changes. A copy keeps the CID
 * of the page that it was copied from as its base, takes one reference on the base and none on the
 * children: an entry equal to the base's is borrowed, any other owned.
 */
#ifndef BS_PAGE_H
#define BS_PAGE_H

#include "blockstore/engine.h"
#include "blockstore/plant.h"

/*
 * VS_E_CORRUPT: not alive; VS_E_CHECKSUM, VS_E_IO; VS_E_AGAIN as in tree.h. A page that is at an
 * origin is expanded first (origin_int.h): VS_E_NOSPC, VS_E_ROFS, VS_E_FAILED.
 */
int bs_page_get(struct bs_engine *e, uint64_t cid, struct bs_frame **out) vs_must_check;
int bs_page_ent(struct bs_engine *e, uint64_t cid, struct bs_mapent *out) vs_must_check;
/* The same for a page of a level; VS_E_CORRUPT: it is of another one. */
int bs_page_get_at(struct bs_engine *e, uint64_t cid, unsigned level,
		   struct bs_frame **out) vs_must_check;
/* The page that f was copied from, of f's level; *out NULL: none. */
int bs_page_get_base(struct bs_engine *e, const struct bs_frame *f,
		     struct bs_frame **out) vs_must_check;
/*
 * Prepares that cid's table entry may change (references, count, the page itself). VS_E_CORRUPT:
 * not alive.
 */
int bs_page_ready(struct bs_engine *e, uint64_t cid) vs_must_check;
/* In replay: prepares the entry of a page to be made. VS_E_CORRUPT: taken, or out of range. */
int bs_page_ready_new(struct bs_engine *e, uint64_t cid) vs_must_check;

/* All below: in a step, prepared. */
struct bs_frame *bs_page_now(struct bs_engine *e, uint64_t cid);
/* base NULL: an empty page. It has no reference yet. Needs an id and a frame reserved. */
struct bs_frame *bs_page_new(struct bs_engine *e, struct bs_frame *base, uint8_t level,
			     bool records);
void bs_page_ref(struct bs_engine *e, uint64_t cid);
void bs_page_unref(struct bs_engine *e, uint64_t cid); /* may queue work */
void bs_page_free(struct bs_engine *e, uint64_t cid);  /* without references */
/* The entry of a page that has none yet, and whose id is taken. */
void bs_page_ent_make(struct bs_engine *e, uint64_t cid, const struct bs_mapent *ent);
void bs_page_ent_put(struct bs_engine *e, uint64_t cid, const struct bs_mapent *ent);
struct bs_mapent bs_page_ent_now(struct bs_engine *e, uint64_t cid);
void bs_page_count(struct bs_engine *e, uint64_t cid, int64_t delta);
/*
 * Pure: the references to children that entry i of a page gives up, from entry i of the page itself
 * and of its base (0: it has none), when it is released; and, at most two, when page c with base b
 * is dissolved into its only copy q. Returns how many.
 */
static inline unsigned bs_page_release_drops(uint64_t own, uint64_t base, uint64_t drop[1])
{
	drop[0] = own;
	return own && own != base;
}
static inline unsigned bs_page_absorb_drops(uint64_t c, uint64_t q, uint64_t b, uint64_t drop[2])
{
	bool c_owns = c && c != b, q_owns = q && q != c;
	unsigned n = 0;

	if (c_owns && (q_owns || !q))
		drop[n++] = c;
	if (q_owns && q == b && !bs_planted(KEPT_SURPLUS))
		drop[n++] = q;
	return n;
}
/* Whether entry i of f is a reference of its own: not zero, not a word, and not its base's. */
bool bs_page_owns(struct bs_engine *e, const struct bs_frame *f, unsigned i);

#endif
