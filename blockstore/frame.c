#include "blockstore/frame.h"

#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"
#include "blockstore/plant.h"

#include <stdlib.h>

/* Spare buffers: copies that changes make while a checkpoint still needs the old bytes. */
static unsigned spare_bufs(unsigned count)
{
	return count / 8 + 4096;
}

static unsigned hash_of(const struct bs_frames *fs, uint64_t key)
{
	return (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & fs->hash_mask;
}

int bs_frames_init(struct bs_frames *fs, unsigned count, unsigned fibers)
{
	unsigned bufs = count + spare_bufs(count), buckets = 64;
	struct bs_pinset *sets;

	while (buckets < count)
		buckets *= 2;
	fs->count = count;
	fs->hash_mask = buckets - 1;
	fs->all = calloc(count, sizeof(*fs->all));
	fs->hash = calloc(buckets, sizeof(struct bs_frame *));
	fs->dirty = calloc(count, sizeof(struct bs_frame *));
	fs->bufs = calloc(bufs, sizeof(uint8_t *));
	fs->mem = aligned_alloc(BS_PAGE, (size_t)bufs * BS_PAGE);
	fs->pinset_mem = calloc(fibers, sizeof(struct bs_pinset));
	if (!fs->all || !fs->hash || !fs->dirty || !fs->bufs || !fs->mem || !fs->pinset_mem)
		return VS_E_NOMEM;
	for (unsigned i = count; i-- > 0;) {
		fs->all[i].hash_next = fs->free;
		fs->free = &fs->all[i];
	}
	fs->nfree = count;
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
	free(fs->all);
	free(fs->hash);
	free(fs->dirty);
	free(fs->bufs);
	free(fs->mem);
	free(fs->pinset_mem);
}

uint8_t *bs_buf_take(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;

	VS_ASSERT(fs->nbufs);
	return fs->bufs[--fs->nbufs];
}

void bs_buf_give(struct bs_engine *e, uint8_t *buf)
{
	e->frames.bufs[e->frames.nbufs++] = buf;
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
		bs_buf_give(e, f->data);
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
	return f->state == BS_FRAME_VALID && !f->dirty_at && !f->ckpt && !f->pins && !f->kids;
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

struct bs_frame *bs_frame_new(struct bs_engine *e, uint64_t key)
{
	struct bs_frames *fs = &e->frames;
	struct bs_frame *f;
	unsigned h = hash_of(fs, key);

	if ((!fs->free || !fs->nbufs) && !evict_one(e))
		return NULL;
	if (!fs->nbufs)
		return NULL;
	f = fs->free;
	fs->free = f->hash_next;
	fs->nfree--;
	*f = (struct bs_frame){.key = key, .state = BS_FRAME_LOADING, .recent = true};
	f->data = bs_buf_take(e);
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
		bool ok = !e->cutting && fs->nbufs >= n + 64;

		if (e->failed)
			return VS_E_FAILED;
		if (!e->recovering &&
		    fs->ndirty + VS_MIN(n, fs->dirty_limit / 2) >= 2 * fs->dirty_limit)
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

static struct bs_frame *parent_of(struct bs_engine *e, const struct bs_frame *f)
{
	unsigned kind = bs_key_kind(f->key), level = bs_key_level(f->key);
	uint64_t index = bs_key_index(f->key);
	struct bs_frame *p;

	if (kind == bs_key_kind(BS_KEY_MAP)) {
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

static void hold_parent(struct bs_engine *e, struct bs_frame *f)
{
	while (!f->parent && (f->parent = parent_of(e, f))) {
		f = f->parent;
		f->kids++;
	}
}

static void unhold_parent(struct bs_frame *f)
{
	while (f->parent && !f->dirty_at && !f->kids) {
		struct bs_frame *p = f->parent;

		f->parent = NULL;
		VS_ASSERT(p->kids);
		p->kids--;
		f = p;
	}
}

void bs_frame_touch(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;

	VS_ASSERT(f->state == BS_FRAME_VALID && !e->cutting);
	if (f->ckpt && !bs_planted(NEWER_PAGE)) {
		uint8_t *copy = bs_buf_take(e);

		memcpy(copy, f->data, BS_PAGE);
		bs_checkpoint_keep(e, f->ckpt - 1, f->data);
		f->ckpt = 0;
		f->data = copy;
	}
	if (!f->dirty_at) {
		fs->dirty[fs->ndirty++] = f;
		f->dirty_at = fs->ndirty;
	}
	hold_parent(e, f);
}

void bs_frame_cleaned(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_frames *fs = &e->frames;
	struct bs_frame *last = fs->dirty[fs->ndirty - 1];

	VS_ASSERT(f->dirty_at && fs->dirty[f->dirty_at - 1] == f);
	fs->dirty[f->dirty_at - 1] = last;
	last->dirty_at = f->dirty_at;
	f->dirty_at = 0;
	fs->ndirty--;
	unhold_parent(f);
}

void bs_frame_drop(struct bs_engine *e, struct bs_frame *f)
{
	VS_ASSERT(!f->kids && f->state == BS_FRAME_VALID);
	if (f->dirty_at)
		bs_frame_cleaned(e, f);
	if (f->ckpt) {
		bs_checkpoint_keep(e, f->ckpt - 1, f->data);
		f->ckpt = 0;
		f->data = NULL;
	}
	if (f->pins) { /* a fiber that will look again still holds it: leave an unreachable husk */
		unhash(&e->frames, f);
		f->key = UINT64_MAX;
		f->cid = 0;
		f->hash_next = e->frames.hash[hash_of(&e->frames, f->key)];
		e->frames.hash[hash_of(&e->frames, f->key)] = f;
		if (!f->data)
			f->data = bs_buf_take(e);
		f->recent = false;
		return;
	}
	release(e, f);
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
