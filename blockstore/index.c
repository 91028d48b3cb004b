#include "blockstore/index.h"

#include "blockstore/content.h"
#include "blockstore/engine.h"
#include "blockstore/index_save.h"

/* Turns of the engine that filling leaves to others after each leaf while they have work. */
#define PATIENCE 8u

int bs_index_init(struct bs_engine *e)
{
	const struct bs_engine_config *c = &e->cfg;
	int rc;

	if (!c->index_bytes)
		return 0;
	rc = dd_index_new(&e->index.all, c->index_bytes, DD_KEEP_SAMPLE, NULL);
	if (rc == 0)
		rc = bs_near_init(&e->index.near, c->near_bytes, c->near_digests);
	return rc;
}

void bs_index_destroy(struct bs_engine *e)
{
	dd_index_free(e->index.all);
	bs_near_destroy(&e->index.near);
	bs_index_close(e);
	e->index.all = NULL;
}

/* Whether slot holds live content of this digest; *cid is set. VS_E_NOENT: it does not. */
static int verify(struct bs_engine *e, const struct dd_digest *d, uint64_t slot, uint64_t *cid)
{
	struct bs_place place;
	struct dd_digest have;
	int rc = bs_content_raw(e, slot, &place);

	if (rc)
		return rc;
	*cid = place.alias ? place.alias : bs_cid(slot, place.gen);
	if (place.alias)
		rc = bs_content_look(e, *cid, &place);
	if (rc == 0)
		rc = bs_content_digest(e, *cid, &have);
	if (rc == 0 &&
	    (place.private || place.coding > BS_CODING_ZSTD || !dd_digest_equal(d, &have) ||
	     place.refs >= e->cfg.ref_cap || bs_marks_has(&e->marks, *cid)))
		rc = VS_E_NOENT;
	return rc;
}

static int find_in(struct bs_engine *e, const struct dd_index *ix, const struct dd_digest *d,
		   uint64_t *cid)
{
	uint64_t slots[DD_BUCKET];
	unsigned n = dd_index_lookup(ix, d, slots, DD_BUCKET);

	for (unsigned i = 0; i < n; i++) {
		int rc = verify(e, d, slots[i], cid);

		if (rc != VS_E_NOENT)
			return rc;
	}
	return VS_E_NOENT;
}

int bs_index_find(struct bs_engine *e, const struct dd_digest *d, uint64_t *cid)
{
	struct bs_index *ix = &e->index;
	int rc = ix->all ? find_in(e, ix->all, d, cid) : VS_E_NOENT;

	if (rc != VS_E_NOENT || !ix->all || !ix->near.table || dd_index_complete(ix->all))
		return rc;
	rc = find_in(e, ix->near.table, d, cid);
	ix->near.hits += rc == 0;
	return rc;
}

void bs_index_warm(const struct bs_engine *e, const struct dd_digest *d)
{
	if (e->index.all)
		dd_index_warm(e->index.all, d);
}

/* Each slot has one entry at most, so those of content that has gone cannot pile up. */
void bs_index_enter(struct bs_engine *e, const struct dd_digest *d, const struct dd_digest *old,
		    uint64_t slot)
{
	struct bs_index *ix = &e->index;

	if (!ix->all)
		return;
	if (!d || !dd_digest_equal(d, old))
		dd_index_remove(ix->all, old, slot);
	if (!d)
		return;
	dd_index_insert(ix->all, d, slot);
	if (ix->near.table && !dd_index_complete(ix->all))
		bs_near_enter(&ix->near, d, slot);
}

void bs_index_forget(struct bs_engine *e, const struct dd_digest *d, uint64_t slot)
{
	if (e->index.all)
		dd_index_remove(e->index.all, d, slot);
}

static void fill_leaf(struct bs_engine *e, uint64_t leaf)
{
	for (unsigned i = 0; i < BS_PLACES_PER_PAGE; i++) {
		uint64_t slot = leaf * BS_PLACES_PER_PAGE + i;
		struct bs_place place;
		struct dd_digest d;

		if (slot && bs_content_look_slot(e, slot, &place) == 0 && !place.private &&
		    bs_place_stored(&place) &&
		    bs_content_digest(e, bs_cid(slot, place.gen), &d) == 0) {
			dd_index_insert(e->index.all, &d, slot);
			e->index.fill_seen++;
		}
	}
	bs_frames_unkeep(e);
}

static bool others_busy(const struct bs_engine *e)
{
	return e->op_fibers || e->reads_in_flight || e->log.nflight || e->pending.head;
}

static void fill_next(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;

	if (ix->leaf < e->trees[BS_TREE_PLACE].root.leaves) {
		fill_leaf(e, ix->leaf++);
		for (unsigned i = 0; i < PATIENCE && others_busy(e) && !bs_near_busy(e); i++)
			bs_fiber_yield(e->fibers);
		return;
	}
	ix->filled = true;
}

static bool has_work(const struct bs_engine *e)
{
	const struct bs_index *ix = &e->index;

	return bs_near_busy(e) || (ix->loading && !ix->changing && !e->failed) ||
	       (ix->all && !ix->filled && !ix->changing && !e->stopping && !e->failed &&
		!e->read_only);
}

static void index_fiber(void *arg)
{
	struct bs_engine *e = arg;

	while (has_work(e)) {
		if (bs_near_busy(e))
			bs_near_load(e);
		else if (e->index.loading)
			bs_index_load(e);
		else
			fill_next(e);
		bs_fiber_yield(e->fibers);
	}
	e->index.running = false;
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

int bs_index_resize(struct bs_engine *e, uint64_t bytes)
{
	struct bs_index *ix = &e->index;
	int rc = 0;

	ix->changing = true;
	while (ix->running)
		bs_fiber_yield(e->fibers);
	bs_index_drop_saved(e);
	bs_near_clear(&ix->near);
	dd_index_free(ix->all);
	ix->all = NULL;
	if (bytes)
		rc = dd_index_new(&ix->all, bytes, DD_KEEP_SAMPLE, NULL);
	ix->leaf = ix->fill_seen = 0;
	ix->filled = ix->changing = false;
	return rc;
}

void bs_index_start(struct bs_engine *e)
{
	struct bs_index *ix = &e->index;

	if (ix->running || !has_work(e))
		return;
	ix->running = true;
	if (!bs_fiber_start(e->fibers, index_fiber, e))
		ix->running = false;
}

void bs_index_info(const struct bs_engine *e, struct bs_store_info *out)
{
	const struct bs_index *ix = &e->index;

	out->near_hits = ix->near.hits;
	out->near_loads = ix->near.loads;
	if (!ix->all)
		return;
	out->index_bytes = dd_index_bytes(ix->all);
	out->index_entries = dd_index_count(ix->all);
	out->index_scanned = ix->fill_seen;
	out->index_ready = ix->filled && !ix->loading;
}

bool bs_index_busy(const struct bs_engine *e)
{
	return e->index.running || e->index.loading;
}
