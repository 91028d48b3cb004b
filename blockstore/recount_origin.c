#include "blockstore/origin_int.h"
#include "blockstore/recount_int.h"

#include <stdlib.h>

int bs_recount_origins(struct bs_count *c)
{
	const struct bs_vols *vs = &c->e->vols;
	size_t n = 0;

	c->origins = calloc(vs->count + 1, sizeof(*c->origins));
	if (!c->origins)
		return VS_E_NOMEM;
	for (size_t i = 0; i <= vs->mask; i++)
		for (struct bs_vol *v = vs->by_id[i]; v; v = v->id_next)
			if (v->ent.kind == BS_VOL_ORIGIN)
				c->origins[n++].origin = v;
	c->norigins = n;
	return 0;
}

void bs_recount_at_origin(struct bs_count *c, const struct bs_place *p, bool page, uint64_t cid)
{
	for (size_t i = 0; i < c->norigins; i++) {
		struct bs_origin_left *l = &c->origins[i];

		if (l->origin->ent.id != p->origin)
			continue;
		l->contents += !page;
		l->pages += page;
		if (p->block >= l->origin->ent.size / BS_BLOCK)
			bs_count_problem(c, "%s %llx is behind the end of origin %u",
					 page ? "map page" : "content", (unsigned long long)cid,
					 p->origin);
		return;
	}
	bs_count_problem(c, "%s %llx is at origin %u, which does not exist",
			 page ? "map page" : "content", (unsigned long long)cid, p->origin);
}

/* A map page that is there: it refers to nothing, and counts what it covers. */
void bs_recount_absent(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent)
{
	const struct bs_vol *o = bs_origin_of_page(c->e, ent);

	bs_recount_at_origin(c, &ent->place, true, cid);
	if (!o)
		bs_count_problem(c, "map page %llx is at an origin as none can be",
				 (unsigned long long)cid);
	else if (ent->count != bs_origin_below(o, ent->place.block, ent->level) || ent->blank)
		bs_count_problem(c, "map page %llx at an origin counts %llu blocks",
				 (unsigned long long)cid, (unsigned long long)ent->count);
}

void bs_recount_compare_origins(struct bs_count *c)
{
	for (size_t i = 0; i < c->norigins; i++) {
		const struct bs_origin_left *l = &c->origins[i];
		struct bs_volent *ent = &l->origin->ent;
		uint64_t contents = ent->contents_left, pages = ent->pages_left;

		if (contents == l->contents && pages == l->pages)
			continue;
		bs_count_repaired(
		    c, bs_recount_fix_origin(c, l),
		    "origin %llu has %llu contents and %llu map pages, its count says "
		    "%llu and %llu",
		    (unsigned long long)ent->id, (unsigned long long)l->contents,
		    (unsigned long long)l->pages, (unsigned long long)contents,
		    (unsigned long long)pages);
	}
}

int bs_recount_fix_origin(struct bs_count *c, const struct bs_origin_left *l)
{
	int rc;

	if (!c->opts->repair)
		return VS_E_ROFS;
	rc = bs_vol_ready(c->e, l->origin);
	if (rc == 0)
		rc = bs_frames_room(c->e, 8);
	if (rc)
		return rc;
	l->origin->ent.contents_left = l->contents;
	l->origin->ent.pages_left = l->pages;
	bs_vol_changed(c->e, l->origin);
	return 0;
}
