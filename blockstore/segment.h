/*
 * The segment table in memory: state, live bytes, readers of each segment.
 *
 * A segment is reused only when it holds nothing live as of a checkpoint that both superblocks have
 * left behind, no read points into it and no unit is being written to it.
 *
 * While a checkpoint runs there are two tables: the one in force, and the one as of the cut, which
 * the checkpoint writes. A leaf of the latter exists from its first change on; until then both are
 * the same. bs_segcut_* change both.
 */
#ifndef BS_SEGMENT_H
#define BS_SEGMENT_H

#include "blockstore/table_format.h"

struct bs_engine;

struct bs_seg {
	struct bs_segent ent;
	uint32_t readers; /* device reads in flight */
	uint16_t writers; /* units being written */
	bool bad;	  /* the cleaner could not empty it */
	bool behind;	  /* resilver.h */
	bool discard;	  /* discard.h */
	bool stocked;	  /* stock.h */
	uint8_t freed;	  /* bs_segs.period as of then */
	bool shut;	  /* nothing new goes there: its devices leave, or are gone (evacuate.h) */
	uint64_t paged;	  /* the last checkpoint that gave a page a place here, since the opening */
	uint64_t leaves;  /* the checkpoint after which its pages are elsewhere; 0: not asked to */
};

/* Percent of live bytes from which on emptying a segment gains too little: units have headers. */
#define BS_CLEAN_WORTH 90u
/* Free segments, given up last, whose space is kept and used first. */
#define BS_STOCK_MAX 64u
/* Segments being written, or named ahead, at any time. */
#define BS_SEGS_BUSY 8u

/* Who may use how much of what is left. */
enum bs_need {
	BS_NEED_DATA,
	BS_NEED_DELETE,
	BS_NEED_CLEAN,
	BS_NEED_SYSTEM,
	BS_NEED_THICK, /* data of a thick volume: as data, but room is only a matter of time */
	BS_NEEDS
};

struct bs_segs {
	struct bs_seg *seg;
	uint8_t *dirty; /* per leaf: changed since the last cut */
	struct {
		bool running, retired;
		struct bs_segent *ent;	     /* of leaves that are kept */
		uint8_t *kept, *dirty;	     /* per leaf; dirty: the checkpoint must write it */
		uint32_t busy[BS_SEGS_BUSY]; /* segments that were */
		unsigned nbusy;
	} cut;
	uint32_t count, size;
	uint32_t nfree, nfreeing; /* of those that are not shut */
	uint32_t shut;
	bool emptying;		   /* the cleaner goes for those that are shut */
	uint32_t behind, discards; /* segments that are marked so */
	uint32_t hint;
	uint32_t stock[BS_STOCK_MAX], stock_named, nstocked; /* stock.h */
	uint8_t period;					     /* discard.h */
	uint64_t held,
	    held_until;	     /* checkpoint that is kept readable, ns; 0: none (scrub_view.h) */
	uint32_t emptied;    /* segments whose last live byte went since the last cut */
	uint64_t live;	     /* of all segments */
	uint64_t live_limit; /* data is refused beyond it */
	uint32_t reserve[BS_NEEDS]; /* per bs_need: free segments that must stay */
};

int bs_segs_init(struct bs_engine *e, uint32_t count, uint32_t size) vs_must_check;
/* In a fiber: more segments, which become free when two checkpoints know them. VS_E_NOMEM. */
int bs_segs_grow(struct bs_engine *e, uint32_t count) vs_must_check;
void bs_segs_destroy(struct bs_segs *s);
void bs_segs_reserves(struct bs_engine *e); /* from sizes and limits */
/* BS_SEG_NONE when need may not have one. */
uint32_t bs_seg_take(struct bs_engine *e, enum bs_seg_state state, enum bs_need need);
void bs_seg_set_state(struct bs_engine *e, uint32_t seg, enum bs_seg_state state, uint64_t stamp);
void bs_seg_live(struct bs_engine *e, uint32_t seg, int64_t delta);
/* So few are free that the cleaner works. */
bool bs_segs_low(const struct bs_engine *e);
/* So many more than the data reserve it keeps. */
static inline uint32_t bs_segs_margin(const struct bs_segs *s)
{
	return VS_MAX(8u, (s->count - s->shut) / 16);
}
/* Free ones, and those that the next two checkpoints make free. */
static inline uint32_t bs_segs_coming(const struct bs_segs *s)
{
	return s->nfree + s->nfreeing + s->emptied;
}
/* The cleaner has not kept up. */
static inline bool bs_segs_scarce(const struct bs_segs *s)
{
	return bs_segs_coming(s) <= s->reserve[BS_NEED_DATA] + bs_segs_margin(s) / 2;
}
/* Data will soon wait for a checkpoint to free some. */
static inline bool bs_segs_short(const struct bs_segs *s)
{
	return s->nfree <= s->reserve[BS_NEED_DATA] + bs_segs_margin(s) / 4;
}
/* Nothing new goes to the group's segments from now on. */
void bs_segs_shut(struct bs_engine *e, uint16_t group);
/* Bytes that may live in a store of so many segments. */
uint64_t bs_segs_limit(const struct bs_engine *e, uint32_t count);
/* Lets go of the checkpoint that is kept readable when space is short or its time is up. */
void bs_segs_unhold(struct bs_engine *e);
/* Checkpoint n is durable: what was empty before it is free. Of segments first to end. */
void bs_segs_reuse(struct bs_engine *e, uint64_t n, uint32_t first, uint32_t end);
bool bs_seg_busy(const struct bs_engine *e, uint32_t seg); /* log or checkpoint write there */

/* Memory for so many segments, while no checkpoint runs; for those that there are it stays. */
int bs_segcut_fit(struct bs_engine *e, uint32_t count) vs_must_check;
void bs_segcut_begin(struct bs_engine *e); /* (step) the cut */
void bs_segcut_end(struct bs_engine *e);   /* (step) the checkpoint is done */
const struct bs_segent *bs_segcut(const struct bs_segs *s, uint32_t seg);
/* For pages; both tables. BS_SEG_NONE: none is left. */
uint32_t bs_segcut_take(struct bs_engine *e);
/* A page of the cut is entered or given up. in_force: not one that has been freed since. */
void bs_segcut_live(struct bs_engine *e, uint32_t seg, int64_t delta, bool in_force);
/* All pages have their places: segments first to end that are empty then start to be freed. */
void bs_segcut_retire(struct bs_engine *e, uint64_t n, uint32_t first, uint32_t end);

#endif
