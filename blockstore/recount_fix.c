#include "blockstore/content.h"
#include "blockstore/page.h"
#include "blockstore/recount_int.h"
#include "blockstore/scrub_int.h"
#include "blockstore/work.h"

#include <stdlib.h>

int bs_recount_fix_content(struct bs_engine *e, uint64_t slot, uint32_t refs)
{
	uint8_t *at;
	struct bs_place p;
	struct bs_frame *f;
	int rc = bs_tree_get_w(e, BS_TREE_PLACE, slot / BS_PLACES_PER_PAGE, &f);

	if (rc == 0)
		rc = bs_frames_room(e, 8);
	if (rc)
		return rc;
	bs_frame_touch(e, f);
	at = f->data + slot % BS_PLACES_PER_PAGE * BS_PLACE_SIZE;
	bs_place_get(at, &p);
	f->used += (uint32_t)(refs != 0) - (uint32_t)(p.refs != 0);
	p.refs = refs;
	bs_place_put(at, &p);
	return 0;
}

/* Its references and copies as found; what is due by them is queued. */
int bs_recount_fix_page(struct bs_count *c, uint64_t slot, struct bs_mapent *ent)
{
	struct bs_mapent fixed = *ent;
	uint64_t cid = bs_cid(slot, ent->place.gen);
	int rc;

	if (!c->opts->repair)
		return VS_E_ROFS;
	rc = bs_page_ready(c->e, cid);
	if (rc == 0)
		rc = bs_work_ready(c->e, 2);
	if (rc == 0)
		rc = bs_frames_room(c->e, 16);
	if (rc)
		return rc;
	fixed.place.refs = c->page_refs[slot];
	fixed.xors = c->page_xors[slot];
	bs_page_ent_put(c->e, cid, &fixed);
	if (!fixed.place.refs && !c->page_seen[slot])
		bs_work_push(c->e, cid, BS_WORK_RELEASE);
	else if (fixed.place.refs == 1 && fixed.xors)
		bs_work_push(c->e, cid, BS_WORK_ABSORB);
	return 0;
}

int bs_recount_fix_count(struct bs_count *c, uint64_t cid, uint64_t sum)
{
	struct bs_mapent ent;
	int rc;

	if (!c->opts->repair)
		return VS_E_ROFS;
	rc = bs_page_ready(c->e, cid);
	if (rc == 0)
		rc = bs_frames_room(c->e, 8);
	if (rc)
		return rc;
	ent = bs_page_ent_now(c->e, cid);
	ent.count = sum;
	bs_page_ent_put(c->e, cid, &ent);
	return 0;
}

void bs_recount_fix_totals(struct bs_count *c, uint64_t contents, uint64_t stored)
{
	if (!c->opts->repair)
		return;
	c->e->contents = contents;
	c->e->stored_bytes = stored;
	c->e->references = c->references;
}

void bs_recount_fix_space(struct bs_count *c, uint64_t live)
{
	struct bs_segs *s = &c->e->segs;

	for (uint32_t i = 0; i < s->count; i++) {
		if (s->seg[i].ent.live == c->seg_live[i])
			continue;
		s->seg[i].ent.live = (uint32_t)c->seg_live[i];
		s->dirty[i / BS_SEGENTS_PER_PAGE] = 1;
	}
	s->live = live;
}

/* A page of zeros in its place; the next checkpoint writes it elsewhere. */
static int make_empty(struct bs_engine *e, unsigned tree, uint64_t leaf)
{
	struct bs_frame *f, *parent;
	int rc = bs_frames_reserve(e, 4);

	if (rc == 0 && e->trees[tree].root.height > 1)
		rc = bs_tree_get_path(e, tree, 1, leaf / BS_PTRS_PER_PAGE, &parent);
	if (rc == 0)
		rc = bs_frames_room(e, 8);
	if (rc)
		return rc;
	f = bs_frame_new(e, bs_key_tree(tree, 0, leaf));
	if (!f)
		return VS_E_NOMEM;
	memset(f->data, 0, BS_PAGE);
	f->state = BS_FRAME_VALID;
	bs_frame_touch(e, f);
	return 0;
}

static void fix_page(struct bs_count *c, const struct bs_scrub_found *f)
{
	unsigned tree = (unsigned)(f->id >> 56), level = (unsigned)(f->id >> 48) & 255;
	uint64_t index = f->id & ((UINT64_C(1) << 48) - 1);

	if (f->healed) {
		bs_count_repaired(c, 0, "%s is damaged", f->what);
		return;
	}
	if (level || (tree != BS_TREE_PLACE && tree != BS_TREE_DIGEST) || c->nlost == BS_LOST_MAX ||
	    make_empty(c->e, tree, index)) {
		bs_count_problem(c, "%s is lost", f->what);
		return;
	}
	c->lost[c->nlost].tree = (uint8_t)tree;
	c->lost[c->nlost++].leaf = index;
	bs_count_repaired(c, 0, "%s is lost", f->what);
}

int bs_recount_fix_tables(struct bs_count *c)
{
	struct bs_scrub *sc = calloc(1, sizeof(*sc));
	struct bs_scrub_result *r = calloc(1, sizeof(*r));
	struct bs_scrub_position at = {0};
	bool end = false;
	int rc = sc && r ? 0 : VS_E_NOMEM;

	while (rc == 0 && !end) {
		sc->at = &at;
		sc->out = r;
		sc->buf = c->buf;
		r->nfound = 0;
		rc = bs_scrub_tables(c->e, sc, &end);
		for (unsigned i = 0; i < r->nfound; i++)
			fix_page(c, &r->found[i]);
	}
	free(sc);
	free(r);
	return rc;
}
