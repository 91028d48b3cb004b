#include "tests/sim/hostint.h"

#include "blockstore/content.h"
#include "blockstore/store_int.h"
#include "blockstore/stored.h"
#include "common/bytes.h"

/* What the last step has read and found sound: some of it is given its bytes again. */
static int rewrite(struct sim_host *h, struct sim_admin *a, uint64_t contents)
{
	struct bs_scrub_item t;
	uint8_t plain[BS_BLOCK];
	int rc;

	if (!contents || !sim_one_in(&h->rng, a->rewrite))
		return 0;
	t = h->scrub->items[sim_below(&h->rng, (uint32_t)contents)];
	if (bs_stored_decode(t.stored, &t.place, plain))
		return VS_E_CORRUPT;
	rc = bs_scrub_heal(h->scrub, t.cid, plain, &a->err);
	a->rewritten += rc == 0;
	return rc == VS_E_NOENT || rc == VS_E_NOSPC ? 0 : rc; /* freed meanwhile; full */
}

/* One bit of one of the contents that the step has just found sound; it is looked at again. */
static bool rot(struct sim_host *h, struct sim_admin *a, uint64_t contents)
{
	const struct bs_scrub_item *t;
	uint64_t at;

	if (!contents || h->nrotten == SIM_ROTTEN)
		return false;
	t = &h->scrub->items[sim_below(&h->rng, (uint32_t)contents)];
	at = bs_engine_where(h->engine, t->place.seg, t->place.off) +
	     sim_below(&h->rng, t->place.len);
	sim_disk_rot(h->disk, at, at % 8);
	h->rotten[h->nrotten][0] = t->cid;
	h->rotten[h->nrotten++][1] = at;
	a->rotten++;
	return true;
}

static int place_of(struct bs_engine *e, struct bs_call *c)
{
	struct bs_scrub_item *t = c->arg;

	return bs_content_look(e, t->cid, &t->place);
}

/* The cleaner was quicker: what has rotted is where nothing lives any more. */
static int unless_moved(struct sim_host *h, struct sim_admin *a)
{
	uint64_t at = h->rotten[h->nrotten - 1][1], from;
	struct bs_scrub_item t = {.cid = h->rotten[h->nrotten - 1][0]};
	int rc = bs_store_call((struct bs_store *)h, false, place_of, &t, &a->err);

	from = bs_engine_where(h->engine, t.place.seg, t.place.off);
	if (rc || (at >= from && at < from + t.place.len))
		return rc;
	sim_disk_rot(h->disk, at, at % 8);
	h->nrotten--;
	a->rotten--;
	return 0;
}

/* The bit flips back for as long as it takes to give the content its bytes. */
static int heal(struct sim_host *h, struct sim_admin *a, const struct bs_scrub_found *f)
{
	for (unsigned i = 0; i < h->nrotten; i++) {
		uint64_t at = h->rotten[i][1], cid = h->rotten[i][0];
		uint8_t plain[BS_BLOCK], stored[BS_BLOCK];
		struct bs_place p = {0};
		int rc;

		if (cid != f->id)
			continue;
		for (unsigned k = 0; k < h->scrub->nitems; k++)
			if (h->scrub->items[k].cid == cid)
				p = h->scrub->items[k].place;
		sim_disk_rot(h->disk, at, at % 8);
		sim_disk_peek(h->disk, bs_engine_where(h->engine, p.seg, p.off), stored, p.len);
		sim_disk_rot(h->disk, at, at % 8);
		rc = bs_stored_decode(stored, &p, plain);
		if (rc == 0)
			rc = bs_scrub_heal(h->scrub, cid, plain, &a->err);
		a->rewritten += rc == 0;
		return rc;
	}
	return 0;
}

int sim_host_scrub(struct sim_host *h, struct sim_admin *a)
{
	struct bs_scrub_position at = {0}, before;
	struct bs_scrub_result r;

	while (at.part != BS_SCRUB_END) {
		int rc;

		before = at;
		rc = bs_scrub_step(h->scrub, &at, &r, &a->err);
		if (rc == 0 && a->rot && before.part == BS_SCRUB_CONTENTS &&
		    rot(h, a, r.contents)) {
			at = before;
			rc = bs_scrub_step(h->scrub, &at, &r, &a->err);
			if (rc == 0 && !r.nfound)
				rc = unless_moved(h, a);
		}
		if (rc == 0 && a->rewrite)
			rc = rewrite(h, a, r.nfound ? 0 : r.contents);
		for (unsigned i = 0; i < r.nfound && rc == 0 && a->heal; i++)
			rc = heal(h, a, &r.found[i]);
		if (rc)
			return rc;
		a->found += r.nfound;
		a->counts = r.counts;
	}
	return 0;
}
