/*
 * The inside of a recount: recount.c (counting and comparing), recount_fix.c (putting right what is
 * counted), recount_leaf.c (table leaves that are lost). In a fiber; repairs before anything else
 * runs on the engine, so that nothing is written but by the checkpoints that end recovery.
 */
#ifndef BS_RECOUNT_INT_H
#define BS_RECOUNT_INT_H

#include "blockstore/recount.h"

#define BS_LOST_MAX 256u /* leaves that are rebuilt at once */

struct bs_count {
	struct bs_engine *e;
	const struct bs_check_options *opts;
	struct bs_check_result *res;
	uint64_t nplaces, npages;	   /* slots */
	uint32_t *place_refs, *place_gens; /* found, per content slot; sums of generations */
	uint32_t *page_refs;		   /* found, per map page slot */
	uint64_t *page_xors;
	uint8_t *page_seen;
	uint64_t *seg_live;
	struct bs_origin_left {
		struct bs_vol *origin;
		uint64_t contents, pages; /* found */
	} * origins;
	size_t norigins;
	uint64_t done, total;
	uint64_t references;
	uint8_t *buf; /* a segment */
	struct dd_hasher *hasher;
	struct {
		uint8_t tree; /* BS_TREE_PLACE or BS_TREE_DIGEST */
		uint64_t leaf;
	} lost[BS_LOST_MAX];
	unsigned nlost;
};

void bs_count_problem(struct bs_count *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A difference that a repair has put right if rc is 0; a problem otherwise. */
void bs_count_repaired(struct bs_count *c, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void bs_count_content(struct bs_count *c, uint64_t cid); /* a reference is found */
/* Digest of what lies at a place. VS_E_CORRUPT, VS_E_CHECKSUM, VS_E_IO: nothing sound. */
int bs_count_verify(struct bs_count *c, const struct bs_place *p,
		    struct dd_digest *have) vs_must_check;

/* Without opts->repair they change nothing; what they return is then not used. */
int bs_recount_fix_content(struct bs_engine *e, uint64_t slot, uint32_t refs) vs_must_check;
int bs_recount_fix_page(struct bs_count *c, uint64_t slot, struct bs_mapent *ent) vs_must_check;
int bs_recount_fix_count(struct bs_count *c, uint64_t cid, uint64_t sum) vs_must_check;
/* What is at each origin (recount_origin.c). */
int bs_recount_origins(struct bs_count *c) vs_must_check; /* before: which there are */
void bs_recount_at_origin(struct bs_count *c, const struct bs_place *p, bool page,
			  uint64_t cid); /* one more */
void bs_recount_absent(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent);
void bs_recount_compare_origins(struct bs_count *c);
int bs_recount_fix_origin(struct bs_count *c, const struct bs_origin_left *l) vs_must_check;
void bs_recount_fix_totals(struct bs_count *c, uint64_t contents, uint64_t stored);
void bs_recount_fix_space(struct bs_count *c, uint64_t live);
/* Pages with a bad copy are written again; lost leaves are noted and made empty. */
int bs_recount_fix_tables(struct bs_count *c) vs_must_check;
bool bs_recount_lost(const struct bs_count *c, unsigned tree, uint64_t leaf);
/* After all references are found: fills the lost leaves again. */
int bs_recount_rebuild(struct bs_count *c) vs_must_check;

#endif
