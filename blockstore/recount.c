#include "blockstore/recount_int.h"

#include "blockstore/content.h"
#include "blockstore/map.h"
#include "blockstore/mend.h"
#include "blockstore/stored.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LINES 1000u

static void say(struct bs_count *c, const char *fmt, va_list ap)
{
	char line[256];

	if (!c->opts->report || c->res->problems + c->res->repaired > MAX_LINES)
		return;
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	c->opts->report(c->opts->arg, line, c->done, c->total);
}

void bs_count_problem(struct bs_count *c, const char *fmt, ...)
{
	va_list ap;

	c->res->problems++;
	va_start(ap, fmt);
	say(c, fmt, ap);
	va_end(ap);
}

void bs_count_repaired(struct bs_count *c, int rc, const char *fmt, ...)
{
	va_list ap;

	if (rc == 0 && c->opts->repair)
		c->res->repaired++;
	else
		c->res->problems++;
	va_start(ap, fmt);
	say(c, fmt, ap);
	va_end(ap);
}

static void space(struct bs_count *c, uint32_t seg, uint32_t off, uint32_t len, const char *what)
{
	if (seg == BS_SEG_NONE)
		return;
	if (seg >= c->e->segs.count || !vs_range_ok(off, len, c->e->segs.size)) {
		bs_count_problem(c, "%s lies outside the store: segment %u at %u", what, seg, off);
		return;
	}
	c->seg_live[seg] += len;
}

static void ref_page(struct bs_count *c, uint64_t cid, const char *from)
{
	if (bs_cid_slot(cid) >= c->npages)
		bs_count_problem(c, "%s refers to map page %llx, which does not exist", from,
				 (unsigned long long)cid);
	else
		c->page_refs[bs_cid_slot(cid)]++;
}

/* Generations are summed: if all are the content's, the sum is so many times that. */
void bs_count_content(struct bs_count *c, uint64_t cid)
{
	c->place_refs[bs_cid_slot(cid)]++;
	c->place_gens[bs_cid_slot(cid)] += bs_cid_gen(cid);
}

static void ref_content(struct bs_count *c, uint64_t cid, uint64_t page)
{
	if (bs_cid_slot(cid) >= c->nplaces)
		bs_count_problem(c, "map page %llx refers to content %llx, which does not exist",
				 (unsigned long long)page, (unsigned long long)cid);
	else
		bs_count_content(c, cid);
	c->references++;
}

/* What page `f` owns, and its reference on its base. */
static int count_page(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent)
{
	struct bs_frame *f, *base = NULL;
	int rc = bs_page_get(c->e, cid, &f);

	if (rc == 0 && ent->base)
		rc = bs_page_get(c->e, ent->base, &base);
	if (rc) {
		bs_count_problem(c, "map page %llx cannot be read: %s", (unsigned long long)cid,
				 vs_err_text(rc));
		return 0;
	}
	for (unsigned i = 0; i < BS_MAP_FAN && !ent->records; i++) {
		uint64_t child = bs_map_entry(f->data, i);

		if (!child || (base && bs_map_entry(base->data, i) == child))
			continue;
		if (ent->level)
			ref_page(c, child, "a map page");
		else
			ref_content(c, child, cid);
	}
	if (ent->base) {
		ref_page(c, ent->base, "a copy");
		if (bs_cid_slot(ent->base) < c->npages)
			c->page_xors[bs_cid_slot(ent->base)] ^= cid;
	}
	return 0;
}

/* Mapped blocks below each page agree with its count; done bottom up by comparing sums. */
static int check_count(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent)
{
	struct bs_frame *f;
	uint64_t sum = 0;
	int rc;

	if (bs_place_at_origin(&ent->place))
		return 0; /* its own count is all there is */
	rc = bs_page_get(c->e, cid, &f);
	if (rc)
		return 0; /* reported by count_page */
	for (unsigned i = 0; i < BS_MAP_FAN && !ent->records; i++) {
		uint64_t child = bs_map_entry(f->data, i);
		struct bs_mapent below;

		if (!child)
			continue;
		if (!ent->level) {
			sum++;
			continue;
		}
		rc = bs_page_ent(c->e, child, &below);
		if (rc) {
			bs_count_problem(c, "map page %llx has a child that is not alive",
					 (unsigned long long)cid);
			return 0;
		}
		if (below.level + 1u != ent->level)
			bs_count_problem(c, "map page %llx has a child of the wrong level",
					 (unsigned long long)cid);
		sum += below.count;
	}
	sum += ent->blank;
	if (sum != ent->count)
		bs_count_repaired(c, bs_recount_fix_count(c, cid, sum),
				  "map page %llx counts %llu blocks, has %llu",
				  (unsigned long long)cid, (unsigned long long)ent->count,
				  (unsigned long long)sum);
	return 0;
}

/* Every live map page; level -1: of any. */
static int walk_pages(struct bs_count *c, int level,
		      int (*visit)(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent))
{
	for (uint64_t slot = 0; slot < c->npages; slot++) {
		struct bs_frame *leaf;
		struct bs_mapent ent;
		int rc = bs_tree_get(c->e, BS_TREE_MAP, 0, slot / BS_MAPENTS_PER_PAGE, true, &leaf);

		if (rc)
			return rc;
		if (!leaf) {
			slot |= BS_MAPENTS_PER_PAGE - 1;
			continue;
		}
		bs_mapent_get(leaf->data + slot % BS_MAPENTS_PER_PAGE * BS_MAPENT_SIZE, &ent);
		if (!ent.live || (level >= 0 && ent.level != level))
			continue;
		rc = visit(c, bs_cid(slot, ent.place.gen), &ent);
		if (rc)
			return rc;
		bs_frames_unkeep(c->e);
	}
	return 0;
}

static int visit_page(struct bs_count *c, uint64_t cid, const struct bs_mapent *ent)
{
	int rc;

	c->res->map_pages++;
	if (bs_place_at_origin(&ent->place)) {
		bs_recount_absent(c, cid, ent);
		return 0;
	}
	space(c, ent->place.seg, ent->place.off, BS_PAGE, "a map page");
	rc = count_page(c, cid, ent);
	/* a count that is repaired changes those above: they are compared level by level */
	return rc || c->opts->repair ? rc : check_count(c, cid, ent);
}

static int walk_maps(struct bs_count *c)
{
	int rc = walk_pages(c, -1, visit_page);

	for (unsigned level = 0; rc == 0 && c->opts->repair && level < BS_MAP_LEVELS; level++)
		rc = walk_pages(c, (int)level, check_count);
	return rc;
}

static int walk_volumes(struct bs_count *c)
{
	for (size_t i = 0; i <= c->e->vols.mask; i++) {
		for (struct bs_vol *v = c->e->vols.by_id[i]; v; v = v->id_next) {
			struct bs_mapent ent;

			if (v->ent.root)
				ref_page(c, v->ent.root, "a volume");
			c->res->volumes += v->ent.kind == BS_VOL_VOLUME && !bs_vol_hidden(&v->ent);
			c->res->snapshots += v->ent.kind == BS_VOL_SNAPSHOT;
			if (v->ent.root && (bs_page_ent(c->e, v->ent.root, &ent) ||
					    ent.level + 1u != v->ent.height))
				bs_count_problem(c, "volume %s: its map's height is wrong",
						 v->ent.name);
		}
	}
	return 0;
}

/* Of a mirror each side has the content; what is wrong on one is said, and healed in a repair. */
static void check_sides(struct bs_count *c, const struct bs_mend *m)
{
	uint32_t from = VS_ALIGN_DOWN(m->off, BS_PAGE), to = VS_ALIGN_UP(m->off + m->len, BS_PAGE);
	uint16_t sides = bs_pool_in_sync(c->e->pool, m->seg);

	if ((sides & (sides - 1)) == 0)
		return;
	for (; sides; sides &= (uint16_t)(sides - 1)) {
		uint16_t bit = (uint16_t)(sides & -sides);
		int rc = bs_engine_dev_sides(c->e, BS_DEV_READ, bs_engine_where(c->e, m->seg, from),
					     c->buf, to - from, bit, NULL);

		if (rc || (bs_checksum(c->buf + (m->off - from), m->len) & m->mask) != m->check)
			bs_count_problem(c, "content in segment %u at %u is damaged on %s", m->seg,
					 m->off,
					 bs_pool_name(c->e->pool, (unsigned)__builtin_ctz(bit)));
	}
}

int bs_count_verify(struct bs_count *c, const struct bs_place *p, struct dd_digest *have)
{
	const struct bs_mend m = {
	    .seg = p->seg, .off = p->off, .len = p->len, .check = p->check, .mask = BS_CHECK56};
	uint8_t plain[BS_BLOCK];
	int rc;

	if (p->seg >= c->e->segs.count || !p->len || p->len > BS_BLOCK ||
	    !vs_range_ok(p->off, p->len, c->e->segs.size))
		return VS_E_CORRUPT;
	check_sides(c, &m);
	rc = bs_mend_check(c->e, &m, c->buf);
	if (rc == 0)
		rc = bs_stored_decode(c->buf + p->off % BS_PAGE, p, plain);
	if (rc == 0)
		dd_hash(c->hasher, plain, BS_BLOCK, have);
	return rc;
}

static bool digest_lost(const struct bs_count *c, uint64_t slot)
{
	return bs_recount_lost(c, BS_TREE_DIGEST, slot / BS_DIGESTS_PER_PAGE);
}

/* An alias's references count for what stores it too, which must be of the same digest. */
static int count_alias(struct bs_count *c, uint64_t slot, const struct bs_place *p)
{
	uint64_t cid = bs_cid(slot, p->gen), to = bs_cid_slot(p->alias);
	struct dd_digest mine, its;
	struct bs_place stored;
	int rc = to < c->nplaces ? bs_content_raw(c->e, to, &stored) : VS_E_NOENT;

	if (to < c->nplaces && bs_recount_lost(c, BS_TREE_PLACE, to / BS_PLACES_PER_PAGE)) {
		c->place_refs[to] += c->place_refs[slot];
		c->place_gens[to] += c->place_refs[slot] * bs_cid_gen(p->alias);
		return 0; /* it is rebuilt if its bytes are found */
	}
	if (rc == VS_E_NOENT || (rc == 0 && (stored.alias || !stored.aliased || p->aliased ||
					     stored.gen != bs_cid_gen(p->alias)))) {
		bs_count_problem(c, "content %llx is an alias of %llx, which stores nothing for it",
				 (unsigned long long)cid, (unsigned long long)p->alias);
		return 0;
	}
	if (rc == 0)
		rc = bs_content_digest(c->e, cid, &mine);
	if (rc == 0)
		rc = bs_content_digest(c->e, p->alias, &its);
	if (rc)
		return rc;
	if (!dd_digest_equal(&mine, &its) && !digest_lost(c, slot) && !digest_lost(c, to))
		bs_count_problem(c, "content %llx is an alias of %llx, which has another digest",
				 (unsigned long long)cid, (unsigned long long)p->alias);
	c->place_refs[to] += c->place_refs[slot];
	c->place_gens[to] += c->place_refs[slot] * stored.gen;
	return 0;
}

static int walk_aliases(struct bs_count *c)
{
	for (uint64_t slot = 0; slot < c->nplaces; slot++) {
		struct bs_place p;
		int rc = bs_content_raw(c->e, slot, &p);

		if (rc == 0 && p.alias)
			rc = count_alias(c, slot, &p);
		if (rc && rc != VS_E_NOENT)
			return rc;
		if (slot % 1024 == 0)
			bs_frames_unkeep(c->e);
	}
	return 0;
}

static bool is_sound(struct bs_count *c, uint64_t cid, const struct bs_place *p)
{
	struct dd_digest want, have;

	return bs_content_digest(c->e, cid, &want) == 0 && bs_count_verify(c, p, &have) == 0 &&
	       dd_digest_equal(&want, &have);
}

/* What a free slot still says lives if it is what the maps mean and its bytes are there. */
static void compare_refs(struct bs_count *c, uint64_t slot, struct bs_place *p)
{
	uint32_t refs = c->place_refs[slot], had = p->refs;
	int rc = VS_E_CORRUPT;

	if (refs && c->place_gens[slot] != refs * p->gen) {
		bs_count_problem(c, "content in slot %llu is not the one that is referred to",
				 (unsigned long long)slot);
		return;
	}
	if (refs == had)
		return;
	if (c->opts->repair && (had || is_sound(c, bs_cid(slot, p->gen), p)))
		rc = bs_recount_fix_content(c->e, slot, refs);
	if (rc == 0)
		p->refs = refs;
	bs_count_repaired(c, rc, "content in slot %llu has %u references, its count says %u",
			  (unsigned long long)slot, refs, had);
}

static int walk_contents(struct bs_count *c)
{
	uint64_t contents = 0, stored = 0;

	for (uint64_t slot = 0; slot < c->nplaces; slot++) {
		struct bs_place p = {0};
		int rc = bs_content_raw(c->e, slot, &p);

		if (rc && rc != VS_E_NOENT)
			return rc;
		compare_refs(c, slot, &p);
		if (p.refs && bs_place_at_origin(&p))
			bs_recount_at_origin(c, &p, false, bs_cid(slot, p.gen));
		if (p.refs && p.coding < BS_CODING_ORIGIN) {
			contents++;
			stored += p.len;
			space(c, p.seg, p.off, p.len, "a content");
			if (!p.len)
				bs_count_problem(c, "content in slot %llu has no bytes",
						 (unsigned long long)slot);
			else if (c->opts->read_data && !is_sound(c, bs_cid(slot, p.gen), &p))
				bs_count_problem(c, "content %llx in segment %u at %u is damaged",
						 (unsigned long long)bs_cid(slot, p.gen), p.seg,
						 p.off);
		}
		if (slot % 1024 == 0) {
			bs_frames_unkeep(c->e);
			c->done = slot;
			if (c->opts->report)
				c->opts->report(c->opts->arg, NULL, c->done, c->total);
		}
	}
	c->res->contents += contents;
	c->res->stored_bytes += stored;
	if (contents != c->e->contents || stored != c->e->stored_bytes ||
	    c->references != c->e->references) {
		bs_count_repaired(
		    c, 0,
		    "the store counts %llu contents, %llu bytes, %llu references; there are "
		    "%llu, %llu, %llu",
		    (unsigned long long)c->e->contents, (unsigned long long)c->e->stored_bytes,
		    (unsigned long long)c->e->references, (unsigned long long)contents,
		    (unsigned long long)stored, (unsigned long long)c->references);
		bs_recount_fix_totals(c, contents, stored);
	}
	return 0;
}

static void compare_pages(struct bs_count *c)
{
	for (uint64_t slot = 0; slot < c->npages; slot++) {
		struct bs_frame *leaf;
		struct bs_mapent ent = {0};

		if (bs_tree_get(c->e, BS_TREE_MAP, 0, slot / BS_MAPENTS_PER_PAGE, true, &leaf))
			continue; /* reported before */
		if (leaf)
			bs_mapent_get(leaf->data + slot % BS_MAPENTS_PER_PAGE * BS_MAPENT_SIZE,
				      &ent);
		bs_frames_unkeep(c->e);
		if (!ent.live && c->page_refs[slot])
			bs_count_problem(c, "map page slot %llu is free but referred to",
					 (unsigned long long)slot);
		if (!ent.live)
			continue;
		if (ent.place.refs != c->page_refs[slot])
			bs_count_repaired(c, bs_recount_fix_page(c, slot, &ent),
					  "map page %llu has %u references, its count says %u",
					  (unsigned long long)slot, c->page_refs[slot],
					  ent.place.refs);
		else if (ent.xors != c->page_xors[slot])
			bs_count_repaired(c, bs_recount_fix_page(c, slot, &ent),
					  "map page %llu does not know its copies",
					  (unsigned long long)slot);
		else if (!ent.place.refs && !c->page_seen[slot])
			bs_count_repaired(c, bs_recount_fix_page(c, slot, &ent),
					  "map page %llu leaks: no reference, not to be released",
					  (unsigned long long)slot);
	}
}

/* Pages without references must be on the release queue. */
static int walk_works(struct bs_count *c)
{
	for (uint64_t i = 0; i < c->e->works; i++) {
		struct bs_frame *f;
		struct bs_work w;
		int rc = bs_tree_get(c->e, BS_TREE_WORK, 0, i / BS_WORKS_PER_PAGE, true, &f);

		if (rc)
			return rc;
		if (!f)
			continue;
		bs_work_get(f->data + i % BS_WORKS_PER_PAGE * BS_WORK_SIZE, &w);
		if (w.kind == BS_WORK_RELEASE && bs_cid_slot(w.cid) < c->npages)
			c->page_seen[bs_cid_slot(w.cid)] = 1;
		bs_frames_unkeep(c->e);
	}
	return 0;
}

/* References that nothing holds, still counted. */
static void count_drops(struct bs_count *c)
{
	for (unsigned side = 0; side < 2; side++) {
		const struct bs_droprun *r = &c->e->drops.run[side];

		for (uint64_t i = 0; i < r->left; i++) {
			if (bs_cid_slot(r->cid[i]) < c->nplaces)
				bs_count_content(c, r->cid[i]);
			else
				bs_count_problem(
				    c,
				    "a reference to content %llx is to be dropped, which does "
				    "not exist",
				    (unsigned long long)r->cid[i]);
		}
	}
}

/* Pages behind the last leaf are not walked: damaged ones could refer to each other for ever. */
static bool has_leaves(const struct bs_count *c, unsigned tree, unsigned level, uint64_t index)
{
	uint64_t first = index;

	while (level--)
		first *= BS_PTRS_PER_PAGE;
	return first < c->e->trees[tree].root.leaves;
}

static int walk_tables(struct bs_count *c, unsigned tree, unsigned level, uint64_t index,
		       const struct bs_ptr *ptr)
{
	for (unsigned i = 0; i < 2; i++)
		space(c, ptr->seg[i], ptr->off[i], BS_PAGE, "a table page");
	if (level == 0)
		return 0;
	for (unsigned i = 0; i < BS_PTRS_PER_PAGE; i++) {
		struct bs_frame *f;
		struct bs_ptr child;
		int rc = bs_tree_get(c->e, tree, level, index, true, &f);

		if (rc)
			return rc;
		if (!f)
			return 0;
		bs_ptr_get(f->data + i * BS_PTR_SIZE, &child);
		bs_frames_unkeep(c->e);
		if (child.seg[0] == BS_SEG_NONE && child.seg[1] == BS_SEG_NONE)
			continue;
		if (!has_leaves(c, tree, level - 1, index * BS_PTRS_PER_PAGE + i)) {
			bs_count_problem(c, "table %u has pages behind its last", tree);
			return 0;
		}
		rc = walk_tables(c, tree, level - 1, index * BS_PTRS_PER_PAGE + i, &child);
		if (rc)
			return rc;
	}
	return 0;
}

static int compare_space(struct bs_count *c)
{
	const struct bs_segs *s = &c->e->segs;
	uint64_t live = 0;

	for (unsigned t = 0; t < BS_TREES; t++) {
		const struct bs_tree_root *r = &c->e->trees[t].root;
		int rc = r->height ? walk_tables(c, t, r->height - 1u, 0, &r->ptr) : 0;

		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < s->count; i++) {
		live += c->seg_live[i];
		if (c->seg_live[i] != s->seg[i].ent.live)
			bs_count_repaired(c, 0, "segment %u holds %llu bytes, its count says %u", i,
					  (unsigned long long)c->seg_live[i], s->seg[i].ent.live);
		if (c->seg_live[i] && s->seg[i].ent.state != BS_SEG_LOG &&
		    s->seg[i].ent.state != BS_SEG_META)
			bs_count_problem(c, "segment %u holds %llu bytes and counts as free", i,
					 (unsigned long long)c->seg_live[i]);
	}
	if (live != s->live)
		bs_count_repaired(c, 0, "the store counts %llu live bytes, there are %llu",
				  (unsigned long long)s->live, (unsigned long long)live);
	if (c->opts->repair)
		bs_recount_fix_space(c, live);
	return 0;
}

static int allocate(struct bs_count *c)
{
	c->nplaces = c->e->trees[BS_TREE_PLACE].root.leaves * BS_PLACES_PER_PAGE;
	c->npages = c->e->trees[BS_TREE_MAP].root.leaves * BS_MAPENTS_PER_PAGE;
	c->total = c->nplaces;
	c->place_refs = calloc(c->nplaces + 1, sizeof(uint32_t));
	c->place_gens = calloc(c->nplaces + 1, sizeof(uint32_t));
	c->page_refs = calloc(c->npages + 1, sizeof(uint32_t));
	c->page_xors = calloc(c->npages + 1, sizeof(uint64_t));
	c->page_seen = calloc(c->npages + 1, 1);
	c->seg_live = calloc(c->e->segs.count, sizeof(uint64_t));
	c->buf = aligned_alloc(BS_PAGE, c->e->segs.size);
	if (!c->place_refs || !c->place_gens || !c->page_refs || !c->page_xors || !c->page_seen ||
	    !c->seg_live || !c->buf)
		return VS_E_NOMEM;
	return dd_hasher_new(&c->hasher, NULL);
}

int bs_recount_run(struct bs_engine *e, const struct bs_check_options *opts,
		   struct bs_check_result *out)
{
	struct bs_count c = {.e = e, .opts = opts, .res = out};
	int rc = allocate(&c);

	if (rc == 0)
		rc = bs_recount_origins(&c);
	if (rc == 0 && opts->repair)
		rc = bs_recount_fix_tables(&c);
	if (rc == 0)
		rc = walk_volumes(&c);
	if (rc == 0)
		rc = walk_maps(&c);
	if (rc == 0)
		rc = walk_works(&c);
	if (rc == 0) {
		compare_pages(&c);
		count_drops(&c);
		rc = walk_aliases(&c);
	}
	if (rc == 0)
		rc = bs_recount_rebuild(&c);
	if (rc == 0)
		rc = walk_contents(&c);
	if (rc == 0) {
		bs_recount_compare_origins(&c);
		rc = compare_space(&c);
	}
	dd_hasher_free(c.hasher);
	free(c.buf);
	free(c.place_gens);
	free(c.place_refs);
	free(c.page_refs);
	free(c.page_xors);
	free(c.page_seen);
	free(c.seg_live);
	free(c.origins);
	bs_frames_unkeep(e);
	return rc;
}
