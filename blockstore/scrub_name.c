#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/map.h"
#include "blockstore/scrub_int.h"
#include "blockstore/store_int.h"

#define PAGES_A_CALL 64u /* looked at before others get their turn */

struct name {
	uint64_t volume;
	bool tables;
	uint64_t *cursor; /* block */
	struct bs_scrub_range *out;
	size_t max, *n;
};

/* Where a walk from a volume's root to a block ended. */
struct walk {
	struct bs_frame *leaf; /* NULL: nothing is mapped, or it failed */
	uint64_t end;	       /* behind the last block that this is true of */
	uint64_t cid;	       /* of the page at which it ended */
	unsigned level;
};

static uint64_t child(const struct bs_frame *f, uint64_t block, unsigned level)
{
	return bs_map_entry(f->data, (unsigned)(block >> (9 * level)) & (BS_MAP_FAN - 1));
}

static int walk(struct bs_engine *e, struct bs_volent ent, uint64_t block, struct walk *w)
{
	w->cid = ent.root;
	w->leaf = NULL;
	for (w->level = ent.height; w->level-- > 0;) {
		struct bs_mapent ent_of = {0};
		struct bs_frame *f;
		int rc = w->cid ? bs_page_ent(e, w->cid, &ent_of) : 0;

		if (bs_place_at_origin(&ent_of.place)) /* nothing of it is here to be damaged */
			w->cid = 0;
		else if (rc == 0 && w->cid)
			rc = bs_page_get_at(e, w->cid, w->level, &f);
		w->end = (block / bs_map_span(w->level) + 1) * bs_map_span(w->level);
		if (rc || !w->cid)
			return rc;
		if (w->level == 0) {
			w->leaf = f->records ? NULL : f;
			return 0;
		}
		w->cid = child(f, block, w->level);
	}
	return 0;
}

/* (step) Whether the map still leads to the page at which a walk failed. */
static bool still_leads(struct bs_engine *e, uint64_t volume, uint64_t block, const struct walk *w)
{
	const struct bs_vol *v = bs_vol_by_id(e, volume);
	uint64_t cid = v ? v->ent.root : 0;

	for (unsigned level = v ? v->ent.height - 1u : 0; cid && level > w->level; level--) {
		struct bs_frame *f = bs_frame_find(e, bs_key_map(cid));

		if (!f || f->state != BS_FRAME_VALID || f->cid != cid)
			return false;
		cid = child(f, block, level);
	}
	return cid == w->cid;
}

static bool full(const struct name *k)
{
	return *k->n == k->max;
}

/* Of an ordinary volume all blocks are below those of object 1. */
static void add(struct name *k, uint64_t block, uint64_t count)
{
	struct bs_scrub_range *last = *k->n ? &k->out[*k->n - 1] : NULL;
	uint32_t object = (uint32_t)(block >> BS_OBJECT_SHIFT);
	uint64_t offset = (block & ((UINT64_C(1) << BS_OBJECT_SHIFT) - 1)) * BS_BLOCK;
	bool several = count > UINT64_C(1) << BS_OBJECT_SHIFT;
	uint64_t length = several ? UINT64_MAX : count * BS_BLOCK;

	if (last && last->object == object && !several && last->length != UINT64_MAX &&
	    last->offset + last->length == offset)
		last->length += length;
	else
		k->out[(*k->n)++] = (struct bs_scrub_range){offset, length, object};
}

static bool lost(struct bs_engine *e, const struct name *k, uint64_t cid)
{
	struct bs_place place;

	if (bs_marks_has(&e->marks, cid))
		return true;
	if (!k->tables && !bs_feature_used(e, BS_INCOMPAT_ALIAS))
		return false;
	if (bs_content_look(e, cid, &place))
		return k->tables;
	return place.alias && bs_marks_has(&e->marks, place.alias);
}

static void name_leaf(struct bs_engine *e, struct name *k, const struct bs_frame *leaf,
		      uint64_t end)
{
	uint64_t entries[BS_MAP_FAN], block = *k->cursor;

	memcpy(entries, leaf->data, sizeof(entries)); /* looking may wait */
	for (; block < end && !full(k); block++) {
		uint8_t *at = (uint8_t *)entries;
		uint64_t cid = bs_map_entry(at, (unsigned)(block & (BS_MAP_FAN - 1)));

		if (cid && lost(e, k, cid))
			add(k, block, 1);
	}
	*k->cursor = block;
}

/* The next page's part of the volume. VS_E_AGAIN: its map has changed meanwhile. */
static int name_page(struct bs_engine *e, struct name *k, const struct bs_vol *v)
{
	uint64_t blocks = bs_volent_blocks(&v->ent);
	struct walk w = {0};
	int rc = walk(e, v->ent, *k->cursor, &w);

	if (rc == VS_E_NOMEM)
		return rc;
	if (rc && !still_leads(e, k->volume, *k->cursor, &w))
		return VS_E_AGAIN;
	w.end = VS_MIN(w.end, blocks);
	if (w.leaf) {
		name_leaf(e, k, w.leaf, w.end);
		return 0;
	}
	if (rc)
		add(k, *k->cursor, w.end - *k->cursor);
	*k->cursor = w.end;
	return 0;
}

static int name(struct bs_engine *e, struct bs_call *c)
{
	struct name *k = c->arg;

	for (unsigned pages = 0; pages < PAGES_A_CALL && !full(k); pages++) {
		const struct bs_vol *v = bs_vol_by_id(e, k->volume);
		int rc;

		bs_frames_unkeep(e);
		if (!v || *k->cursor >= bs_volent_blocks(&v->ent)) {
			*k->cursor = UINT64_MAX;
			return 0;
		}
		rc = name_page(e, k, v);
		if (rc && rc != VS_E_AGAIN)
			return rc;
	}
	return 0;
}

int bs_scrub_name(struct bs_scrub *sc, uint64_t volume, bool tables, uint64_t *cursor,
		  struct bs_scrub_range *out, size_t max, size_t *n, struct vs_error *err)
{
	struct name k = {volume, tables, cursor, out, max, n};

	*n = 0;
	return *cursor == UINT64_MAX ? 0 : bs_store_call(sc->store, false, name, &k, err);
}
