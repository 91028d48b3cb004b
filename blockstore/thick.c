#include "blockstore/thick.h"

#include "blockstore/content.h"
#include "blockstore/drop.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

/* Entries of the place and digest tables, in leaves that are half empty at worst. */
#define META_CONTENT 128u
/* Part of the capacity that stays for pages that no volume is charged with. */
#define SLACK_PART 64u
/* A count is worth its reads when so much may come of it, or after so long. */
#define WORTH_PART 256u
#define AGAIN_NS UINT64_C(1000000000)
#define UNKNOWN UINT64_MAX
#define TRIES 5u

uint64_t bs_thick_bytes(uint64_t size)
{
	uint64_t blocks = size / BS_BLOCK, pages = 0;

	for (uint64_t n = blocks; n > 1; n = VS_DIV_UP(n, BS_MAP_FAN))
		pages += VS_DIV_UP(n, BS_MAP_FAN);
	return size + blocks * META_CONTENT + (pages + 1) * BS_PAGE;
}

static bool is_thick(const struct bs_vol *v)
{
	return v->ent.kind == BS_VOL_VOLUME && (v->ent.flags & BS_VOL_THICK);
}

static uint64_t limit(const struct bs_engine *e)
{
	return e->segs.live_limit - e->segs.live_limit / SLACK_PART;
}

/* At most so many live bytes are not those of thick volumes alone. */
static uint64_t other(const struct bs_engine *e)
{
	const struct bs_thick *t = &e->thick;

	return VS_MIN(t->other, e->segs.live + t->meta[0] + t->meta[1]);
}

uint64_t bs_thick_unused(const struct bs_engine *e)
{
	uint64_t taken = e->thick.total + other(e);

	return e->thick.total && taken > e->segs.live ? VS_MIN(taken - e->segs.live, e->thick.total)
						      : 0;
}

static uint64_t sum_up(const struct bs_engine *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= e->vols.mask; i++)
		for (const struct bs_vol *v = e->vols.by_id[i]; v; v = v->id_next)
			sum += is_thick(v) ? bs_thick_bytes(v->ent.size) : 0;
	return sum;
}

/* Nothing is known any more to be a thick volume's own, until somebody counts. */
static void forget(struct bs_engine *e)
{
	e->thick.other = UNKNOWN;
	e->thick.gain = UNKNOWN;
	e->thick.epoch++;
}

void bs_thick_loaded(struct bs_engine *e)
{
	e->thick.total = sum_up(e);
	forget(e);
}

void bs_thick_changed(struct bs_engine *e, bool was_thick)
{
	if (e->recovering)
		return;
	e->thick.total = sum_up(e) + e->thick.pending;
	if (was_thick)
		forget(e);
}

static void add(uint64_t *sum, uint64_t n)
{
	*sum = *sum > UNKNOWN - n ? UNKNOWN : *sum + n;
}

void bs_thick_freed(struct bs_engine *e, uint32_t len)
{
	e->thick.freed += len;
	add(&e->thick.gain, len);
}

void bs_thick_merged(struct bs_engine *e)
{
	e->thick.gain = UNKNOWN;
}

static uint64_t charge(uint32_t payload, unsigned new, unsigned pages)
{
	return payload + (uint64_t) new *META_CONTENT + (uint64_t)pages *BS_PAGE;
}

void bs_thick_wrote(struct bs_engine *e, const struct bs_vol *v, uint32_t payload, unsigned new,
		    unsigned pages)
{
	struct bs_thick *t = &e->thick;
	uint64_t meta = charge(0, new, pages);

	if (t->meta_checkpoint != e->sb.checkpoint) {
		t->meta_checkpoint = e->sb.checkpoint;
		t->meta[1] = t->meta[0];
		t->meta[0] = 0;
	}
	t->meta[0] += meta;
	if (is_thick(v))
		return;
	add(&t->other, payload + meta);
	add(&t->gain, meta);
}

static uint64_t lacks(const struct bs_engine *e, uint64_t bytes)
{
	uint64_t need = other(e) + e->thick.total + bytes;

	return need > limit(e) ? need - limit(e) : 0;
}

/* Whether a count may find room enough, and is due. */
static bool worth_counting(struct bs_engine *e, uint64_t lacking)
{
	const struct bs_thick *t = &e->thick;

	return t->counting || t->wanted || t->hold ||
	       (t->gain >= lacking && (t->gain >= limit(e) / WORTH_PART ||
				       e->env.now_ns(e->env.arg) >= t->counted_ns + AGAIN_NS));
}

/* In a fiber: until the count that runs is through, or else one that begins now. */
static void await_count(struct bs_engine *e)
{
	struct bs_thick *t = &e->thick;

	t->wanted |= !t->counting;
	bs_fiber_block(e->fibers, &t->wait);
}

int bs_thick_room(struct bs_engine *e, const struct bs_vol *v, uint32_t payload, unsigned new,
		  unsigned pages)
{
	uint64_t bytes = charge(payload, new, pages), lacking;

	while (e->thick.total && bytes && !bs_planted(EATEN_ROOM) && !is_thick(v) &&
	       (lacking = lacks(e, bytes))) {
		if (e->failed)
			return VS_E_FAILED;
		if (!worth_counting(e, lacking))
			return VS_E_NOSPC;
		if (!bs_fiber_here(e->fibers))
			return VS_E_AGAIN;
		await_count(e);
	}
	return 0;
}

/* A count of one volume's contents that are its own alone. */
struct count {
	struct bs_engine *e;
	uint64_t frozen, bytes;
};

static int count_leaf(struct count *c, struct bs_frame *f)
{
	struct bs_frame *base = NULL;
	int rc = f->base ? bs_page_get(c->e, f->base, &base) : 0;

	for (unsigned i = 0; i < BS_MAP_FAN && rc == 0; i++) {
		uint64_t cid = bs_map_entry(f->data, i), drop[1];
		struct bs_place place;

		if (!bs_page_release_drops(cid, base ? bs_map_entry(base->data, i) : 0, drop))
			continue;
		rc = bs_content_look(c->e, cid, &place);
		if (rc == 0 && place.private && place.refs == 1)
			c->bytes += place.len;
		if (rc == VS_E_NOENT) /* overwritten meanwhile */
			rc = 0;
	}
	return rc;
}

/* Pages older than the last snapshot are shared, and all below them too. */
static int count_page(struct count *c, uint64_t cid, unsigned level)
{
	struct bs_mapent ent;
	struct bs_frame *f;
	int rc = bs_page_ent(c->e, cid, &ent);

	if (rc || bs_place_at_origin(&ent.place)) /* nothing of it is here */
		return rc;
	for (unsigned i = 0; i < BS_MAP_FAN && rc == 0; i++) {
		uint64_t below;

		rc =
		    bs_page_get(c->e, cid, &f); /* again: it may have gone while others were read */
		if (rc || f->cid != cid || f->level != level)
			return rc ? rc : VS_E_CORRUPT;
		if (f->era < c->frozen)
			return 0;
		if (level == 0)
			break;
		below = bs_map_entry(f->data, i);
		if (below)
			rc = count_page(c, below, level - 1);
	}
	if (rc == 0 && level == 0)
		rc = count_leaf(c, f);
	bs_frames_unkeep(c->e);
	bs_fiber_yield(c->e->fibers);
	return c->e->stopping || c->e->failed ? VS_E_CANCELED : rc;
}

static bool among(const struct bs_vol *v, struct bs_vol *const *vols, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (vols[i] == v)
			return true;
	return false;
}

/*
 * *own: at least so many of the live bytes are contents of single thick volumes, those in but[]
 * left out. What was freed meanwhile may have been counted, so it is taken off.
 */
static int count_own(struct bs_engine *e, struct bs_vol *const *but, size_t n, uint64_t *own)
{
	struct count c = {.e = e};
	uint64_t freed, epoch;
	int rc = 0;

	/* both runs as they are now: what a volume has just overwritten is nobody's */
	for (unsigned i = 0; i < 2 && bs_drops_relieve(e) == 0; i++)
		;
	e->thick.gain = 0;
	freed = e->thick.freed;
	epoch = e->thick.epoch;
	for (struct bs_vol *v = bs_vol_next(e, 0); v && rc == 0;) {
		uint64_t id = v->ent.id;

		c.frozen = v->ent.frozen;
		if (is_thick(v) && v->ent.root && !among(v, but, n))
			rc = count_page(&c, v->ent.root, v->ent.height - 1u);
		v = bs_vol_next(e, id);
	}
	if (rc == 0 && epoch != e->thick.epoch)
		rc = VS_E_AGAIN;
	freed = e->thick.freed - freed;
	*own = c.bytes > freed ? c.bytes - freed : 0;
	return rc;
}

static uint64_t but_own(const struct bs_engine *e, uint64_t own)
{
	const struct bs_thick *t = &e->thick;

	return e->segs.live - VS_MIN(own, e->segs.live) + t->meta[0] + t->meta[1];
}

static void count_fiber(void *arg)
{
	struct bs_engine *e = arg;
	struct bs_thick *t = &e->thick;
	uint64_t own;
	int rc;

	t->wanted = false;
	rc = count_own(e, NULL, 0, &own);
	bs_frames_unkeep(e);
	if (rc == 0)
		t->other = VS_MIN(t->other, but_own(e, own));
	else if (rc != VS_E_IO && rc != VS_E_CHECKSUM)
		t->gain = UNKNOWN; /* the maps moved underneath */
	t->counted_ns = e->env.now_ns(e->env.arg);
	t->counting = false;
	bs_fiber_wake_all(e->fibers, &t->wait);
}

int bs_thick_reserve(struct bs_engine *e, uint64_t bytes, uint64_t *lacking)
{
	struct bs_thick *t = &e->thick;

	for (unsigned i = 0; (*lacking = lacks(e, bytes)) != 0; i++) {
		if (e->failed)
			return VS_E_FAILED;
		if (i == TRIES || (!t->counting && !t->wanted && t->gain < *lacking))
			return VS_E_NOSPC;
		await_count(e);
	}
	t->pending += bytes;
	t->total += bytes;
	return 0;
}

int bs_thick_share(struct bs_engine *e, struct bs_vol *const *vols, size_t n, uint64_t *lacking)
{
	struct bs_thick *t = &e->thick;
	int rc = 0;

	*lacking = 0;
	if (!n)
		return 0;
	t->hold = true;
	t->epoch++;
	t->other = UNKNOWN;
	for (unsigned i = 0; lacks(e, 0) && i < TRIES; i++) {
		uint64_t own;

		rc = count_own(e, vols, n, &own);
		bs_frames_unkeep(e);
		if (rc == 0)
			t->other = but_own(e, own);
		if (rc != VS_E_AGAIN && rc != VS_E_CORRUPT)
			break;
	}
	*lacking = bs_planted(FREE_SNAPSHOT) ? 0 : lacks(e, 0);
	return rc == 0 && *lacking ? VS_E_NOSPC : rc;
}

void bs_thick_settle(struct bs_engine *e)
{
	struct bs_thick *t = &e->thick;

	if (!t->pending && !t->hold)
		return;
	t->gain = UNKNOWN;
	t->pending = 0;
	t->hold = false;
	t->total = sum_up(e);
	bs_fiber_wake_all(e->fibers, &t->wait);
}

void bs_thick_start(struct bs_engine *e)
{
	struct bs_thick *t = &e->thick;

	if (!t->wanted || t->counting)
		return;
	if (e->stopping || e->failed) {
		t->wanted = false;
		bs_fiber_wake_all(e->fibers, &t->wait);
		return;
	}
	if (t->hold)
		return;
	t->counting = true;
	if (!bs_fiber_start(e->fibers, count_fiber, e))
		t->counting = false;
}
