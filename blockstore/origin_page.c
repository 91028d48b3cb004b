#include "blockstore/content.h"
#include "blockstore/drop.h"
#include "blockstore/map.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"

/* Frames that an expansion may touch: leaves of places and digests, or of pages, and above. */
#define TOUCHES (BS_RUNS * 4u + 24u)

int bs_origin_ready(struct bs_engine *e, uint32_t id)
{
	const struct bs_vol *o = bs_vol_origin(e, id);

	return o ? bs_vol_ready(e, o) : VS_E_CORRUPT;
}

static bool add(uint64_t *count, int64_t by)
{
	if (by < 0 && *count < (uint64_t)-by)
		return false;
	*count += (uint64_t)by;
	return true;
}

void bs_origin_count(struct bs_engine *e, uint32_t id, int64_t contents, int64_t pages)
{
	struct bs_vol *o = bs_vol_origin(e, id);

	if (bs_planted(KEPT_COUNT) && contents < 0)
		return;
	if (!o || !add(&o->ent.contents_left, contents) || !add(&o->ent.pages_left, pages)) {
		bs_engine_damaged(e, "origin %u has more or less than is counted", id);
		return;
	}
	bs_vol_changed(e, o);
}

struct bs_vol *bs_origin_of(struct bs_engine *e, const struct bs_place *p)
{
	struct bs_vol *o = bs_vol_origin(e, p->origin);

	return o && p->block < o->ent.size / BS_BLOCK ? o : NULL;
}

struct bs_vol *bs_origin_of_page(struct bs_engine *e, const struct bs_mapent *ent)
{
	struct bs_vol *o = bs_origin_of(e, &ent->place);

	return o && ent->level < BS_VOLUME_HEIGHT &&
		       ent->place.block % bs_map_span(ent->level) == 0 && !ent->base && !ent->xors
		   ? o
		   : NULL;
}

uint64_t bs_origin_below(const struct bs_vol *o, uint64_t block, unsigned level)
{
	return VS_MIN(bs_map_span(level), o->ent.size / BS_BLOCK - block);
}

/* A page that is to be expanded, as its table entry has it. */
struct expansion {
	uint64_t cid;
	struct bs_mapent ent;
	struct bs_vol *origin;
	uint64_t each;		 /* blocks below an entry */
	unsigned n, fresh;	 /* entries up to the origin's end; those that are not zeros */
	uint64_t to[BS_MAP_FAN]; /* what they become */
};

static bool is_zero(const uint8_t *zeros, unsigned i)
{
	return zeros && zeros[i / 8] >> i % 8 & 1;
}

static int look(struct bs_engine *e, struct expansion *x, const uint8_t *zeros)
{
	int rc = bs_page_ready(e, x->cid);

	if (rc == 0)
		rc = bs_page_ent(e, x->cid, &x->ent);
	if (rc)
		return rc;
	if (!bs_place_at_origin(&x->ent.place))
		return VS_E_NOENT;
	x->origin = bs_origin_of_page(e, &x->ent);
	if (!x->origin || bs_frame_find(e, bs_key_map(x->cid)))
		return VS_E_CORRUPT;
	x->each = x->ent.level ? bs_map_span(x->ent.level - 1u) : 1;
	x->n = (unsigned)VS_DIV_UP(bs_origin_below(x->origin, x->ent.place.block, x->ent.level),
				   x->each);
	x->fresh = 0;
	for (unsigned i = 0; i < x->n; i++)
		x->fresh += !is_zero(zeros, i);
	return bs_vol_ready(e, x->origin);
}

static uint64_t block_of(const struct expansion *x, unsigned i)
{
	return x->ent.place.block + i * x->each;
}

/* A page below: at the origin as its parent was, and shared by whoever shares that one. */
static void put_page(struct bs_engine *e, const struct expansion *x, unsigned i)
{
	const struct bs_mapent ent = {
	    .place = {.seg = BS_SEG_NONE,
		      .coding = BS_CODING_ORIGIN,
		      .origin = x->ent.place.origin,
		      .block = block_of(x, i),
		      .gen = bs_cid_gen(x->to[i]),
		      .refs = 1},
	    .era = bs_planted(OWN_ERA) ? e->era : x->ent.era,
	    .count = bs_origin_below(x->origin, block_of(x, i), x->ent.level - 1u),
	    .level = x->ent.level - 1u,
	    .live = true};

	bs_page_ent_make(e, x->to[i], &ent);
}

/* A block below. What is to be private is so from here on, or a copy would share it. */
static void put_content(struct bs_engine *e, const struct expansion *x, unsigned i)
{
	const struct bs_place at = {.seg = BS_SEG_NONE,
				    .coding = BS_CODING_ORIGIN,
				    .origin = x->ent.place.origin,
				    .block = block_of(x, i),
				    .private = x->origin->ent.flags & BS_VOL_NO_DEDUP};

	bs_content_absent(e, x->to[i], &at);
}

static uint64_t blank_below(const struct expansion *x, unsigned i)
{
	return x->ent.level ? bs_origin_below(x->origin, block_of(x, i), x->ent.level - 1u) : 1;
}

/* (step) What the page refers to is said; its content, for whoever reads, stays what it was. */
static void apply(struct bs_engine *e, struct expansion *x)
{
	struct bs_frame *f = bs_frame_new(e, bs_key_map(x->cid));
	struct bs_mapent ent = x->ent;
	uint32_t origin = ent.place.origin;
	int64_t fresh = 0;

	VS_ASSERT(f);
	e->changes++;
	f->state = BS_FRAME_VALID;
	f->cid = x->cid;
	f->era = ent.era;
	f->level = ent.level;
	memset(f->data, 0, BS_PAGE);
	for (unsigned i = 0; i < x->n; i++) {
		bs_map_entry_put(f->data, i, x->to[i]);
		fresh += x->to[i] != 0;
		if (!x->to[i])
			ent.blank += bs_planted(LOST_BLANK) ? 0 : blank_below(x, i);
		else if (ent.level)
			put_page(e, x, i);
		else
			put_content(e, x, i);
	}
	ent.place =
	    (struct bs_place){.seg = BS_SEG_NONE, .gen = ent.place.gen, .refs = ent.place.refs};
	bs_page_ent_put(e, x->cid, &ent);
	bs_origin_count(e, origin, ent.level ? 0 : fresh, (ent.level ? fresh : 0) - 1);
	bs_frame_touch(e, f);
}

static int prepare(struct bs_engine *e, struct expansion *x, const uint8_t *zeros)
{
	struct bs_idalloc *ids;
	int rc = bs_frames_reserve(e, 8);

	if (rc == 0)
		rc = look(e, x, zeros);
	if (rc)
		return rc;
	ids = x->ent.level ? &e->mappages : &e->places;
	rc = bs_ids_prepare(e, ids, x->fresh);
	if (rc == 0)
		rc = bs_frames_reserve(e, 2);
	if (rc == 0)
		rc = bs_frames_room(e, TOUCHES);
	if (rc == 0)
		rc = bs_thick_room(e, x->origin, 0, x->fresh, 1);
	if (rc == 0)
		rc = bs_log_room(e, BS_NEED_DATA, BS_REC_EXPAND_HEAD + 8 * x->n, 0, 0);
	return rc == VS_E_NOSPC ? bs_drops_relieve(e) : rc;
}

static void record(struct bs_engine *e, struct expansion *x, const uint8_t *zeros)
{
	struct bs_rec r = {.type = BS_REC_EXPAND, .cid = x->cid, .count = x->n};
	uint8_t *b = bs_log_record(e, BS_REC_EXPAND_HEAD + 8 * x->n);

	b += bs_rec_put_array_head(b, &r);
	for (unsigned i = 0; i < x->n; i++) {
		x->to[i] = is_zero(zeros, i)
			       ? 0
			       : bs_ids_take(e, x->ent.level ? &e->mappages : &e->places);
		vs_put_le64(b + 8 * i, x->to[i]);
	}
}

int bs_origin_page(struct bs_engine *e, uint64_t cid, const uint8_t zeros[BS_ORIGIN_FAN / 8])
{
	struct expansion x = {.cid = cid};
	uint64_t blocks;

	if (e->recovering)
		return VS_E_CORRUPT; /* the log would have said that it was expanded */
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = prepare(e, &x, zeros);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	record(e, &x, zeros);
	apply(e, &x);
	bs_thick_wrote(e, x.origin, 0, x.fresh, 1);
	bs_fiber_yield(e->fibers); /* what others prepared may have been taken */
	return 0;
}

void bs_origin_root(struct bs_engine *e, const struct bs_vol *o, uint64_t cid, unsigned level)
{
	const struct bs_mapent ent = {.place = {.seg = BS_SEG_NONE,
						.coding = BS_CODING_ORIGIN,
						.origin = (uint32_t)o->ent.id,
						.gen = bs_cid_gen(cid),
						.refs = 1},
				      .era = e->era,
				      .count = bs_origin_below(o, 0, level),
				      .level = (uint8_t)level,
				      .live = true};

	bs_page_ent_make(e, cid, &ent);
}

/* ---- replay ------------------------------------------------------------------------------ */

static int ready_content(struct bs_engine *e, uint64_t cid)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_place place;
	struct bs_frame *f;
	int rc;

	if (!slot || slot / BS_PLACES_PER_PAGE >= e->places.max_leaves)
		return VS_E_CORRUPT;
	rc = bs_tree_get_w(e, BS_TREE_PLACE, slot / BS_PLACES_PER_PAGE, &f);
	if (rc == 0)
		rc = bs_tree_get_w(e, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE, &f);
	if (rc == 0)
		rc = bs_content_raw(e, slot, &place);
	return rc == VS_E_NOENT ? 0 : rc ? rc : VS_E_CORRUPT;
}

static bool is_among(const uint64_t *to, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (bs_cid_slot(to[k]) == bs_cid_slot(to[i]))
			return true;
	return false;
}

static int prepare_replay(struct bs_engine *e, struct expansion *x, const struct bs_rec *r)
{
	uint64_t last = 0;
	int rc = look(e, x, NULL);

	if (rc == 0 && r->count != x->n)
		rc = VS_E_CORRUPT;
	for (unsigned i = 0; rc == 0 && i < x->n; i++) {
		x->to[i] = vs_get_le64(r->array + 8 * i);
		if (!x->to[i])
			continue;
		if (bs_cid_slot(x->to[i]) > last) /* as nearly all do */
			last = bs_cid_slot(x->to[i]);
		else if (is_among(x->to, i))
			return VS_E_CORRUPT;
		rc = x->ent.level ? bs_page_ready_new(e, x->to[i]) : ready_content(e, x->to[i]);
	}
	return rc ? rc : bs_frames_reserve(e, 8);
}

int bs_origin_page_replay(struct bs_engine *e, const struct bs_rec *r)
{
	struct expansion x = {.cid = r->cid};
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = prepare_replay(e, &x, r);
		if (rc)
			return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	apply(e, &x);
	return 0;
}

int bs_origin_zeros_replay(struct bs_engine *e, const struct bs_rec *r)
{
	struct bs_place place;
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = bs_content_look(e, r->cid, &place);
		if (rc == 0 && !bs_place_at_origin(&place))
			rc = VS_E_CORRUPT;
		if (rc == 0)
			rc = bs_content_ready_fill(e, r->cid, &place);
		if (rc)
			return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	bs_content_zeros(e, r->cid);
	return 0;
}
