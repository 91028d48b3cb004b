#include "blockstore/checkpoint_int.h"

/*
 * The segment table describes also where its own pages go: first all places are taken, until no
 * further leaf of it changes by that, then the bytes are made, leaves before the pages above them.
 * Leaves and inner pages lie in units of their own, because places are taken in the other order.
 * Only here do pages of this tree change; the inner ones stay in their frames.
 */

#define SEGMENTS_PER_STEP 4096u
#define LEAVES_PER_PAGE 8u /* looking at a leaf costs less than placing a page */

static uint32_t leaves(const struct bs_engine *e)
{
	return (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);
}

static int retire(struct bs_engine *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < e->segs.count; i += SEGMENTS_PER_STEP) {
		bs_segcut_retire(e, e->checkpoint->sb.checkpoint, i,
				 VS_MIN(i + SEGMENTS_PER_STEP, e->segs.count));
		rc = bs_ck_pace(e, e->cfg.checkpoint_step);
	}
	return rc;
}

static struct bs_frame *inner_now(struct bs_engine *e, unsigned level, uint64_t index)
{
	struct bs_frame *f = bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level, index));

	VS_ASSERT(f && f->state == BS_FRAME_VALID);
	return f;
}

static struct bs_ptr get_ptr(struct bs_engine *e, unsigned level, uint64_t index)
{
	const struct bs_tree_root *root = &e->trees[BS_TREE_SEGMENT].root;
	struct bs_ptr ptr = root->ptr;

	if (level + 1u < root->height)
		bs_ptr_get(inner_now(e, level + 1, index / BS_PTRS_PER_PAGE)->data +
			       index % BS_PTRS_PER_PAGE * BS_PTR_SIZE,
			   &ptr);
	return ptr;
}

static void set_ptr(struct bs_engine *e, unsigned level, uint64_t index, const struct bs_ptr *ptr)
{
	struct bs_tree_root *root = &e->trees[BS_TREE_SEGMENT].root;

	if (level + 1u < root->height)
		bs_ptr_put(inner_now(e, level + 1, index / BS_PTRS_PER_PAGE)->data +
			       index % BS_PTRS_PER_PAGE * BS_PTR_SIZE,
			   ptr);
	else
		root->ptr = e->checkpoint->sb.roots[BS_TREE_SEGMENT].ptr = *ptr;
}

/* Both places of a page; the old ones are given up. */
static int place(struct bs_engine *e, unsigned level, uint64_t index, struct bs_ptr *ptr)
{
	int rc = bs_ck_ready_places(e);

	if (rc)
		return rc;
	*ptr = get_ptr(e, level, index);
	for (unsigned i = 0; i < 2; i++) {
		if (ptr->seg[i] != BS_SEG_NONE)
			bs_segcut_live(e, ptr->seg[i], -(int64_t)BS_PAGE, true);
		bs_ck_place(e, i, &ptr->seg[i], &ptr->off[i]);
		bs_segcut_live(e, ptr->seg[i], BS_PAGE, true);
	}
	return bs_ck_pace(e, 1);
}

static int stage(struct bs_engine *e, unsigned level, uint64_t index, struct bs_ptr *ptr,
		 const uint8_t *data)
{
	struct bs_ck_page page = {.tree = BS_TREE_SEGMENT, .level = (uint8_t)level, .id = index};
	int rc = bs_ck_ready(e);

	if (rc)
		return rc;
	ptr->check = bs_checksum(data, BS_PAGE);
	set_ptr(e, level, index, ptr);
	for (unsigned i = 0; i < 2; i++)
		bs_ck_stage(e, i, ptr->seg[i], ptr->off[i], &page, data);
	return bs_ck_pace(e, 1);
}

/* Every inner page, lower levels first; ptrs has room for them behind the leaves. */
static int each_inner(struct bs_engine *e, bool placing)
{
	struct bs_ptr *ptr = e->checkpoint->ptrs + leaves(e);
	uint64_t pages = leaves(e);

	for (unsigned level = 1; level < e->trees[BS_TREE_SEGMENT].root.height; level++) {
		pages = VS_DIV_UP(pages, BS_PTRS_PER_PAGE);
		for (uint64_t i = 0; i < pages; i++, ptr++) {
			int rc = placing ? place(e, level, i, ptr)
					 : stage(e, level, i, ptr, inner_now(e, level, i)->data);

			if (rc)
				return rc;
		}
	}
	return 0;
}

static int place_leaves(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	uint32_t before;
	int rc = 0;

	for (uint32_t l = 0; l < leaves(e); l++)
		c->ptrs[l].seg[0] = BS_SEG_NONE;
	c->nplaced = 0;
	do {
		before = c->nplaced;
		for (uint32_t l = 0; rc == 0 && l < leaves(e); l++) {
			if (e->segs.cut.dirty[l] && c->ptrs[l].seg[0] == BS_SEG_NONE) {
				c->order[c->nplaced++] = l;
				rc = place(e, 0, l, &c->ptrs[l]);
			} else if (l % LEAVES_PER_PAGE == 0) {
				rc = bs_ck_pace(e, 1);
			}
		}
	} while (rc == 0 && c->nplaced != before);
	return rc;
}

static int stage_leaves(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->nplaced; i++) {
		uint32_t l = c->order[i], first = l * BS_SEGENTS_PER_PAGE;

		memset(c->page, 0, BS_PAGE);
		for (uint32_t k = 0; k < BS_SEGENTS_PER_PAGE && first + k < e->segs.count; k++)
			bs_segent_put(c->page + k * BS_SEGENT_SIZE, bs_segcut(&e->segs, first + k));
		rc = stage(e, 0, l, &c->ptrs[l], c->page);
	}
	return rc;
}

int bs_ck_segments(struct bs_engine *e)
{
	int rc = retire(e);

	if (rc)
		return rc;
	bs_ck_close(e);
	rc = each_inner(e, true);
	bs_ck_close(e);
	if (rc == 0)
		rc = place_leaves(e);
	if (rc == 0)
		rc = stage_leaves(e);
	bs_ck_close(e);
	if (rc == 0)
		rc = each_inner(e, false);
	bs_ck_close(e);
	return rc;
}
