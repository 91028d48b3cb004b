/*
 * The inside of the cleaner: clean.c (when, and how fast), clean_pick.c (which segment),
 * clean_read.c (its bytes), clean_move.c (what lives in it).
 */
#ifndef BS_CLEAN_INT_H
#define BS_CLEAN_INT_H

#include "blockstore/clean.h"

#define BS_CLEAN_PICKS 64u	  /* candidates that one look at all segments gives */
#define BS_CLEAN_PIECE 16384u	  /* what is read is known by such pieces */
#define BS_CLEAN_RUN 131072u	  /* most bytes of one read */
#define BS_CLEAN_SPARSE 4u	  /* below this part of a segment only what lives is read */
#define BS_CLEAN_READS 8u	  /* in flight at most */
#define BS_CLEAN_READS_SERVING 2u /* while clients write: theirs wait behind these */
#define BS_CLEAN_AHEAD 524288u	  /* bytes that are read before they are asked for */

struct bs_cleaner {
	/* candidates, best first; those before `next` are used up */
	struct bs_clean_pick {
		uint32_t seg;
		uint64_t score;
	} picks[BS_CLEAN_PICKS];
	unsigned npicks, next, taken; /* taken since the last look */
	uint64_t leaves; /* the last checkpoint with which pages leave that were marked */

	/* the segment being cleaned */
	uint8_t *buf;	 /* a segment's size */
	uint8_t *pieces; /* per piece: enum bs_clean_piece */
	uint32_t seg, npieces;
	uint32_t next_wanted; /* no piece before this one is wanted */
	uint32_t horizon;     /* pieces before this one may be read */
	bool sparse;	      /* only what lives in it is read */
	uint16_t side;
	unsigned reads;
	int status;
	struct bs_waitq wait; /* for reads */

	/* pace: since this segment was begun */
	uint64_t clients_at, moved, step, percent;
	uint64_t data_until; /* client_bytes() up to which data goes on while segments are scarce */
	enum bs_need need;   /* what is appended for it is counted so */

	bool rest_running;		     /* nothing to do until the running checkpoint ends */
	uint64_t rest_checkpoint, rest_live; /* nothing to do until either changes */
	struct bs_clean_io {
		struct bs_devio io;
		struct bs_engine *e;
		uint32_t seg, first, n; /* pieces */
	} ios[BS_CLEAN_READS];
};

enum bs_clean_piece { BS_CLEAN_ABSENT, BS_CLEAN_WANTED, BS_CLEAN_LOADING, BS_CLEAN_LOADED };

/* In a fiber: the segment to be cleaned next; BS_SEG_NONE when none is worth it. */
uint32_t bs_clean_pick(struct bs_engine *e);
bool bs_clean_may_append(const struct bs_engine *e);	   /* there is log for what is moved */
bool bs_clean_wants_checkpoint(const struct bs_engine *e); /* makes room for that */
bool bs_clean_sparse(const struct bs_engine *e,
		     uint32_t seg); /* only what lives is worth reading */

/* side: of a mirror, a bit; 0: any. Where little lives nothing is wanted yet, else all of it. */
void bs_clean_read_begin(struct bs_engine *e, uint32_t seg, uint16_t side);
void bs_clean_read_want(struct bs_engine *e, uint32_t off, uint32_t len);
/* In a fiber: waits for what is wanted of these bytes, and lets what follows be read meanwhile. */
int bs_clean_read_load(struct bs_engine *e, uint32_t off, uint32_t len) vs_must_check;
void bs_clean_read_end(struct bs_engine *e); /* in a fiber: nothing is being read any more */
bool bs_clean_read_has(const struct bs_engine *e, uint32_t off, uint32_t len);

/* In a fiber: moves what lives in it. VS_E_FAILED, VS_E_NOSPC, VS_E_ROFS, or what went wrong. */
int bs_clean_move(struct bs_engine *e, uint32_t seg) vs_must_check;
/* In a fiber: len bytes were moved; lets others go first. */
void bs_clean_pace(struct bs_engine *e, uint32_t len);

#endif
