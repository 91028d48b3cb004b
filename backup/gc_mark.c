#include "backup/gc_mark.h"

#include "backup/fetch.h"
#include "backup/tree.h"
#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_FRAMES 32u
#define SMALL_ENTRIES (BK_INDEX_ENTRIES_MAX / 4)
#define SMALL_OBJECTS 8u /* so many small index objects are merged */

struct marker {
	struct bk_repo *r;
	const struct bk_watch *watch;
	struct bk_gc_state *st;
	struct bk_fetch *fetch;
	struct bk_page *pages; /* BK_LEVELS_MAX */
	const struct bk_backup_info *backup;
	uint64_t done, total;
	struct vs_error *err;
};

void bk_gc_free(struct bk_gc_state *st)
{
	for (size_t i = 0; i < st->nobjects; i++)
		free(st->objects[i].marks);
	free(st->objects);
	free(st->packs);
	memset(st, 0, sizeof(*st));
}

/* Makes room for one more element of a growing array. */
static int grow(void **all, size_t n, size_t *room, size_t size)
{
	void *more;

	if (n < *room)
		return 0;
	more = reallocarray(*all, *room ? *room * 2 : 64, size);
	if (!more)
		return VS_E_NOMEM;
	*all = more;
	*room = *room ? *room * 2 : 64;
	return 0;
}

static int see_pack(void *arg, const char *name, uint64_t size)
{
	struct bk_gc_state *st = arg;
	struct bk_gc_pack p = {.size = size, .fate = BK_PACK_DROP};
	int rc;

	if (bk_pack_name_parse(name, &p.name) != 0)
		return 0;
	rc = grow((void **)&st->packs, st->npacks, &st->packs_room, sizeof(p));
	if (rc == 0)
		st->packs[st->npacks++] = p;
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dd_digest));
}

struct bk_gc_pack *bk_gc_find(const struct bk_gc_state *st, const struct dd_digest *name)
{
	if (st->npacks == 0)
		return NULL;
	return bsearch(name, st->packs, st->npacks, sizeof(*st->packs), by_name);
}

static int lost(struct marker *m, const struct dd_digest *d, enum bk_kind kind)
{
	char hex[65];

	vs_format_hex(d->b, sizeof(d->b), hex);
	return vs_fail(
	    m->err, VS_E_CORRUPT,
	    "%s: backup %s needs %s %s, which no pack holds: nothing was freed; run repo "
	    "check",
	    m->r->remote->url, m->backup->id, kind == BK_KIND_PAGE ? "page" : "block", hex);
}

/* A page and everything below it, unless it was visited before. */
static int mark_page(struct marker *m, const struct dd_digest *d, unsigned level)
{
	struct bk_page *page = &m->pages[level];
	const uint8_t *data;
	bool was;
	unsigned i;
	int rc = bk_index_mark(m->r->index, d, BK_KIND_PAGE, &was, m->err);

	if (rc == VS_E_NOENT)
		return lost(m, d, BK_KIND_PAGE);
	if (rc || was)
		return rc;
	if (bk_watch_canceled(m->watch))
		return vs_fail(m->err, VS_E_CANCELED, "the clean-up was canceled");
	rc = bk_fetch_item(m->fetch, d, BK_KIND_PAGE, &data, m->err);
	if (rc)
		return rc;
	memcpy(page, data, sizeof(*page));
	for (i = 0; rc == 0 && i < BK_PAGE_ENTRIES; i++) {
		if (bk_digest_null(&page->d[i]))
			continue;
		if (level > 0) {
			rc = mark_page(m, &page->d[i], level - 1);
			continue;
		}
		rc = bk_index_mark(m->r->index, &page->d[i], BK_KIND_BLOCK, &was, m->err);
		if (rc == VS_E_NOENT)
			rc = lost(m, &page->d[i], BK_KIND_BLOCK);
	}
	return rc;
}

static int mark_backup(void *arg, const struct bk_backup_info *b)
{
	struct marker *m = arg;
	int rc = 0;

	m->backup = b;
	if (!bk_digest_null(&b->root))
		rc = mark_page(m, &b->root, bk_levels(b->blocks_total) - 1);
	m->done++;
	if (rc == 0 && m->watch && m->watch->progress)
		m->watch->progress(m->watch->arg, VS_MIN(m->done, m->total), m->total);
	return rc;
}

static int count_backup(void *arg, const char *name, uint64_t size)
{
	struct marker *m = arg;

	(void)name;
	(void)size;
	m->total++;
	return 0;
}

static int take_object(void *arg, const struct dd_digest *name, const uint8_t *marks,
		       uint32_t entries)
{
	struct bk_gc_state *st = arg;
	struct bk_gc_object o = {.name = *name, .marks = malloc(entries / 8 + 1)};

	if (!o.marks ||
	    grow((void **)&st->objects, st->nobjects, &st->objects_room, sizeof(o)) != 0) {
		free(o.marks);
		return VS_E_NOMEM;
	}
	memcpy(o.marks, marks, entries / 8 + 1);
	st->objects[st->nobjects++] = o;
	return 0;
}

int bk_gc_load(struct bk_repo *r, const struct dd_digest *name, uint8_t **obj,
	       struct bk_index_layout *l, struct vs_error *err)
{
	char text[BK_NAME_MAX], what[BK_NAME_MAX + 512];
	uint64_t size;
	int rc;

	bk_index_name(name, text);
	snprintf(what, sizeof(what), "%s/%s", r->remote->url, text);
	rc = bk_remote_load(r->remote, text, BK_OBJECT_MAX, obj, &size, err);
	if (rc)
		return rc;
	rc = bk_index_decode(*obj, size, l, what, err);
	if (rc)
		free(*obj);
	return rc;
}

/* Adds one index object's entries to its packs; pack_of: room for a number per pack. */
static void count_entries(const struct bk_gc_state *st, const struct bk_gc_object *o,
			  const uint8_t *obj, const struct bk_index_layout *l, size_t *pack_of)
{
	struct bk_gc_pack *gp;
	struct bk_index_entry e;
	struct bk_index_pack p;
	uint32_t i;

	for (i = 0; i < l->packs; i++) {
		bk_index_get_pack(obj + l->packs_at + (uint64_t)i * BK_INDEX_PACK_SIZE, &p);
		gp = bk_gc_find(st, &p.name);
		pack_of[i] = gp ? (size_t)(gp - st->packs) : SIZE_MAX;
	}
	for (i = 0; i < l->entries; i++) {
		bk_index_get_entry(obj + l->entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE, &e);
		if (pack_of[e.pack] == SIZE_MAX)
			continue;
		st->packs[pack_of[e.pack]].total++;
		st->packs[pack_of[e.pack]].live += bk_gc_marked(o, i);
	}
}

static int count_object(struct bk_repo *r, const struct bk_gc_state *st,
			const struct bk_gc_object *o, uint32_t *entries, struct vs_error *err)
{
	struct bk_index_layout l;
	size_t *pack_of;
	uint8_t *obj;
	int rc = bk_gc_load(r, &o->name, &obj, &l, err);

	if (rc)
		return rc;
	pack_of = calloc(l.packs + 1, sizeof(*pack_of));
	if (pack_of)
		count_entries(st, o, obj, &l, pack_of);
	else
		rc = vs_fail(err, VS_E_NOMEM, "no memory to clean %s up", r->remote->url);
	*entries = l.entries;
	free(pack_of);
	free(obj);
	return rc;
}

static void decide(struct bk_gc_pack *p)
{
	if (p->live == 0)
		p->fate = BK_PACK_DROP;
	else if ((uint64_t)p->live * 2 < p->total)
		p->fate = BK_PACK_REWRITE;
	else
		p->fate = BK_PACK_KEEP;
}

/* Index objects that name packs which go or went, and small ones when there are many. */
static int choose_objects(struct bk_repo *r, struct bk_gc_state *st, const uint32_t *entries,
			  struct vs_error *err)
{
	struct bk_index_layout l;
	struct bk_index_pack p;
	uint8_t *obj;
	size_t i, small = 0;
	uint32_t k;
	int rc;

	for (i = 0; i < st->nobjects; i++)
		small += entries[i] < SMALL_ENTRIES;
	for (i = 0; i < st->nobjects; i++) {
		struct bk_gc_object *o = &st->objects[i];

		o->rewrite = small >= SMALL_OBJECTS && entries[i] < SMALL_ENTRIES;
		rc = bk_gc_load(r, &o->name, &obj, &l, err);
		if (rc)
			return rc;
		for (k = 0; k < l.packs; k++) {
			struct bk_gc_pack *g;

			bk_index_get_pack(obj + l.packs_at + (uint64_t)k * BK_INDEX_PACK_SIZE, &p);
			g = bk_gc_find(st, &p.name);
			o->rewrite = o->rewrite || !g || g->fate != BK_PACK_KEEP;
		}
		o->rewrite = o->rewrite && l.entries <= BK_GC_ENTRIES_MAX;
		free(obj);
	}
	return 0;
}

static int count_all(struct bk_repo *r, struct bk_gc_state *st, struct vs_error *err)
{
	uint32_t *entries = calloc(st->nobjects + 1, sizeof(*entries));
	size_t i;
	int rc = 0;

	if (!entries)
		return vs_fail(err, VS_E_NOMEM, "no memory to clean %s up", r->remote->url);
	for (i = 0; rc == 0 && i < st->nobjects; i++)
		rc = count_object(r, st, &st->objects[i], &entries[i], err);
	for (i = 0; rc == 0 && i < st->npacks; i++)
		decide(&st->packs[i]);
	if (rc == 0)
		rc = choose_objects(r, st, entries, err);
	free(entries);
	return rc;
}

static int mark_all(struct marker *m)
{
	struct bk_gc_state *st = m->st;
	int rc = bk_remote_list(m->r->remote, "backups/", count_backup, m, m->err);

	if (rc == 0)
		rc = bk_repo_list(m->r, mark_backup, NULL, m, m->err);
	if (rc == 0)
		rc = bk_remote_list(m->r->remote, "packs/", see_pack, st, m->err);
	if (rc == 0 && st->npacks)
		qsort(st->packs, st->npacks, sizeof(*st->packs), by_name);
	if (rc == 0)
		rc = bk_index_each_object(m->r->index, take_object, st);
	if (rc == VS_E_NOMEM)
		vs_fail(m->err, rc, "no memory to clean %s up", m->r->remote->url);
	if (rc == VS_E_AGAIN)
		vs_fail(m->err, rc, "%s changed meanwhile: try again", m->r->remote->url);
	return rc;
}

int bk_gc_mark(struct bk_repo *r, const struct bk_watch *watch, struct bk_gc_state *st,
	       struct vs_error *err)
{
	struct marker m = {.r = r, .watch = watch, .st = st, .err = err};
	int rc;

	memset(st, 0, sizeof(*st));
	m.pages = calloc(BK_LEVELS_MAX, sizeof(*m.pages));
	if (!m.pages)
		return vs_fail(err, VS_E_NOMEM, "no memory to clean %s up", r->remote->url);
	rc = bk_fetch_new(r, FETCH_FRAMES, &m.fetch, err);
	if (rc == 0)
		rc = bk_index_refresh(r->index, NULL, NULL, err);
	if (rc == 0)
		rc = bk_index_marks_begin(r->index, err);
	if (rc == 0) {
		rc = mark_all(&m);
		bk_index_marks_end(r->index);
	}
	if (rc == 0)
		rc = count_all(r, st, err);
	bk_fetch_free(m.fetch);
	free(m.pages);
	return rc;
}
