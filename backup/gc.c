#include "backup/repo.h"

#include "backup/gc_mark.h"

#include "backup/fetch.h"
#include "backup/lock.h"
#include "backup/sink.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_FRAMES 16u
#define TMP_SMALL 4096u /* smaller files in tmp/ may be locks that are being taken */

/* An index object in the making, of the packs that stay. */
struct merged {
	struct bk_index_pack *packs;
	struct bk_frame *frames;
	struct bk_index_entry *entries;
	uint32_t npacks, nframes, nentries, frames_room;
};

struct gc {
	struct bk_repo *r;
	const struct bk_watch *watch;
	struct bk_lock *lock;
	struct bk_gc_state st;
	struct bk_sink *sink;
	struct bk_fetch *fetch;
	struct dd_hasher *h;
	struct merged m;
	struct dd_digest *fresh; /* names of the index objects written */
	size_t nfresh;
	uint8_t *raw[2]; /* blocks, pages on their way to new packs */
	uint32_t items[2][BK_FRAME_RAW_MAX / 4096];
	unsigned n[2];
	struct bk_gc_result *out;
};

static int no_memory(struct gc *g, struct vs_error *err)
{
	return vs_fail(err, VS_E_NOMEM, "no memory to clean %s up", g->r->remote->url);
}

static int flush_items(struct gc *g, unsigned which, struct vs_error *err)
{
	int rc = 0;

	if (g->n[which])
		rc = bk_sink_frame(g->sink, which ? BK_KIND_PAGE : BK_KIND_BLOCK, g->raw[which],
				   g->items[which], g->n[which], err);
	g->n[which] = 0;
	return rc;
}

static int commit(struct gc *g, struct vs_error *err)
{
	int rc = flush_items(g, 0, err);

	if (rc == 0)
		rc = flush_items(g, 1, err);
	if (rc == 0)
		rc = bk_sink_commit(g->sink, err);
	return rc ? rc : bk_lock_refresh(g->lock, err);
}

/* One used item of a pack that goes: into a new pack. */
static int move_item(struct gc *g, const struct bk_place *place, const struct bk_index_entry *e,
		     struct vs_error *err)
{
	unsigned which = e->kind == BK_KIND_PAGE;
	uint32_t bytes = bk_kind_bytes(e->kind), item = 0;
	const uint8_t *data;
	int rc = bk_fetch_place(g->fetch, place, &e->digest, e->kind, &data, err);

	if (rc == 0 && bk_sink_full(g->sink))
		rc = commit(g, err);
	if (rc == 0)
		rc = bk_sink_reserve(g->sink, &e->digest, e->kind, &item, err);
	if (rc <= 0)
		return rc;
	memcpy(g->raw[which] + (size_t)g->n[which] * bytes, data, bytes);
	g->items[which][g->n[which]++] = item;
	if ((g->n[which] + 1) * bytes <= g->r->config.frame_raw)
		return 0;
	return flush_items(g, which, err);
}

static int by_frame(const void *pa, const void *pb)
{
	const struct bk_index_entry *a = pa, *b = pb;

	if (a->frame != b->frame)
		return a->frame < b->frame ? -1 : 1;
	return (a->pos > b->pos) - (a->pos < b->pos);
}

/* The used entries of an index object whose packs are to be written anew, in their packs' order. */
static uint32_t used_entries(const struct gc *g, const struct bk_gc_object *o, const uint8_t *obj,
			     const struct bk_index_layout *l, struct bk_index_entry *used)
{
	struct bk_index_pack p;
	struct bk_gc_pack *gp;
	uint32_t i, n = 0;

	for (i = 0; i < l->entries; i++) {
		if (!bk_gc_marked(o, i))
			continue;
		bk_index_get_entry(obj + l->entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE,
				   &used[n]);
		bk_index_get_pack(obj + l->packs_at + (uint64_t)used[n].pack * BK_INDEX_PACK_SIZE,
				  &p);
		gp = bk_gc_find(&g->st, &p.name);
		n += gp && gp->fate == BK_PACK_REWRITE;
	}
	qsort(used, n, sizeof(*used), by_frame);
	return n;
}

/* A damaged pack stays as it is: what can still be read of it may be needed. */
static int move_object(struct gc *g, const struct bk_gc_object *o, struct vs_error *err)
{
	struct bk_index_entry *used;
	struct bk_index_layout l;
	struct bk_place place;
	struct bk_gc_pack *gp;
	struct bk_index_pack p;
	uint8_t *obj;
	uint32_t i, n;
	int rc = bk_gc_load(g->r, &o->name, &obj, &l, err);

	if (rc)
		return rc;
	used = calloc(l.entries + 1, sizeof(*used));
	n = used ? used_entries(g, o, obj, &l, used) : 0;
	rc = used ? 0 : no_memory(g, err);
	for (i = 0; rc == 0 && i < n; i++) {
		if (bk_watch_canceled(g->watch))
			rc = vs_fail(err, VS_E_CANCELED, "the clean-up was canceled");
		bk_index_get_pack(obj + l.packs_at + (uint64_t)used[i].pack * BK_INDEX_PACK_SIZE,
				  &p);
		gp = bk_gc_find(&g->st, &p.name);
		if (rc || gp->fate != BK_PACK_REWRITE)
			continue;
		place.pack = p.name;
		place.pos = used[i].pos;
		bk_frame_get(obj + l.frames_at + (uint64_t)used[i].frame * BK_FRAME_ENTRY,
			     &place.frame);
		rc = move_item(g, &place, &used[i], err);
		if (rc == VS_E_CORRUPT) {
			gp->fate = BK_PACK_KEEP;
			rc = 0;
		}
	}
	free(used);
	free(obj);
	return rc;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dd_digest));
}

/* Writes the merged index object and begins the next. */
static int merged_flush(struct gc *g, struct vs_error *err)
{
	struct merged *m = &g->m;
	struct bk_index_layout l;
	struct dd_digest *all, name;
	char text[BK_NAME_MAX];
	uint32_t i, n = 0;
	uint8_t *obj;
	int rc;

	if (m->nentries == 0)
		return 0;
	qsort(m->entries, m->nentries, sizeof(*m->entries), by_digest);
	for (i = 0; i < m->nentries; i++)
		if (n == 0 || !dd_digest_equal(&m->entries[n - 1].digest, &m->entries[i].digest))
			m->entries[n++] = m->entries[i];
	bk_index_layout(m->npacks, m->nframes, n, &l);
	obj = malloc(l.size);
	all = reallocarray(g->fresh, g->nfresh + 1, sizeof(*all));
	if (all)
		g->fresh = all;
	if (!obj || !all) {
		free(obj);
		return no_memory(g, err);
	}
	bk_index_encode(obj, &l, m->packs, m->frames, m->entries);
	dd_hash(g->h, obj, l.size, &name);
	bk_index_name(&name, text);
	rc = bk_remote_put(g->r->remote, text, obj, l.size, 0, err);
	free(obj);
	g->fresh[g->nfresh++] = name;
	m->npacks = m->nframes = m->nentries = 0;
	return rc;
}

/* Numbers of packs and frames of an index object in the merged one; NOT_KEPT: left out. */
#define NOT_KEPT UINT32_MAX
struct mapping {
	uint32_t *packs, *frames;
};

static int merged_tables(struct gc *g, const uint8_t *obj, const struct bk_index_layout *l,
			 struct mapping *map, struct vs_error *err)
{
	struct merged *m = &g->m;
	uint32_t i;

	if (m->nframes + l->frames > m->frames_room) {
		uint32_t room = (m->nframes + l->frames) * 2;
		struct bk_frame *all = reallocarray(m->frames, room, sizeof(*all));

		if (!all)
			return no_memory(g, err);
		m->frames = all;
		m->frames_room = room;
	}
	for (i = 0; i < l->packs; i++) {
		struct bk_index_pack *p = &m->packs[m->npacks];
		struct bk_gc_pack *gp;

		bk_index_get_pack(obj + l->packs_at + (uint64_t)i * BK_INDEX_PACK_SIZE, p);
		gp = bk_gc_find(&g->st, &p->name);
		map->packs[i] = NOT_KEPT;
		if (gp && gp->fate == BK_PACK_KEEP && gp->size == p->size)
			map->packs[i] = m->npacks++;
	}
	for (i = 0; i < l->frames; i++) {
		struct bk_frame *f = &m->frames[m->nframes];

		bk_frame_get(obj + l->frames_at + (uint64_t)i * BK_FRAME_ENTRY, f);
		f->pack = map->packs[f->pack];
		map->frames[i] = f->pack == NOT_KEPT ? NOT_KEPT : m->nframes++;
	}
	return 0;
}

static void merged_entries(struct gc *g, const uint8_t *obj, const struct bk_index_layout *l,
			   const struct mapping *map)
{
	struct merged *m = &g->m;

	for (uint32_t i = 0; i < l->entries; i++) {
		struct bk_index_entry *e = &m->entries[m->nentries];

		bk_index_get_entry(obj + l->entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE, e);
		if (map->packs[e->pack] == NOT_KEPT)
			continue;
		e->pack = (uint16_t)map->packs[e->pack];
		e->frame = map->frames[e->frame];
		m->nentries++;
	}
}

static int merge_object(struct gc *g, const struct bk_gc_object *o, struct vs_error *err)
{
	struct merged *m = &g->m;
	struct mapping map;
	struct bk_index_layout l;
	uint8_t *obj;
	int rc = bk_gc_load(g->r, &o->name, &obj, &l, err);

	if (rc)
		return rc;
	if (m->nentries + l.entries > BK_GC_ENTRIES_MAX || m->npacks + l.packs > BK_INDEX_PACKS_MAX)
		rc = merged_flush(g, err);
	map.packs = calloc(l.packs + 1, sizeof(*map.packs));
	map.frames = calloc(l.frames + 1, sizeof(*map.frames));
	if (!map.packs || !map.frames) {
		rc = no_memory(g, err);
	} else if (rc == 0) {
		rc = merged_tables(g, obj, &l, &map, err);
		if (rc == 0)
			merged_entries(g, obj, &l, &map);
	}
	free(map.packs);
	free(map.frames);
	free(obj);
	return rc ? rc : bk_lock_refresh(g->lock, err);
}

static bool is_fresh(const struct gc *g, const struct dd_digest *name)
{
	for (size_t i = 0; i < g->nfresh; i++)
		if (dd_digest_equal(&g->fresh[i], name))
			return true;
	return false;
}

/* Moves used items to new packs, then writes the index anew: nothing is deleted yet. */
static int write_anew(struct gc *g, struct vs_error *err)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < g->st.nobjects; i++)
		if (g->st.objects[i].rewrite)
			rc = move_object(g, &g->st.objects[i], err);
	if (rc == 0)
		rc = commit(g, err);
	for (i = 0; rc == 0 && i < g->st.nobjects; i++)
		if (g->st.objects[i].rewrite)
			rc = merge_object(g, &g->st.objects[i], err);
	return rc ? rc : merged_flush(g, err);
}

static int delete_tmp(void *arg, const char *name, uint64_t size)
{
	struct gc *g = arg;

	if (size >= TMP_SMALL && bk_remote_del(g->r->remote, name, NULL) == 0)
		g->out->freed_bytes += size;
	return 0;
}

/* Old index objects first, so that no index names a pack that is gone. */
static int delete_old(struct gc *g, struct vs_error *err)
{
	char name[BK_NAME_MAX];
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < g->st.nobjects; i++) {
		if (!g->st.objects[i].rewrite || is_fresh(g, &g->st.objects[i].name))
			continue;
		bk_index_name(&g->st.objects[i].name, name);
		rc = bk_remote_del(g->r->remote, name, err);
	}
	for (i = 0; rc == 0 && i < g->st.npacks; i++) {
		const struct bk_gc_pack *p = &g->st.packs[i];

		if (p->fate == BK_PACK_KEEP)
			continue;
		bk_pack_name(&p->name, name);
		rc = bk_lock_refresh(g->lock, err);
		if (rc == 0)
			rc = bk_remote_del(g->r->remote, name, err);
	}
	if (rc == 0)
		rc = bk_remote_list(g->r->remote, "tmp/", delete_tmp, g, err);
	return rc;
}

static void sum_up(struct gc *g, bool dry_run)
{
	struct bk_sink_stats stats = {0};
	size_t i;

	if (g->sink)
		bk_sink_stats(g->sink, &stats);
	for (i = 0; i < g->st.npacks; i++) {
		const struct bk_gc_pack *p = &g->st.packs[i];

		if (p->fate == BK_PACK_KEEP) {
			g->out->kept_bytes += p->size;
			continue;
		}
		g->out->packs_rewritten += p->fate == BK_PACK_REWRITE;
		g->out->packs_deleted += p->fate == BK_PACK_DROP;
		if (dry_run && p->fate == BK_PACK_REWRITE)
			g->out->freed_bytes += p->size / p->total * (p->total - p->live);
		else
			g->out->freed_bytes += p->size;
	}
	g->out->freed_bytes -= VS_MIN(stats.bytes, g->out->freed_bytes);
	g->out->kept_bytes += stats.bytes;
}

static int gc_open(struct gc *g, struct vs_error *err)
{
	int rc = dd_hasher_new(&g->h, err);

	if (rc == 0)
		rc = bk_fetch_new(g->r, FETCH_FRAMES, &g->fetch, err);
	if (rc == 0)
		rc = bk_sink_new(g->r, &g->sink, err);
	if (rc)
		return rc;
	bk_sink_anew(g->sink);
	g->raw[0] = malloc(g->r->config.frame_raw);
	g->raw[1] = malloc(g->r->config.frame_raw);
	g->m.packs = calloc(BK_INDEX_PACKS_MAX + 1, sizeof(*g->m.packs));
	g->m.entries = calloc(BK_GC_ENTRIES_MAX + 1, sizeof(*g->m.entries));
	return g->raw[0] && g->raw[1] && g->m.packs && g->m.entries ? 0 : no_memory(g, err);
}

static void gc_close(struct gc *g)
{
	bk_gc_free(&g->st);
	bk_sink_free(g->sink);
	bk_fetch_free(g->fetch);
	dd_hasher_free(g->h);
	free(g->raw[0]);
	free(g->raw[1]);
	free(g->m.packs);
	free(g->m.frames);
	free(g->m.entries);
	free(g->fresh);
	bk_lock_release(g->lock);
}

int bk_repo_gc(struct bk_repo *r, bool dry_run, const struct bk_watch *watch,
	       struct bk_gc_result *out, struct vs_error *err)
{
	struct gc g = {.r = r, .watch = watch, .out = out};
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (!dry_run && r->read_only)
		return vs_fail(err, VS_E_ROFS,
			       "%s uses features of a later vstore: it can only be read",
			       r->remote->url);
	if (!dry_run)
		rc = bk_lock_take(r->remote, true, &g.lock, err);
	if (rc == 0)
		rc = bk_gc_mark(r, watch, &g.st, err);
	if (rc == 0 && !dry_run) {
		rc = gc_open(&g, err);
		if (rc == 0)
			rc = write_anew(&g, err);
		if (rc == 0)
			rc = delete_old(&g, err);
		if (rc == 0)
			rc = bk_index_refresh(r->index, NULL, NULL, err);
	}
	if (rc == 0)
		sum_up(&g, dry_run);
	gc_close(&g);
	return rc;
}
