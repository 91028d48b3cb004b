/*
 * The store as of its last checkpoint, kept readable while the store goes on: segments that become
 * free later are not used again for as long as it is held. Whoever reads it sees tables and maps
 * that agree with each other to the last reference, whatever changes meanwhile.
 *
 * It costs space, so it gives way: when free segments get short, and when nobody has read through
 * it for a minute, the engine lets it go, and reading fails with VS_E_BUSY. One view at a time: a
 * later one takes the place of the one before.
 *
 * Ownership: bs_view_new and bs_view_free in pairs. Threads: one at a time; the functions wait for
 * the engine. Memory: 1.5 MiB.
 */
#ifndef BS_SCRUB_VIEW_H
#define BS_SCRUB_VIEW_H

#include "blockstore/store.h"
#include "blockstore/super_format.h"

#define BS_VIEW_PAGES 64u /* that are read at once */

struct bs_view;

/* A page and where it lies; the first copy that is right is taken. */
struct bs_view_page {
	struct bs_ptr ptr; /* a map page: one copy, check of 56 bits */
	uint64_t mask;	   /* of the check */
	uint8_t *data;
	int status;
};

int bs_view_new(struct bs_store *s, struct bs_view **out, struct vs_error *err) vs_must_check;
void bs_view_free(struct bs_view *v); /* the engine lets go by itself; see bs_view_done */
/* The last use: segments may be used again. */
int bs_view_done(struct bs_view *v, struct vs_error *err) vs_must_check;

const struct bs_super *bs_view_super(const struct bs_view *v);
/* Reads n pages, at most BS_VIEW_PAGES; each has its own status. VS_E_BUSY: it is held no more. */
int bs_view_read(struct bs_view *v, struct bs_view_page *pages, unsigned n,
		 struct vs_error *err) vs_must_check;
/*
 * A page of a tree, through a small cache: valid until the next call. NULL in *data: the tree has
 * none there. VS_E_BUSY, or why it cannot be read.
 */
int bs_view_node(struct bs_view *v, unsigned tree, unsigned level, uint64_t index,
		 const uint8_t **data, struct vs_error *err) vs_must_check;

#endif
