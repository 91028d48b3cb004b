#include "blockstore/scrub_count.h"

#include "blockstore/drop.h"
#include "blockstore/scrub_int.h"
#include "blockstore/scrub_view.h"
#include "common/secret.h"

#include <stdio.h>
#include <stdlib.h>

#define LEAVES_A_STEP 32u
#define BITS (1u << 20) /* of the set of pages that wait to be taken apart */
#define SAID_MAX 100u	/* differences that are said */

/* Space comes last: all other trees' pages are counted by then. */
static const unsigned order[] = {BS_TREE_WORK,	 BS_TREE_DROP, BS_TREE_VOLUME, BS_TREE_PLACE,
				 BS_TREE_DIGEST, BS_TREE_MAP,  BS_TREE_SEGMENT};

/* Where it is: an inner page (or the only one) of a tree, and the first child to be looked at. */
struct position {
	unsigned tree; /* of order */
	unsigned level;
	uint64_t index;
	unsigned child;
};

struct bs_recounting {
	struct bs_view *view;
	const struct bs_super *sb;
	struct position at;
	uint64_t seed;
	uint64_t contents_sum, pages_sum, copies_sum; /* what is referred to less what is counted */
	uint64_t origins_sum; /* of contents and pages at origins, the same */
	uint64_t contents, stored, references;
	uint64_t *live;	  /* per segment: found less counted */
	uint8_t *waiting; /* bits: pages on the release queue, by a hash of their CID */
	uint8_t *mem;
	struct bs_view_page leaves[BS_VIEW_PAGES], pages[BS_VIEW_PAGES], bases[BS_VIEW_PAGES];
	unsigned said;
	struct bs_scrub_result *out;
	struct vs_error *err;
};

static __attribute__((format(printf, 2, 3))) void differs(struct bs_recounting *c, const char *fmt,
							  ...)
{
	struct bs_scrub_found f = {.part = BS_SCRUB_COUNTS};
	va_list ap;

	if (c->said++ >= SAID_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(f.what, sizeof(f.what), fmt, ap);
	va_end(ap);
	bs_scrub_add(c->out, &f);
}

/* A random number for each id, another one in each recount. */
static uint64_t number(const struct bs_recounting *c, uint64_t id)
{
	uint64_t x = id + c->seed;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Linear in xors, so that the copies' sum is that of each of them; another turn for each base. */
static uint64_t turned(const struct bs_recounting *c, uint64_t base, uint64_t xors)
{
	unsigned n = number(c, base) & 63;

	return n ? xors << n | xors >> (64 - n) : xors;
}

/* So many contents, or pages, are at an origin. */
static void at_origin(struct bs_recounting *c, uint64_t id, uint64_t contents, uint64_t pages)
{
	c->origins_sum += contents * number(c, id) + pages * number(c, ~id);
}

static void space(struct bs_recounting *c, uint32_t seg, uint32_t off, uint32_t len,
		  const char *what)
{
	if (seg >= c->sb->segments || !vs_range_ok(off, len, c->sb->segment_size))
		differs(c, "%s lies outside the store: segment %u at %u", what, seg, off);
	else
		c->live[seg] += len;
}

static void table_page(struct bs_recounting *c, const struct bs_ptr *ptr)
{
	for (unsigned i = 0; i < 2; i++)
		if (ptr->seg[i] != BS_SEG_NONE)
			space(c, ptr->seg[i], ptr->off[i], BS_PAGE, "a table page");
}

/* ---- leaves ------------------------------------------------------------------------------ */

static void take_works(struct bs_recounting *c, uint64_t leaf, const uint8_t *data)
{
	for (unsigned i = 0; i < BS_WORKS_PER_PAGE; i++) {
		struct bs_work w;
		uint64_t bit;

		if (leaf * BS_WORKS_PER_PAGE + i >= c->sb->works)
			return;
		bs_work_get(data + i * BS_WORK_SIZE, &w);
		bit = number(c, bs_cid_slot(w.cid)) % BITS;
		if (w.kind == BS_WORK_RELEASE)
			c->waiting[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

/* The runs take turns, page by page; of the draining one what lies below the cursor is done. */
static void take_drops(struct bs_recounting *c, uint64_t leaf, const uint8_t *data)
{
	unsigned side = leaf % 2;
	uint64_t from = side == c->sb->drop_side ? 0 : c->sb->drop_cursor;

	for (unsigned i = 0; i < BS_DROPS_PER_PAGE; i++) {
		uint64_t cid = bs_map_entry(data, i);

		if (leaf / 2 * BS_DROPS_PER_PAGE + i >= c->sb->drops[side])
			return;
		if (bs_drop_leaf(cid) >= from)
			c->contents_sum += number(c, cid);
	}
}

static void take_volumes(struct bs_recounting *c, const uint8_t *data)
{
	for (unsigned i = 0; i < BS_VOLENTS_PER_PAGE; i++) {
		struct bs_volent ent;

		if (bs_volent_get(data + i * BS_VOLENT_SIZE, &ent))
			differs(c, "a volume's entry cannot be");
		else if (ent.kind == BS_VOL_ORIGIN)
			at_origin(c, ent.id, -ent.contents_left, -ent.pages_left);
		else if (ent.kind != BS_VOL_FREE && ent.root)
			c->pages_sum += number(c, ent.root);
	}
}

static void take_places(struct bs_recounting *c, uint64_t leaf, const uint8_t *data)
{
	for (unsigned i = 0; i < BS_PLACES_PER_PAGE; i++) {
		uint64_t slot = leaf * BS_PLACES_PER_PAGE + i;
		struct bs_place p;

		bs_place_get(data + i * BS_PLACE_SIZE, &p);
		if (!p.refs)
			continue;
		c->contents_sum -= p.refs * number(c, bs_cid(slot, p.gen));
		if (p.alias) {
			c->contents_sum += p.refs * number(c, p.alias);
			continue;
		}
		if (bs_place_at_origin(&p))
			at_origin(c, p.origin, 1, 0);
		if (p.coding >= BS_CODING_ORIGIN) /* nothing of it is here */
			continue;
		c->contents++;
		c->stored += p.len;
		space(c, p.seg, p.off, p.len, "a content");
	}
}

static void take_segments(struct bs_recounting *c, uint64_t leaf, const uint8_t *data)
{
	for (unsigned i = 0; i < BS_SEGENTS_PER_PAGE; i++) {
		uint64_t seg = leaf * BS_SEGENTS_PER_PAGE + i;
		struct bs_segent ent;

		if (seg >= c->sb->segments)
			return;
		bs_segent_get(data + i * BS_SEGENT_SIZE, &ent);
		c->live[seg] -= ent.live;
		if (ent.live && ent.state != BS_SEG_LOG && ent.state != BS_SEG_META)
			differs(c, "segment %llu holds %u bytes and counts as free",
				(unsigned long long)seg, ent.live);
	}
}

/* ---- map pages --------------------------------------------------------------------------- */

static int entry_of(struct bs_recounting *c, uint64_t cid, struct bs_mapent *ent)
{
	const uint8_t *leaf = NULL;
	uint64_t slot = bs_cid_slot(cid);
	int rc =
	    slot / BS_MAPENTS_PER_PAGE < c->sb->roots[BS_TREE_MAP].leaves
		? bs_view_node(c->view, BS_TREE_MAP, 0, slot / BS_MAPENTS_PER_PAGE, &leaf, c->err)
		: VS_E_NOENT;

	if (rc || !leaf)
		return rc ? rc : VS_E_NOENT;
	bs_mapent_get(leaf + slot % BS_MAPENTS_PER_PAGE * BS_MAPENT_SIZE, ent);
	return ent->live && ent->place.gen == bs_cid_gen(cid) ? 0 : VS_E_NOENT;
}

static struct bs_view_page page_at(const struct bs_place *p, uint8_t *data)
{
	return (struct bs_view_page){
	    .ptr = {.seg = {p->seg, BS_SEG_NONE}, .off = {p->off, 0}, .check = p->check},
	    .mask = BS_CHECK56,
	    .data = data};
}

static int count_below(struct bs_recounting *c, const struct bs_mapent *ent, const uint8_t *data,
		       uint64_t *sum)
{
	*sum = 0;
	for (unsigned i = 0; i < BS_MAP_FAN && !ent->records; i++) {
		uint64_t child = bs_map_entry(data, i);
		struct bs_mapent below;
		int rc;

		if (!child)
			continue;
		rc = ent->level ? entry_of(c, child, &below) : 0;
		if (rc)
			return rc;
		*sum += ent->level ? below.count : 1;
	}
	return 0;
}

/* What the page owns: its entries that its base does not have. */
static int take_page(struct bs_recounting *c, uint64_t cid, const struct bs_mapent *ent,
		     const uint8_t *data, const uint8_t *base)
{
	uint64_t sum;
	int rc;

	for (unsigned i = 0; i < BS_MAP_FAN && !ent->records; i++) {
		uint64_t child = bs_map_entry(data, i);

		if (!child || (base && bs_map_entry(base, i) == child))
			continue;
		if (ent->level)
			c->pages_sum += number(c, child);
		else
			c->contents_sum += number(c, child);
		c->references += !ent->level;
	}
	if (ent->base) {
		c->pages_sum += number(c, ent->base);
		c->copies_sum ^= turned(c, ent->base, cid);
	}
	rc = count_below(c, ent, data, &sum);
	if (rc == VS_E_NOENT)
		differs(c, "map page %llx refers to one that is not alive",
			(unsigned long long)cid);
	else if (rc)
		return rc;
	sum += ent->blank;
	if (rc == 0 && sum != ent->count)
		differs(c, "map page %llx counts %llu blocks, has %llu", (unsigned long long)cid,
			(unsigned long long)ent->count, (unsigned long long)sum);
	return 0;
}

static void take_entry(struct bs_recounting *c, uint64_t cid, const struct bs_mapent *ent)
{
	uint64_t bit = number(c, bs_cid_slot(cid)) % BITS;

	c->pages_sum -= ent->place.refs * number(c, cid);
	c->copies_sum ^= turned(c, cid, ent->xors);
	if (bs_place_at_origin(&ent->place))
		at_origin(c, ent->place.origin, 0, 1);
	else
		space(c, ent->place.seg, ent->place.off, BS_PAGE, "a map page");
	if (!ent->place.refs && !(c->waiting[bit / 8] >> bit % 8 & 1))
		differs(c, "map page %llx leaks: no reference, not to be released",
			(unsigned long long)cid);
}

static int unreadable(struct bs_recounting *c, uint64_t cid, int rc)
{
	return vs_fail(c->err, rc, "map page %llx: %s", (unsigned long long)cid, vs_err_text(rc));
}

/* The pages of one leaf and, in a second reading, those that they were copied from. */
static int take_maps(struct bs_recounting *c, uint64_t leaf, const uint8_t *data)
{
	struct bs_mapent ents[BS_MAPENTS_PER_PAGE];
	uint64_t cids[BS_MAPENTS_PER_PAGE];
	unsigned n = 0, nbases = 0;
	int rc;

	_Static_assert(BS_MAPENTS_PER_PAGE <= BS_VIEW_PAGES, "one reading");
	for (unsigned i = 0; i < BS_MAPENTS_PER_PAGE; i++) {
		bs_mapent_get(data + i * BS_MAPENT_SIZE, &ents[n]);
		if (!ents[n].live)
			continue;
		cids[n] = bs_cid(leaf * BS_MAPENTS_PER_PAGE + i, ents[n].place.gen);
		c->pages[n] = page_at(&ents[n].place, c->pages[n].data);
		take_entry(c, cids[n], &ents[n]);
		n += !bs_place_at_origin(&ents[n].place); /* the others are not here to be read */
	}
	for (unsigned i = 0; i < n; i++) {
		struct bs_mapent base;

		if (!ents[i].base)
			continue;
		rc = entry_of(c, ents[i].base, &base);
		if (rc)
			return rc == VS_E_NOENT ? unreadable(c, ents[i].base, VS_E_CORRUPT) : rc;
		c->bases[nbases] = page_at(&base.place, c->bases[nbases].data);
		nbases++;
	}
	rc = bs_view_read(c->view, c->pages, n, c->err);
	if (rc == 0)
		rc = bs_view_read(c->view, c->bases, nbases, c->err);
	nbases = 0;
	for (unsigned i = 0; i < n && rc == 0; i++) {
		const struct bs_view_page *base = ents[i].base ? &c->bases[nbases++] : NULL;

		c->out->pages++;
		if (c->pages[i].status || (base && base->status))
			return unreadable(c, cids[i],
					  c->pages[i].status ? c->pages[i].status : base->status);
		rc = take_page(c, cids[i], &ents[i], c->pages[i].data, base ? base->data : NULL);
	}
	return rc;
}

/* ---- the way through the trees ----------------------------------------------------------- */

static int take_leaf(struct bs_recounting *c, unsigned tree, uint64_t index, const uint8_t *data)
{
	switch (tree) {
	case BS_TREE_WORK:
		take_works(c, index, data);
		return 0;
	case BS_TREE_DROP:
		take_drops(c, index, data);
		return 0;
	case BS_TREE_VOLUME:
		take_volumes(c, data);
		return 0;
	case BS_TREE_PLACE:
		take_places(c, index, data);
		return 0;
	case BS_TREE_MAP:
		return take_maps(c, index, data);
	case BS_TREE_SEGMENT:
		take_segments(c, index, data);
		return 0;
	default:
		return 0;
	}
}

static uint64_t pages_of(const struct bs_tree_root *root, unsigned level)
{
	uint64_t n = root->leaves;

	while (level--)
		n = VS_DIV_UP(n, BS_PTRS_PER_PAGE);
	return n;
}

/* Reads n leaves and takes what they say. */
static int take_leaves(struct bs_recounting *c, unsigned tree, uint64_t first,
		       const struct bs_ptr *ptrs, unsigned n)
{
	uint64_t index[LEAVES_A_STEP];
	unsigned there = 0;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		if (ptrs[i].seg[0] == BS_SEG_NONE && ptrs[i].seg[1] == BS_SEG_NONE)
			continue;
		index[there] = first + i;
		c->leaves[there].ptr = ptrs[i];
		c->leaves[there++].mask = UINT64_MAX;
	}
	if (tree == BS_TREE_DIGEST)
		return 0;
	rc = bs_view_read(c->view, c->leaves, there, c->err);
	for (unsigned i = 0; i < there && rc == 0; i++) {
		c->out->pages++;
		rc = c->leaves[i].status;
		if (rc)
			return vs_fail(c->err, rc, "page %llu of table %u: %s",
				       (unsigned long long)index[i], tree, vs_err_text(rc));
		rc = take_leaf(c, tree, index[i], c->leaves[i].data);
	}
	return rc;
}

/* Some children of the inner page at the position; moves on. */
static int take_children(struct bs_recounting *c)
{
	struct position *at = &c->at;
	unsigned tree = order[at->tree];
	unsigned most = tree == BS_TREE_MAP && at->level == 1 ? 1 : LEAVES_A_STEP, n = 0;
	uint64_t first = at->index * BS_PTRS_PER_PAGE + at->child;
	uint64_t end = pages_of(&c->sb->roots[tree], at->level - 1);
	struct bs_ptr ptrs[LEAVES_A_STEP];
	const uint8_t *data;
	int rc = bs_view_node(c->view, tree, at->level, at->index, &data, c->err);

	if (rc)
		return rc;
	for (; data && n < most && at->child < BS_PTRS_PER_PAGE; n++, at->child++) {
		bs_ptr_get(data + at->child * BS_PTR_SIZE, &ptrs[n]);
		table_page(c, &ptrs[n]);
		if (first + n >= end &&
		    (ptrs[n].seg[0] != BS_SEG_NONE || ptrs[n].seg[1] != BS_SEG_NONE))
			differs(c, "table %u has pages behind its last", tree);
	}
	if (!data || at->child == BS_PTRS_PER_PAGE) {
		at->child = 0;
		at->index++;
	}
	if (at->level > 1 || first >= end)
		return 0;
	return take_leaves(c, tree, first, ptrs, (unsigned)VS_MIN(n, end - first));
}

/* A tree whose root is its only leaf. */
static int take_root(struct bs_recounting *c)
{
	unsigned tree = order[c->at.tree];

	c->at.index++;
	return take_leaves(c, tree, 0, &c->sb->roots[tree].ptr, 1);
}

/* The position itself if there is a page, else the next that has one. */
static bool settle(struct bs_recounting *c)
{
	struct position *at = &c->at;

	for (; at->tree < VS_ARRAY_LEN(order); *at = (struct position){.tree = at->tree + 1}) {
		const struct bs_tree_root *root = &c->sb->roots[order[at->tree]];

		if (!root->height)
			continue;
		if (root->height > 1 && !at->level)
			*at = (struct position){.tree = at->tree, .level = root->height - 1u};
		if (!at->child && !at->index && at->level + 1u == root->height)
			table_page(c, &root->ptr);
		for (; at->level; at->level--, at->index = 0)
			if (at->index < pages_of(root, at->level))
				return true;
		if (root->height == 1 && at->index == 0)
			return true;
	}
	return false;
}

static void compare(struct bs_recounting *c)
{
	if (c->contents_sum)
		differs(c, "the counts of references on contents are not those of the maps");
	if (c->pages_sum)
		differs(c, "the counts of references on map pages are not those of the maps");
	if (c->copies_sum)
		differs(c, "map pages do not know their copies");
	if (c->origins_sum)
		differs(c, "what is at origins is not what they count");
	if (c->contents != c->sb->contents || c->stored != c->sb->stored_bytes ||
	    c->references != c->sb->references)
		differs(c, "%llu contents, %llu bytes, %llu references: the store counts others",
			(unsigned long long)c->contents, (unsigned long long)c->stored,
			(unsigned long long)c->references);
	for (uint32_t i = 0; i < c->sb->segments; i++)
		if (c->live[i])
			differs(c, "segment %u holds %lld bytes more than it counts", i,
				(long long)(int64_t)c->live[i]);
}

int bs_recounting_step(struct bs_recounting *c, struct bs_scrub_result *out, bool *end,
		       struct vs_error *err)
{
	c->out = out;
	c->err = err;
	*end = !settle(c);
	if (!*end)
		return c->at.level ? take_children(c) : take_root(c);
	compare(c);
	return bs_view_done(c->view, err);
}

int bs_recounting_new(struct bs_store *s, struct bs_recounting **out, struct vs_error *err)
{
	struct bs_recounting *c = calloc(1, sizeof(*c));
	size_t pages = (size_t)3 * BS_VIEW_PAGES;
	int rc;

	if (!c)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = bs_view_new(s, &c->view, err);
	if (rc == 0)
		c->sb = bs_view_super(c->view);
	if (rc == 0)
		rc = vs_random(&c->seed, sizeof(c->seed));
	if (rc == 0) {
		c->live = calloc(c->sb->segments, sizeof(*c->live));
		c->waiting = calloc(1, BITS / 8);
		c->mem = aligned_alloc(BS_PAGE, pages * BS_PAGE);
		if (!c->live || !c->waiting || !c->mem)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	for (unsigned i = 0; i < BS_VIEW_PAGES && rc == 0; i++) {
		c->leaves[i].data = c->mem + (size_t)i * BS_PAGE;
		c->pages[i].data = c->mem + (size_t)(BS_VIEW_PAGES + i) * BS_PAGE;
		c->bases[i].data = c->mem + (size_t)(2 * BS_VIEW_PAGES + i) * BS_PAGE;
	}
	if (rc)
		bs_recounting_free(c);
	else
		*out = c;
	return rc;
}

void bs_recounting_free(struct bs_recounting *c)
{
	if (!c)
		return;
	bs_view_free(c->view);
	free(c->live);
	free(c->waiting);
	free(c->mem);
	free(c);
}
