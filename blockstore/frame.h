/*
 * Page frames: the bounded memory for table pages and map pages.
 *
 * A frame is dirty when it has changed since the last cut, or when a page below it has: its own
 * bytes will then change too, because the checkpoint gives that page a new place. So the parents of
 * a dirty frame are dirty, and a cut has the whole of what it must write in one list.
 *
 * At a cut that list becomes the running checkpoint's. A frame in it keeps its bytes until the
 * checkpoint has placed it; one that changes before leaves its old version, a frame of its own that
 * cannot be found by its key, in the list. `old` leads from a table page to that version and back.
 *
 * Invariants: a dirty frame and one that the checkpoint has yet to place are never evicted. The
 * bytes may change only after bs_frame_touch in the same step, and data must be re-read from the
 * frame after it (a touch may swap the buffer).
 */
#ifndef BS_FRAME_H
#define BS_FRAME_H

#include "blockstore/fiber.h"
#include "blockstore/table_format.h"

#include <stddef.h>

struct bs_engine;

enum bs_frame_state { BS_FRAME_FREE, BS_FRAME_LOADING, BS_FRAME_VALID };

/* First what a step looks at, in one cache line. */
struct bs_frame {
	uint64_t key;
	uint8_t *data;
	struct bs_frame *hash_next;
	uint64_t cid;	    /* map pages: full id, else 0 */
	uint64_t base, era; /* map pages: copies of the map table's fields */
	uint32_t
	    at[2]; /* 1 + place in dirty (at[now]) and in the checkpoint's list; 0: not in it */
	uint32_t pins;
	uint8_t state, level;
	bool recent;  /* for the clock */
	bool records; /* map pages: as the map table's field */

	struct bs_frame *old; /* tables: see above; NULL when both are the same */
	uint32_t used;	      /* tables: entries in use */
	int failed;	      /* why it could not be loaded, for those who waited for it */
	struct bs_waitq waiters;
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct bs_frame, old) == 64, "what a step looks at is one cache line");

#define BS_PINS_MAX 4096u
struct bs_pinset {
	unsigned n;
	struct bs_frame *f[BS_PINS_MAX];
	struct bs_pinset *next;
};

struct bs_frames {
	struct bs_frame *all, **hash, *free;
	unsigned
	    fresh; /* all[fresh] and those behind it were never used: their memory is untouched */
	unsigned count, hash_mask, nfree, hand;
	unsigned now;			/* changes with each cut: whose turn it is in at[] */
	struct bs_frame **dirty, **cut; /* changed since the last cut; the running checkpoint's */
	unsigned ndirty, ncut;		/* places in cut that are done are NULL */
	unsigned unplaced;		/* in cut: those that are not */
	unsigned dirty_limit; /* a checkpoint is due; changes wait at twice that in both */
	struct bs_frame *spare, *spare_mem; /* for old versions */
	unsigned nspare;
	uint8_t *mem;
	uint8_t **bufs; /* free buffers */
	unsigned nbufs, nbuf;
	struct bs_pinset *pinsets;
	void *pinset_mem;
};

#define BS_KEY_MAP (UINT64_C(14) << 60)
/* Whether a page number that came from the device may be part of a key. */
static inline bool bs_key_fits(uint64_t index)
{
	return index < UINT64_C(1) << 52;
}
static inline uint64_t bs_key_tree(unsigned tree, unsigned level, uint64_t index)
{
	return (uint64_t)(tree + 1) << 60 | (uint64_t)level << 52 | index;
}
static inline uint64_t bs_key_map(uint64_t cid)
{
	return BS_KEY_MAP | bs_cid_slot(cid);
}
static inline unsigned bs_key_kind(uint64_t key) /* tree + 1, or 14 */
{
	return (unsigned)(key >> 60);
}
static inline unsigned bs_key_level(uint64_t key)
{
	return (unsigned)(key >> 52) & 255;
}
static inline uint64_t bs_key_index(uint64_t key)
{
	return key & ((UINT64_C(1) << 52) - 1);
}

/* spares: old versions that a checkpoint may need at once; at least 128. */
int bs_frames_init(struct bs_frames *fs, unsigned count, unsigned spares,
		   unsigned fibers) vs_must_check;
void bs_frames_destroy(struct bs_frames *fs);

struct bs_frame *bs_frame_find(struct bs_engine *e, uint64_t key); /* NULL: not there */
/* Where the frames are chained of which key's is one. */
struct bs_frame *const *bs_frame_slot(const struct bs_frames *fs, uint64_t key);
/* A frame for key, state LOADING, bytes undefined. Evicts; NULL when nothing can go. */
struct bs_frame *bs_frame_new(struct bs_engine *e, uint64_t key);
void bs_frame_drop(struct bs_engine *e, struct bs_frame *f); /* its object is gone */
/*
 * In a fiber: until somebody who loads f is done; 0, or why that failed. Who looked again instead
 * could wait for ever for others' attempts, each of them begun before its turn came.
 */
int bs_frame_wait(struct bs_engine *e, struct bs_frame *f) vs_must_check;
/* Makes sure that n frames can be had in the next step without evicting. In a fiber it waits. */
int bs_frames_reserve(struct bs_engine *e, unsigned n) vs_must_check;
/* Whether a step that touches up to n frames may go ahead now (dirty limit, old versions). */
int bs_frames_room(struct bs_engine *e, unsigned n) vs_must_check;

/* (step) f is about to change. All above it are resident. */
void bs_frame_touch(struct bs_engine *e, struct bs_frame *f);
static inline bool bs_frame_dirty(const struct bs_frames *fs, const struct bs_frame *f)
{
	return f->at[fs->now] != 0;
}
/* The running checkpoint is still to give f's page another place. */
static inline bool bs_frame_leaves(const struct bs_frames *fs, const struct bs_frame *f)
{
	return f->at[!fs->now] != 0;
}
/* The table page above f; NULL: f is a root. It must be resident. */
struct bs_frame *bs_frame_parent(struct bs_engine *e, const struct bs_frame *f);

/* (step) The cut: what is dirty is the checkpoint's from here on, and nothing is dirty. */
void bs_frames_cut(struct bs_engine *e);
/* f as of the cut: its old version or, while it has not changed, f itself. */
static inline struct bs_frame *bs_frame_at_cut(struct bs_frame *f)
{
	return f->old ? f->old : f;
}
/* (step) f of the checkpoint's list is done with. */
void bs_frame_placed(struct bs_engine *e, struct bs_frame *f);
/* (step) The checkpoint is durable: a recovery need not redo what led to it. */
void bs_frames_cut_end(struct bs_engine *e);
/* Keeps f from eviction until the running fiber's operation ends. No-op outside fibers. */
void bs_frame_keep(struct bs_engine *e, struct bs_frame *f);
void bs_frames_unkeep(struct bs_engine *e); /* at an operation's end */

#endif
