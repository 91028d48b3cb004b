#include "blockstore/map.h"

#include "blockstore/content.h"
#include "blockstore/plant.h"
#include "blockstore/work.h"

uint64_t bs_map_span(unsigned level)
{
	return UINT64_C(1) << (9 * (level + 1));
}

uint8_t bs_map_height(uint64_t blocks)
{
	uint8_t h = 1;

	while (h < BS_MAP_LEVELS && bs_map_span(h - 1u) < blocks)
		h++;
	return h;
}

static unsigned index_at(uint64_t block, unsigned level)
{
	return (unsigned)(block >> (9 * level)) & (BS_MAP_FAN - 1);
}

/* Bottom pages from there on hold words of records. */
static bool is_record(uint64_t block)
{
	return block >= BS_RECORDS_FROM;
}

int bs_map_page(struct bs_engine *e, const struct bs_vol *v, uint64_t block, unsigned level,
		uint64_t *cid)
{
	*cid = v->ent.root;
	for (unsigned at = v->ent.height - 1u; *cid && at > level; at--) {
		struct bs_frame *f;
		int rc = bs_page_get_at(e, *cid, at, &f);

		if (rc)
			return rc;
		*cid = bs_map_entry(f->data, index_at(block, at));
	}
	return 0;
}

int bs_map_leaf(struct bs_engine *e, const struct bs_vol *v, uint64_t block, struct bs_frame **out)
{
	uint64_t cid = v->ent.root;

	*out = NULL;
	if (block >= bs_map_span(v->ent.height - 1u))
		return 0;
	for (unsigned level = v->ent.height; cid && level-- > 0;) {
		struct bs_frame *f;
		int rc = bs_page_get_at(e, cid, level, &f);

		if (rc)
			return rc;
		if (level == 0)
			*out = f;
		else
			cid = bs_map_entry(f->data, index_at(block, level));
	}
	return *out && (*out)->records != is_record(block) ? VS_E_CORRUPT : 0;
}

uint64_t bs_map_leaf_hint(struct bs_engine *e, const struct bs_vol *v, uint64_t block)
{
	uint64_t cid = v->ent.root;

	if (block >= bs_map_span(v->ent.height - 1u))
		return 0;
	for (unsigned level = v->ent.height; cid && --level > 0;) {
		const struct bs_frame *f = bs_frame_find(e, bs_key_map(cid));

		if (!f || f->state != BS_FRAME_VALID || f->level != level)
			return 0;
		cid = bs_map_entry(f->data, index_at(block, level));
	}
	return cid;
}

uint64_t bs_map_count(struct bs_engine *e, const struct bs_vol *v, int *rc)
{
	struct bs_mapent ent;

	*rc = v->ent.root ? bs_page_ent(e, v->ent.root, &ent) : 0;
	return v->ent.root && *rc == 0 ? ent.count : 0;
}

static bool is_shared(const struct bs_vol *v, const struct bs_frame *f)
{
	return f->era < v->ent.frozen;
}

/* The page, its table entry, and (when it can change) its base. */
static int ready_page(struct bs_engine *e, const struct bs_vol *v, uint64_t cid, unsigned level,
		      struct bs_frame **out)
{
	struct bs_frame *base;
	int rc = bs_page_get_at(e, cid, level, out);

	if (rc == 0 && !bs_frame_dirty(&e->frames, *out)) /* else it has been since the cut */
		rc = bs_page_ready(e, cid);
	if (rc == 0 && !is_shared(v, *out))
		rc = bs_page_get_base(e, *out, &base);
	return rc;
}

/*
 * Walks to the page of `level` that covers block and makes the path ready. *out is NULL where the
 * path ends before; need->pages counts copies and new pages of the whole path.
 */
static int ready_path(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned level,
		      struct bs_map_need *need, struct bs_frame **out)
{
	uint64_t cid = v->ent.root;
	struct bs_frame *f = NULL;
	bool copies = false;
	int rc;

	*out = NULL;
	need->pages = need->drops = 0;
	for (unsigned at = v->ent.height; at-- > level;) {
		if (!cid) {
			need->pages += at - level + 1;
			copies |= at + 1u == v->ent.height;
			break;
		}
		rc = ready_page(e, v, cid, at, &f);
		if (rc)
			return rc;
		if (f->records != (at == 0 && is_record(block)))
			return VS_E_CORRUPT;
		if (is_shared(v, f)) {
			need->pages++;
			copies |= at + 1u == v->ent.height;
		}
		if (at == level)
			*out = f;
		else
			cid = bs_map_entry(f->data, index_at(block, at));
	}
	return copies ? bs_vol_ready(e, v) : 0; /* the root changes */
}

int bs_map_prepare(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned n,
		   struct bs_map_need *need, uint64_t *old)
{
	struct bs_frame *leaf;
	int rc = ready_path(e, v, block, 0, need, &leaf);

	if (rc)
		return rc;
	for (unsigned i = 0; i < n; i++) {
		uint64_t cid = leaf ? bs_map_entry(leaf->data, index_at(block + i, 0)) : 0;

		if (old)
			old[i] = cid;
		need->drops += cid && !is_shared(v, leaf);
	}
	return bs_work_ready(e, 2 * (BS_MAP_LEVELS + 1)); /* a step may change two bottom pages */
}

static void set_root(struct bs_engine *e, struct bs_vol *v, uint64_t root)
{
	uint64_t old = v->ent.root;

	if (root)
		bs_page_ref(e, root);
	v->ent.root = root;
	bs_vol_changed(e, v);
	if (old)
		bs_page_unref(e, old);
}

/* Entry i of inner page f becomes cid; references follow ownership. */
static void set_child(struct bs_engine *e, struct bs_frame *f, unsigned i, uint64_t cid)
{
	uint64_t old = bs_map_entry(f->data, i);
	bool owned = bs_page_owns(e, f, i);

	bs_frame_touch(e, f);
	bs_map_entry_put(f->data, i, cid);
	if (bs_page_owns(e, f, i))
		bs_page_ref(e, cid);
	if (owned)
		bs_page_unref(e, old);
}

/* The path from the root down to `level` becomes the volume's own. path[l] for l >= level. */
static void own_path(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned level,
		     struct bs_frame *path[BS_MAP_LEVELS])
{
	struct bs_frame *above = NULL;
	uint64_t cid = v->ent.root;

	for (unsigned at = v->ent.height; at-- > level;) {
		struct bs_frame *f = cid ? bs_page_now(e, cid) : NULL;

		if (!f || is_shared(v, f)) {
			f = bs_page_new(e, f, (uint8_t)at, at == 0 && is_record(block));
			if (above)
				set_child(e, above, index_at(block, at + 1), f->cid);
			else
				set_root(e, v, f->cid);
		}
		path[at] = f;
		above = f;
		if (at > level)
			cid = bs_map_entry(f->data, index_at(block, at));
	}
}

static void add_count(struct bs_engine *e, const struct bs_vol *v,
		      struct bs_frame *path[BS_MAP_LEVELS], unsigned level, int64_t delta)
{
	for (unsigned at = level; delta && at < v->ent.height; at++)
		bs_page_count(e, path[at]->cid, delta);
}

void bs_map_apply(struct bs_engine *e, struct bs_vol *v, uint64_t block, unsigned n,
		  const uint64_t *cids)
{
	struct bs_frame *path[BS_MAP_LEVELS];
	int64_t delta = 0;

	e->changes++;
	own_path(e, v, block, 0, path);
	bs_frame_touch(e, path[0]);
	for (unsigned k = 0; k < n; k++) {
		unsigned i = index_at(block + k, 0);
		uint64_t old = bs_map_entry(path[0]->data, i), cid = cids[k];
		bool owned;

		if (old == cid)
			continue;
		owned = bs_page_owns(e, path[0], i);
		bs_map_entry_put(path[0]->data, i, cid);
		if (bs_page_owns(e, path[0], i))
			bs_content_ref(e, cid);
		if (owned)
			bs_content_unref(e, old);
		delta += (cid != 0) - (old != 0);
	}
	add_count(e, v, path, 0, delta);
}

/*
 * The highest level at which `first` is aligned and whole entries below limit can be cleared; else
 * the bottom page.
 */
static unsigned trim_level(const struct bs_vol *v, uint64_t first, uint64_t limit)
{
	unsigned level = 0;

	for (unsigned l = 1; l < v->ent.height; l++) {
		uint64_t entry = bs_map_span(l - 1);

		if (first % entry || limit - first < entry)
			break;
		level = l;
	}
	return level;
}

static uint64_t trim_end(uint64_t first, uint64_t limit, unsigned level)
{
	uint64_t entry = level ? bs_map_span(level - 1) : 1, span = bs_map_span(level);
	uint64_t end = VS_MIN(first / span * span + span, limit);

	return end / entry * entry;
}

int bs_map_trim_prepare(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t limit,
			uint64_t *end, bool *nothing, struct bs_map_need *need)
{
	unsigned level = trim_level(v, first, limit);
	uint64_t entry = level ? bs_map_span(level - 1) : 1;
	struct bs_frame *f;
	bool any = false;
	int rc;

	*nothing = true;
	*end = trim_end(first, limit, level);
	rc = ready_path(e, v, first, level, need, &f);
	if (rc || !f)
		return rc;
	for (uint64_t b = first; b < *end; b += entry) {
		uint64_t cid = bs_map_entry(f->data, index_at(b, level));

		if (!cid)
			continue;
		any = true;
		if (level) /* its count, and its reference when it is owned */
			rc = bs_page_ready(e, cid);
		else
			need->drops += !is_shared(v, f);
		if (rc)
			return rc;
	}
	*nothing = !any;
	return any ? bs_work_ready(e, BS_MAP_FAN + BS_MAP_LEVELS + 1) : 0;
}

void bs_map_trim_apply(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t end)
{
	unsigned level = trim_level(v, first, end);
	uint64_t entry = level ? bs_map_span(level - 1) : 1;
	struct bs_frame *path[BS_MAP_LEVELS];
	int64_t delta = 0;

	e->changes++;
	own_path(e, v, first, level, path);
	for (uint64_t b = first; b < end; b += entry) {
		unsigned i = index_at(b, level);
		uint64_t cid = bs_map_entry(path[level]->data, i);

		if (!cid)
			continue;
		if (level) {
			delta -= (int64_t)bs_page_ent_now(e, cid).count;
			set_child(e, path[level], i, 0);
			continue;
		}
		bool owned = bs_page_owns(e, path[0], i);

		bs_frame_touch(e, path[0]);
		bs_map_entry_put(path[0]->data, i, 0);
		if (owned || bs_planted(BORROWED_TRIM))
			bs_content_unref(e, cid);
		delta--;
	}
	add_count(e, v, path, level, delta);
}

void bs_map_raise(struct bs_engine *e, struct bs_vol *v, uint8_t height)
{
	while (v->ent.height < height) {
		uint64_t root = v->ent.root;

		if (root) {
			struct bs_frame *f = bs_page_new(e, NULL, v->ent.height, false);

			set_child(e, f, 0, root);
			bs_page_count(e, f->cid, (int64_t)bs_page_ent_now(e, root).count);
			set_root(e, v, f->cid);
		}
		v->ent.height++;
	}
	bs_vol_changed(e, v);
}

static uint64_t words_of(uint32_t object)
{
	return BS_RECORDS_FROM + (uint64_t)object * BS_OBJECT_WORDS;
}

int bs_map_words(struct bs_engine *e, const struct bs_vol *v, uint32_t object,
		 uint64_t word[BS_OBJECT_WORDS])
{
	struct bs_frame *leaf;
	int rc = bs_map_leaf(e, v, words_of(object), &leaf);

	for (unsigned i = 0; rc == 0 && i < BS_OBJECT_WORDS; i++)
		word[i] = leaf ? bs_map_entry(leaf->data, index_at(words_of(object) + i, 0)) : 0;
	return rc;
}

int bs_map_words_prepare(struct bs_engine *e, struct bs_vol *v, uint32_t object,
			 struct bs_map_need *need)
{
	struct bs_frame *leaf;

	return ready_path(e, v, words_of(object), 0, need, &leaf);
}

void bs_map_words_apply(struct bs_engine *e, struct bs_vol *v, uint32_t object, uint16_t mask,
			const uint64_t word[BS_OBJECT_WORDS])
{
	struct bs_frame *path[BS_MAP_LEVELS];

	e->changes++;
	own_path(e, v, words_of(object), 0, path);
	bs_frame_touch(e, path[0]);
	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++)
		if (mask & 1u << i)
			bs_map_entry_put(path[0]->data, index_at(words_of(object) + i, 0), word[i]);
}

static uint64_t blocks_of(uint32_t object)
{
	return (uint64_t)object << BS_OBJECT_SHIFT;
}

int bs_map_graft_prepare(struct bs_engine *e, struct bs_map_graft *g, struct bs_map_need *need)
{
	struct bs_frame *above, *page;
	int rc = bs_map_page(e, g->from, blocks_of(g->from_object), BS_OBJECT_LEVEL, &g->page);

	if (rc == 0)
		rc = ready_path(e, g->to, blocks_of(g->to_object), BS_OBJECT_LEVEL + 1, need,
				&above);
	if (rc == 0 && above &&
	    bs_map_entry(above->data, index_at(blocks_of(g->to_object), BS_OBJECT_LEVEL + 1)))
		return VS_E_EXIST;
	if (rc == 0 && g->page)
		rc = bs_page_get_at(e, g->page, BS_OBJECT_LEVEL, &page);
	if (rc == 0 && g->page)
		rc = bs_page_ready(e, g->page);
	if (rc == 0)
		rc = bs_vol_ready(e, g->to);
	if (rc == 0)
		rc = bs_vol_ready(e, g->from);
	return rc ? rc : bs_work_ready(e, 2 * (BS_MAP_LEVELS + 1));
}

void bs_map_graft_apply(struct bs_engine *e, const struct bs_map_graft *g)
{
	uint64_t block = blocks_of(g->to_object);
	unsigned level = BS_OBJECT_LEVEL + 1;
	struct bs_frame *path[BS_MAP_LEVELS];

	e->changes++;
	own_path(e, g->to, block, level, path);
	set_child(e, path[level], index_at(block, level), g->page);
	add_count(e, g->to, path, level, (int64_t)bs_page_ent_now(e, g->page).count);
	e->era++; /* later than all pages of both */
	if (!bs_planted(THAWED_CLONE))
		g->to->ent.frozen = g->from->ent.frozen = e->era;
	bs_vol_changed(e, g->to);
	bs_vol_changed(e, g->from);
}
