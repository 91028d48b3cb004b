#include "blockstore/index_format.h"
#include "blockstore/index_save.h"

#include "blockstore/engine.h"

#include <stdlib.h>

/* In one step of the engine while loading. */
#define BUCKETS_AT_ONCE 1024u

/* A segment that is free in the table and stays so, but that nobody takes meanwhile. */
static void hold(struct bs_engine *e, uint32_t seg)
{
	e->segs.seg[seg].readers++;
	e->segs.nfree--;
}

static void let_go(struct bs_engine *e, uint32_t seg)
{
	e->segs.seg[seg].readers--;
	e->segs.nfree++;
}

static bool is_free(const struct bs_engine *e, uint32_t seg)
{
	const struct bs_seg *g = &e->segs.seg[seg];

	return g->ent.state == BS_SEG_FREE && !g->shut && !g->readers && !g->writers;
}

static uint32_t next_free(const struct bs_engine *e, uint32_t from)
{
	while (from < e->segs.count && !is_free(e, from))
		from++;
	return from < e->segs.count ? from : BS_SEG_NONE;
}

/* Free segments that are left beyond what data, deletions and checkpoints may want. */
static uint32_t spare(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	return s->nfree > s->reserve[BS_NEED_DATA] ? s->nfree - s->reserve[BS_NEED_DATA] : 0;
}

static uint32_t most_segments(const struct bs_engine *e)
{
	const struct dd_index *ix = e->index.all;
	uint64_t used = VS_MIN(dd_index_count(ix), dd_index_buckets(ix));
	uint64_t words = dd_index_count(ix) + used, room = (e->segs.size - BS_PAGE) / 8;

	return (uint32_t)VS_MIN(words / (room - BS_IXBUCKET_WORDS) + 1, UINT32_MAX);
}

/* Buckets from *b on, as many as fit. */
static uint32_t fill(const struct bs_engine *e, uint8_t *buf, uint64_t *b)
{
	const struct dd_index *ix = e->index.all;
	uint32_t words = 0;

	while ((*b = dd_index_next(ix, *b)) < dd_index_buckets(ix)) {
		uint64_t entries[DD_BUCKET];
		unsigned n = dd_index_save(ix, *b, entries);

		if (n && !bs_ixbucket_put(buf, e->segs.size, &words, *b, entries, n))
			break;
		++*b;
	}
	return words;
}

/* Writes the chain of segments that begins with `seg`, held already. */
static int write_all(struct bs_engine *e, uint8_t *buf, uint32_t seg, uint64_t nonce)
{
	const struct bs_index *ix = &e->index;
	struct bs_ixseg h = {.nonce = nonce,
			     .buckets = dd_index_buckets(ix->all),
			     .leaf = ix->filled ? UINT64_MAX : ix->leaf,
			     .complete = dd_index_complete(ix->all)};
	uint64_t b = 0;
	int rc = 0;

	for (; rc == 0; h.number++, seg = h.next) {
		uint32_t len;

		h.words = fill(e, buf, &b);
		h.next = b < h.buckets ? next_free(e, seg + 1) : BS_SEG_NONE;
		if (h.next != BS_SEG_NONE)
			hold(e, h.next);
		bs_ixseg_encode(buf, &h);
		len = BS_PAGE + VS_ALIGN_UP(h.words * 8, BS_PAGE);
		rc = bs_engine_dev(e, BS_DEV_WRITE, bs_engine_where(e, seg, 0), buf, len);
		if (h.next == BS_SEG_NONE)
			break;
	}
	return b < h.buckets ? VS_E_NOSPC : rc;
}

void bs_index_save(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;
	uint32_t seg = next_free(e, 0);
	uint64_t nonce;
	uint8_t *buf;

	if (!ix->all || ix->loading || seg == BS_SEG_NONE || most_segments(e) >= spare(e))
		return;
	buf = aligned_alloc(BS_PAGE, e->segs.size);
	if (!buf)
		return;
	memset(buf, 0, e->segs.size);
	nonce = e->env.random(e->env.arg);
	hold(e, seg);
	if (write_all(e, buf, seg, nonce) == 0)
		ix->saved = (struct bs_saved_index){.first = seg + 1, .nonce = nonce};
	free(buf);
}

static int read_head(struct bs_engine *e, uint32_t seg, uint8_t *page, struct bs_ixseg *h)
{
	int rc = bs_engine_read(e, seg, 0, page, BS_PAGE);

	return rc ? rc : bs_ixseg_decode(page, e->segs.size, h);
}

/* The chain's segments, held so that nothing is written over them before they are read. */
static bool hold_chain(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;
	uint32_t seg = e->sb.index.first - 1;

	while (seg < e->segs.count && is_free(e, seg)) {
		struct bs_ixseg h;

		if (read_head(e, seg, ix->buf, &h) || h.nonce != e->sb.index.nonce ||
		    h.number != ix->loading || h.buckets != dd_index_buckets(ix->all))
			return false;
		if (h.number == 0) {
			ix->leaf = h.leaf;
			if (!h.complete)
				dd_index_restore_incomplete(ix->all);
		}
		hold(e, seg);
		ix->chain[ix->loading++] = seg;
		if (h.next == BS_SEG_NONE)
			return true;
		seg = h.next;
	}
	return false;
}

/* Something is missing: all content is entered again. */
static void enter_all(struct bs_index *ix)
{
	ix->leaf = 0;
	ix->filled = false;
}

void bs_index_open(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;

	if (!ix->all || e->read_only || !e->sb.clean || !e->sb.index.first)
		return;
	ix->nonce = e->sb.index.nonce;
	ix->chain = calloc(e->segs.count, sizeof(*ix->chain));
	ix->buf = aligned_alloc(BS_PAGE, e->segs.size);
	if (!ix->chain || !ix->buf || !hold_chain(e))
		enter_all(ix);
	ix->filled = ix->leaf == UINT64_MAX;
	if (!ix->loading)
		bs_index_close(e);
}

void bs_index_close(struct bs_engine *e)
{
	free(e->index.chain);
	free(e->index.buf);
	e->index.chain = NULL;
	e->index.buf = NULL;
}

void bs_index_drop_saved(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;

	while (ix->loading)
		let_go(e, ix->chain[--ix->loading]);
	ix->reading = false;
	bs_index_close(e);
}

static bool read_segment(struct bs_engine *e, uint32_t seg)
{
	struct bs_index *ix = &e->index;

	ix->word = 0;
	return bs_engine_read(e, seg, 0, ix->buf, e->segs.size) == 0 &&
	       bs_ixseg_decode(ix->buf, e->segs.size, &ix->head) == 0 &&
	       ix->head.nonce == e->index.nonce && bs_ixseg_whole(ix->buf, &ix->head) &&
	       ix->head.buckets == dd_index_buckets(ix->all);
}

/* VS_E_NOENT: the segment's end. */
static int restore_some(struct bs_index *ix)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < BUCKETS_AT_ONCE; i++) {
		uint64_t bucket, entries[DD_BUCKET];
		unsigned n;

		rc = bs_ixbucket_get(ix->buf, &ix->head, &ix->word, &bucket, entries, &n);
		if (rc == 0)
			dd_index_restore(ix->all, bucket, entries, n);
	}
	return rc;
}

void bs_index_load(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;
	uint32_t seg = ix->chain[ix->loading - 1];
	int rc = 0;

	if (!ix->reading)
		rc = read_segment(e, seg) ? 0 : VS_E_CORRUPT;
	else
		rc = restore_some(ix);
	ix->reading = rc == 0;
	if (rc == 0)
		return;
	if (rc != VS_E_NOENT)
		enter_all(ix);
	let_go(e, seg);
	if (--ix->loading == 0)
		bs_index_close(e);
}
