#include "blockstore/frame.h"

#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"
#include "blockstore/mem.h"
#include "blockstore/plant.h"

#include <stdlib.h>

static unsigned hash_of(const struct bs_frames *fs, uint64_t key)
{
	return (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & fs->hash_mask;
}

int bs_frames_init(struct bs_frames *fs, unsigned count, unsigned spares, unsigned fibers)
{
	unsigned bufs = count + spares, buckets = 64;
	struct bs_pinset *sets;

	while (buckets < count)
		buckets *= 2;
	fs->count = count;
	fs->hash_mask = buckets - 1;
	fs->nbuf = bufs;
	fs->all = bs_mem_new(count * sizeof(*fs->all));
	fs->hash = bs_mem_new(buckets * sizeof(struct bs_frame *));
	fs->dirty = calloc(count, sizeof(struct bs_frame *));
	fs->cut = calloc(count, sizeof(struct bs_frame *));
	fs->spare_mem = bs_mem_new(spares * sizeof(*fs->spare_mem));
	fs->bufs = calloc(bufs, sizeof(uint8_t *));
	fs->mem = bs_mem_new((size_t)bufs * BS_PAGE);
	fs->pinset_mem = calloc(fibers, sizeof(struct bs_pinset));
	if (!fs->all || !fs->hash || !fs->dirty || !fs->cut || !fs->spare_mem || !fs->bufs ||
	    !fs->mem || !fs->pinset_mem)
		return VS_E_NOMEM;
	fs->nfree = count;
	for (unsigned i = spares; i-- > 0;) {
		fs->spare_mem[i].hash_next = fs->spare;
		fs->spare = &fs->spare_mem[i];
	}
	fs->nspare = spares;
	for (unsigned i = bufs; i-- > 0;)
		fs->bufs[fs->nbufs++] = fs->mem + (size_t)i * BS_PAGE;
	sets = fs->pinset_mem;
	for (unsigned i = 0; i < fibers; i++) {
		sets[i].next = fs->pinsets;
		fs->pinsets = &sets[i];
	}
	return 0;
}

void bs_frames_destroy(struct bs_frames *fs)
{
	bs_mem_free(fs->all, fs->count * sizeof(*fs->all));
	bs_mem_free(fs->hash, ((size_t)fs->hash_mask + 1) * sizeof(struct bs_frame *));
	free(fs->dirty);
	free(fs->cut);
	bs_mem_free(fs->spare_mem, (fs->nbuf - fs->count) * sizeof(*fs->spare_mem));
	free(fs->bufs);
	bs_mem_free(fs->mem, (size_t)fs->nbuf * BS_PAGE);
	free(fs->pinset_mem);
}

/* There are as many as frames and spares together, and each of those has one. */
static uint8_t *buf_take(struct bs_frames *fs)
{
	VS_ASSERT(fs->nbufs);
	return fs->bufs[--fs->nbufs];
}

static void buf_give(struct bs_frames *fs, uint8_t *buf)
{
	fs->bufs[fs->nbufs++] = buf;
}

struct bs_frame *const *bs_frame_slot(const struct bs_frames *fs, uint64_t key)
{
	return &fs->hash[hash_of(fs, key)];
}

struct bs_frame *bs_frame_find(struct bs_engine *e, uint64_t key)
{
	struct bs_frame *f = e->frames.hash[hash_of(&e->frames, key)];

	while (f && f->key != key)
		f = f->hash_next;
	if (f)
		f->recent = true;
	return f;
}

static void unhash(struct bs_frames *fs, struct bs_frame *f)
{
	struct bs_frame **p = &fs->hash[hash_of(fs, f->key)];

	while (*p != f)
		p = &(*p)->hash_next;
	*p = f->hash_next;
}

static void release(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;

	unhash(fs, f);
	if (f->data)
		buf_give(fs, f->data);
	f->data = NULL;
	f->state = BS_FRAME_FREE;
	f->key = 0;
	f->cid = 0;
	f->hash_next = fs->free;
	fs->free = f;
	fs->nfree++;
}

static bool evictable(const struct bs_frame *f)
{
	return f->state == BS_FRAME_VALID && !f->at[0] && !f->at[1] && !f->pins && !f->old;
}

static bool evict_one(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;

	for (unsigned n = 0; n < 2 * fs->count; n++) {
		struct bs_frame *f = &fs->all[fs->hand];

		fs->hand = (fs->hand + 1) % fs->count;
		if (!evictable(f))
			continue;
		if (f->recent) {
			f->recent = false;
			continue;
		}
		release(e, f);
		return true;
	}
	return false;
}

/* One that is free; one that was used before, if there is one. */
static struct bs_frame *take(struct bs_frames *fs)
{
	struct bs_frame *f = fs->free;

	VS_ASSERT(fs->nfree);
	fs->nfree--;
	if (!f)
		return &fs->all[fs->fresh++];
	fs->free = f->hash_next;
	return f;
}

struct bs_frame *bs_frame_new(struct bs_engine *e, uint64_t key)
{
	struct bs_frames *fs = &e->frames;
	struct bs_frame *f;
	unsigned h = hash_of(fs, key);

	if (!fs->nfree && !evict_one(e))
		return NULL;
	f = take(fs);
	*f = (struct bs_frame){.key = key, .state = BS_FRAME_LOADING, .recent = true};
	f->data = buf_take(fs);
	f->hash_next = fs->hash[h];
	fs->hash[h] = f;
	return f;
}

int bs_frames_reserve(struct bs_engine *e, unsigned n)
{
	struct bs_frames *fs = &e->frames;

	while (fs->nfree < n) {
		if (evict_one(e))
			continue;
		if (!bs_fiber_here(e->fibers))
			return VS_E_AGAIN;
		if (e->recovering || e->read_only || e->failed)
			return VS_E_NOMEM; /* no checkpoint will clean a frame */
		bs_checkpoint_want(e);
		bs_fiber_block(e->fibers, &e->room_wait);
	}
	return 0;
}

int bs_frames_room(struct bs_engine *e, unsigned n)
{
	struct bs_frames *fs = &e->frames;

	for (;;) {
		/* each of the checkpoint's pages leaves at most one old version */
		bool ok = !e->cutting && fs->nspare >= VS_MIN(n + 64, fs->unplaced);

		if (e->failed)
			return VS_E_FAILED;
		if (!e->recovering &&
		    fs->ncut + fs->ndirty + VS_MIN(n, fs->dirty_limit / 2) >= 2 * fs->dirty_limit)
			ok = false;
		if (ok)
			return 0;
		if (!bs_fiber_here(e->fibers))
			return VS_E_AGAIN;
		if (e->recovering)
			return VS_E_NOMEM;
		bs_checkpoint_want(e);
		bs_fiber_block(e->fibers, &e->room_wait);
	}
}

static bool is_map(const struct bs_frame *f)
{
	return bs_key_kind(f->key) == bs_key_kind(BS_KEY_MAP);
}

struct bs_frame *bs_frame_parent(struct bs_engine *e, const struct bs_frame *f)
{
	unsigned kind = bs_key_kind(f->key), level = bs_key_level(f->key);
	uint64_t index = bs_key_index(f->key);
	struct bs_frame *p;

	if (is_map(f)) {
		uint64_t slot = bs_cid_slot(f->cid);

		p = bs_frame_find(e, bs_key_tree(BS_TREE_MAP, 0, slot / BS_MAPENTS_PER_PAGE));
	} else {
		if (level + 1u >= e->trees[kind - 1].root.height)
			return NULL;
		p = bs_frame_find(e, bs_key_tree(kind - 1, level + 1, index / BS_PTRS_PER_PAGE));
	}
	VS_ASSERT(p && p->state == BS_FRAME_VALID);
	return p;
}

/* f's bytes go to an old version, which takes its place in the checkpoint's list. */
static void leave_old(struct bs_frames *fs, struct bs_frame *f)
{
	struct bs_frame *o = fs->spare;

	VS_ASSERT(o);
	fs->spare = o->hash_next;
	fs->nspare--;
	*o = (struct bs_frame){.key = f->key,
			       .data = f->data,
			       .used = f->used,
			       .state = BS_FRAME_VALID,
			       .cid = f->cid};
	o->at[!fs->now] = f->at[!fs->now];
	fs->cut[o->at[!fs->now] - 1] = o;
	f->at[!fs->now] = 0;
	f->data = NULL;
	if (!is_map(f)) {
		f->old = o;
		o->old = f;
	}
}

void bs_frame_touch(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;

	VS_ASSERT(f->state == BS_FRAME_VALID && !e->cutting);
	if (f->at[!fs->now] && !bs_planted(NEWER_PAGE)) {
		const uint8_t *was = f->data;

		leave_old(fs, f);
		f->data = buf_take(fs);
		memcpy(f->data, was, BS_PAGE);
	}
	for (; f && !f->at[fs->now]; f = bs_frame_parent(e, f)) {
		fs->dirty[fs->ndirty++] = f;
		f->at[fs->now] = fs->ndirty;
	}
}

void bs_frames_cut_end(struct bs_engine *e)
{
	e->frames.ncut = 0;
}

static void forget_dirty(struct bs_frames *fs, struct bs_frame *f)
{
	struct bs_frame *last = fs->dirty[--fs->ndirty];

	fs->dirty[f->at[fs->now] - 1] = last;
	last->at[fs->now] = f->at[fs->now];
	f->at[fs->now] = 0;
}

void bs_frames_cut(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;
	struct bs_frame **list = fs->cut;

	fs->cut = fs->dirty;
	fs->ncut = fs->unplaced = fs->ndirty;
	fs->dirty = list;
	fs->ndirty = 0;
	fs->now = !fs->now;
}

void bs_frame_placed(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;

	fs->cut[f->at[!fs->now] - 1] = NULL;
	f->at[!fs->now] = 0;
	fs->unplaced--;
	if (f >= fs->all && f < fs->all + fs->count)
		return;
	if (f->old)
		f->old->old = NULL;
	buf_give(fs, f->data);
	f->hash_next = fs->spare;
	fs->spare = f;
	fs->nspare++;
}

void bs_frame_drop(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;

	VS_ASSERT(f->state == BS_FRAME_VALID && !f->old);
	if (f->at[fs->now])
		forget_dirty(fs, f);
	if (f->at[!fs->now])
		leave_old(fs, f);
	if (f->pins) { /* a fiber that will look again still holds it: leave an unreachable husk */
		unhash(fs, f);
		f->key = UINT64_MAX;
		f->cid = 0;
		f->hash_next = fs->hash[hash_of(fs, f->key)];
		fs->hash[hash_of(fs, f->key)] = f;
		if (!f->data)
			f->data = buf_take(fs);
		f->recent = false;
		return;
	}
	release(e, f);
}

int bs_frame_wait(struct bs_engine *e, struct bs_frame *f)
{
	VS_ASSERT(f->state == BS_FRAME_LOADING);
	f->pins++;
	bs_fiber_block(e->fibers, &f->waiters);
	f->pins--;
	return f->failed;
}

void bs_frame_keep(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_pinset *set;
	void **local;

	if (!bs_fiber_here(e->fibers))
		return;
	local = bs_fiber_local(e->fibers);
	if (!*local) {
		set = e->frames.pinsets;
		VS_ASSERT(set);
		e->frames.pinsets = set->next;
		set->n = 0;
		*local = set;
	}
	set = *local;
	if (set->n == BS_PINS_MAX || (set->n && set->f[set->n - 1] == f))
		return;
	f->pins++;
	set->f[set->n++] = f;
}

void bs_frames_unkeep(struct bs_engine *e)
{
	struct bs_pinset *set;

	if (!bs_fiber_here(e->fibers) || !(set = *bs_fiber_local(e->fibers)))
		return;
	for (unsigned i = 0; i < set->n; i++)
		set->f[i]->pins--;
	set->n = 0;
	set->next = e->frames.pinsets;
	e->frames.pinsets = set;
	*bs_fiber_local(e->fibers) = NULL;
}
