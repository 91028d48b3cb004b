/*
 * The inside of a checkpoint, shared by checkpoint.c (when, the cut, the superblock),
 * checkpoint_place.c (pages), checkpoint_seg.c (the segment table) and checkpoint_unit.c (places,
 * bytes on their way to the device).
 */
#ifndef BS_CHECKPOINT_INT_H
#define BS_CHECKPOINT_INT_H

#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"

#define BS_CK_UNITS 4u /* two being filled, the others being written */

/* Pages that are written with one request, behind a header. */
struct bs_ck_unit {
	struct bs_engine *engine;
	uint8_t *buf;
	uint32_t seg, off, count, records_len;
	enum { BS_CK_FREE, BS_CK_FILLING, BS_CK_WRITING } state;
	struct bs_devio io;
};

/* Stream 0 takes every page, stream 1 the second copies of those that have one. */
struct bs_ck_stream {
	uint32_t left; /* places that the unit begun last still has */
	struct bs_ck_unit *filling;
};

struct bs_checkpoint {
	struct bs_ck_stream stream[2];
	struct bs_ck_unit units[BS_CK_UNITS];
	unsigned writing;
	int error;		   /* of a unit's write */
	struct bs_waitq unit_wait; /* a unit has been written */
	uint8_t *mem, *page;
	uint32_t unit_pages;
	unsigned step; /* pages since others ran last */
	struct bs_super sb;
	/* the segment table: leaves placed, in their order; where each is, then the inner pages */
	uint32_t *order, nplaced;
	struct bs_ptr *ptrs;
};

/* The page that r names, as the record of its unit says it. */
struct bs_ck_page {
	uint8_t tree; /* BS_TREES: a map page */
	uint8_t level;
	uint64_t id; /* tables: index; map pages: CID */
};

/* In a fiber: until each stream has a place for one page. VS_E_NOSPC, VS_E_FAILED. */
int bs_ck_ready_places(struct bs_engine *e) vs_must_check;
/* And a buffer for its bytes. VS_E_IO: a write has failed. May wait. */
int bs_ck_ready(struct bs_engine *e) vs_must_check;
/* (step, ready) The next place of a stream. */
void bs_ck_place(struct bs_engine *e, unsigned stream, uint32_t *seg, uint32_t *off);
/* (step, ready) Copies the bytes of the page placed there: in the order of places. */
void bs_ck_stage(struct bs_engine *e, unsigned stream, uint32_t seg, uint32_t off,
		 const struct bs_ck_page *page, const uint8_t *data);
/* No more goes into the units begun: what is staged is written, the next place begins a unit. */
void bs_ck_close(struct bs_engine *e);
/* In a fiber: until nothing is being written. */
int bs_ck_wait(struct bs_engine *e) vs_must_check;
/* In a fiber: counts pages; after a few of them lets everything else run. VS_E_FAILED. */
int bs_ck_pace(struct bs_engine *e, unsigned pages) vs_must_check;

/* In a fiber: gives every page of the cut its place and stages it, children first. */
int bs_ck_pages(struct bs_engine *e) vs_must_check;
/* In a fiber, after that: what has become empty, and the segment table as of the cut. */
int bs_ck_segments(struct bs_engine *e) vs_must_check;

#endif
