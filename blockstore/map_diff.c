#include "blockstore/content.h"
#include "blockstore/map.h"

struct walk {
	struct bs_engine *e;
	const struct bs_vol *a, *b;
	struct bs_diff_entry *out;
	size_t max, n;
	uint64_t end; /* blocks of b */
};

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
		int rc = bs_page_get_at(e, *cid, at, &f);

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

static int compare(struct walk *w, uint64_t block, uint64_t ca, uint64_t cb)
{
	struct bs_diff_entry *d = &w->out[w->n];
	struct dd_digest other;
	int rc;

	if (ca == cb)
		return 0;
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

/* Compares the blocks of one pair of bottom pages from *block on. */
static int compare_leaf(struct walk *w, uint64_t *block)
{
	uint64_t end = VS_MIN((*block | (BS_MAP_FAN - 1)) + 1, w->end);
	struct bs_frame *fa = NULL, *fb = NULL;
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(w->e->fibers);
		rc = w->a ? bs_map_leaf(w->e, w->a, *block, &fa) : 0;
		if (rc == 0)
			rc = bs_map_leaf(w->e, w->b, *block, &fb);
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
