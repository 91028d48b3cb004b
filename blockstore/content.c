#include "blockstore/content.h"

#include "blockstore/drop.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"

static uint64_t place_leaf(uint64_t slot)
{
	return slot / BS_PLACES_PER_PAGE;
}

static unsigned place_at(uint64_t slot)
{
	return (unsigned)(slot % BS_PLACES_PER_PAGE) * BS_PLACE_SIZE;
}

void bs_content_warm(const struct bs_frame *leaf, uint64_t cid)
{
	__builtin_prefetch(leaf->data + place_at(bs_cid_slot(cid)));
}

int bs_content_raw(struct bs_engine *e, uint64_t slot, struct bs_place *out)
{
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_PLACE, 0, place_leaf(slot), true, &f);

	if (rc)
		return rc;
	if (!f)
		return VS_E_NOENT;
	bs_place_get(f->data + place_at(slot), out);
	return out->refs ? 0 : VS_E_NOENT;
}

int bs_content_look_slot(struct bs_engine *e, uint64_t slot, struct bs_place *out)
{
	int rc = bs_content_raw(e, slot, out);

	return rc == 0 && out->alias ? VS_E_NOENT : rc;
}

/* Where an alias's bytes are; references and generation stay its own. */
static int resolve(struct bs_engine *e, struct bs_place *place)
{
	struct bs_place to;
	int rc = bs_content_look_slot(e, bs_cid_slot(place->alias), &to);

	if (rc == VS_E_NOENT || (rc == 0 && to.gen != bs_cid_gen(place->alias)))
		return VS_E_CORRUPT;
	if (rc)
		return rc;
	to.alias = place->alias;
	to.aliased = place->aliased;
	to.gen = place->gen;
	to.refs = place->refs;
	*place = to;
	return 0;
}

int bs_content_look(struct bs_engine *e, uint64_t cid, struct bs_place *out)
{
	int rc = bs_content_raw(e, bs_cid_slot(cid), out);

	if (rc == 0 && out->gen != bs_cid_gen(cid))
		return VS_E_NOENT;
	return rc == 0 && out->alias ? resolve(e, out) : rc;
}

int bs_content_digest(struct bs_engine *e, uint64_t cid, struct dd_digest *out)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f;
	int rc = bs_tree_get(e, BS_TREE_DIGEST, 0, slot / BS_DIGESTS_PER_PAGE, true, &f);

	if (rc)
		return rc;
	if (!f)
		return VS_E_NOENT;
	memcpy(out->b, f->data + slot % BS_DIGESTS_PER_PAGE * 32, 32);
	return 0;
}

int bs_content_ready(struct bs_engine *e, uint64_t cid)
{
	uint64_t leaf = place_leaf(bs_cid_slot(cid));
	struct bs_frame *f;

	if (leaf >= e->trees[BS_TREE_PLACE].root.leaves)
		return VS_E_CORRUPT;
	return bs_tree_get_w(e, BS_TREE_PLACE, leaf, &f);
}

/* Whether what a step is about to change is the content that it means. */
static bool is_it(struct bs_engine *e, uint64_t cid, const struct bs_place *place, bool live)
{
	if (place->gen == bs_cid_gen(cid) && (place->refs || !live))
		return true;
	bs_engine_damaged(e, "content %llx is referred to and not alive", (unsigned long long)cid);
	return false;
}

static struct bs_frame *leaf_now(struct bs_engine *e, uint64_t slot)
{
	struct bs_frame *f = bs_tree_now(e, BS_TREE_PLACE, place_leaf(slot));

	bs_frame_touch(e, f);
	return f;
}

/* The digest in the slot that is given out next will be looked for, to be taken off the index. */
static void warm_next(struct bs_engine *e, uint64_t slot, const uint8_t *digests)
{
	uint64_t next = bs_ids_next(&e->places);
	struct dd_digest d;

	if (next / BS_DIGESTS_PER_PAGE != slot / BS_DIGESTS_PER_PAGE)
		return;
	memcpy(d.b, digests + next % BS_DIGESTS_PER_PAGE * 32, 32);
	bs_index_warm(e, &d);
}

void bs_content_put(struct bs_engine *e, uint64_t cid, const struct bs_place *where,
		    const struct dd_digest *digest)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot), *d;
	struct bs_place place = *where;
	struct dd_digest old;
	uint8_t *to;

	place.gen = bs_cid_gen(cid);
	place.refs = 0;
	bs_place_put(f->data + place_at(slot), &place);
	d = bs_tree_now(e, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE);
	bs_frame_touch(e, d);
	to = d->data + slot % BS_DIGESTS_PER_PAGE * 32;
	memcpy(old.b, to, 32);
	memcpy(to, digest->b, 32);
	bs_index_enter(e, place.private || !bs_place_stored(&place) ? NULL : digest, &old, slot);
	warm_next(e, slot, d->data);
}

/* Content counts while it has a reference; what an alias stored is counted no more. */
static void count_stored(struct bs_engine *e, const struct bs_place *place, int by)
{
	e->contents += (uint64_t)(int64_t)by;
	e->stored_bytes += (uint64_t)((int64_t)by * place->len);
	bs_seg_live(e, place->seg, (int64_t)by * place->len);
	if (by < 0)
		bs_thick_freed(e, place->len);
}

static void count(struct bs_engine *e, struct bs_frame *f, const struct bs_place *place, int by)
{
	f->used += (uint32_t)by;
	if (bs_place_stored(place))
		count_stored(e, place, by);
	else if (bs_place_at_origin(place))
		bs_origin_count(e, place->origin, by, 0);
}

void bs_content_ref(struct bs_engine *e, uint64_t cid)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place place;

	bs_place_get(f->data + place_at(slot), &place);
	if (!is_it(e, cid, &place, false))
		return;
	if (place.alias) { /* whoever finds an alias takes what stores it */
		bs_engine_damaged(e, "content %llx is an alias and gets a reference",
				  (unsigned long long)cid);
		return;
	}
	if (place.refs == UINT32_MAX) {
		bs_engine_damaged(e, "content %llx has too many references",
				  (unsigned long long)cid);
		return;
	}
	if (bs_planted(FORGOTTEN_REF) && place.refs && slot % 7 == 3)
		return;
	if (place.refs++ == 0)
		count(e, f, &place, 1);
	e->references++;
	bs_place_put(f->data + place_at(slot), &place);
}

void bs_content_unref(struct bs_engine *e, uint64_t cid)
{
	e->references--;
	bs_drop_push(e, cid);
}

/* Of an alias: what stores it, which counts the references of its aliases too. */
static uint64_t drop(struct bs_engine *e, uint64_t cid, uint32_t n)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place place;

	bs_place_get(f->data + place_at(slot), &place);
	if (!is_it(e, cid, &place, true))
		return 0;
	if (place.refs < n) {
		bs_engine_damaged(e, "content %llx has fewer references than are dropped",
				  (unsigned long long)cid);
		return 0;
	}
	place.refs -= n;
	if (place.refs == 0) {
		count(e, f, &place, -1);
		bs_cache_forget(&e->cache, cid);
		if (bs_place_at_origin(&place))
			bs_origin_left(e, cid);
	}
	bs_place_put(f->data + place_at(slot), &place);
	return place.alias;
}

void bs_content_drop(struct bs_engine *e, uint64_t cid, uint32_t n)
{
	uint64_t stored = drop(e, cid, n);

	if (stored)
		(void)drop(e, stored, n);
}

static uint8_t *digest_at(struct bs_engine *e, uint64_t cid, struct bs_frame **f)
{
	uint64_t slot = bs_cid_slot(cid);

	*f = bs_tree_now(e, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE);
	return (*f)->data + slot % BS_DIGESTS_PER_PAGE * 32;
}

static struct dd_digest digest_now(struct bs_engine *e, uint64_t cid)
{
	struct dd_digest d;
	struct bs_frame *f;

	memcpy(d.b, digest_at(e, cid, &f), 32);
	return d;
}

/* Its digest is known, and it is not counted at its origin any more. */
static void leave_origin(struct bs_engine *e, uint64_t cid, const struct bs_place *was,
			 struct dd_digest digest, bool found)
{
	struct dd_digest old = digest_now(e, cid);
	struct bs_frame *f;

	(void)digest_at(e, cid, &f);
	bs_frame_touch(e, f);
	memcpy(digest_at(e, cid, &f), digest.b, 32);
	bs_index_enter(e, found ? &digest : NULL, &old, bs_cid_slot(cid));
	bs_origin_count(e, was->origin, -1, 0);
	bs_origin_left(e, cid);
}

int bs_content_ready_fill(struct bs_engine *e, uint64_t cid, const struct bs_place *now)
{
	struct bs_frame *f;
	int rc = bs_origin_ready(e, now->origin);

	if (rc == 0)
		rc = bs_content_ready(e, cid);
	if (rc == 0)
		rc = bs_tree_get_w(e, BS_TREE_DIGEST, bs_cid_slot(cid) / BS_DIGESTS_PER_PAGE, &f);
	return rc;
}

void bs_content_absent(struct bs_engine *e, uint64_t cid, const struct bs_place *at)
{
	static const struct dd_digest none;
	struct bs_frame *f;
	struct bs_place p;

	bs_content_put(e, cid, at, &none);
	f = leaf_now(e, bs_cid_slot(cid));
	bs_place_get(f->data + place_at(bs_cid_slot(cid)), &p);
	p.refs = 1;
	bs_place_put(f->data + place_at(bs_cid_slot(cid)), &p);
	f->used++;
	e->references++;
}

void bs_content_fill(struct bs_engine *e, uint64_t cid, const struct bs_place *where,
		     const struct dd_digest *digest)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place was, place = *where;

	e->changes++;
	bs_place_get(f->data + place_at(slot), &was);
	place.gen = was.gen;
	place.refs = was.refs;
	bs_place_put(f->data + place_at(slot), &place);
	leave_origin(e, cid, &was, *digest, !place.private);
	count_stored(e, &place, 1);
}

void bs_content_zeros(struct bs_engine *e, uint64_t cid)
{
	static const struct dd_digest none;
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place was, place = {.seg = BS_SEG_NONE, .coding = BS_CODING_ZEROS};

	e->changes++;
	bs_place_get(f->data + place_at(slot), &was);
	place.gen = was.gen;
	place.refs = was.refs;
	bs_place_put(f->data + place_at(slot), &place);
	leave_origin(e, cid, &was, none, false);
}

void bs_content_alias(struct bs_engine *e, uint64_t cid, uint64_t to)
{
	uint64_t slot = bs_cid_slot(cid), keeper = bs_cid_slot(to);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place place, kept;

	e->changes++;
	bs_place_get(f->data + place_at(slot), &place);
	if (bs_place_at_origin(&place))
		leave_origin(e, cid, &place, digest_now(e, to), false);
	else
		count_stored(e, &place, -1);
	bs_cache_forget(&e->cache, cid);
	place = (struct bs_place){.alias = to, .gen = place.gen, .refs = place.refs};
	bs_place_put(f->data + place_at(slot), &place);
	f = leaf_now(e, keeper);
	bs_place_get(f->data + place_at(keeper), &kept);
	kept.refs += bs_planted(LONE_ALIAS) ? 0 : place.refs;
	kept.aliased = true;
	bs_place_put(f->data + place_at(keeper), &kept);
}

void bs_content_replace(struct bs_engine *e, uint64_t cid, const struct bs_place *to)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place place;

	bs_place_get(f->data + place_at(slot), &place);
	if (!is_it(e, cid, &place, true))
		return;
	bs_seg_live(e, place.seg, -(int64_t)place.len);
	e->stored_bytes += (uint64_t)to->len - place.len;
	place.seg = to->seg;
	place.off = to->off;
	place.len = to->len;
	place.coding = to->coding;
	place.check = to->check;
	bs_seg_live(e, place.seg, (int64_t)place.len);
	bs_place_put(f->data + place_at(slot), &place);
}

void bs_content_move(struct bs_engine *e, uint64_t cid, uint32_t seg, uint32_t off)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_frame *f = leaf_now(e, slot);
	struct bs_place place;

	bs_place_get(f->data + place_at(slot), &place);
	if (!is_it(e, cid, &place, true))
		return;
	bs_seg_live(e, place.seg, -(int64_t)place.len);
	place.seg = seg;
	place.off = off;
	bs_seg_live(e, seg, (int64_t)place.len);
	bs_place_put(f->data + place_at(slot), &place);
}
