/*
 * Operations: one piece (up to 32 blocks) of a request on its way between a port's thread and the
 * engine. At any time exactly one side owns it; it passes through bounded rings.
 *
 * Write: port hashes, and compresses where it expects new content -> WRITE -> acknowledged; once
 * more through the port when something is new that has no stored form (COMPRESS). Read: READ ->
 * port verifies and copies, which ends it -> RELEASE, without a request. Sub-block writes and
 * compares: LOCK (locks the blocks, reads) -> port merges -> as a write. Copies: COPY, or as a read
 * of the source and a write (port_copy.c). A read of what is at an origin waits with the engine
 * (origin_wait.c) until whoever fetches has given the bytes: FILL.
 */
#ifndef BS_OP_H
#define BS_OP_H

#include "blockstore/engine.h"
#include "blockstore/io.h"

#define BS_OP_BLOCKS 32u

enum bs_stage {
	/* to the engine */
	BS_OP_READ,
	BS_OP_LOCK,
	BS_OP_WRITE,
	BS_OP_RELEASE, /* gives back what a read pinned, and the lock */
	BS_OP_TRIM,
	BS_OP_FLUSH,
	BS_OP_LINK,
	BS_OP_COPY, /* also: what READ is for, kept by the port */
	BS_OP_STATUS,
	BS_OP_MEND,  /* what a read brought is damaged */
	BS_OP_WORDS, /* only changes of records (object.h) */
	BS_OP_CLONE, /* an object becomes what another one is */
	BS_OP_FILL,  /* blocks that were at an origin: cid and check of a piece say which */
	/* to the port */
	BS_OP_COMPRESS, /* what is BS_BLOCK_NEW must get its stored form */
	BS_OP_FILLED,	/* pieces can be read */
	BS_OP_BYTES,	/* a copy that must not or cannot share content */
	BS_OP_LOADED,	/* what was read for a copy is given back */
	BS_OP_DONE,
};

enum bs_block_kind { BS_BLOCK_ZERO, BS_BLOCK_KNOWN, BS_BLOCK_NEW };

/* One block of a read. */
struct bs_piece {
	const uint8_t *ptr; /* stored bytes; NULL: zeros */
	uint32_t len;
	uint8_t coding;
	bool decoded; /* ptr is a cached block: no verification */
	bool filled;  /* set by the port: cached has been filled */
	uint64_t check, cid;
	struct bs_cblock *cached; /* pinned: source, or to be filled */
	struct bs_unit *unit;	  /* pinned */
	struct bs_place place;
};

struct bs_rio { /* a device read of an operation */
	struct bs_devio io;
	struct bs_iop *op;
	struct bs_rio *next;
	uint32_t seg, pages;
	uint8_t *buf;
};

/* One block of a write: a cache line. */
struct bs_block {
	struct dd_digest digest;
	const uint8_t *src; /* stored form of a new block */
	uint64_t cid, check;
	uint32_t len; /* 0: src is the plain form */
	uint8_t coding, kind;
};
_Static_assert(sizeof(struct bs_block) == 64, "a block of a write is a cache line");

/* What a write of one block needs are three cache lines: they pass between two cores. */
struct bs_iop {
	_Alignas(64) struct bs_iop *next;
	struct bs_port *port;
	struct bs_req *req;
	struct bs_vol *vol;
	enum bs_stage stage, then; /* then: what LOCK is for, kept by the port */
	int status;
	bool fua, locked;
	bool scattered;	  /* block i is block + blocks[i] of the request */
	uint8_t mended;	  /* how often its damage was looked at; UINT8_MAX: in vain */
	bool near_waited; /* for neighbours of what it found (near.h) */
	uint8_t hashed;	  /* blocks of a write that are not zeros */
	bool ahead;	  /* they are compressed before it is known which are new */
	uint8_t staged;	  /* pages of staging */
	unsigned rios_pending;
	uint64_t near_until; /* the load that it waits for; 0: none */

	uint64_t seq; /* unit that carries it; while it waits for an origin: until when */
	uint64_t block;
	uint64_t count; /* blocks: at most BS_OP_BLOCKS but for TRIM and STATUS */
	struct bs_iop *lock_next;
	struct bs_rio *rios;
	/* the port's */
	uint64_t rel;	  /* bytes from the request's offset to this operation's first byte */
	uint32_t bytes;	  /* of the request in this operation */
	uint32_t skip;	  /* bytes of the first block before them */
	uint8_t *staging; /* staged pages */

	struct bs_block to[BS_OP_BLOCKS];    /* write */
	struct bs_piece piece[BS_OP_BLOCKS]; /* read */
};

/* Pages of 4 KiB given out in runs, the lowest first: what was just used is still in the CPU's
 * cache, and what is never needed is never touched. One thread. */
struct bs_arena {
	uint8_t *mem, *used;
	unsigned count, nfree;
	unsigned low; /* all before it are used */
};
int bs_arena_new(unsigned pages, struct bs_arena **out) vs_must_check;
void bs_arena_free(struct bs_arena *a);
uint8_t *bs_arena_take(struct bs_arena *a, unsigned pages); /* NULL: no such run */
void bs_arena_give(struct bs_arena *a, uint8_t *run, unsigned pages);

void bs_op_submit(struct bs_engine *e, struct bs_iop *op); /* from the port's ring */
/* Fibers that operations may take: the rest is for background work and calls. */
unsigned bs_ops_limit(const struct bs_engine *e);
bool bs_ops_pump(struct bs_engine *e); /* starts those that wait */
void bs_op_acked(struct bs_engine *e, struct bs_iop *op, int status);
void bs_op_flushed(struct bs_engine *e, struct bs_iop *op, int status);
void bs_op_done(struct bs_engine *e, struct bs_iop *op, int status); /* unlocks and answers */
void bs_op_answer(struct bs_engine *e, struct bs_iop *op, enum bs_stage stage);
void bs_op_resume(struct bs_engine *e, struct bs_iop *op); /* it runs its stage once more */
/* Whether another operation holds blocks of op's range. */
bool bs_op_conflicts(const struct bs_engine *e, const struct bs_iop *op);
void bs_op_lock(struct bs_engine *e, struct bs_iop *op);

/* Stages. VS_E_AGAIN: must run in a fiber; else the operation has gone on or is done. */
int bs_op_read(struct bs_engine *e, struct bs_iop *op) vs_must_check;
/* Gives back what was read, and reads once more. */
int bs_op_read_again(struct bs_engine *e, struct bs_iop *op) vs_must_check;
void bs_op_read_release(struct bs_engine *e, struct bs_iop *op);
int bs_op_status(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_write(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_link(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_copy(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_trim(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_words(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_clone(struct bs_engine *e, struct bs_iop *op) vs_must_check;
int bs_op_fill(struct bs_engine *e, struct bs_iop *op) vs_must_check;
/* In a fiber: clears blocks [first, end) of v step by step. */
int bs_trim_blocks(struct bs_engine *e, struct bs_vol *v, uint64_t first,
		   uint64_t end) vs_must_check;

#endif
