#include "backup/tree.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

#define FANOUT_BITS 9u
#define QUEUE_MAX (BK_FRAME_RAW_MAX / BK_PAGE_BYTES)

/* Blocks below one entry of a page at this level. */
static uint64_t span(unsigned level)
{
	return UINT64_C(1) << (FANOUT_BITS * level);
}

/*
 * Open pages form a path: if levels l and l + 1 are open, idx[l + 1] == idx[l] >> 9. A page is
 * dirty when an entry differs from what it was opened with.
 */
struct bk_tree {
	struct bk_sink *sink;
	struct bk_fetch *fetch;
	struct dd_hasher *h;
	struct dd_digest root;
	uint64_t blocks, base_blocks;
	unsigned levels, queue_max;
	bool open[BK_LEVELS_MAX], dirty[BK_LEVELS_MAX];
	uint64_t idx[BK_LEVELS_MAX];
	struct bk_page cur[BK_LEVELS_MAX];
	struct bk_page *queue; /* finished pages on their way to the sink */
	uint32_t items[QUEUE_MAX];
	unsigned queued;
};

static int load_page(struct bk_tree *t, const struct dd_digest *d, struct bk_page *page,
		     struct vs_error *err)
{
	const uint8_t *data;
	int rc;

	if (bk_digest_null(d)) {
		memset(page, 0, sizeof(*page));
		return 0;
	}
	rc = bk_fetch_item(t->fetch, d, BK_KIND_PAGE, &data, err);
	if (rc == 0)
		memcpy(page, data, sizeof(*page));
	return rc;
}

/* Makes the base's root one for this tree's levels: lifts it or steps down its first entries. */
static int adapt_base(struct bk_tree *t, const struct dd_digest *base, struct vs_error *err)
{
	unsigned levels = bk_levels(t->base_blocks), l;
	struct dd_digest root = *base;
	int rc;

	for (; levels > t->levels; levels--) {
		rc = load_page(t, &root, &t->cur[0], err);
		if (rc)
			return rc;
		root = t->cur[0].d[0];
	}
	if (levels == t->levels) {
		t->root = root;
		return 0;
	}
	for (l = levels; l < t->levels; l++) {
		memset(&t->cur[l], 0, sizeof(t->cur[l]));
		t->open[l] = t->dirty[l] = true;
		t->idx[l] = 0;
	}
	t->cur[levels].d[0] = root;
	return 0;
}

int bk_tree_new(struct bk_sink *sink, struct bk_fetch *fetch, const struct dd_digest *base,
		uint64_t base_blocks, uint64_t blocks, uint32_t frame_raw, struct bk_tree **out,
		struct vs_error *err)
{
	struct bk_tree *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	t->sink = sink;
	t->fetch = fetch;
	t->blocks = blocks;
	t->levels = bk_levels(blocks);
	t->queue_max = frame_raw / BK_PAGE_BYTES;
	t->queue = calloc(t->queue_max, sizeof(*t->queue));
	rc = t->queue ? dd_hasher_new(&t->h, err)
		      : vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	if (rc == 0 && base) {
		t->base_blocks = base_blocks;
		rc = adapt_base(t, base, err);
	}
	if (rc) {
		bk_tree_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void bk_tree_free(struct bk_tree *t)
{
	if (!t)
		return;
	dd_hasher_free(t->h);
	free(t->queue);
	free(t);
}

int bk_tree_flush(struct bk_tree *t, struct vs_error *err)
{
	int rc = 0;

	if (t->queued)
		rc = bk_sink_frame(t->sink, BK_KIND_PAGE, t->queue, t->items, t->queued, err);
	t->queued = 0;
	return rc;
}

static void set_entry(struct bk_tree *t, unsigned level, unsigned entry, const struct dd_digest *d)
{
	if (dd_digest_equal(&t->cur[level].d[entry], d))
		return;
	t->cur[level].d[entry] = *d;
	t->dirty[level] = true;
}

static bool page_null(const struct bk_page *p)
{
	for (unsigned i = 0; i < BK_PAGE_ENTRIES; i++)
		if (!bk_digest_null(&p->d[i]))
			return false;
	return true;
}

static int store_page(struct bk_tree *t, const struct bk_page *page, struct dd_digest *d,
		      struct vs_error *err)
{
	uint32_t item;
	int rc;

	dd_hash(t->h, page, sizeof(*page), d);
	rc = bk_sink_reserve(t->sink, d, BK_KIND_PAGE, &item, err);
	if (rc <= 0)
		return rc;
	t->queue[t->queued] = *page;
	t->items[t->queued++] = item;
	return t->queued == t->queue_max ? bk_tree_flush(t, err) : 0;
}

static int close_page(struct bk_tree *t, unsigned level, struct vs_error *err)
{
	struct dd_digest d = {{0}};
	int rc;

	t->open[level] = false;
	if (!t->dirty[level])
		return 0;
	if (!page_null(&t->cur[level])) {
		rc = store_page(t, &t->cur[level], &d, err);
		if (rc)
			return rc;
	}
	if (level == t->levels - 1)
		t->root = d;
	else
		set_entry(t, level + 1, t->idx[level] % BK_PAGE_ENTRIES, &d);
	return 0;
}

/* Opens page idx of this level and those above it. */
static int open_page(struct bk_tree *t, unsigned level, uint64_t idx, struct vs_error *err)
{
	unsigned l = t->levels, k;
	int rc;

	while (l-- > level) {
		uint64_t want = idx >> (FANOUT_BITS * (l - level));
		const struct dd_digest *d;

		if (t->open[l] && t->idx[l] == want)
			continue;
		for (k = 0; k <= l; k++) {
			rc = t->open[k] ? close_page(t, k, err) : 0;
			if (rc)
				return rc;
		}
		d = l == t->levels - 1 ? &t->root : &t->cur[l + 1].d[want % BK_PAGE_ENTRIES];
		rc = load_page(t, d, &t->cur[l], err);
		if (rc)
			return rc;
		t->open[l] = true;
		t->dirty[l] = false;
		t->idx[l] = want;
	}
	return 0;
}

int bk_tree_set(struct bk_tree *t, uint64_t block, const struct dd_digest *d, struct vs_error *err)
{
	int rc = open_page(t, 0, block / BK_PAGE_ENTRIES, err);

	if (rc == 0)
		set_entry(t, 0, block % BK_PAGE_ENTRIES, d);
	return rc;
}

int bk_tree_zero(struct bk_tree *t, uint64_t block, uint64_t count, struct vs_error *err)
{
	static const struct dd_digest null;

	while (count > 0) {
		unsigned level = 0;
		uint64_t entry;
		int rc;

		while (level + 1 < t->levels && block % span(level + 1) == 0 &&
		       count >= span(level + 1))
			level++;
		entry = block / span(level);
		rc = open_page(t, level, entry / BK_PAGE_ENTRIES, err);
		if (rc)
			return rc;
		set_entry(t, level, entry % BK_PAGE_ENTRIES, &null);
		block += span(level);
		count -= span(level);
	}
	return 0;
}

int bk_tree_finish(struct bk_tree *t, struct dd_digest *root, struct vs_error *err)
{
	unsigned l;
	int rc = 0;

	if (t->base_blocks > t->blocks)
		rc = bk_tree_zero(t, t->blocks, span(t->levels) - t->blocks, err);
	for (l = 0; rc == 0 && l < t->levels; l++)
		if (t->open[l])
			rc = close_page(t, l, err);
	if (rc == 0)
		rc = bk_tree_flush(t, err);
	*root = t->root;
	return rc;
}

void bk_walk_begin(struct bk_walk *w, struct bk_fetch *fetch, const struct dd_digest *root,
		   uint64_t blocks)
{
	memset(w, 0, sizeof(*w));
	w->fetch = fetch;
	w->root = *root;
	w->blocks = blocks;
	w->levels = bk_levels(blocks);
	for (unsigned l = 0; l < BK_LEVELS_MAX; l++)
		w->idx[l] = UINT64_MAX;
}

/* Ends a run at the end of what one entry of this level spans. */
static void run_to_end(struct bk_walk *w, unsigned level, uint64_t *first, uint64_t *count)
{
	uint64_t end = VS_MIN((w->pos / span(level) + 1) * span(level), w->blocks);

	*first = w->pos;
	*count = end - w->pos;
	w->pos = end;
}

int bk_walk_next(struct bk_walk *w, uint64_t *first, uint64_t *count, const struct dd_digest **d,
		 struct vs_error *err)
{
	const struct dd_digest *at = &w->root;
	const uint8_t *data;
	unsigned l = w->levels;
	int rc;

	*d = NULL;
	*first = w->pos;
	*count = 0;
	if (w->pos >= w->blocks)
		return 0;
	while (l-- > 0) {
		uint64_t idx = w->pos / span(l + 1);

		if (bk_digest_null(at)) {
			run_to_end(w, l + 1, first, count);
			return 0;
		}
		if (w->idx[l] != idx) {
			rc = bk_fetch_item(w->fetch, at, BK_KIND_PAGE, &data, err);
			if (rc) {
				run_to_end(w, l + 1, first, count);
				return rc;
			}
			memcpy(&w->page[l], data, sizeof(w->page[l]));
			w->idx[l] = idx;
			w->pages++;
		}
		if (l > 0)
			at = &w->page[l].d[w->pos / span(l) % BK_PAGE_ENTRIES];
	}
	*d = w->page[0].d;
	run_to_end(w, 1, first, count);
	return 0;
}
