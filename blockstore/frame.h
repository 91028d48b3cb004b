/*
 * Page frames: the bounded memory for table pages and map pages.
 *
 * Invariants: a dirty frame, a frame with dirty children and a frame that a running checkpoint has
 * not copied yet is never evicted; a dirty frame's parent chain is resident and pinned, so that a
 * checkpoint's cut needs no read. The bytes may change only after bs_frame_touch in the same step,
 * and data must be re-read from the frame after it (a touch may swap the buffer).
 */
#ifndef BS_FRAME_H
#define BS_FRAME_H

#include "blockstore/fiber.h"
#include "blockstore/table_format.h"

struct bs_engine;

enum bs_frame_state { BS_FRAME_FREE, BS_FRAME_LOADING, BS_FRAME_VALID };

struct bs_frame {
	uint64_t key;
	uint8_t *data;
	struct bs_frame *hash_next;
	struct bs_frame *parent; /* while dirty or with kids: pinned by kids */
	uint32_t pins, kids;
	uint32_t ckpt;	   /* 1 + entry of the running checkpoint that still needs the bytes */
	uint32_t dirty_at; /* 1 + place in the list of dirty frames */
	uint32_t used;	   /* tables: entries in use */
	uint8_t state;
	bool recent;	    /* for the clock */
	uint64_t cid;	    /* map pages: full id, else 0 */
	uint64_t base, era; /* map pages: copies of the map table's fields */
	uint8_t level;
	struct bs_waitq waiters;
};

#define BS_PINS_MAX 4096u
struct bs_pinset {
	unsigned n;
	struct bs_frame *f[BS_PINS_MAX];
	struct bs_pinset *next;
};

struct bs_frames {
	struct bs_frame *all, **hash, *free;
	unsigned count, hash_mask, nfree, hand;
	struct bs_frame **dirty;
	unsigned ndirty, dirty_limit; /* a checkpoint is due at the limit; changes wait at twice */
	uint8_t *mem;
	uint8_t **bufs; /* free buffers */
	unsigned nbufs;
	struct bs_pinset *pinsets;
	void *pinset_mem;
};

#define BS_KEY_MAP (UINT64_C(14) << 60)
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

int bs_frames_init(struct bs_frames *fs, unsigned count, unsigned fibers) vs_must_check;
void bs_frames_destroy(struct bs_frames *fs);

struct bs_frame *bs_frame_find(struct bs_engine *e, uint64_t key); /* NULL: not there */
/* A frame for key, state LOADING, bytes undefined. Evicts; NULL when nothing can go. */
struct bs_frame *bs_frame_new(struct bs_engine *e, uint64_t key);
void bs_frame_drop(struct bs_engine *e, struct bs_frame *f); /* its object is gone */
/* Makes sure that n frames can be had in the next step without evicting. In a fiber it waits. */
int bs_frames_reserve(struct bs_engine *e, unsigned n) vs_must_check;
/* Whether a step that touches up to n frames may go ahead now (dirty limit, buffers). */
int bs_frames_room(struct bs_engine *e, unsigned n) vs_must_check;

void bs_frame_touch(struct bs_engine *e, struct bs_frame *f);
/* At the cut: f is no longer dirty. */
void bs_frame_cleaned(struct bs_engine *e, struct bs_frame *f);
/* Keeps f from eviction until the running fiber's operation ends. No-op outside fibers. */
void bs_frame_keep(struct bs_engine *e, struct bs_frame *f);
void bs_frames_unkeep(struct bs_engine *e); /* at an operation's end */

uint8_t *bs_buf_take(struct bs_engine *e);
void bs_buf_give(struct bs_engine *e, uint8_t *buf);

#endif
