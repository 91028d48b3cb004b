#include "blockstore/checkpoint_int.h"

#include <stdlib.h>

/*
 * The segment table describes also where its own pages go: first all places are taken, until no
 * further page of it changes by that, then the bytes are made.
 */
struct segtab {
	uint32_t leaves;
	bool *placed;
	struct bs_ptr *ptrs;
	uint32_t *entry[2]; /* first and second copy's entry of each leaf */
};

static void encode_leaf(struct bs_engine *e, uint32_t leaf, uint8_t *page)
{
	memset(page, 0, BS_PAGE);
	for (uint32_t i = 0; i < BS_SEGENTS_PER_PAGE; i++) {
		uint32_t seg = leaf * BS_SEGENTS_PER_PAGE + i;

		if (seg < e->segs.count)
			bs_segent_put(page + i * BS_SEGENT_SIZE, &e->segs.seg[seg].ent);
	}
}

static struct bs_frame *seg_parent(struct bs_engine *e, uint32_t leaf)
{
	return e->trees[BS_TREE_SEGMENT].root.height < 2
		   ? NULL
		   : bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, 1, leaf / BS_PTRS_PER_PAGE));
}

static struct bs_ptr seg_ptr(struct bs_engine *e, uint32_t leaf)
{
	struct bs_frame *p = seg_parent(e, leaf);
	struct bs_ptr ptr = e->trees[BS_TREE_SEGMENT].root.ptr;

	if (p)
		bs_ptr_get(p->data + leaf % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &ptr);
	return ptr;
}

static void seg_place_leaf(struct bs_engine *e, struct segtab *t, uint32_t leaf)
{
	struct bs_ck_entry n = {.id = leaf, .tree = BS_TREE_SEGMENT};
	struct bs_ptr *ptr = &t->ptrs[leaf];

	*ptr = seg_ptr(e, leaf);
	for (unsigned i = 0; i < 2; i++) {
		bs_checkpoint_unplace(e, ptr->seg[i]);
		n.buf = bs_buf_take(e);
		bs_checkpoint_place(e, i, n, &ptr->seg[i], &ptr->off[i]);
		t->entry[i][leaf] = e->checkpoint->stream[i].nentries - 1;
	}
	t->placed[leaf] = true;
}

/* The inner pages above (at most one level: 16,384 segments below each) go the same way. */
static void seg_place_inner(struct bs_engine *e, struct bs_frame *f, struct bs_ptr *ptr)
{
	struct bs_ck_entry n = {.id = bs_key_index(f->key),
				.tree = BS_TREE_SEGMENT,
				.level = (uint8_t)bs_key_level(f->key)};

	for (unsigned i = 0; i < 2; i++) {
		bs_checkpoint_unplace(e, ptr->seg[i]);
		n.buf = bs_buf_take(e);
		bs_checkpoint_place(e, i, n, &ptr->seg[i], &ptr->off[i]);
	}
}

static void seg_fill(struct bs_engine *e, const struct segtab *t, uint32_t leaf)
{
	struct bs_checkpoint *c = e->checkpoint;
	uint8_t *page = c->stream[0].entries[t->entry[0][leaf]].buf;
	struct bs_frame *p = seg_parent(e, leaf);

	encode_leaf(e, leaf, page);
	memcpy(c->stream[1].entries[t->entry[1][leaf]].buf, page, BS_PAGE);
	t->ptrs[leaf].check = bs_checksum(page, BS_PAGE);
	if (p)
		bs_ptr_put(p->data + leaf % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &t->ptrs[leaf]);
	else
		e->trees[BS_TREE_SEGMENT].root.ptr = t->ptrs[leaf];
}

/* Inner pages of the segment table: their places, taken before the leaves are encoded. */
struct seginner {
	struct bs_frame *f;
	struct bs_ptr ptr;
	uint32_t entry[2];
};

static unsigned seg_inner_pages(struct bs_engine *e, struct seginner *in, unsigned max)
{
	unsigned height = e->trees[BS_TREE_SEGMENT].root.height, n = 0;
	uint64_t pages = VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);

	for (unsigned level = 1; level < height; level++) {
		pages = VS_DIV_UP(pages, BS_PTRS_PER_PAGE);
		for (uint64_t i = 0; i < pages && n < max; i++)
			in[n++].f = bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level, i));
	}
	return n;
}

static struct bs_ptr inner_ptr(struct bs_engine *e, const struct bs_frame *f)
{
	unsigned level = bs_key_level(f->key);
	struct bs_ptr ptr = e->trees[BS_TREE_SEGMENT].root.ptr;

	if (level + 1u < e->trees[BS_TREE_SEGMENT].root.height) {
		struct bs_frame *p =
		    bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level + 1,
						 bs_key_index(f->key) / BS_PTRS_PER_PAGE));

		bs_ptr_get(p->data + bs_key_index(f->key) % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &ptr);
	}
	return ptr;
}

static void inner_store(struct bs_engine *e, const struct seginner *in)
{
	unsigned level = bs_key_level(in->f->key);
	uint64_t index = bs_key_index(in->f->key);
	struct bs_frame *p;

	if (level + 1u == e->trees[BS_TREE_SEGMENT].root.height) {
		e->trees[BS_TREE_SEGMENT].root.ptr = in->ptr;
		return;
	}
	p = bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level + 1, index / BS_PTRS_PER_PAGE));
	bs_ptr_put(p->data + index % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &in->ptr);
}

#define SEG_INNER_MAX 1100u /* 2^27 segments */

int bs_checkpoint_cut_segments(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct segtab t = {.leaves = (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE)};
	struct seginner *in = calloc(SEG_INNER_MAX, sizeof(*in));
	unsigned ninner;
	bool again = true;
	int rc = VS_E_NOMEM;

	t.placed = calloc(t.leaves, sizeof(*t.placed));
	t.ptrs = calloc(t.leaves, sizeof(*t.ptrs));
	t.entry[0] = calloc(t.leaves, sizeof(uint32_t));
	t.entry[1] = calloc(t.leaves, sizeof(uint32_t));
	if (!in || !t.placed || !t.ptrs || !t.entry[0] || !t.entry[1])
		goto out;
	rc = 0;
	ninner = seg_inner_pages(e, in, SEG_INNER_MAX);
	for (unsigned i = 0; i < ninner; i++) {
		in[i].ptr = inner_ptr(e, in[i].f);
		seg_place_inner(e, in[i].f, &in[i].ptr);
		in[i].entry[0] = c->stream[0].nentries - 1;
		in[i].entry[1] = c->stream[1].nentries - 1;
	}
	while (again) {
		again = false;
		for (uint32_t l = 0; l < t.leaves; l++) {
			if (!e->segs.dirty[l] || t.placed[l])
				continue;
			seg_place_leaf(e, &t, l);
			again = true;
		}
	}
	for (uint32_t l = 0; l < t.leaves; l++)
		if (t.placed[l])
			seg_fill(e, &t, l);
	memset(e->segs.dirty, 0, t.leaves);
	for (unsigned i = 0; i < ninner; i++) { /* lower levels come first */
		uint8_t *page = c->stream[0].entries[in[i].entry[0]].buf;

		memcpy(page, in[i].f->data, BS_PAGE);
		memcpy(c->stream[1].entries[in[i].entry[1]].buf, page, BS_PAGE);
		in[i].ptr.check = bs_checksum(page, BS_PAGE);
		inner_store(e, &in[i]);
	}
out:
	free(in);
	free(t.placed);
	free(t.ptrs);
	free(t.entry[0]);
	free(t.entry[1]);
	return rc;
}
