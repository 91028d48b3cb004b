#include "blockstore/checkpoint_int.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

/*
 * A page's new place goes into the page above it: into that one's version of the cut, which the
 * checkpoint writes later, and into the version in force, where there is another one by now.
 */

static void give_up(struct bs_engine *e, uint32_t seg, bool in_force)
{
	if (seg != BS_SEG_NONE)
		bs_segcut_live(e, seg, -(int64_t)BS_PAGE, in_force);
}

static void put(struct bs_engine *e, unsigned stream, const struct bs_ck_page *page,
		const uint8_t *data, uint32_t *seg, uint32_t *off, bool in_force)
{
	bs_ck_place(e, stream, seg, off);
	bs_segcut_live(e, *seg, BS_PAGE, in_force);
	bs_ck_stage(e, stream, *seg, *off, page, data);
}

/* Whether the entry in force is still that of the page which was was. */
static bool still_there(const struct bs_mapent *now, const struct bs_mapent *was)
{
	return now->live && now->place.gen == was->place.gen && now->place.seg == was->place.seg &&
	       now->place.off == was->place.off;
}

static void place_map_page(struct bs_engine *e, const struct bs_frame *f)
{
	struct bs_ck_page page = {.tree = BS_TREES, .id = f->cid};
	struct bs_frame *leaf = bs_frame_parent(e, f), *at_cut = bs_frame_at_cut(leaf);
	unsigned at = (unsigned)(bs_cid_slot(f->cid) % BS_MAPENTS_PER_PAGE) * BS_MAPENT_SIZE;
	struct bs_mapent ent, now;
	bool in_force;

	bs_mapent_get(at_cut->data + at, &ent);
	bs_mapent_get(leaf->data + at, &now);
	if (!ent.live || ent.place.gen != bs_cid_gen(f->cid))
		bs_engine_damaged(e, "map page %llx has changed and is not alive",
				  (unsigned long long)f->cid);
	in_force = still_there(&now, &ent);
	give_up(e, ent.place.seg, in_force);
	put(e, 0, &page, f->data, &ent.place.seg, &ent.place.off, in_force);
	ent.place.len = BS_PAGE;
	ent.place.coding = BS_CODING_PLAIN;
	ent.place.check = bs_checksum(f->data, BS_PAGE) & BS_CHECK56;
	bs_mapent_put(at_cut->data + at, &ent);
	if (leaf == at_cut || !in_force || bs_planted(STALE_POINTER))
		return;
	ent.place.refs = now.place.refs;
	now.place = ent.place;
	bs_mapent_put(leaf->data + at, &now);
}

/* Where the pointer to a table page stands: in a page, or else in the root of its tree. */
struct pointer {
	uint8_t *page;
	struct bs_tree_root *root;
};

static struct bs_ptr pointer_get(const struct pointer *p)
{
	struct bs_ptr ptr = {0};

	if (!p->page)
		return p->root->ptr;
	bs_ptr_get(p->page, &ptr);
	return ptr;
}

static void pointer_set(const struct pointer *p, const struct bs_ptr *ptr)
{
	if (p->page)
		bs_ptr_put(p->page, ptr);
	else
		p->root->ptr = *ptr;
}

static void find_pointers(struct bs_engine *e, const struct bs_frame *f, struct pointer *cut,
			  struct pointer *now)
{
	unsigned tree = bs_key_kind(f->key) - 1, level = bs_key_level(f->key);
	unsigned at = (unsigned)(bs_key_index(f->key) % BS_PTRS_PER_PAGE) * BS_PTR_SIZE;
	struct bs_super *sb = &e->checkpoint->sb;
	struct bs_frame *above = bs_frame_parent(e, f);

	*cut = (struct pointer){.root = &sb->roots[tree]};
	*now = (struct pointer){.root = &e->trees[tree].root};
	if (above)
		now->page = above->data + at;
	if (level + 1u < sb->roots[tree].height)
		cut->page = bs_frame_at_cut(above)->data + at;
	else /* the root of the cut; one that has grown above it since is dirty */
		VS_ASSERT(!above || bs_frame_dirty(&e->frames, above));
}

static void place_table_page(struct bs_engine *e, const struct bs_frame *f)
{
	struct bs_ck_page page = {.tree = (uint8_t)(bs_key_kind(f->key) - 1),
				  .level = (uint8_t)bs_key_level(f->key),
				  .id = bs_key_index(f->key)};
	struct pointer cut, now;
	struct bs_ptr ptr;

	find_pointers(e, f, &cut, &now);
	ptr = pointer_get(&cut);
	give_up(e, ptr.seg[0], true);
	give_up(e, ptr.seg[1], true);
	ptr.check = bs_checksum(f->data, BS_PAGE);
	ptr.used = f->used;
	ptr.seg[1] = BS_SEG_NONE;
	ptr.off[1] = 0;
	put(e, 0, &page, f->data, &ptr.seg[0], &ptr.off[0], true);
	if (bs_tree_twice(page.tree, page.level))
		put(e, 1, &page, f->data, &ptr.seg[1], &ptr.off[1], true);
	pointer_set(&cut, &ptr);
	pointer_set(&now, &ptr);
}

/* Map pages first, then the tables' leaves, then level by level. */
static unsigned turn_of(const struct bs_frame *f)
{
	return bs_key_kind(f->key) == bs_key_kind(BS_KEY_MAP) ? 0 : 1 + bs_key_level(f->key);
}

/* The frames of the list lie anywhere in memory, and so do their bytes. */
static void warm(const struct bs_frames *fs, unsigned i)
{
	if (i + 8 < fs->ncut)
		__builtin_prefetch(fs->cut[i + 8]);
	if (i + 4 < fs->ncut && fs->cut[i + 4])
		__builtin_prefetch(fs->cut[i + 4]->data);
}

static int place_turn(struct bs_engine *e, unsigned turn)
{
	struct bs_frames *fs = &e->frames;

	for (unsigned i = 0; i < fs->ncut; i++) {
		int rc;

		warm(fs, i);
		if (!fs->cut[i] || turn_of(fs->cut[i]) != turn)
			continue;
		rc = bs_ck_ready(e);
		if (rc)
			return rc;
		if (turn == 0)
			place_map_page(e, fs->cut[i]);
		else
			place_table_page(e, fs->cut[i]);
		bs_frame_placed(e, fs->cut[i]);
		rc = bs_ck_pace(e, 1);
		if (rc)
			return rc;
	}
	return 0;
}

int bs_ck_pages(struct bs_engine *e)
{
	int rc = 0;

	for (unsigned turn = 0; rc == 0 && e->frames.unplaced; turn++)
		rc = place_turn(e, turn);
	return rc;
}
