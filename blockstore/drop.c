#include "blockstore/drop.h"

#include "blockstore/content.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"

#include <stdlib.h>

/* Turns when nothing was let go for so long, or when the first has waited for so long. */
#define IDLE_NS UINT64_C(500000000)
#define AGE_NS UINT64_C(30000000000)
#define AHEAD_EVERY 4u /* leaves drained between two looks ahead */
#define AHEAD_CALM 16u /* the same when all that was looked at is in memory */
#define COLLECT 1024u  /* heap moves between two yields */
#define BATCH 64u      /* leaves drained between two yields; fewer when the runs are short */
#define DROPS 512u     /* the same in drops */

static struct bs_droprun *gathering(struct bs_engine *e)
{
	return &e->drops.run[e->drops.side];
}

static struct bs_droprun *draining(struct bs_engine *e)
{
	return &e->drops.run[!e->drops.side];
}

int bs_drops_init(struct bs_engine *e)
{
	struct bs_drops *d = &e->drops;
	uint64_t blocks = (uint64_t)e->sb.segments * e->sb.segment_size / BS_BLOCK;

	d->limit = e->cfg.drops;
	if (!d->limit)
		d->limit =
		    VS_MIN(VS_MIN(e->cfg.frames * UINT64_C(16), blocks / 16), UINT64_C(1) << 20);
	for (unsigned i = 0; i < 2; i++)
		if (bs_droprun_grow(&d->run[i], d->limit + BS_DROP_STEP))
			return VS_E_NOMEM;
	d->side = e->sb.drop_side;
	d->cursor = e->sb.drop_cursor;
	d->due_ns = UINT64_MAX;
	return 0;
}

void bs_drops_destroy(struct bs_drops *d)
{
	free(d->run[0].cid);
	free(d->run[1].cid);
}

/* ---- the table --------------------------------------------------------------------------- */

/* Pages of both runs alternate. */
static uint64_t page_of(unsigned side, uint64_t i)
{
	return i / BS_DROPS_PER_PAGE * 2 + side;
}

static int ready_pages(struct bs_engine *e, uint64_t n)
{
	uint64_t count = gathering(e)->count;
	struct bs_frame *f;

	for (uint64_t i = count / BS_DROPS_PER_PAGE; n && i <= (count + n - 1) / BS_DROPS_PER_PAGE;
	     i++) {
		int rc = bs_tree_get_w(e, BS_TREE_DROP, 2 * i + e->drops.side, &f);

		if (rc)
			return rc;
	}
	return 0;
}

/*
 * How many may be gathered by now. Half of what a run holds goes at once; the other half keeps step
 * with the draining of the other run, so that changes slow down instead of standing still.
 */
static uint64_t allowance(struct bs_engine *e)
{
	const struct bs_droprun *r = draining(e);
	uint64_t half = e->drops.limit / 2;

	return r->left ? half + half * (r->count - r->left) / r->count : e->drops.limit;
}

int bs_drop_ready(struct bs_engine *e, unsigned n)
{
	struct bs_drops *d = &e->drops;

	VS_ASSERT(n <= BS_DROP_STEP);
	while (!e->recovering && gathering(e)->left >= allowance(e)) {
		if (e->failed)
			return VS_E_FAILED;
		if (e->read_only)
			return VS_E_ROFS;
		if (d->kept && d->kept >= d->limit / 2)
			return VS_E_IO;
		if (!bs_fiber_here(e->fibers) || e->stopping)
			return VS_E_AGAIN;
		bs_fiber_block(e->fibers, &d->wait);
	}
	if (bs_droprun_grow(gathering(e), gathering(e)->left + n))
		return VS_E_NOMEM;
	return ready_pages(e, n);
}

void bs_drop_push(struct bs_engine *e, uint64_t cid)
{
	struct bs_droprun *r = gathering(e);
	struct bs_frame *f = bs_tree_now(e, BS_TREE_DROP, page_of(e->drops.side, r->count));

	bs_frame_touch(e, f);
	bs_map_entry_put(f->data, r->count % BS_DROPS_PER_PAGE, cid);
	r->count++;
	bs_droprun_push(r, cid);
}

static int load_run(struct bs_engine *e, unsigned side)
{
	struct bs_droprun *r = &e->drops.run[side];
	uint64_t from = side == e->drops.side ? 0 : e->drops.cursor;
	struct bs_frame *f = NULL;

	r->count = e->sb.drops[side];
	if (bs_droprun_grow(r, r->count))
		return VS_E_NOMEM;
	for (uint64_t i = 0; i < r->count; i++) {
		uint64_t cid;
		int rc = 0;

		if (i % BS_DROPS_PER_PAGE == 0) {
			bs_frames_unkeep(e);
			rc = bs_tree_get(e, BS_TREE_DROP, 0, page_of(side, i), true, &f);
		}
		if (rc || !f)
			return rc ? rc : VS_E_CORRUPT;
		cid = bs_map_entry(f->data, i % BS_DROPS_PER_PAGE);
		if (bs_drop_leaf(cid) >= from || bs_planted(DRAINED_TWICE))
			bs_droprun_push(r, cid);
	}
	bs_frames_unkeep(e);
	return 0;
}

int bs_drops_load(struct bs_engine *e)
{
	int rc = load_run(e, 0);

	return rc ? rc : load_run(e, 1);
}

/* ---- steps ------------------------------------------------------------------------------- */

static void apply_turn(struct bs_engine *e)
{
	struct bs_drops *d = &e->drops;

	d->side = !d->side;
	d->cursor = 0;
	d->kept = 0;
	gathering(e)->count = 0;
	d->asked = false;
	d->since_ns = 0;
}

/* Takes what was collected off the contents, or gathers it once more. */
static void apply_drain(struct bs_engine *e, struct bs_droprun *r, bool keep)
{
	uint64_t cursor = bs_drop_leaf(r->cid[r->heap]) + 1;

	for (uint64_t i = r->heap, n; i < r->left; i += n) {
		n = bs_droprun_same(r, i);
		if (keep)
			for (uint64_t k = 0; k < n; k++)
				bs_drop_push(e, r->cid[i]);
		else
			bs_content_drop(e, r->cid[i], (uint32_t)n);
	}
	if (keep)
		e->drops.kept += r->left - r->heap;
	r->left = r->heap;
	e->drops.cursor = cursor;
}

/* The leaf is resident and counts what is to be taken off. */
static int ready_leaf(struct bs_engine *e, const struct bs_droprun *r)
{
	uint64_t leaf = bs_drop_leaf(r->cid[r->heap]);
	struct bs_frame *f;
	int rc;

	if (leaf >= e->trees[BS_TREE_PLACE].root.leaves)
		return VS_E_CORRUPT;
	rc = bs_tree_get_w(e, BS_TREE_PLACE, leaf, &f);
	if (rc)
		return rc;
	for (uint64_t i = r->heap; i < r->left; i++)
		bs_content_warm(f, r->cid[i]);
	for (uint64_t i = r->heap, n; i < r->left; i += n) {
		struct bs_place place;

		n = bs_droprun_same(r, i);
		rc = bs_content_look(e, r->cid[i], &place);
		if (rc == 0 && place.alias)
			rc = bs_content_ready(e, place.alias);
		else if (rc == 0 && bs_place_at_origin(&place))
			rc = bs_origin_ready(e, place.origin);
		if (rc || place.refs < n)
			return rc == VS_E_AGAIN ? rc : VS_E_CORRUPT;
	}
	return 0;
}

static bool unreadable(int rc)
{
	return rc == VS_E_IO || rc == VS_E_CHECKSUM || rc == VS_E_CORRUPT;
}

/* Leaves of what stores the aliases of one leaf. */
#define ALIASES BS_PLACES_PER_PAGE

/* keep: in, whether the entries are to be gathered once more. */
static int ready_drain(struct bs_engine *e, const struct bs_droprun *r, bool keep)
{
	uint64_t n = r->left - r->heap, pages = keep ? n / BS_DROPS_PER_PAGE + 2 : 0;
	int rc;

	if (!keep)
		rc = ready_leaf(e, r);
	else if (bs_droprun_grow(gathering(e), gathering(e)->left + n))
		rc = VS_E_NOMEM;
	else
		rc = ready_pages(e, n);
	return rc ? rc : bs_frames_room(e, (unsigned)VS_MIN(pages, 1u << 16) + 4 + ALIASES);
}

static int drain_leaf(struct bs_engine *e, bool keep)
{
	struct bs_droprun *r = draining(e);
	struct bs_rec rec = {.type = BS_REC_DROP_DRAIN, .count = keep};
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = ready_drain(e, r, keep);
		if (rc == 0)
			rc = bs_log_room(e, BS_NEED_DELETE, BS_REC_DROP_DRAIN_SIZE, 0, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	rec.block = bs_drop_leaf(r->cid[r->heap]);
	bs_rec_put(bs_log_record(e, BS_REC_DROP_DRAIN_SIZE), &rec);
	apply_drain(e, r, keep);
	return 0;
}

static int turn(struct bs_engine *e)
{
	struct bs_rec rec = {.type = BS_REC_DROP_TURN};
	int rc = bs_log_room(e, BS_NEED_DELETE, BS_REC_DROP_TURN_SIZE, 0, 0);

	if (rc)
		return rc;
	bs_rec_put(bs_log_record(e, BS_REC_DROP_TURN_SIZE), &rec);
	apply_turn(e);
	return 0;
}

static int replay_drain(struct bs_engine *e, const struct bs_rec *rec)
{
	struct bs_droprun *r = draining(e);
	uint64_t blocks;

	if (!r->left || rec->count > 1)
		return VS_E_CORRUPT;
	(void)bs_droprun_collect(r, UINT64_MAX);
	if (bs_drop_leaf(r->cid[r->heap]) != rec->block)
		return VS_E_CORRUPT;
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = ready_drain(e, r, rec->count);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	apply_drain(e, r, rec->count);
	return 0;
}

int bs_drop_replay(struct bs_engine *e, const struct bs_rec *rec)
{
	if (rec->type == BS_REC_DROP_DRAIN)
		return replay_drain(e, rec);
	if (draining(e)->left || !gathering(e)->left)
		return VS_E_CORRUPT;
	apply_turn(e);
	return 0;
}

int bs_drops_settle(struct bs_engine *e)
{
	struct bs_droprun *r = gathering(e);

	while (r->left) {
		uint64_t blocks;

		(void)bs_droprun_collect(r, UINT64_MAX);
		do {
			int rc;

			blocks = bs_fiber_blocks(e->fibers);
			rc = ready_drain(e, r, false);
			if (rc)
				return rc;
		} while (blocks != bs_fiber_blocks(e->fibers));
		apply_drain(e, r, false);
	}
	r->count = e->drops.cursor = 0;
	return 0;
}

/* ---- in the background ------------------------------------------------------------------- */

bool bs_drops_pending(const struct bs_engine *e)
{
	const struct bs_drops *d = &e->drops;

	return d->run[!d->side].left || d->run[d->side].left > d->kept;
}

void bs_drops_ask(struct bs_engine *e)
{
	if (bs_drops_pending(e))
		e->drops.asked = true;
}

/* Whether it is time to turn; else due_ns says when to look again. */
static bool turn_due(struct bs_engine *e)
{
	struct bs_drops *d = &e->drops;
	const struct bs_droprun *r = gathering(e);
	uint64_t now;

	d->due_ns = UINT64_MAX;
	if (r->left <= d->kept) {
		d->asked = false;
		return false;
	}
	if (d->asked || r->left >= d->limit / (bs_segs_scarce(&e->segs) ? 4 : 2))
		return true;
	now = e->env.now_ns(e->env.arg);
	if (!d->since_ns)
		d->since_ns = now;
	if (d->seen != r->count || !d->changed_ns) {
		d->seen = r->count;
		d->changed_ns = now;
	}
	d->due_ns = VS_MIN(d->changed_ns + IDLE_NS, d->since_ns + AGE_NS);
	return now >= d->due_ns;
}

static bool halted(const struct bs_engine *e)
{
	return e->read_only || e->failed || e->stopping || e->recovering;
}

int bs_drops_relieve(struct bs_engine *e)
{
	struct bs_drops *d = &e->drops;
	uint64_t drained = d->drained;

	if (!bs_drops_pending(e) || halted(e) || d->starved)
		return VS_E_NOSPC;
	if (!bs_fiber_here(e->fibers))
		return VS_E_AGAIN;
	d->asked = true;
	while (d->drained == drained && !halted(e) && !d->starved)
		bs_fiber_block(e->fibers, &d->wait);
	return 0;
}

static int drain_next(struct bs_engine *e)
{
	int rc;

	while (!bs_droprun_collect(draining(e), COLLECT))
		bs_fiber_yield(e->fibers);
	rc = drain_leaf(e, false);
	if (!unreadable(rc))
		return rc;
	bs_engine_event(e, BS_ERROR, "drops", "references to contents in leaf %llu stay: %s",
			(unsigned long long)bs_drop_leaf(draining(e)->cid[draining(e)->heap]),
			vs_err_text(rc));
	return drain_leaf(e, true);
}

/* Live bytes may have gone down. */
static void drained(struct bs_engine *e)
{
	e->drops.drained++;
	bs_fiber_wake_all(e->fibers, &e->drops.wait);
	bs_engine_room(e);
}

/* The log has no room even for this: those who wait for it must not, until there is. */
static void starve(struct bs_engine *e)
{
	e->drops.starved = true;
	bs_fiber_wake_all(e->fibers, &e->drops.wait);
	bs_fiber_block(e->fibers, &e->room_wait);
	e->drops.starved = false;
}

/* Draining dirties pages faster than anybody else: it leaves room for them until it must not. */
static bool yields_to_others(const struct bs_engine *e)
{
	const struct bs_drops *d = &e->drops;
	const struct bs_frames *fs = &e->frames;

	return fs->ncut + fs->ndirty >= fs->dirty_limit * 3 / 2 && !d->asked && !d->wait.head;
}

/* The next leaves are near the top of the heap, and all in it will be needed. Whether one is read.
 */
static bool look_ahead(struct bs_engine *e)
{
	const struct bs_droprun *r = draining(e);
	unsigned busy = e->ahead.busy;

	for (uint64_t i = 0; i < r->heap && i < 4 * BS_AHEAD_MAX; i++)
		if (!bs_ahead_leaf(e, BS_TREE_PLACE, bs_drop_leaf(r->cid[i])))
			break;
	return e->ahead.busy != busy;
}

static void drop_fiber(void *arg)
{
	struct bs_engine *e = arg;
	uint64_t batch = VS_MIN(BATCH, e->drops.limit / 64 + 1), n = 0, look = 0, gone = 0;

	while (!halted(e) && (draining(e)->left || turn_due(e))) {
		uint64_t left = draining(e)->left;
		bool turns = !left;
		int rc;

		if (!turns && yields_to_others(e)) {
			bs_fiber_block(e->fibers, &e->room_wait);
			continue;
		}
		if (n >= look)
			look = n + (look_ahead(e) ? AHEAD_EVERY : AHEAD_CALM);
		rc = turns ? turn(e) : drain_next(e);
		gone += turns ? 0 : left - draining(e)->left;
		bs_frames_unkeep(e);
		if (rc == VS_E_NOSPC && !halted(e)) {
			starve(e);
			continue;
		}
		if (rc && rc != VS_E_AGAIN)
			break;
		if (!turns && !draining(e)->left)
			drained(e);
		else if (turns || n % batch == 0)
			bs_fiber_wake_all(e->fibers, &e->drops.wait); /* more may be gathered */
		if (rc || ++n % batch == 0 || gone >= DROPS) {
			gone = 0;
			bs_fiber_yield(e->fibers);
		}
	}
	e->drops.busy = false;
	drained(e);
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

void bs_drops_start(struct bs_engine *e)
{
	struct bs_drops *d = &e->drops;

	if (halted(e) && d->wait.head)
		bs_fiber_wake_all(e->fibers, &d->wait);
	if (d->busy || halted(e) || e->cutting || !(draining(e)->left || turn_due(e)))
		return;
	d->busy = true;
	if (!bs_fiber_start(e->fibers, drop_fiber, e))
		d->busy = false;
}
