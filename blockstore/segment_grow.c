#include "blockstore/checkpoint.h"
#include "blockstore/engine.h"

#include <stdlib.h>

static uint64_t capacity(unsigned height)
{
	uint64_t n = 1;

	while (--height)
		n *= BS_PTRS_PER_PAGE;
	return n;
}

/* The inner pages of a segment table with so many leaves, and those that there are now. */
static unsigned inner_pages(uint64_t leaves, unsigned height)
{
	unsigned n = 0;

	for (unsigned level = 1; level < height; level++) {
		leaves = VS_DIV_UP(leaves, BS_PTRS_PER_PAGE);
		n += (unsigned)leaves;
	}
	return n;
}

/* Inner pages of the segment table stay in memory (replay.c), and are written by each cut. */
static struct bs_frame *new_inner(struct bs_engine *e, unsigned level, uint64_t index)
{
	struct bs_frame *f = bs_frame_new(e, bs_key_tree(BS_TREE_SEGMENT, level, index));

	VS_ASSERT(f); /* reserved by the caller */
	memset(f->data, 0, BS_PAGE);
	f->state = BS_FRAME_VALID;
	f->pins++;
	return f;
}

/* (step) */
static void grow_tree(struct bs_engine *e, uint64_t leaves, unsigned height)
{
	struct bs_tree_root *root = &e->trees[BS_TREE_SEGMENT].root;

	while (root->height < height) {
		struct bs_frame *top = new_inner(e, root->height, 0);

		bs_ptr_put(top->data, &root->ptr);
		root->ptr = (struct bs_ptr){.seg = {BS_SEG_NONE, BS_SEG_NONE}};
		root->height++;
	}
	root->leaves = leaves;
	for (unsigned level = 1; level < height; level++) {
		leaves = VS_DIV_UP(leaves, BS_PTRS_PER_PAGE);
		for (uint64_t i = 0; i < leaves; i++)
			if (!bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level, i)))
				(void)new_inner(e, level, i);
	}
}

/* (step) */
static void grow_arrays(struct bs_engine *e, uint32_t count, struct bs_seg *seg, uint8_t *dirty)
{
	struct bs_segs *s = &e->segs;
	uint32_t was = s->count;

	memcpy(seg, s->seg, was * sizeof(*seg));
	memcpy(dirty, s->dirty, VS_DIV_UP(was, BS_SEGENTS_PER_PAGE));
	free(s->seg);
	free(s->dirty);
	s->seg = seg;
	s->dirty = dirty;
	s->count = count;
	for (uint32_t i = was; i < count; i++) {
		bs_pool_place(e->pool, i, &seg[i].ent);
		bs_seg_set_state(e, i, BS_SEG_FREEING, e->sb.checkpoint + 1);
		s->nfree++; /* it was counted off as if it had been free */
	}
}

int bs_segs_grow(struct bs_engine *e, uint32_t count)
{
	uint64_t leaves = VS_DIV_UP(count, BS_SEGENTS_PER_PAGE);
	struct bs_seg *seg = calloc(count, sizeof(*seg));
	uint8_t *dirty = calloc(leaves, 1);
	unsigned height = e->trees[BS_TREE_SEGMENT].root.height;
	int rc = seg && dirty ? 0 : VS_E_NOMEM;

	while (capacity(height) < leaves)
		height++;
	if (rc == 0)
		rc = bs_frames_reserve(e, inner_pages(leaves, height) + 1);
	if (rc == 0)
		bs_checkpoint_settle(e);
	if (rc == 0 && e->frames.nfree < inner_pages(leaves, height) + 1)
		rc = VS_E_NOMEM;
	if (rc == 0)
		rc = bs_segcut_fit(e, count);
	if (rc == 0)
		rc = bs_checkpoint_fit(e, count);
	if (rc) {
		free(seg);
		free(dirty);
		return rc;
	}
	grow_arrays(e, count, seg, dirty);
	grow_tree(e, leaves, height);
	bs_segs_reserves(e);
	if (!e->cfg.max_contents)
		e->places.max_leaves =
		    VS_DIV_UP((uint64_t)count * e->segs.size / 64, BS_PLACES_PER_PAGE);
	bs_engine_room(e);
	return 0;
}
