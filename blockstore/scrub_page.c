#include "blockstore/checkpoint.h"
#include "blockstore/mend.h"
#include "blockstore/page.h"
#include "blockstore/scrub_int.h"

#include <stdio.h>

#define PAGES_A_STEP 64u

/* A page's places, as position: tree, level, index. */
static unsigned tree_at(uint64_t at)
{
	return (unsigned)(at >> 56);
}
static unsigned level_at(uint64_t at)
{
	return (unsigned)(at >> 48) & 255;
}
static uint64_t index_at(uint64_t at)
{
	return at & ((UINT64_C(1) << 48) - 1);
}

static uint64_t pages_of(const struct bs_engine *e, unsigned tree, unsigned level)
{
	uint64_t n = e->trees[tree].root.leaves;

	if (level >= e->trees[tree].root.height)
		return 0;
	while (level--)
		n = VS_DIV_UP(n, BS_PTRS_PER_PAGE);
	return n;
}

/* The position itself if there is a page, else the next that has one. */
static bool settle(const struct bs_engine *e, uint64_t *at)
{
	unsigned tree = tree_at(*at), level = level_at(*at);

	for (; tree < BS_TREES; tree++, level = 0, *at = (uint64_t)tree << 56)
		for (; level < e->trees[tree].root.height;
		     level++, *at = (uint64_t)tree << 56 | (uint64_t)level << 48)
			if (index_at(*at) < pages_of(e, tree, level))
				return true;
	return false;
}

static bool page_ok(struct bs_engine *e, uint32_t seg, uint32_t off, uint64_t check, uint64_t mask,
		    uint8_t *buf)
{
	const struct bs_mend m = {
	    .seg = seg, .off = off, .len = BS_PAGE, .check = check, .mask = mask};

	if (seg >= e->segs.count || off % BS_PAGE || !vs_range_ok(off, BS_PAGE, e->segs.size))
		return false;
	return bs_mend_check(e, &m, buf) == 0;
}

static bool in_memory(struct bs_engine *e, uint64_t key)
{
	struct bs_frame *f = bs_frame_find(e, key);

	return f && f->state == BS_FRAME_VALID;
}

/* The next checkpoint writes the page again, in new places. */
static int rewrite_table(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index)
{
	struct bs_frame *f;
	uint64_t blocks;
	int rc;

	if (e->read_only)
		return VS_E_ROFS;
	if (tree == BS_TREE_SEGMENT) { /* its inner pages are written each time */
		if (level == 0)
			e->segs.dirty[index] = 1;
		bs_checkpoint_want(e);
		return 0;
	}
	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_tree_get_path(e, tree, level, index, &f);
		if (rc == 0)
			rc = bs_frames_room(e, 8);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_frame_touch(e, f);
	bs_checkpoint_want(e);
	return 0;
}

static bool same_ptr(const struct bs_ptr *a, const struct bs_ptr *b)
{
	return a->seg[0] == b->seg[0] && a->off[0] == b->off[0] && a->seg[1] == b->seg[1] &&
	       a->off[1] == b->off[1] && a->check == b->check;
}

/* Reads the copies; bad[i] of those there are. VS_E_AGAIN: the page has moved meanwhile. */
static int compare_copies(struct bs_engine *e, unsigned tree, unsigned level, uint64_t index,
			  uint8_t *buf, bool bad[2], bool *good)
{
	struct bs_ptr ptr, now;
	int rc;

	bs_checkpoint_settle(e); /* pages get their places before they are written there */
	rc = bs_tree_ptr(e, tree, level, index, &ptr);
	if (rc)
		return rc;
	if (e->checkpointing)
		return VS_E_AGAIN;
	*good = bad[0] = bad[1] = false;
	for (unsigned i = 0; i < 2; i++) /* both must stay until both are read */
		if (ptr.seg[i] < e->segs.count)
			e->segs.seg[ptr.seg[i]].readers++;
	for (unsigned i = 0; i < 2; i++) {
		if (ptr.seg[i] == BS_SEG_NONE)
			continue;
		bad[i] = !page_ok(e, ptr.seg[i], ptr.off[i], ptr.check, UINT64_MAX, buf);
		*good |= !bad[i];
	}
	for (unsigned i = 0; i < 2; i++)
		if (ptr.seg[i] < e->segs.count)
			e->segs.seg[ptr.seg[i]].readers--;
	if (!bad[0] && !bad[1])
		return 0;
	rc = bs_tree_ptr(e, tree, level, index, &now);
	return rc == 0 && !same_ptr(&ptr, &now) ? VS_E_AGAIN : rc;
}

static void look_at_table_page(struct bs_engine *e, struct bs_scrub *sc, uint64_t at)
{
	static const char *const names[BS_TREES] = {
	    [BS_TREE_PLACE] = "place",	 [BS_TREE_DIGEST] = "digest", [BS_TREE_MAP] = "map",
	    [BS_TREE_VOLUME] = "volume", [BS_TREE_WORK] = "work",     [BS_TREE_SEGMENT] = "segment",
	    [BS_TREE_DROP] = "drop"};
	struct bs_scrub_found f = {.part = BS_SCRUB_TABLES, .id = at};
	unsigned tree = tree_at(at), level = level_at(at);
	uint64_t index = index_at(at);
	bool bad[2], good = false;
	int rc;

	do
		rc = compare_copies(e, tree, level, index, sc->buf, bad, &good);
	while (rc == VS_E_AGAIN && !e->stopping);
	if (rc || (!bad[0] && !bad[1]))
		return; /* where the page above cannot be read that one is named */
	f.healed = (good || in_memory(e, bs_key_tree(tree, level, index))) &&
		   rewrite_table(e, tree, level, index) == 0;
	(void)snprintf(f.what, sizeof(f.what), "%s of page %llu, level %u, of the %s table",
		       bad[0] && bad[1]		    ? "both copies"
		       : bs_tree_twice(tree, level) ? "a copy"
						    : "the only copy",
		       (unsigned long long)index, level, names[tree]);
	bs_scrub_add(sc->out, &f);
}

int bs_scrub_tables(struct bs_engine *e, struct bs_scrub *sc, bool *end)
{
	for (unsigned n = 0; n < PAGES_A_STEP && !e->stopping; n++) {
		*end = !settle(e, &sc->at->at);
		if (*end)
			return 0;
		look_at_table_page(e, sc, sc->at->at++);
		sc->out->pages++;
		bs_frames_unkeep(e);
	}
	return 0;
}

static int rewrite_map_page(struct bs_engine *e, uint64_t cid)
{
	struct bs_frame *f;
	uint64_t blocks;
	int rc;

	if (e->read_only)
		return VS_E_ROFS;
	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_page_get(e, cid, &f);
		if (rc == 0)
			rc = bs_page_ready(e, cid);
		if (rc == 0)
			rc = bs_frames_room(e, 4);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_frame_touch(e, f);
	bs_checkpoint_want(e);
	return 0;
}

static int look_at_map_page(struct bs_engine *e, struct bs_scrub *sc, uint64_t cid)
{
	struct bs_scrub_found f = {.part = BS_SCRUB_MAPS, .id = cid};
	struct bs_mapent ent, now;
	int rc;

	bs_checkpoint_settle(e);
	rc = bs_page_ent(e, cid, &ent);
	if (rc || ent.place.seg == BS_SEG_NONE)
		return rc == VS_E_CORRUPT ? 0 : rc; /* gone, or not yet written */
	if (e->checkpointing)
		return VS_E_AGAIN;
	sc->out->pages++;
	if (page_ok(e, ent.place.seg, ent.place.off, ent.place.check, BS_CHECK56, sc->buf))
		return 0;
	rc = bs_page_ent(e, cid, &now);
	if (rc == VS_E_CORRUPT)
		return 0;
	if (rc || now.place.seg != ent.place.seg || now.place.off != ent.place.off)
		return rc ? rc : VS_E_AGAIN;
	f.healed = in_memory(e, bs_key_map(cid)) && rewrite_map_page(e, cid) == 0;
	(void)snprintf(f.what, sizeof(f.what), "map page %llx in segment %u at %u",
		       (unsigned long long)cid, ent.place.seg, ent.place.off);
	bs_scrub_add(sc->out, &f);
	return 0;
}

int bs_scrub_maps(struct bs_engine *e, struct bs_scrub *sc, bool *end)
{
	uint64_t slot = sc->at->at, slots = e->trees[BS_TREE_MAP].root.leaves * BS_MAPENTS_PER_PAGE;

	for (unsigned n = 0; n < PAGES_A_STEP && slot < slots && !e->stopping; n++, slot++) {
		struct bs_frame *leaf;
		struct bs_mapent ent;
		int rc = bs_tree_get(e, BS_TREE_MAP, 0, slot / BS_MAPENTS_PER_PAGE, true, &leaf);

		if (rc || !leaf) { /* a leaf that cannot be read has been named with the tables */
			slot |= BS_MAPENTS_PER_PAGE - 1;
			continue;
		}
		bs_mapent_get(leaf->data + slot % BS_MAPENTS_PER_PAGE * BS_MAPENT_SIZE, &ent);
		do
			rc = ent.live ? look_at_map_page(e, sc, bs_cid(slot, ent.place.gen)) : 0;
		while (rc == VS_E_AGAIN && !e->stopping);
		bs_frames_unkeep(e);
		if (rc)
			return rc;
	}
	sc->at->at = slot;
	*end = slot >= slots;
	return 0;
}
