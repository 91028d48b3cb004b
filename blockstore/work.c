#include "blockstore/work.h"

#include "blockstore/content.h"
#include "blockstore/origin_int.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

#define PACE (32u * BS_BLOCK) /* bytes that clients write between two steps of the queue */

int bs_work_ready(struct bs_engine *e, unsigned pushes)
{
	uint64_t first = e->works ? (e->works - 1) / BS_WORKS_PER_PAGE : 0;
	uint64_t last = (e->works + pushes) / BS_WORKS_PER_PAGE;
	struct bs_frame *f;

	for (uint64_t i = first; i <= last; i++) {
		int rc = bs_tree_get_w(e, BS_TREE_WORK, i, &f);

		if (rc)
			return rc;
	}
	return 0;
}

static uint8_t *slot_now(struct bs_engine *e, uint64_t i)
{
	struct bs_frame *f = bs_tree_now(e, BS_TREE_WORK, i / BS_WORKS_PER_PAGE);

	bs_frame_touch(e, f);
	return f->data + (i % BS_WORKS_PER_PAGE) * BS_WORK_SIZE;
}

void bs_work_push(struct bs_engine *e, uint64_t cid, enum bs_work_kind kind)
{
	struct bs_work w = {.cid = cid, .kind = (uint8_t)kind};

	bs_work_put(slot_now(e, e->works++), &w);
}

static int top(struct bs_engine *e, struct bs_work *w)
{
	struct bs_frame *f;
	int rc;

	if (e->works == 0)
		return VS_E_NOENT;
	rc = bs_tree_get(e, BS_TREE_WORK, 0, (e->works - 1) / BS_WORKS_PER_PAGE, true, &f);
	if (rc)
		return rc;
	if (!f)
		return VS_E_CORRUPT;
	bs_work_get(f->data + (e->works - 1) % BS_WORKS_PER_PAGE * BS_WORK_SIZE, w);
	return 0;
}

static void pop(struct bs_engine *e)
{
	static const struct bs_work none;

	bs_work_put(slot_now(e, e->works - 1), &none);
	e->works--;
}

/* (step) Others may have pushed while the top entry was being prepared. */
static bool is_top(struct bs_engine *e, uint64_t cid, enum bs_work_kind kind)
{
	struct bs_work w;

	return top(e, &w) == 0 && w.cid == cid && w.kind == kind;
}

/* Prepares the release of an inner page: the entries of all that loses a reference are resident. */
static int ready_children(struct bs_engine *e, struct bs_frame *f, struct bs_frame *base)
{
	for (unsigned i = 0; i < BS_MAP_FAN; i++) {
		uint64_t c = bs_map_entry(f->data, i);
		int rc;

		if (!c || (base && bs_map_entry(base->data, i) == c))
			continue;
		rc = bs_page_ready(e, c);
		if (rc)
			return rc;
	}
	return 0;
}

static void unref_child(struct bs_engine *e, unsigned level, uint64_t cid)
{
	if (level)
		bs_page_unref(e, cid);
	else
		bs_content_unref(e, cid);
}

/*
 * Room and residency for taking a page apart. The log room comes last because it may seal a unit;
 * during replay there is nothing to append.
 */
static int ready_step(struct bs_engine *e, unsigned level, unsigned children)
{
	unsigned drops = level ? 0 : children, pages = level ? children : 0;
	int rc = bs_work_ready(e, pages + 2);

	if (rc == 0)
		rc = bs_drop_ready(e, drops);
	if (rc == 0)
		rc = bs_frames_room(e, pages + 24);
	if (rc == 0 && !e->recovering)
		rc = bs_log_room(e, BS_NEED_DELETE, BS_REC_ABSORB_SIZE, 0, 0);
	return rc;
}

static int ready_release(struct bs_engine *e, uint64_t cid, struct bs_frame **f)
{
	struct bs_frame *base = NULL;
	int rc = bs_page_get(e, cid, f);

	if (rc == 0)
		rc = bs_page_ready(e, cid);
	if (rc == 0)
		rc = bs_page_get_base(e, *f, &base);
	if (rc == 0 && base)
		rc = bs_page_ready(e, base->cid);
	if (rc == 0 && (*f)->level)
		rc = ready_children(e, *f, base);
	if (rc == 0)
		rc = ready_step(e, (*f)->level, BS_MAP_FAN);
	return rc;
}

/* All that is below a page that is at an origin is only there: nothing is referred to. */
static int ready_absent(struct bs_engine *e, uint64_t cid, const struct bs_mapent *ent)
{
	int rc = bs_origin_of_page(e, ent) ? bs_page_ready(e, cid) : VS_E_CORRUPT;

	if (rc == 0)
		rc = bs_origin_ready(e, ent->place.origin);
	return rc ? rc : ready_step(e, 1, 0);
}

static void apply_absent(struct bs_engine *e, uint64_t cid, uint32_t origin)
{
	e->changes++;
	bs_origin_count(e, origin, 0, -1);
	bs_page_free(e, cid);
}

static void apply_release(struct bs_engine *e, struct bs_frame *f)
{
	uint64_t cid = f->cid, base = f->base;
	unsigned level = f->level;

	e->changes++;
	for (unsigned i = 0; i < BS_MAP_FAN; i++)
		if (bs_page_owns(e, f, i))
			unref_child(e, level, bs_map_entry(f->data, i));
	bs_page_free(e, cid);
	if (base) {
		struct bs_mapent b = bs_page_ent_now(e, base);

		if (!bs_planted(STALE_XORS))
			b.xors ^= cid;
		bs_page_ent_put(e, base, &b);
		bs_page_unref(e, base);
	}
}

/* Pages that an absorb looks at: the base c, its only copy q, and c's own base. */
struct absorb {
	struct bs_frame *c, *q, *b;
};

static bool absorbable(const struct bs_mapent *ent)
{
	return ent->place.refs == 1 && ent->xors != 0;
}

/* Children that lose a reference when c is dissolved into q; up to two for each entry. */
static unsigned absorb_drops(const struct absorb *a, uint64_t drop[2 * BS_MAP_FAN])
{
	unsigned n = 0;

	for (unsigned i = 0; i < BS_MAP_FAN && !a->c->records; i++)
		n += bs_page_absorb_drops(bs_map_entry(a->c->data, i), bs_map_entry(a->q->data, i),
					  a->b ? bs_map_entry(a->b->data, i) : 0, drop + n);
	return n;
}

static int ready_drops(struct bs_engine *e, const struct absorb *a)
{
	uint64_t drop[2 * BS_MAP_FAN];
	unsigned n = absorb_drops(a, drop);
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = bs_page_ready(e, drop[i]);
	return rc;
}

static int ready_absorb(struct bs_engine *e, uint64_t cid, struct absorb *a)
{
	struct bs_mapent ent;
	int rc = bs_page_ent(e, cid, &ent);

	if (rc)
		return rc == VS_E_CORRUPT ? VS_E_NOENT : rc;
	if (!absorbable(&ent))
		return VS_E_NOENT;
	*a = (struct absorb){0};
	rc = bs_page_get(e, cid, &a->c);
	if (rc == 0)
		rc = bs_page_get_at(e, ent.xors, a->c->level, &a->q);
	if (rc == 0)
		rc = bs_page_get_base(e, a->c, &a->b);
	if (rc == 0 &&
	    (a->q == a->c || a->q == a->b || a->q->base != cid || a->q->records != a->c->records))
		rc = VS_E_CORRUPT;
	if (rc == 0)
		rc = bs_page_ready(e, cid);
	if (rc == 0)
		rc = bs_page_ready(e, ent.xors);
	if (rc == 0 && a->b)
		rc = bs_page_ready(e, a->b->cid);
	if (rc == 0 && a->c->level)
		rc = ready_drops(e, a);
	if (rc == 0)
		rc = ready_step(e, a->c->level, 2 * BS_MAP_FAN);
	return rc;
}

/*
 * The copy takes the base's place: what it borrowed becomes its own, or stays borrowed from the
 * base's base; what only the base owned is released.
 */
static void apply_absorb(struct bs_engine *e, const struct absorb *a)
{
	uint64_t c = a->c->cid, q = a->q->cid, b = a->c->base;
	unsigned level = a->c->level;
	uint64_t drop[2 * BS_MAP_FAN];
	unsigned n = absorb_drops(a, drop);
	struct bs_mapent qe;

	e->changes++;
	bs_thick_merged(e);
	qe = bs_page_ent_now(e, q);
	qe.base = b;
	bs_page_ent_put(e, q, &qe);
	a->q->base = b;
	if (b) { /* c's reference on b passes to q */
		struct bs_mapent be = bs_page_ent_now(e, b);

		be.xors ^= c ^ q;
		bs_page_ent_put(e, b, &be);
	}
	bs_page_free(e, c);
	for (unsigned i = 0; i < n; i++)
		unref_child(e, level, drop[i]);
}

static int do_release(struct bs_engine *e, uint64_t cid, bool replay)
{
	struct bs_frame *f = NULL;
	struct bs_mapent ent;
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_page_ent(e, cid, &ent);
		if (rc || ent.place.refs)
			return rc == VS_E_CORRUPT || rc == 0 ? VS_E_NOENT : rc;
		rc = bs_place_at_origin(&ent.place) ? ready_absent(e, cid, &ent)
						    : ready_release(e, cid, &f);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!replay && !is_top(e, cid, BS_WORK_RELEASE))
		return VS_E_AGAIN;
	if (!replay) {
		struct bs_rec r = {.type = BS_REC_RELEASE, .cid = cid};

		bs_rec_put(bs_log_record(e, BS_REC_RELEASE_SIZE), &r);
		pop(e);
		e->taken_apart++;
	}
	if (bs_place_at_origin(&ent.place))
		apply_absent(e, cid, ent.place.origin);
	else
		apply_release(e, f);
	return 0;
}

static int do_absorb(struct bs_engine *e, uint64_t cid, bool replay)
{
	struct absorb a;
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = ready_absorb(e, cid, &a);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!replay && !is_top(e, cid, BS_WORK_ABSORB))
		return VS_E_AGAIN;
	if (!replay) {
		struct bs_rec r = {.type = BS_REC_ABSORB, .cid = cid, .other = a.q->cid};

		bs_rec_put(bs_log_record(e, BS_REC_ABSORB_SIZE), &r);
		pop(e);
		e->taken_apart += 2;
	}
	apply_absorb(e, &a);
	return 0;
}

static int drop_top(struct bs_engine *e, const struct bs_work *w)
{
	uint64_t blocks;
	int rc;

	do {
		blocks = bs_fiber_blocks(e->fibers);
		rc = ready_step(e, 0, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!is_top(e, w->cid, (enum bs_work_kind)w->kind))
		return VS_E_AGAIN;
	pop(e);
	return 0;
}

int bs_work_one(struct bs_engine *e)
{
	struct bs_work w;
	int rc = top(e, &w);

	if (rc == 0)
		rc = w.kind == BS_WORK_RELEASE ? do_release(e, w.cid, false)
					       : do_absorb(e, w.cid, false);
	else
		return rc;
	return rc == VS_E_NOENT ? drop_top(e, &w) : rc; /* overtaken: the page has changed since */
}

int bs_work_replay(struct bs_engine *e, const struct bs_rec *r)
{
	enum bs_work_kind kind = r->type == BS_REC_RELEASE ? BS_WORK_RELEASE : BS_WORK_ABSORB;
	struct bs_work w;
	int rc;

	for (;;) { /* entries above were found overtaken, which leaves no record */
		rc = top(e, &w);
		if (rc)
			return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
		rc = drop_top(e, &w);
		if (rc)
			return rc;
		if (w.cid == r->cid && w.kind == kind)
			break;
	}
	rc = kind == BS_WORK_RELEASE ? do_release(e, r->cid, true) : do_absorb(e, r->cid, true);
	return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
}

/* The gathering run is at the size at which it turns: what is left of it is for others. */
static bool run_is_full(const struct bs_engine *e)
{
	const struct bs_drops *d = &e->drops;

	return d->run[!d->side].left && d->run[d->side].left >= d->limit / 2;
}

/* One step for so much that clients write, while there is room and nobody hurries. */
static bool ahead_of_clients(const struct bs_engine *e, uint64_t wrote)
{
	if (e->failed || e->stopping || !bs_log_serves(&e->log) || bs_segs_scarce(&e->segs) ||
	    e->segs.live > e->segs.live_limit / 8 * 7)
		return false;
	return run_is_full(e) || e->count.bytes_written - wrote < PACE;
}

static void work_fiber(void *arg)
{
	struct bs_engine *e = arg;

	while (e->works && !e->failed && !e->stopping) {
		uint64_t wrote = e->count.bytes_written;
		int rc = bs_work_one(e);

		bs_frames_unkeep(e);
		e->work_starved &= rc == VS_E_NOSPC;
		while (rc == 0 && ahead_of_clients(e, wrote))
			bs_fiber_block(e->fibers, &e->room_wait);
		if (rc == VS_E_NOSPC) {
			if (!e->work_starved)
				bs_engine_room(e); /* who waits for this queue must not */
			e->work_starved = true;
			bs_fiber_block(e->fibers, &e->room_wait);
		} else if (rc && rc != VS_E_AGAIN) {
			e->work_stuck = rc != VS_E_FAILED;
			if (e->work_stuck)
				bs_engine_event(e, BS_ERROR, "release",
						"the release queue stops: %s", vs_err_text(rc));
			break;
		} else {
			bs_fiber_yield(e->fibers);
		}
	}
	e->working = e->work_starved = false;
	bs_fiber_wake_all(e->fibers, &e->work_wait);
	bs_engine_room(e);
}

void bs_work_start(struct bs_engine *e)
{
	if (e->working || !e->works || e->read_only || e->failed || e->stopping || e->cutting ||
	    e->work_stuck)
		return;
	e->working = true;
	if (!bs_fiber_start(e->fibers, work_fiber, e))
		e->working = false;
}
