/*
 * What operations that set blocks of a map share (op_write.c, op_copy.c). Engine's thread.
 *
 * A plan is filled while everything is made resident, and applied in the same step; after a wait in
 * between all of it is to be filled anew.
 */
#ifndef BS_OP_INT_H
#define BS_OP_INT_H

#include "blockstore/op.h"

/* A part of an operation that lies under one bottom map page. */
struct bs_op_part {
	uint64_t block;
	unsigned at, n;
};

struct bs_op_plan {
	struct bs_op_part parts[BS_OP_BLOCKS];
	unsigned nparts, fresh, pages, drops;
	uint32_t payload;
	bool bare;				       /* a new block has no stored form yet */
	bool blind;				       /* nothing is looked for any more */
	uint64_t old[BS_OP_BLOCKS], cid[BS_OP_BLOCKS]; /* what is mapped, and then */
};

/*
 * Changes of records that the operation's request carries (op_words.c). look: what they check, and
 * the words as they are now. prepare: as for maps; adds to p->pages. apply (step): sets and records
 * them; mapped: by so many blocks more the operation's object has been mapped.
 */
int bs_op_words_look(struct bs_engine *e, const struct bs_iop *op) vs_must_check;
int bs_op_words_prepare(struct bs_engine *e, const struct bs_iop *op,
			struct bs_op_plan *p) vs_must_check;
void bs_op_words_apply(struct bs_engine *e, const struct bs_iop *op, int64_t mapped);
uint32_t bs_op_words_size(const struct bs_iop *op); /* bytes of its log records, at most */
/* Frames that a step of it may need at most. */
unsigned bs_op_frames(const struct bs_iop *op);
/* Whether the operation is one that changes go along with. */
static inline bool bs_op_has_words(const struct bs_iop *op)
{
	return op->req && op->req->nchanges;
}

/* Whether the operation's blocks lie in a volume that can change. */
bool bs_op_in_range(const struct bs_iop *op);
/* What such a volume writes is neither looked for nor found. */
bool bs_op_private(const struct bs_iop *op);
/* Getter rules of tree.h. The maps that change, then room for that in frames, ids and log. */
int bs_op_prepare(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p) vs_must_check;
/* (step) Maps the blocks to p->cid and records it. */
void bs_op_apply_maps(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p);

#endif
