#include "blockstore/checkpoint.h"
#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/mend.h"
#include "blockstore/scrub_int.h"
#include "blockstore/store_int.h"
#include "blockstore/stored.h"

#include <stdio.h>
#include <stdlib.h>

/* Unneeded bytes that are read to make one request of two, and the longest request. */
#define GAP 16384u
#define READ_MAX (128u << 10)
#define COUNTS_TRIED 3u
/* A leaf's contents, each in two pages and with a gap behind. */
#define BUF_BYTES (VS_ALIGN_UP(BS_PLACES_PER_PAGE * (2u * BS_PAGE + GAP), BS_PAGE) + READ_MAX)

void bs_scrub_add(struct bs_scrub_result *out, const struct bs_scrub_found *f)
{
	if (out->nfound < BS_SCRUB_FOUND_MAX)
		out->found[out->nfound++] = *f;
}

static bool place_ok(const struct bs_engine *e, const struct bs_place *p)
{
	return p->seg < e->segs.count && p->len > 0 && p->len <= BS_BLOCK &&
	       vs_range_ok(p->off, p->len, e->segs.size);
}

/* Every live content of a leaf, with its digest, in one step. */
static int look(struct bs_engine *e, struct bs_scrub *sc, uint64_t leaf)
{
	uint64_t blocks;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		sc->nitems = 0;
		for (unsigned i = 0; i < BS_PLACES_PER_PAGE; i++) {
			uint64_t slot = leaf * BS_PLACES_PER_PAGE + i;
			struct bs_scrub_item *t = &sc->items[sc->nitems];
			int rc = slot ? bs_content_look_slot(e, slot, &t->place) : VS_E_NOENT;

			if (rc == VS_E_NOENT || (rc == 0 && !bs_place_stored(&t->place)))
				continue;
			if (rc == 0) {
				t->cid = bs_cid(slot, t->place.gen);
				rc = bs_content_digest(e, t->cid, &t->digest);
			}
			if (rc)
				return rc;
			t->stored = NULL;
			t->status = 0;
			sc->nitems++;
		}
	} while (blocks != bs_fiber_blocks(e->fibers));
	return 0;
}

/* (step) What is still in memory has only just been compared with its digest. */
static bool in_log(struct bs_engine *e, const struct bs_place *p)
{
	struct bs_unit *unit;

	if (!bs_log_find(e, p, &unit))
		return false;
	bs_log_release(e, unit);
	return true;
}

static int by_place(const void *a, const void *b)
{
	const struct bs_place *p = &((const struct bs_scrub_item *)a)->place;
	const struct bs_place *q = &((const struct bs_scrub_item *)b)->place;

	if (p->seg != q->seg)
		return p->seg < q->seg ? -1 : 1;
	return p->off < q->off ? -1 : p->off > q->off;
}

/* (step) Their segments stay until they have been read. */
static void hold(struct bs_engine *e, struct bs_scrub *sc)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sc->nitems; i++) {
		struct bs_scrub_item *t = &sc->items[i];

		if (in_log(e, &t->place))
			continue;
		sc->items[n] = *t;
		t = &sc->items[n++];
		if (place_ok(e, &t->place))
			e->segs.seg[t->place.seg].readers++;
		else
			t->status = VS_E_CORRUPT;
	}
	sc->nitems = n;
	qsort(sc->items, n, sizeof(sc->items[0]), by_place);
}

/* The sides of a mirror differ: what a checksum tells apart is healed, and buf gets the right
 * bytes.
 */
static void mend_some(struct bs_engine *e, const struct bs_scrub *sc, unsigned i, unsigned k,
		      uint8_t *buf, uint32_t from)
{
	for (; i < k; i++) {
		const struct bs_place *p = &sc->items[i].place;
		const struct bs_mend m = {.seg = p->seg,
					  .off = p->off,
					  .len = p->len,
					  .check = p->check,
					  .mask = BS_CHECK56};
		uint32_t skip = p->off % BS_PAGE;
		uint8_t *pages = aligned_alloc(BS_PAGE, VS_ALIGN_UP(skip + p->len, BS_PAGE));

		if (pages && bs_mend_check(e, &m, pages) == 0)
			memcpy(buf + (p->off - from), pages + skip, p->len);
		free(pages);
	}
}

/* Items [i, k) with one request; their bytes go to buf. Returns k. */
static unsigned read_some(struct bs_engine *e, struct bs_scrub *sc, unsigned i, uint8_t *buf,
			  uint32_t *used)
{
	const struct bs_place *first = &sc->items[i].place;
	uint32_t from = VS_ALIGN_DOWN(first->off, BS_PAGE);
	uint32_t to = VS_ALIGN_UP(first->off + first->len, BS_PAGE);
	unsigned k = i + 1;
	int rc;

	for (; k < sc->nitems; k++) {
		const struct bs_place *p = &sc->items[k].place;
		uint32_t end = VS_ALIGN_UP(p->off + p->len, BS_PAGE);

		if (sc->items[k].status || p->seg != first->seg || p->off > to + GAP ||
		    end - from > READ_MAX)
			break;
		to = VS_MAX(to, end);
	}
	rc = bs_engine_read(e, first->seg, from, buf, to - from);
	if (rc == 0 && !bs_mend_same(e, first->seg, from, buf, to - from))
		mend_some(e, sc, i, k, buf, from);
	for (unsigned n = i; n < k; n++) {
		sc->items[n].stored = buf + (sc->items[n].place.off - from);
		sc->items[n].status = rc;
		e->segs.seg[sc->items[n].place.seg].readers--;
	}
	*used = to - from;
	return k;
}

static uint64_t activity(const struct bs_engine *e)
{
	return e->count.cache_hits + e->count.cache_misses + e->count.dedup_hits + e->log.bytes;
}

/* The contents of one leaf of the place table, read. */
static int read_leaf(struct bs_engine *e, struct bs_scrub *sc, bool *end)
{
	size_t used = 0;
	int rc;

	*end = sc->at->at >= e->trees[BS_TREE_PLACE].root.leaves;
	sc->nitems = 0;
	if (*end)
		return 0;
	rc = look(e, sc, sc->at->at);
	if (rc) /* a page that cannot be read has been named with the tables */
		sc->nitems = 0;
	hold(e, sc);
	bs_frames_unkeep(e);
	for (unsigned i = 0; i < sc->nitems;) {
		uint32_t n = 0;

		if (sc->items[i].status) {
			i++;
			continue;
		}
		VS_ASSERT(used + READ_MAX <= BUF_BYTES);
		i = read_some(e, sc, i, sc->buf + used, &n);
		used += n;
	}
	sc->at->at++;
	return 0;
}

static int read_piece(struct bs_engine *e, struct bs_call *c)
{
	struct bs_scrub *sc = c->arg;
	bool end = false;
	int rc = 0;

	sc->nitems = 0;
	switch (sc->at->part) {
	case BS_SCRUB_TABLES:
		rc = bs_scrub_tables(e, sc, &end);
		break;
	case BS_SCRUB_MAPS:
		rc = bs_scrub_maps(e, sc, &end);
		break;
	case BS_SCRUB_CONTENTS:
		rc = read_leaf(e, sc, &end);
		break;
	default:
		break;
	}
	if (rc == 0 && end)
		*sc->at = (struct bs_scrub_position){.part = sc->at->part + 1};
	sc->out->total = e->contents;
	sc->out->busy = activity(e) != sc->activity;
	sc->activity = activity(e);
	return rc;
}

/* On the caller's thread: what was read is what the digest says. */
static int compare(struct bs_scrub *sc, const struct bs_scrub_item *t)
{
	uint8_t plain[BS_BLOCK];
	struct dd_digest have;
	int rc = t->status ? t->status : bs_stored_decode(t->stored, &t->place, plain);

	if (rc)
		return rc;
	dd_hash(sc->hasher, plain, BS_BLOCK, &have);
	return dd_digest_equal(&have, &t->digest) ? 0 : VS_E_CORRUPT;
}

/* Again and alone, in case the device erred only once. Its segment must be held. */
static int read_again(struct bs_engine *e, struct bs_scrub *sc, const struct bs_scrub_item *t)
{
	const struct bs_mend m = {.seg = t->place.seg,
				  .off = t->place.off,
				  .len = t->place.len,
				  .check = t->place.check,
				  .mask = BS_CHECK56};

	return place_ok(e, &t->place) ? bs_mend_check(e, &m, sc->buf) : VS_E_CORRUPT;
}

/*
 * What compared badly is damaged if it is still alive, still there and still bad. A second reading
 * with the right checksum clears what had the wrong one; a wrong digest below a right checksum
 * stays.
 */
static int confirm(struct bs_engine *e, struct bs_call *c)
{
	struct bs_scrub *sc = c->arg;

	for (unsigned i = 0; i < sc->nitems && !e->stopping; i++) {
		const struct bs_scrub_item *t = &sc->items[i];
		struct bs_scrub_found f = {
		    .part = BS_SCRUB_CONTENTS, .id = t->cid, .digest = t->digest};
		struct bs_place now;
		int rc;

		if (bs_content_look(e, t->cid, &now) || now.seg != t->place.seg ||
		    now.off != t->place.off)
			continue;
		rc = read_again(e, sc, t);
		if (rc == 0 && t->status != VS_E_CORRUPT)
			continue;
		rc = bs_content_look(e, t->cid, &now);
		bs_frames_unkeep(e);
		if (rc || now.seg != t->place.seg || now.off != t->place.off)
			continue;
		(void)bs_marks_add(&e->marks, t->cid);
		bs_cache_forget(&e->cache, t->cid);
		(void)snprintf(f.what, sizeof(f.what), "content %llx in segment %u at %u",
			       (unsigned long long)t->cid, now.seg, now.off);
		bs_checkpoint_want(e); /* recovery must not have to read it */
		bs_scrub_add(sc->out, &f);
	}
	return 0;
}

static void counted(struct bs_scrub *sc, enum bs_scrub_counts counts)
{
	sc->out->counts = counts;
	*sc->at = (struct bs_scrub_position){.part = BS_SCRUB_END};
	sc->lost_views = 0;
}

/* On the caller's thread. */
static int count_some(struct bs_scrub *sc, struct vs_error *err)
{
	bool end = false;
	int rc = 0;

	if (!sc->counting) {
		sc->differs = false;
		rc = bs_recounting_new(sc->store, &sc->counting, err);
	}
	if (rc == 0)
		rc = bs_recounting_step(sc->counting, sc->out, &end, err);
	sc->differs |= sc->out->nfound > 0;
	if (rc == 0 && !end)
		return 0;
	bs_recounting_free(sc->counting);
	sc->counting = NULL;
	if (rc == 0)
		counted(sc, sc->differs ? BS_COUNTS_WRONG : BS_COUNTS_RIGHT);
	else if (rc == VS_E_BUSY && ++sc->lost_views >= COUNTS_TRIED)
		counted(sc, BS_COUNTS_PUT_OFF);
	else if (rc == VS_E_CHECKSUM || rc == VS_E_CORRUPT || rc == VS_E_IO)
		counted(sc, BS_COUNTS_LOST);
	else if (rc != VS_E_BUSY)
		return rc;
	return 0;
}

int bs_scrub_step(struct bs_scrub *sc, struct bs_scrub_position *at, struct bs_scrub_result *out,
		  struct vs_error *err)
{
	unsigned bad = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	sc->at = at;
	sc->out = out;
	rc = bs_store_call(sc->store, false, read_piece, sc, err);
	if (rc == 0 && at->part == BS_SCRUB_COUNTS)
		return count_some(sc, err);
	out->contents = sc->nitems;
	for (unsigned i = 0; i < sc->nitems && rc == 0; i++) {
		struct bs_scrub_item t = sc->items[i];

		t.status = compare(sc, &t);
		if (t.status)
			sc->items[bad++] = t;
	}
	sc->nitems = bad;
	return rc == 0 && bad ? bs_store_call(sc->store, false, confirm, sc, err) : rc;
}

int bs_scrub_new(struct bs_store *s, struct bs_scrub **out)
{
	struct bs_scrub *sc = calloc(1, sizeof(*sc));
	int rc;

	if (!sc)
		return VS_E_NOMEM;
	sc->store = s;
	sc->buf = aligned_alloc(BS_PAGE, BUF_BYTES);
	rc = sc->buf ? dd_hasher_new(&sc->hasher, NULL) : VS_E_NOMEM;
	if (rc)
		bs_scrub_free(sc);
	else
		*out = sc;
	return rc;
}

void bs_scrub_free(struct bs_scrub *sc)
{
	if (!sc)
		return;
	bs_recounting_free(sc->counting);
	dd_hasher_free(sc->hasher);
	free(sc->buf);
	free(sc);
}

struct heal {
	uint64_t cid;
	struct dd_digest digest;
	struct bs_place place;
	const uint8_t *stored;
};

/* Appended like content that the cleaner moves, but with another stored form. */
static int heal(struct bs_engine *e, struct bs_call *c)
{
	struct heal *h = c->arg;
	struct bs_rec r = {.type = BS_REC_MOVE,
			   .cid = h->cid,
			   .coding = h->place.coding,
			   .len = h->place.len,
			   .check = h->place.check};
	uint64_t blocks;
	int rc = e->read_only ? VS_E_ROFS : bs_feature_use(e, BS_INCOMPAT_REPLACED);

	if (rc)
		return rc;
	do {
		struct dd_digest have;
		struct bs_place now;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_content_look(e, h->cid, &now);
		if (rc == 0)
			rc = bs_content_digest(e, h->cid, &have);
		if (rc == 0 && !bs_place_stored(&now)) /* merged meanwhile: another one stores it */
			rc = VS_E_NOENT;
		if (rc == 0 && !dd_digest_equal(&have, &h->digest))
			rc = VS_E_CHECKSUM;
		if (rc == 0)
			rc = bs_content_ready(e, h->cid);
		if (rc == 0)
			rc = bs_frames_room(e, 8);
		if (rc == 0)
			rc = bs_log_room(e, BS_NEED_DELETE, BS_REC_MOVE_SIZE, h->place.len, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_rec_put(bs_log_record(e, BS_REC_MOVE_SIZE), &r);
	bs_log_payload(e, h->stored, h->place.len, &h->place);
	bs_content_replace(e, h->cid, &h->place);
	bs_marks_remove(&e->marks, h->cid);
	bs_cache_forget(&e->cache, h->cid);
	return bs_log_commit(e);
}

int bs_scrub_heal(struct bs_scrub *sc, uint64_t cid, const uint8_t plain[BS_BLOCK],
		  struct vs_error *err)
{
	struct heal h = {.cid = cid, .stored = sc->buf};

	dd_hash(sc->hasher, plain, BS_BLOCK, &h.digest);
	bs_stored_encode(plain, sc->buf, &h.place);
	return bs_store_call(sc->store, true, heal, &h, err);
}

struct mark {
	const uint64_t *cids;
	size_t n;
};

static int mark(struct bs_engine *e, struct bs_call *c)
{
	const struct mark *m = c->arg;
	struct bs_place place;

	for (size_t i = 0; i < m->n; i++)
		if (bs_content_look(e, m->cids[i], &place) == 0)
			(void)bs_marks_add(&e->marks, m->cids[i]);
	return 0;
}

int bs_scrub_mark(struct bs_store *s, const uint64_t *cids, size_t n, struct vs_error *err)
{
	struct mark m = {cids, n};

	return bs_store_call(s, false, mark, &m, err);
}
