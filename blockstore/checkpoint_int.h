/*
 * The inside of a checkpoint, shared by checkpoint.c (when, and the writing), checkpoint_cut.c (the
 * cut) and checkpoint_seg.c (the segment table's part of it).
 */
#ifndef BS_CHECKPOINT_INT_H
#define BS_CHECKPOINT_INT_H

#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"

/* A page of the running checkpoint. Its bytes are the frame's until either is set otherwise. */
struct bs_ck_entry {
	struct bs_frame *f;
	uint8_t *buf; /* kept bytes; given back once they are copied */
	uint64_t id;  /* tables: index; map pages: CID */
	uint8_t tree; /* BS_TREES: a map page */
	uint8_t level;
};

struct bs_ck_unit {
	uint32_t seg, off, first, count;
};

/* Stream 0 takes every page, stream 1 the second copies of those that have one. */
struct bs_ck_stream {
	struct bs_ck_entry *entries;
	struct bs_ck_unit *units;
	uint32_t nentries, nunits, max;
};

struct bs_checkpoint {
	struct bs_ck_stream stream[2];
	uint8_t *staging;
	struct bs_super sb;
	uint32_t unit_pages;
	bool out_of_space;
};

/* The next free page of a stream, with room for its unit's header before the first. */
void bs_checkpoint_place(struct bs_engine *e, unsigned stream, struct bs_ck_entry n, uint32_t *seg,
			 uint32_t *off);
void bs_checkpoint_unplace(struct bs_engine *e, uint32_t seg); /* a page there is given up */
/*
 * One uninterrupted step: nothing is open or in flight, everything needed is resident. VS_E_NOMEM,
 * VS_E_NOSPC.
 */
int bs_checkpoint_cut(struct bs_engine *e, bool clean) vs_must_check;
int bs_checkpoint_cut_segments(struct bs_engine *e) vs_must_check;

#endif
