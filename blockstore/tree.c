#include "blockstore/tree.h"

#include "blockstore/mend.h"

bool bs_tree_twice(unsigned tree, unsigned level)
{
	return level > 0 || tree == BS_TREE_VOLUME || tree == BS_TREE_SEGMENT;
}

static uint64_t capacity(unsigned height)
{
	uint64_t n = 1;

	if (height == 0)
		return 0;
	while (--height)
		n *= BS_PTRS_PER_PAGE;
	return n;
}

static int read_page(struct bs_engine *e, const struct bs_ptr *ptr, uint8_t *data)
{
	struct bs_mend m = {.len = BS_PAGE, .check = ptr->check, .mask = UINT64_MAX};
	int rc = VS_E_CORRUPT;

	for (unsigned i = 0; i < 2; i++) {
		if (ptr->seg[i] >= e->segs.count || ptr->off[i] % BS_PAGE ||
		    !vs_range_ok(ptr->off[i], BS_PAGE, e->segs.size))
			continue;
		m.seg = ptr->seg[i];
		m.off = ptr->off[i];
		rc = bs_mend_read(e, &m, data);
		if (rc == 0)
			return 0;
		bs_engine_event(e, BS_ERROR, "metadata", "table page in segment %u at %u: %s",
				ptr->seg[i], ptr->off[i], vs_err_text(rc));
	}
	return rc;
}

static int load(struct bs_engine *e, uint64_t key, const struct bs_ptr *ptr, struct bs_frame **out)
{
	struct bs_frame *f;
	int rc;

	if (ptr && !bs_fiber_here(e->fibers))
		return VS_E_AGAIN;
	if (!bs_fiber_here(e->fibers) && !e->frames.nfree)
		return VS_E_AGAIN; /* making room could evict what this step has looked up */
	rc = bs_frames_reserve(e, 1);
	if (rc)
		return rc;
	f = bs_frame_find(e, key); /* the wait above may have let another load it */
	if (f)
		return VS_E_AGAIN;
	f = bs_frame_new(e, key);
	if (!f)
		return VS_E_AGAIN;
	if (!ptr) {
		memset(f->data, 0, BS_PAGE);
		f->state = BS_FRAME_VALID;
		*out = f;
		return 0;
	}
	f->used = ptr->used;
	f->pins++;
	rc = read_page(e, ptr, f->data);
	f->pins--;
	f->state = BS_FRAME_VALID;
	f->failed = rc;
	bs_fiber_wake_all(e->fibers, &f->waiters);
	if (rc)
		bs_frame_drop(e, f);
	*out = f;
	return rc;
}

static int find_ptr(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
		    bool absent_ok, struct bs_ptr *ptr, bool *there)
{
	struct bs_tree *t = &e->trees[tree];
	struct bs_frame *parent;
	int rc;

	*there = false;
	if (level + 1u == t->root.height) {
		*ptr = t->root.ptr;
	} else {
		rc = bs_tree_get(e, tree, level + 1, index / BS_PTRS_PER_PAGE, absent_ok, &parent);
		if (rc || !parent)
			return rc;
		bs_ptr_get(parent->data + (index % BS_PTRS_PER_PAGE) * BS_PTR_SIZE, ptr);
	}
	*there = ptr->seg[0] != BS_SEG_NONE || ptr->seg[1] != BS_SEG_NONE;
	return 0;
}

int bs_tree_get(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index, bool absent_ok,
		struct bs_frame **out)
{
	uint64_t key = bs_key_tree(tree, level, index);
	struct bs_tree *t = &e->trees[tree];
	struct bs_ptr ptr;
	bool there;
	int rc;

	for (;;) {
		struct bs_frame *f = bs_frame_find(e, key);

		if (f && f->state == BS_FRAME_VALID) {
			bs_frame_keep(e, f);
			*out = f;
			return 0;
		}
		if (f) {
			if (!bs_fiber_here(e->fibers))
				return VS_E_AGAIN;
			rc = bs_frame_wait(e, f);
			if (rc)
				return rc;
			continue;
		}
		if (level >= t->root.height || index >= capacity(t->root.height - level)) {
			VS_ASSERT(absent_ok);
			*out = NULL;
			return 0;
		}
		rc = find_ptr(e, tree, level, index, absent_ok, &ptr, &there);
		if (rc)
			return rc;
		if (!there && absent_ok) {
			*out = NULL;
			return 0;
		}
		rc = load(e, key, there ? &ptr : NULL, out);
		if (rc == 0) {
			bs_frame_keep(e, *out);
			return 0;
		}
		if (rc != VS_E_AGAIN || !bs_fiber_here(e->fibers))
			return rc;
	}
}

/* Room for one more dirty frame, and a frame for it. */
static int room_for_root(struct bs_engine *e)
{
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_frames_room(e, 1);
		if (rc == 0)
			rc = bs_frames_reserve(e, 1);
	} while (rc == 0 && blocks != bs_fiber_blocks(e->fibers));
	return rc;
}

/*
 * A taller tree: the old root becomes child 0 of a new one. A running checkpoint goes on with the
 * root of its cut, and enters that one's new place here (checkpoint_place.c).
 */
static int grow(struct bs_engine *e, unsigned tree)
{
	struct bs_tree *t = &e->trees[tree];
	struct bs_frame *top = NULL;
	unsigned h = t->root.height;
	int rc;

	if (h == 0) {
		t->root.height = 1;
		t->root.ptr = (struct bs_ptr){.seg = {BS_SEG_NONE, BS_SEG_NONE}};
		return 0;
	}
	rc = room_for_root(e);
	if (rc)
		return rc;
	if (t->root.height != h) /* another fiber was here meanwhile */
		return VS_E_AGAIN;
	rc = load(e, bs_key_tree(tree, h, 0), NULL, &top);
	if (rc)
		return rc;
	t->root.height = (uint8_t)(h + 1);
	bs_ptr_put(top->data, &t->root.ptr);
	top->used = t->root.ptr.used;
	bs_frame_touch(e, top);
	t->root.ptr = (struct bs_ptr){.seg = {BS_SEG_NONE, BS_SEG_NONE}};
	return 0;
}

int bs_tree_get_w(struct bs_engine *e, unsigned tree, uint64_t index, struct bs_frame **out)
{
	struct bs_tree *t = &e->trees[tree];
	struct bs_frame *f;
	int rc;

	for (;;) {
		while (index >= capacity(t->root.height)) {
			rc = grow(e, tree);
			if (rc && (rc != VS_E_AGAIN || !bs_fiber_here(e->fibers)))
				return rc;
		}
		rc = bs_tree_get(e, tree, 0, index, false, out);
		if (rc || bs_frame_dirty(&e->frames, *out))
			return rc;
		uint64_t blocks = bs_fiber_blocks(e->fibers);
		uint64_t i = index;

		for (unsigned level = 1; level < t->root.height; level++) {
			i /= BS_PTRS_PER_PAGE;
			rc = bs_tree_get(e, tree, level, i, false, &f);
			if (rc)
				return rc;
			if (bs_frame_dirty(&e->frames, f))
				break;
		}
		if (blocks == bs_fiber_blocks(e->fibers)) {
			if (index >= t->root.leaves)
				t->root.leaves = index + 1;
			return 0;
		}
	}
}

struct bs_frame *bs_tree_now(struct bs_engine *e, unsigned tree, uint64_t index)
{
	struct bs_frame *f = bs_frame_find(e, bs_key_tree(tree, 0, index));

	VS_ASSERT(f && f->state == BS_FRAME_VALID);
	return f;
}

int bs_tree_ptr(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
		struct bs_ptr *out)
{
	const struct bs_tree *t = &e->trees[tree];
	struct bs_frame *parent;
	int rc;

	*out = (struct bs_ptr){.seg = {BS_SEG_NONE, BS_SEG_NONE}};
	if (level >= t->root.height)
		return 0;
	if (level + 1u == t->root.height) {
		if (index == 0)
			*out = t->root.ptr;
		return 0;
	}
	rc = bs_tree_get(e, tree, level + 1u, index / BS_PTRS_PER_PAGE, true, &parent);
	if (rc == 0 && parent)
		bs_ptr_get(parent->data + index % BS_PTRS_PER_PAGE * BS_PTR_SIZE, out);
	return rc;
}

int bs_tree_get_path(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
		     struct bs_frame **out)
{
	struct bs_frame *f;
	int rc = bs_tree_get(e, tree, level, index, true, out);

	if (rc == 0 && !*out)
		return VS_E_NOENT;
	for (level++; rc == 0 && level < e->trees[tree].root.height; level++) {
		index /= BS_PTRS_PER_PAGE;
		rc = bs_tree_get(e, tree, level, index, false, &f);
	}
	return rc;
}
