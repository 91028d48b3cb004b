#include "backup/index_impl.h"

#include "common/bytes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BITS_MIN 12u
#define TABLE_BITS_MAX 30u
#define FILL_PERCENT 70u
#define WINDOW 64u /* records read at once when searching in place */

int bk_index_new(struct bk_remote *r, uint64_t memory, struct bk_index **out, struct vs_error *err)
{
	struct bk_index *ix = calloc(1, sizeof(*ix));

	*out = NULL;
	if (!ix)
		return vs_fail(err, VS_E_NOMEM, "no memory for the index of %s", r->url);
	ix->r = r;
	ix->table_max = memory / 2;
	ix->objects_max = memory / 4;
	ix->bits = TABLE_BITS_MIN;
	ix->slots = calloc(UINT64_C(1) << ix->bits, sizeof(*ix->slots));
	if (!ix->slots || pthread_rwlock_init(&ix->lock, NULL) != 0) {
		free(ix->slots);
		free(ix);
		return vs_fail(err, VS_E_NOMEM, "no memory for the index of %s", r->url);
	}
	*out = ix;
	return 0;
}

static void segment_free(struct bk_index_segment *s)
{
	free(s->packs);
	free(s->found);
	free(s->obj);
	free(s->marks);
}

void bk_index_drop(struct bk_index *ix)
{
	size_t i;

	for (i = 0; i < ix->nsegments; i++)
		segment_free(&ix->segments[i]);
	ix->nsegments = 0;
	ix->next_record = ix->entries = ix->used = ix->objects_bytes = 0;
	memset(ix->slots, 0, sizeof(*ix->slots) << ix->bits);
}

void bk_index_free(struct bk_index *ix)
{
	if (!ix)
		return;
	bk_index_drop(ix);
	free(ix->segments);
	free(ix->slots);
	free(ix->listed);
	pthread_rwlock_destroy(&ix->lock);
	free(ix);
}

static uint32_t tag_of(const struct dd_digest *d)
{
	return vs_get_be32(d->b + 12);
}

static void table_put(uint64_t *slots, unsigned bits, uint64_t slot)
{
	uint64_t mask = (UINT64_C(1) << bits) - 1, at = slot >> 32 >> (32 - bits);

	while (slots[at])
		at = (at + 1) & mask;
	slots[at] = slot;
}

/* Makes room for n more entries; false when the bound or memory does not allow it. */
static bool table_grow(struct bk_index *ix, uint64_t n)
{
	unsigned bits = ix->bits;
	uint64_t *slots, i;

	while ((ix->used + n) * 100 > (UINT64_C(1) << bits) * FILL_PERCENT)
		if (++bits > TABLE_BITS_MAX || sizeof(*slots) << bits > ix->table_max)
			return false;
	if (bits == ix->bits)
		return true;
	slots = calloc(UINT64_C(1) << bits, sizeof(*slots));
	if (!slots)
		return false;
	for (i = 0; i < UINT64_C(1) << ix->bits; i++)
		if (ix->slots[i])
			table_put(slots, bits, ix->slots[i]);
	free(ix->slots);
	ix->slots = slots;
	ix->bits = bits;
	return true;
}

static int segment_read(const struct bk_index *ix, const struct bk_index_segment *s, uint64_t at,
			void *buf, size_t len, struct vs_error *err)
{
	char name[BK_NAME_MAX];

	if (s->obj) {
		memcpy(buf, s->obj + at, len);
		return 0;
	}
	bk_index_name(&s->name, name);
	return bk_remote_get(ix->r, name, at, buf, len, err);
}

static int segment_entry(const struct bk_index *ix, const struct bk_index_segment *s, uint32_t i,
			 struct bk_index_entry *e, struct vs_error *err)
{
	uint8_t rec[BK_INDEX_ENTRY_SIZE];
	int rc = segment_read(ix, s, s->l.entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE, rec,
			      sizeof(rec), err);

	if (rc == 0)
		bk_index_get_entry(rec, e);
	return rc;
}

bool bk_index_pack_listed(const struct bk_index *ix, const struct bk_index_pack *p)
{
	size_t lo = 0, hi = ix->nlisted;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(ix->listed[mid].name.b, p->name.b, sizeof(p->name.b));

		if (c == 0)
			return ix->listed[mid].size == p->size;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* A new segment at the end, all zero; NULL: too many, or no memory. */
static struct bk_index_segment *segment_append(struct bk_index *ix)
{
	if (ix->nsegments == ix->room) {
		size_t room = ix->room ? ix->room * 2 : 16;
		struct bk_index_segment *all;

		if (room > BK_INDEX_SEGMENTS_MAX)
			return NULL;
		all = reallocarray(ix->segments, room, sizeof(*all));
		if (!all)
			return NULL;
		ix->segments = all;
		ix->room = room;
	}
	memset(&ix->segments[ix->nsegments], 0, sizeof(*ix->segments));
	return &ix->segments[ix->nsegments++];
}

/* Puts the entries in the table if they fit there. */
static void segment_hash(struct bk_index *ix, struct bk_index_segment *s, const uint8_t *obj)
{
	struct bk_index_entry e;
	uint32_t i;

	if (ix->next_record + s->l.entries >= UINT32_MAX || !table_grow(ix, s->l.entries))
		return;
	s->hashed = true;
	s->base = (uint32_t)ix->next_record;
	for (i = 0; i < s->l.entries; i++) {
		bk_index_get_entry(obj + s->l.entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE, &e);
		table_put(ix->slots, ix->bits,
			  (uint64_t)tag_of(&e.digest) << 32 | (s->base + i + 1));
	}
	ix->used += s->l.entries;
	ix->next_record += s->l.entries;
}

int bk_index_take(struct bk_index *ix, const struct dd_digest *name, const uint8_t *obj,
		  const struct bk_index_layout *l, bool present, struct vs_error *err)
{
	struct bk_index_segment *s = segment_append(ix);
	uint32_t i;

	if (!s)
		return vs_fail(err, VS_E_LIMIT, "%s has more index objects than fit in memory",
			       ix->r->url);
	s->name = *name;
	s->l = *l;
	s->listed = true;
	s->packs = calloc(l->packs + 1, sizeof(*s->packs));
	s->found = calloc(l->packs + 1, sizeof(*s->found));
	if (!s->packs || !s->found) {
		segment_free(s);
		ix->nsegments--;
		return vs_fail(err, VS_E_NOMEM, "no memory for the index of %s", ix->r->url);
	}
	for (i = 0; i < l->packs; i++) {
		bk_index_get_pack(obj + l->packs_at + (uint64_t)i * BK_INDEX_PACK_SIZE,
				  &s->packs[i]);
		s->found[i] = present || bk_index_pack_listed(ix, &s->packs[i]);
	}
	if (ix->objects_bytes + l->size <= ix->objects_max)
		s->obj = malloc(l->size);
	if (s->obj) {
		memcpy(s->obj, obj, l->size);
		ix->objects_bytes += l->size;
	}
	ix->entries += l->entries;
	segment_hash(ix, s, obj);
	return 0;
}

int bk_index_add(struct bk_index *ix, const struct dd_digest *name, const uint8_t *obj,
		 uint64_t size, struct vs_error *err)
{
	char text[BK_NAME_MAX];
	struct bk_index_layout l;
	int rc;

	bk_index_name(name, text);
	rc = bk_index_decode(obj, size, &l, text, err);
	if (rc)
		return rc;
	pthread_rwlock_wrlock(&ix->lock);
	rc = bk_index_take(ix, name, obj, &l, true, err);
	pthread_rwlock_unlock(&ix->lock);
	return rc;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dd_digest));
}

/* 1 when entry i of s is the one sought and usable. */
static int match(struct bk_index *ix, struct bk_index_segment *s, uint32_t i,
		 const struct dd_digest *digest, enum bk_kind kind, struct bk_index_hit *hit,
		 struct vs_error *err)
{
	int rc = segment_entry(ix, s, i, &hit->e, err);

	if (rc)
		return rc;
	hit->s = s;
	hit->i = i;
	return dd_digest_equal(&hit->e.digest, digest) && hit->e.kind == kind &&
	       hit->e.pack < s->l.packs && hit->e.frame < s->l.frames && s->found[hit->e.pack];
}

static int place_of(struct bk_index *ix, const struct bk_index_hit *hit, struct bk_place *place,
		    struct vs_error *err)
{
	const struct bk_index_segment *s = hit->s;
	const struct bk_index_pack *p;
	uint8_t rec[BK_FRAME_ENTRY];
	int rc;

	VS_ASSERT(s);
	p = &s->packs[hit->e.pack];
	rc = segment_read(ix, s, s->l.frames_at + (uint64_t)hit->e.frame * BK_FRAME_ENTRY, rec,
			  sizeof(rec), err);
	if (rc)
		return rc;
	place->pack = p->name;
	place->pos = hit->e.pos;
	bk_frame_get(rec, &place->frame);
	if (!bk_frame_ok(&place->frame, p->kind, p->size) ||
	    hit->e.pos >= place->frame.raw / bk_kind_bytes(p->kind))
		return VS_E_NOENT; /* damaged since it was loaded */
	return 0;
}

static struct bk_index_segment *segment_of(struct bk_index *ix, uint32_t record)
{
	size_t lo = 0, hi = ix->nsegments;

	VS_ASSERT(hi > 0);
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		size_t at = mid;

		while (at < hi && !ix->segments[at].hashed)
			at++;
		if (at < hi && ix->segments[at].base <= record)
			lo = at;
		else
			hi = mid;
	}
	return &ix->segments[lo];
}

static int find_hashed(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind,
		       struct bk_index_hit *hit, struct vs_error *err)
{
	uint64_t mask = (UINT64_C(1) << ix->bits) - 1;
	uint32_t tag = tag_of(digest);
	uint64_t at = (uint64_t)tag >> (32 - ix->bits), slot;
	int rc;

	for (; (slot = ix->slots[at]) != 0; at = (at + 1) & mask) {
		uint32_t record = (uint32_t)slot - 1;
		struct bk_index_segment *s;

		if (slot >> 32 != tag)
			continue;
		s = segment_of(ix, record);
		rc = match(ix, s, record - s->base, digest, kind, hit, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Where between records lo and hi a digest should stand, as digests are spread evenly. */
static uint32_t guess(uint64_t key, uint64_t lo_key, uint64_t hi_key, uint32_t lo, uint32_t hi)
{
	if (key <= lo_key || hi_key <= lo_key)
		return lo;
	return lo +
	       (uint32_t)((unsigned __int128)(key - lo_key) * (hi - lo - 1) / (hi_key - lo_key));
}

/*
 * Search in an object that did not fit the table: reads a window of records where the digest should
 * be, two or three times as a rule; bisects when that does not help.
 */
static int find_in_place(struct bk_index *ix, struct bk_index_segment *s,
			 const struct dd_digest *digest, enum bk_kind kind,
			 struct bk_index_hit *hit, struct vs_error *err)
{
	uint64_t key = vs_get_be64(digest->b), lo_key = 0, hi_key = UINT64_MAX;
	uint8_t window[WINDOW * BK_INDEX_ENTRY_SIZE], *at;
	uint32_t lo = 0, hi = s->l.entries, from, n;
	unsigned rounds = 0;
	int rc;

	while (lo < hi) {
		from = rounds++ < 4 ? guess(key, lo_key, hi_key, lo, hi) : lo + (hi - lo) / 2;
		from = from < lo + WINDOW / 2 ? lo : from - WINDOW / 2;
		n = VS_MIN(WINDOW, hi - from);
		rc = segment_read(ix, s, s->l.entries_at + (uint64_t)from * BK_INDEX_ENTRY_SIZE,
				  window, (size_t)n * BK_INDEX_ENTRY_SIZE, err);
		if (rc)
			return rc;
		at = window + (size_t)(n - 1) * BK_INDEX_ENTRY_SIZE;
		if (memcmp(digest, window, sizeof(*digest)) < 0) {
			hi = from;
			hi_key = vs_get_be64(window);
		} else if (memcmp(digest, at, sizeof(*digest)) > 0) {
			lo = from + n;
			lo_key = vs_get_be64(at);
		} else {
			at = bsearch(digest, window, n, BK_INDEX_ENTRY_SIZE, by_digest);
			if (!at)
				return 0;
			from += (uint32_t)((size_t)(at - window) / BK_INDEX_ENTRY_SIZE);
			return match(ix, s, from, digest, kind, hit, err);
		}
	}
	return 0;
}

int bk_index_look(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind,
		  struct bk_index_hit *hit, struct vs_error *err)
{
	size_t i;
	int rc = find_hashed(ix, digest, kind, hit, err);

	for (i = 0; rc == 0 && i < ix->nsegments; i++)
		if (!ix->segments[i].hashed)
			rc = find_in_place(ix, &ix->segments[i], digest, kind, hit, err);
	return rc;
}

int bk_index_find(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind,
		  struct bk_place *place, struct vs_error *err)
{
	struct bk_index_hit hit = {0};
	int rc;

	pthread_rwlock_rdlock(&ix->lock);
	rc = bk_index_look(ix, digest, kind, &hit, err);
	if (rc == 1)
		rc = place ? place_of(ix, &hit, place, err) : 0;
	else if (rc == 0)
		rc = VS_E_NOENT;
	pthread_rwlock_unlock(&ix->lock);
	return rc;
}
