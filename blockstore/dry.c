#include "blockstore/dry.h"

#include "blockstore/content.h"
#include "blockstore/map.h"

#include <stdlib.h>

/*
 * One deletion lets go of at most two pages of a position for each that it lets go of above: the
 * page itself, and a base that only copies hold. Their bases and copies are looked at as well.
 */
#define PAGES_MAX (8u << BS_MAP_LEVELS)

/* A page of the position at hand, as it would be by now. */
struct page {
	uint64_t cid, base, xors;
	uint32_t refs;
	bool gone;
	bool absent; /* at an origin: it takes no space, and nothing below it is here */
};

/* A reference that entry `at` of some page of a position held. */
struct drop {
	uint64_t cid;
	unsigned at;
};

struct drops {
	struct drop *drop;
	unsigned n, cap;
};

struct tally {
	uint64_t slot; /* of the content; 0: free */
	uint32_t left; /* references */
	uint32_t len;
};

struct bs_dry {
	struct bs_engine *e;
	struct page page[PAGES_MAX];
	unsigned npages;
	struct drops drops[BS_MAP_LEVELS]; /* what the pages of a level lose */
	struct tally *tally, *spare;
	unsigned slots, used;
	uint64_t lo, hi; /* contents of slots [lo, hi) are counted in this pass */
	uint64_t bytes;
};

int bs_dry_new(unsigned slots, struct bs_dry **out)
{
	struct bs_dry *d = calloc(1, sizeof(*d));

	VS_ASSERT(slots >= 16 && (slots & (slots - 1)) == 0);
	*out = d;
	if (!d)
		return VS_E_NOMEM;
	d->slots = slots;
	d->tally = calloc(slots, sizeof(*d->tally));
	d->spare = calloc(slots, sizeof(*d->spare));
	return d->tally && d->spare ? 0 : VS_E_NOMEM;
}

void bs_dry_free(struct bs_dry *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < BS_MAP_LEVELS; i++)
		free(d->drops[i].drop);
	free(d->tally);
	free(d->spare);
	free(d);
}

static struct tally *tally_at(const struct bs_dry *d, struct tally *in, uint64_t slot)
{
	unsigned i = (unsigned)((slot * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (d->slots - 1);

	while (in[i].slot && in[i].slot != slot)
		i = (i + 1) & (d->slots - 1);
	return &in[i];
}

/* The upper part, by the mean of the slots, is left for the next pass. */
static void narrow(struct bs_dry *d)
{
	struct tally *old = d->tally;
	uint64_t sum = 0, rest = 0;

	for (unsigned i = 0; i < d->slots; i++) {
		sum += old[i].slot / d->used;
		rest += old[i].slot % d->used;
	}
	d->hi = sum + rest / d->used + 1;
	d->tally = d->spare;
	d->spare = old;
	d->used = 0;
	memset(d->tally, 0, d->slots * sizeof(*d->tally));
	for (unsigned i = 0; i < d->slots; i++) {
		if (!old[i].slot || old[i].slot >= d->hi)
			continue;
		*tally_at(d, d->tally, old[i].slot) = old[i];
		d->used++;
	}
}

/* A content loses a reference. */
static int lose_content(struct bs_dry *d, uint64_t cid)
{
	uint64_t slot = bs_cid_slot(cid);
	struct bs_place place;
	struct tally *t;
	int rc = bs_content_look(d->e, cid, &place);

	if (rc == 0 && place.alias) { /* what stores it counts its references */
		slot = bs_cid_slot(place.alias);
		rc = bs_content_look(d->e, place.alias, &place);
	}
	if (rc)
		return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	if (place.refs == 1) {
		d->bytes += d->lo ? 0 : place.len;
		return 0;
	}
	if (slot < d->lo || slot >= d->hi)
		return 0;
	t = tally_at(d, d->tally, slot);
	if (!t->slot && d->used == d->slots / 4 * 3) {
		narrow(d);
		if (slot >= d->hi)
			return 0;
		t = tally_at(d, d->tally, slot);
	}
	if (!t->slot) {
		*t = (struct tally){slot, place.refs, place.len};
		d->used++;
	}
	return t->left-- ? 0 : VS_E_CORRUPT;
}

/* At the end of a pass: those that lost all their references. */
static void add_tally(struct bs_dry *d)
{
	for (unsigned i = 0; i < d->slots; i++)
		if (d->tally[i].slot && !d->tally[i].left)
			d->bytes += d->tally[i].len;
}

static int page_of(struct bs_dry *d, uint64_t cid, struct page **out)
{
	struct bs_mapent ent;
	int rc;

	for (unsigned i = 0; i < d->npages; i++) {
		*out = &d->page[i];
		if ((*out)->cid == cid)
			return 0;
	}
	rc = bs_page_ent(d->e, cid, &ent);
	if (rc == 0 && d->npages == PAGES_MAX)
		rc = VS_E_CORRUPT;
	if (rc)
		return rc;
	*out = &d->page[d->npages++];
	**out = (struct page){.cid = cid,
			      .base = ent.base,
			      .xors = ent.xors,
			      .refs = ent.place.refs,
			      .absent = bs_place_at_origin(&ent.place)};
	return 0;
}

static int note(struct drops *l, unsigned at, uint64_t cid)
{
	if (l->n == l->cap) {
		unsigned cap = VS_MAX(2 * l->cap, 2 * BS_MAP_FAN);
		struct drop *more;

		if (cap > 2 * BS_MAP_FAN * PAGES_MAX)
			return VS_E_CORRUPT;
		more = realloc(l->drop, cap * sizeof(*more));
		if (!more)
			return VS_E_NOMEM;
		l->drop = more;
		l->cap = cap;
	}
	l->drop[l->n++] = (struct drop){cid, at};
	return 0;
}

static int data_of(struct bs_dry *d, uint64_t cid, struct bs_frame **out)
{
	*out = NULL;
	return cid ? bs_page_get(d->e, cid, out) : 0;
}

static const uint8_t *bytes_of(const struct bs_frame *f, uint64_t cid, int *rc)
{
	if (f && f->cid != cid)
		*rc = VS_E_CORRUPT; /* gone while another was read */
	return f ? f->data : NULL;
}

static uint64_t entry(const uint8_t *page, unsigned i)
{
	return page ? bs_map_entry(page, i) : 0;
}

/* What page c loses: with q, it is dissolved into this copy, else it is released. b: its base. */
static int collect(struct bs_dry *d, struct drops *l, uint64_t c, uint64_t q, uint64_t b)
{
	struct bs_frame *cf, *qf, *bf;
	const uint8_t *cd, *qd, *bd;
	int rc = data_of(d, c, &cf);

	if (rc == 0)
		rc = data_of(d, q, &qf);
	if (rc == 0)
		rc = data_of(d, b, &bf);
	if (rc)
		return rc;
	cd = bytes_of(cf, c, &rc);
	qd = bytes_of(qf, q, &rc);
	bd = bytes_of(bf, b, &rc);
	if (cf->level != (unsigned)(l - d->drops))
		rc = VS_E_CORRUPT;
	for (unsigned i = 0; i < BS_MAP_FAN && rc == 0 && !cf->records; i++) {
		uint64_t ci = entry(cd, i), bi = entry(bd, i), drop[2];
		unsigned n = q ? bs_page_absorb_drops(ci, entry(qd, i), bi, drop)
			       : bs_page_release_drops(ci, bi, drop);

		for (unsigned k = 0; k < n && rc == 0; k++)
			rc = note(l, i, drop[k]);
	}
	return rc;
}

/* As work.c does it: the base knows its copies by the XOR of their ids. */
static int release(struct bs_dry *d, struct drops *l, struct page *p, struct page **base)
{
	int rc = p->absent ? 0 : collect(d, l, p->cid, 0, p->base);

	*base = NULL;
	p->gone = true;
	if (rc == 0 && p->base)
		rc = page_of(d, p->base, base);
	if (rc == 0 && *base)
		(*base)->xors ^= p->cid;
	return rc;
}

static int absorb(struct bs_dry *d, struct drops *l, struct page *p)
{
	struct page *copy, *base;
	int rc = page_of(d, p->xors, &copy);

	if (rc == 0)
		rc = collect(d, l, p->cid, p->xors, p->base);
	p->gone = true;
	if (rc)
		return rc;
	copy->base = p->base;
	if (!p->base)
		return 0;
	rc = page_of(d, p->base, &base);
	if (rc == 0)
		base->xors ^= p->cid ^ copy->cid;
	return rc;
}

/* Page cid loses a reference, and whatever follows from that at its position. */
static int lose_page(struct bs_dry *d, struct drops *l, uint64_t cid)
{
	struct page *p;
	int rc = page_of(d, cid, &p);

	while (rc == 0 && p) {
		struct page *next = NULL;

		if (p->gone || p->refs == 0)
			return VS_E_CORRUPT;
		p->refs--;
		if (p->refs == 0)
			rc = release(d, l, p, &next);
		else if (p->refs == 1 && p->xors)
			rc = absorb(d, l, p);
		if (p->gone && !p->absent && d->lo == 0)
			d->bytes += BS_PAGE;
		p = next;
	}
	return rc;
}

static int by_place(const void *a, const void *b)
{
	const struct drop *x = a, *y = b;

	return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->cid > y->cid) - (x->cid < y->cid);
}

/* n references to pages of one position are dropped, then what those pages referred to. */
static int position(struct bs_dry *d, unsigned level, const struct drop *lost, unsigned n)
{
	struct drops *l = &d->drops[level];
	int rc = 0;

	bs_fiber_yield(d->e->fibers);
	if (d->e->stopping)
		return VS_E_CANCELED;
	if (d->e->failed)
		return VS_E_FAILED;
	d->npages = l->n = 0;
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = lose_page(d, l, lost[i].cid);
	bs_frames_unkeep(d->e);
	if (rc == 0 && level && l->n)
		qsort(l->drop, l->n, sizeof(*l->drop), by_place);
	for (unsigned i = 0, k; i < l->n && rc == 0; i = k) {
		for (k = i + 1; level && k < l->n && l->drop[k].at == l->drop[i].at; k++)
			;
		rc = level ? position(d, level - 1, l->drop + i, k - i)
			   : lose_content(d, l->drop[i].cid);
	}
	bs_frames_unkeep(d->e);
	return rc;
}

int bs_dry_run(struct bs_engine *e, struct bs_dry *d, uint64_t root, unsigned level,
	       uint64_t *bytes)
{
	struct drop first = {.cid = root};
	int rc = 0;

	d->e = e;
	d->bytes = 0;
	for (d->lo = 0; rc == 0 && d->lo != UINT64_MAX; d->lo = d->hi) {
		d->hi = UINT64_MAX;
		d->used = 0;
		memset(d->tally, 0, d->slots * sizeof(*d->tally));
		rc = level < BS_MAP_LEVELS ? position(d, level, &first, 1) : VS_E_CORRUPT;
		add_tally(d);
	}
	*bytes = d->bytes;
	return rc;
}
