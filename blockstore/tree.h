/*
 * Paged radix trees: arrays of fixed-size entries in 4 KiB leaves under inner pages of 128
 * pointers. Also the allocator of slots in them (content ids, map page ids).
 */
#ifndef BS_TREE_H
#define BS_TREE_H

#include "blockstore/frame.h"
#include "blockstore/super_format.h"

struct bs_tree {
	struct bs_tree_root root;
};

/*
 * The page `index` of `level` (0: leaf). absent_ok: *out is NULL when there is none; otherwise a
 * page of zeros is made. In a fiber the page is kept until the operation ends. VS_E_AGAIN outside
 * fibers when it must be read; VS_E_IO, VS_E_CHECKSUM.
 */
int bs_tree_get(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index, bool absent_ok,
		struct bs_frame **out) vs_must_check;
/* A leaf that will be touched: it and its parents are resident. Grows the tree. */
int bs_tree_get_w(struct bs_engine *e, unsigned tree, uint64_t index,
		  struct bs_frame **out) vs_must_check;
/* In a step, after bs_tree_get*: there. */
/* Where a page lies, of both copies absent when there is none. In a fiber it may wait. */
int bs_tree_ptr(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
		struct bs_ptr *out) vs_must_check;
/* A page of any level that is there and will be touched: it and its parents are resident. */
int bs_tree_get_path(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
		     struct bs_frame **out) vs_must_check;
struct bs_frame *bs_tree_now(struct bs_engine *e, unsigned tree, uint64_t index);
bool bs_tree_twice(unsigned tree, unsigned level); /* kept in two places */

/* Slots are given in leaf-long runs, so that what is written together lies together. */
#define BS_RUNS 40u
struct bs_idrun {
	uint64_t leaf;
	unsigned next, free;	    /* free: so many from next on, which is one of them */
	struct bs_frame *frames[4]; /* pinned: the leaf, and the digest leaves beside it */
	unsigned nframes;
};
struct bs_idalloc {
	unsigned tree, per_page;
	uint64_t hint, max_leaves;
	struct bs_idrun runs[BS_RUNS];
	unsigned nruns;
};

/* Makes sure that n ids can be taken in the coming step. VS_E_NOSPC: all are in use. */
int bs_ids_prepare(struct bs_engine *e, struct bs_idalloc *a, unsigned n) vs_must_check;
uint64_t bs_ids_take(struct bs_engine *e, struct bs_idalloc *a); /* a CID; cannot fail */
uint64_t bs_ids_next(const struct bs_idalloc *a); /* the slot that comes next; 0: not yet known */
void bs_ids_release_runs(struct bs_engine *e, struct bs_idalloc *a);

#endif
