#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/map.h"

struct walk {
	struct bs_engine *e;
	const struct bs_vol *a, *b;
	struct bs_diff_entry *out;
	size_t max, n;
	uint64_t end; /* blocks of b */
};

/* A page that is to be compared. VS_E_BUSY: it is at an origin. */
static int page_get(struct bs_engine *e, uint64_t cid, unsigned level, struct bs_frame **out)
{
	struct bs_mapent ent;
	int rc = bs_page_ent(e, cid, &ent);

	if (rc == 0 && bs_place_at_origin(&ent.place))
		rc = VS_E_BUSY;
	return rc ? rc : bs_page_get_at(e, cid, level, out);
}

/* The page of `level` that covers block; CID 0 where there is none. */
static int page_at(struct bs_engine *e, const struct bs_vol *v, uint64_t block, unsigned level,
		   uint64_t *cid)
{
	*cid = 0;
	if (!v || block >= bs_map_span(v->ent.height - 1u))
		return 0;
	if (level + 1u > v->ent.height) { /* above the top: only its first entry is used */
		*cid = v->ent.root;
		return 0;
	}
	*cid = v->ent.root;
	for (unsigned at = v->ent.height - 1u; *cid && at > level; at--) {
		struct bs_frame *f;
		int rc = page_get(e, *cid, at, &f);

		if (rc)
			return rc;
		*cid = bs_map_entry(f->data, (unsigned)(block >> (9 * at)) & (BS_MAP_FAN - 1));
	}
	return 0;
}

static bool same_size_at(const struct walk *w, unsigned level)
{
	return level < w->b->ent.height && (!w->a || level < w->a->ent.height);
}

/*
 * The widest level at which both maps have the same page for `block`, which starts that page:
 * nothing differs below it. 0 pages on both sides count as the same.
 */
static int skip_same(struct walk *w, uint64_t block, uint64_t *skip)
{
	*skip = 0;
	for (int level = BS_MAP_LEVELS - 1; level >= 0; level--) {
		uint64_t ca, cb;
		int rc;

		if (block % bs_map_span((unsigned)level) || !same_size_at(w, (unsigned)level))
			continue;
		rc = page_at(w->e, w->a, block, (unsigned)level, &ca);
		if (rc == 0)
			rc = page_at(w->e, w->b, block, (unsigned)level, &cb);
		if (rc)
			return rc;
		if (ca == cb) {
			*skip = bs_map_span((unsigned)level);
			return 0;
		}
	}
	return 0;
}

static void add_zero(struct walk *w, uint64_t block)
{
	struct bs_diff_entry *last = w->n ? &w->out[w->n - 1] : NULL;

	if (last && last->kind == BS_DIFF_ZERO && last->block + last->count == block) {
		last->count++;
		return;
	}
	w->out[w->n++] = (struct bs_diff_entry){.block = block, .count = 1, .kind = BS_DIFF_ZERO};
}

/* What came from an origin may be zeros that a map refers to, or still be there. */
static int settle(struct bs_engine *e, uint64_t *cid)
{
	struct bs_place place;
	int rc;

	if (!*cid || !bs_feature_used(e, BS_INCOMPAT_ORIGIN))
		return 0;
	rc = bs_content_look(e, *cid, &place);
	if (rc == 0 && bs_place_at_origin(&place))
		return VS_E_BUSY;
	if (rc == 0 && place.coding == BS_CODING_ZEROS)
		*cid = 0;
	return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
}

static int compare(struct walk *w, uint64_t block, uint64_t ca, uint64_t cb)
{
	struct bs_diff_entry *d = &w->out[w->n];
	struct dd_digest other;
	int rc;

	if (ca == cb)
		return 0;
	rc = settle(w->e, &cb);
	if (rc == 0)
		rc = settle(w->e, &ca);
	if (rc || ca == cb)
		return rc;
	if (!cb) {
		add_zero(w, block);
		return 0;
	}
	rc = bs_content_digest(w->e, cb, &d->digest);
	if (rc == 0 && ca) {
		rc = bs_content_digest(w->e, ca, &other);
		if (rc == 0 && dd_digest_equal(&d->digest, &other))
			return 0; /* one content stored twice */
	}
	if (rc)
		return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	d->block = block;
	d->count = 1;
	d->kind = BS_DIFF_DATA;
	w->n++;
	return 0;
}

static int leaf_at(struct bs_engine *e, const struct bs_vol *v, uint64_t block,
		   struct bs_frame **out)
{
	uint64_t cid;
	int rc = page_at(e, v, block, 0, &cid);

	*out = NULL;
	return rc || !cid ? rc : page_get(e, cid, 0, out);
}

/* Compares the blocks of one pair of bottom pages from *block on. */
static int compare_leaf(struct walk *w, uint64_t *block)
{
	uint64_t end = VS_MIN((*block | (BS_MAP_FAN - 1)) + 1, w->end);
	struct bs_frame *fa = NULL, *fb = NULL;
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(w->e->fibers);
		rc = leaf_at(w->e, w->a, *block, &fa);
		if (rc == 0)
			rc = leaf_at(w->e, w->b, *block, &fb);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(w->e->fibers));
	while (*block < end && w->n < w->max) {
		unsigned i = (unsigned)(*block & (BS_MAP_FAN - 1));

		rc = compare(w, *block, fa ? bs_map_entry(fa->data, i) : 0,
			     fb ? bs_map_entry(fb->data, i) : 0);
		if (rc)
			return rc;
		(*block)++;
	}
	return 0;
}

/* Pages looked at before the caller gets its turn again. */
#define PAGES_A_CALL 64u

int bs_map_diff(struct bs_engine *e, const struct bs_vol *a, const struct bs_vol *b,
		uint64_t *cursor, struct bs_diff_entry *out, size_t max, size_t *n)
{
	struct walk w = {
	    .e = e, .a = a, .b = b, .out = out, .max = max, .end = b->ent.size / BS_BLOCK};
	uint64_t block = *cursor;
	int rc = 0;

	for (unsigned pages = 0; rc == 0 && block < w.end && w.n < max && pages < PAGES_A_CALL;) {
		uint64_t skip = 0;

		bs_frames_unkeep(e);
		if (block % BS_MAP_FAN == 0)
			rc = skip_same(&w, block, &skip);
		if (rc)
			break;
		if (skip) {
			block = skip > w.end - block ? w.end : block + skip;
			continue;
		}
		rc = compare_leaf(&w, &block);
		pages++;
	}
	bs_frames_unkeep(e);
	*n = w.n;
	*cursor = block >= w.end ? UINT64_MAX : block;
	return rc;
}
