#include "blockstore/merge.h"

#include "blockstore/content.h"
#include "blockstore/feature.h"

#include <stdlib.h>

#define LEAVES_AT_ONCE 64u
/* Stored bytes of the longest content, and what surrounds them on its pages. */
#define WINDOW (2 * BS_BLOCK + 2 * BS_PAGE)

struct bs_merge {
	struct dd_index *seen; /* of this pass: digest -> slot */
	uint64_t pass, passes, leaf;
	uint64_t merged, bytes;
	uint8_t *window;
	struct dd_digest digest[BS_DIGESTS_PER_PAGE];
};

/* Half full, its buckets hold all but one digest in a hundred. */
static uint64_t passes_for(const struct bs_engine *e, const struct dd_index *seen)
{
	uint64_t digests = e->trees[BS_TREE_DIGEST].root.leaves * BS_DIGESTS_PER_PAGE;

	return VS_MAX(VS_DIV_UP(digests, dd_index_bytes(seen) / 16), 1u);
}

int bs_merge_begin(struct bs_engine *e)
{
	struct bs_merge *m;

	if (e->merge)
		return VS_E_BUSY;
	if (e->failed || e->read_only)
		return e->failed ? VS_E_FAILED : VS_E_ROFS;
	e->merge = m = calloc(1, sizeof(*m));
	if (!m)
		return VS_E_NOMEM;
	m->window = aligned_alloc(BS_PAGE, WINDOW);
	if (!m->window ||
	    dd_index_new(&m->seen, VS_MAX(e->cfg.merge_bytes, 4096u), DD_KEEP_RECENT, NULL)) {
		bs_merge_end(e);
		return VS_E_NOMEM;
	}
	m->passes = passes_for(e, m->seen);
	return 0;
}

void bs_merge_end(struct bs_engine *e)
{
	if (!e->merge)
		return;
	dd_index_free(e->merge->seen);
	free(e->merge->window);
	free(e->merge);
	e->merge = NULL;
}

/* Two contents of one digest: which is kept. */
struct pair {
	uint64_t keep, drop; /* CIDs */
	struct bs_place kept, dropped;
};

static int look(struct bs_engine *e, uint64_t slot, struct bs_place *place, struct dd_digest *d)
{
	int rc = bs_content_look_slot(e, slot, place);

	if (rc == 0 && !bs_place_stored(place))
		return VS_E_NOENT;
	if (rc == 0)
		rc = bs_content_digest(e, bs_cid(slot, place->gen), d);
	return rc;
}

/* VS_E_NOENT: a and b are not two contents that may become one. */
static int pair_up(struct bs_engine *e, uint64_t a, uint64_t b, struct pair *p)
{
	struct bs_place of_a, of_b;
	struct dd_digest da, db;
	bool stays_b;
	int rc = a == b ? VS_E_NOENT : look(e, a, &of_a, &da);

	if (rc == 0)
		rc = look(e, b, &of_b, &db);
	if (rc)
		return rc;
	if (!dd_digest_equal(&da, &db) || of_a.private || of_b.private ||
	    of_a.refs >= e->cfg.ref_cap || of_b.refs > e->cfg.ref_cap - of_a.refs)
		return VS_E_NOENT;
	stays_b = of_b.aliased || bs_marks_has(&e->marks, bs_cid(a, of_a.gen));
	if (stays_b)
		*p = (struct pair){bs_cid(b, of_b.gen), bs_cid(a, of_a.gen), of_b, of_a};
	else
		*p = (struct pair){bs_cid(a, of_a.gen), bs_cid(b, of_b.gen), of_a, of_b};
	/* an alias of an alias would never end; what is known to be damaged saves nobody */
	if (p->dropped.aliased || bs_marks_has(&e->marks, p->keep))
		return VS_E_NOENT;
	return 0;
}

/* Whether the bytes that are to stay can be read: two copies must not become none. */
static int sound(struct bs_engine *e, const struct bs_place *p)
{
	uint32_t from = VS_ALIGN_DOWN(p->off, BS_PAGE), to = VS_ALIGN_UP(p->off + p->len, BS_PAGE);
	struct bs_unit *unit;
	const uint8_t *b = bs_log_find(e, p, &unit);
	bool ok;
	int rc;

	if (b) {
		ok = (bs_checksum(b, p->len) & BS_CHECK56) == p->check;
		bs_log_release(e, unit);
		return ok ? 0 : VS_E_CHECKSUM;
	}
	if (p->seg >= e->segs.count || p->len > 2 * BS_BLOCK ||
	    !vs_range_ok(p->off, p->len, e->segs.size))
		return VS_E_CORRUPT;
	rc = bs_engine_read(e, p->seg, from, e->merge->window, to - from);
	if (rc)
		return rc;
	ok = (bs_checksum(e->merge->window + (p->off - from), p->len) & BS_CHECK56) == p->check;
	return ok ? 0 : VS_E_CHECKSUM;
}

static void apply(struct bs_engine *e, const struct pair *p)
{
	struct bs_rec r = {.type = BS_REC_ALIAS, .cid = p->drop, .other = p->keep};

	bs_rec_put(bs_log_record(e, BS_REC_ALIAS_SIZE), &r);
	bs_content_alias(e, p->drop, p->keep);
	bs_marks_remove(&e->marks, p->drop); /* what stays was found sound */
	e->changes++;			     /* what a deletion frees is another figure now */
	e->merge->merged++;
	e->merge->bytes += p->dropped.len;
}

/* VS_E_NOENT: they stay two. */
static int merge(struct bs_engine *e, uint64_t a, uint64_t b, const struct dd_digest *d)
{
	struct pair p, now;
	uint64_t blocks;
	int rc = pair_up(e, a, b, &p);

	if (rc == 0)
		rc = sound(e, &p.kept);
	if (rc == 0)
		rc = bs_feature_use(e, BS_INCOMPAT_ALIAS);
	if (rc)
		return rc;
	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = pair_up(e, a, b, &now);
		if (rc == 0 && (now.keep != p.keep || now.kept.check != p.kept.check))
			rc = VS_E_NOENT;
		if (rc == 0)
			rc = bs_content_ready(e, now.keep);
		if (rc == 0)
			rc = bs_content_ready(e, now.drop);
		if (rc == 0)
			rc = bs_frames_room(e, 4);
		if (rc == 0)
			rc = bs_log_room(e, BS_NEED_DELETE, BS_REC_ALIAS_SIZE, 0, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	apply(e, &now);
	bs_index_forget(e, d, bs_cid_slot(now.drop));
	return 0;
}

static bool in_pass(const struct bs_merge *m, const struct dd_digest *d)
{
	uint64_t share = vs_get_le64(d->b + 16); /* bits that choose neither bucket nor tag */

	return (uint64_t)((unsigned __int128)share * m->passes >> 64) == m->pass;
}

/* What keeps one pair apart does not keep others; what stops the store stops the pass. */
static bool fatal(int rc)
{
	return rc == VS_E_FAILED || rc == VS_E_NOSPC || rc == VS_E_ROFS || rc == VS_E_NOMEM;
}

static int meet(struct bs_engine *e, uint64_t slot, const struct dd_digest *d)
{
	struct bs_merge *m = e->merge;
	uint64_t slots[DD_BUCKET];
	unsigned n = dd_index_lookup(m->seen, d, slots, DD_BUCKET);

	for (unsigned i = 0; i < n; i++) {
		int rc = merge(e, slots[i], slot, d);

		bs_frames_unkeep(e);
		if (rc == 0 || fatal(rc))
			return rc;
	}
	dd_index_insert(m->seen, d, slot);
	return 0;
}

static int scan_leaf(struct bs_engine *e, uint64_t leaf)
{
	struct bs_merge *m = e->merge;
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_DIGEST, 0, leaf, true, &f);

	if (rc == 0 && f)
		memcpy(m->digest, f->data, sizeof(m->digest));
	bs_frames_unkeep(e);
	if (rc || !f)
		return fatal(rc) ? rc : 0;
	for (unsigned i = 0; rc == 0 && i < BS_DIGESTS_PER_PAGE; i++) {
		const struct dd_digest d = m->digest[i];

		if (vs_get_le64(d.b) && in_pass(m, &d)) /* zeros: never used */
			rc = meet(e, leaf * BS_DIGESTS_PER_PAGE + i, &d);
	}
	return rc;
}

int bs_merge_step(struct bs_engine *e, struct bs_merge_info *out)
{
	struct bs_merge *m = e->merge;
	uint64_t leaves = e->trees[BS_TREE_DIGEST].root.leaves;
	int rc = m ? 0 : VS_E_INVAL;

	for (unsigned i = 0; rc == 0 && i < LEAVES_AT_ONCE && m->pass < m->passes; i++) {
		if (e->failed)
			return VS_E_FAILED;
		if (m->leaf < leaves) {
			rc = scan_leaf(e, m->leaf);
			m->leaf += rc == 0;
		} else {
			m->pass++;
			m->leaf = 0;
			dd_index_clear(m->seen);
		}
		bs_fiber_yield(e->fibers);
	}
	if (rc)
		return rc;
	*out = (struct bs_merge_info){.merged = m->merged,
				      .bytes = m->bytes,
				      .done = m->pass * leaves + m->leaf,
				      .total = m->passes * leaves,
				      .finished = m->pass == m->passes,
				      .busy = e->op_fibers || e->reads_in_flight ||
					      e->pending.head || e->log.nflight};
	return 0;
}

/* What was at an origin gets the digest of what stores it. */
static int ready_fetched(struct bs_engine *e, const struct bs_rec *r, const struct bs_place *was)
{
	struct dd_digest d;
	int rc = bs_content_ready_fill(e, r->cid, was);

	return rc ? rc : bs_content_digest(e, r->other, &d);
}

int bs_merge_replay(struct bs_engine *e, const struct bs_rec *r)
{
	struct bs_place drop, keep;
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_content_look(e, r->cid, &drop);
		if (rc == 0)
			rc = bs_content_look(e, r->other, &keep);
		if (rc == 0)
			rc = bs_place_at_origin(&drop) ? ready_fetched(e, r, &drop)
						       : bs_content_ready(e, r->cid);
		if (rc == 0)
			rc = bs_content_ready(e, r->other);
		if (rc)
			return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (r->cid == r->other || !(bs_place_stored(&drop) || bs_place_at_origin(&drop)) ||
	    !bs_place_stored(&keep) || drop.aliased || drop.private || keep.private ||
	    keep.refs > UINT32_MAX - drop.refs)
		return VS_E_CORRUPT;
	bs_content_alias(e, r->cid, r->other);
	return 0;
}
