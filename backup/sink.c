#include "backup/sink.h"

#include "backup/writer.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define HASH_SLOTS (BK_INDEX_ENTRIES_MAX * 2)
#define ROOM_SPARE 1024u
#define NO_FRAME UINT32_MAX
#define NOTHING UINT32_MAX
#define ZSTD_LEVEL 1
#define PAGE_PACKS_SMALLER 4 /* times: they hold the list of 512 MiB of blocks then */

/* A pack being filled. Its frames are frames[first_frame .. nframes) of the sink. */
struct open_pack {
	enum bk_kind kind;
	uint8_t *buf;
	uint64_t cap, len, target;
	struct bk_frame *frames; /* BK_PACK_FRAMES_MAX */
	uint32_t nframes;
	struct dd_digest *digests; /* in the order of frames */
	uint32_t *items;	   /* their numbers */
	uint8_t *pos;
	uint32_t *frame_of;
	uint32_t n, items_max;
};

/*
 * entries[i] is item i. entries[i].frame is NO_FRAME until its pack is written, afterwards a number
 * in frames[]. hash[] holds item + 1, by digest. written[writing] is with the writer.
 */
struct bk_sink {
	struct bk_repo *r;
	struct dd_hasher *h;
	ZSTD_CCtx *zstd;
	struct open_pack packs[2]; /* blocks, pages */
	struct bk_index_entry *entries;
	uint32_t nentries;
	uint32_t *hash;
	struct bk_frame *frames;
	uint32_t nframes, frames_room;
	struct bk_index_pack *written;
	uint32_t nwritten, written_room, writing;
	struct bk_writer *writer; /* of packs of blocks; NULL before the first */
	struct bk_sink_stats stats;
	bool anew;
};

static int pack_init(struct open_pack *p, enum bk_kind kind, const struct bk_config *c)
{
	p->kind = kind;
	/* Full at the target: one more frame, and the tables, always fit. */
	p->target = kind == BK_KIND_PAGE ? c->pack_target / PAGE_PACKS_SMALLER : c->pack_target;
	p->items_max = VS_MIN(BK_PACK_ITEMS_MAX, 8 * (c->pack_target / bk_kind_bytes(kind)));
	p->cap =
	    p->target + BK_FRAME_STORED_MAX + bk_pack_tail_size(BK_PACK_FRAMES_MAX, p->items_max);
	p->len = BK_HEADER_SIZE;
	p->buf = malloc(p->cap);
	p->frames = calloc(BK_PACK_FRAMES_MAX, sizeof(*p->frames));
	p->digests = calloc(p->items_max, sizeof(*p->digests));
	p->items = calloc(p->items_max, sizeof(*p->items));
	p->pos = calloc(p->items_max, 1);
	p->frame_of = calloc(p->items_max, sizeof(*p->frame_of));
	return p->buf && p->frames && p->digests && p->items && p->pos && p->frame_of ? 0
										      : VS_E_NOMEM;
}

static void pack_free(struct open_pack *p)
{
	free(p->buf);
	free(p->frames);
	free(p->digests);
	free(p->items);
	free(p->pos);
	free(p->frame_of);
}

int bk_sink_new(struct bk_repo *r, struct bk_sink **out, struct vs_error *err)
{
	struct bk_sink *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	s->r = r;
	s->writing = NOTHING;
	rc = dd_hasher_new(&s->h, err);
	if (rc) {
		bk_sink_free(s);
		return rc;
	}
	s->zstd = ZSTD_createCCtx();
	s->entries = calloc(BK_INDEX_ENTRIES_MAX, sizeof(*s->entries));
	s->hash = calloc(HASH_SLOTS, sizeof(*s->hash));
	if (!s->zstd || !s->entries || !s->hash ||
	    pack_init(&s->packs[0], BK_KIND_BLOCK, &r->config) != 0 ||
	    pack_init(&s->packs[1], BK_KIND_PAGE, &r->config) != 0) {
		bk_sink_free(s);
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	}
	*out = s;
	return 0;
}

void bk_sink_free(struct bk_sink *s)
{
	if (!s)
		return;
	bk_writer_free(s->writer);
	pack_free(&s->packs[0]);
	pack_free(&s->packs[1]);
	free(s->entries);
	free(s->hash);
	free(s->frames);
	free(s->written);
	ZSTD_freeCCtx(s->zstd);
	dd_hasher_free(s->h);
	free(s);
}

bool bk_sink_full(const struct bk_sink *s)
{
	return s->nentries + ROOM_SPARE > BK_INDEX_ENTRIES_MAX;
}

void bk_sink_anew(struct bk_sink *s)
{
	s->anew = true;
}

void bk_sink_stats(const struct bk_sink *s, struct bk_sink_stats *out)
{
	*out = s->stats;
}

/* The digest's slot in hash[]: its own or the empty one where it would go. */
static uint32_t *slot_of(struct bk_sink *s, const struct dd_digest *d, enum bk_kind kind)
{
	uint32_t at = vs_get_le32(d->b + 20) % HASH_SLOTS;

	while (s->hash[at]) {
		struct bk_index_entry *e = &s->entries[s->hash[at] - 1];

		if (e->kind == kind && dd_digest_equal(&e->digest, d))
			break;
		at = (at + 1) % HASH_SLOTS;
	}
	return &s->hash[at];
}

int bk_sink_reserve(struct bk_sink *s, const struct dd_digest *digest, enum bk_kind kind,
		    uint32_t *item, struct vs_error *err)
{
	uint32_t *slot = slot_of(s, digest, kind);
	int rc;

	if (*slot)
		return 0;
	rc = s->anew ? VS_E_NOENT : bk_index_find(s->r->index, digest, kind, NULL, err);
	if (rc != VS_E_NOENT)
		return rc;
	if (s->nentries == BK_INDEX_ENTRIES_MAX)
		return VS_E_AGAIN;
	s->entries[s->nentries] =
	    (struct bk_index_entry){.digest = *digest, .kind = (uint8_t)kind, .frame = NO_FRAME};
	*item = s->nentries++;
	*slot = *item + 1;
	return 1;
}

static int put_object(struct bk_sink *s, const char *name, const uint8_t *obj, uint64_t size,
		      struct vs_error *err)
{
	int rc = bk_remote_put(s->r->remote, name, obj, size, 0, err);

	if (rc == 0)
		s->stats.bytes += size;
	return rc;
}

static int sink_grow(struct bk_sink *s, uint32_t frames, struct vs_error *err)
{
	if (s->nframes + frames > s->frames_room) {
		uint32_t room = (s->nframes + frames) * 2;
		struct bk_frame *all = reallocarray(s->frames, room, sizeof(*all));

		if (!all)
			return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
		s->frames = all;
		s->frames_room = room;
	}
	if (s->nwritten == s->written_room) {
		uint32_t room = s->written_room ? s->written_room * 2 : 64;
		struct bk_index_pack *all = reallocarray(s->written, room, sizeof(*all));

		if (!all)
			return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
		s->written = all;
		s->written_room = room;
	}
	return 0;
}

/* Waits for the pack that is being written. */
static int writer_settle(struct bk_sink *s, struct vs_error *err)
{
	struct dd_digest name;
	int rc;

	if (!s->writer || s->writing == NOTHING)
		return 0;
	rc = bk_writer_wait(s->writer, &name, err);
	if (rc == 0) {
		s->written[s->writing].name = name;
		s->stats.bytes += s->written[s->writing].size;
	}
	s->writing = NOTHING;
	return rc;
}

/* Puts pack number `number`: blocks in the background, pages (few and small) at once. */
static int pack_put(struct bk_sink *s, struct open_pack *p, uint32_t number, uint64_t size,
		    struct vs_error *err)
{
	struct bk_index_pack *w = &s->written[number];
	char name[BK_NAME_MAX];
	int rc;

	*w = (struct bk_index_pack){.size = size, .kind = p->kind};
	if (p->kind == BK_KIND_PAGE) {
		dd_hash(s->h, p->buf, size, &w->name);
		bk_pack_name(&w->name, name);
		return put_object(s, name, p->buf, size, err);
	}
	rc = s->writer ? 0 : bk_writer_new(s->r->remote, p->cap, &s->writer, err);
	if (rc == 0)
		rc = writer_settle(s, err);
	if (rc)
		return rc;
	bk_writer_start(s->writer, &p->buf, size);
	s->writing = number;
	return 0;
}

/* Writes an open pack and begins the next. */
static int pack_seal(struct bk_sink *s, struct open_pack *p, struct vs_error *err)
{
	uint64_t size = p->len + bk_pack_tail_size(p->nframes, p->n);
	uint32_t i;
	int rc;

	if (p->nframes == 0)
		return 0;
	rc = sink_grow(s, p->nframes, err);
	if (rc)
		return rc;
	VS_ASSERT(size <= p->cap);
	bk_pack_finish(p->buf, p->len, p->kind, p->frames, p->nframes, p->digests, p->n);
	rc = pack_put(s, p, s->nwritten, size, err);
	if (rc)
		return rc;
	for (i = 0; i < p->n; i++) {
		struct bk_index_entry *e = &s->entries[p->items[i]];

		e->frame = s->nframes + p->frame_of[i];
		e->pack = (uint16_t)s->nwritten;
		e->pos = p->pos[i];
	}
	for (i = 0; i < p->nframes; i++) {
		p->frames[i].pack = s->nwritten;
		s->frames[s->nframes + i] = p->frames[i];
	}
	s->nframes += p->nframes;
	s->nwritten++;
	p->nframes = p->n = 0;
	p->len = BK_HEADER_SIZE;
	return 0;
}

int bk_sink_frame(struct bk_sink *s, enum bk_kind kind, const void *raw, const uint32_t *items,
		  unsigned n, struct vs_error *err)
{
	struct open_pack *p = &s->packs[kind == BK_KIND_PAGE];
	uint32_t bytes = n * bk_kind_bytes(kind), i;
	struct bk_frame *f = &p->frames[p->nframes];
	size_t stored;

	VS_ASSERT(n > 0 && bytes <= BK_FRAME_RAW_MAX);
	stored = ZSTD_compressCCtx(s->zstd, p->buf + p->len, BK_FRAME_STORED_MAX, raw, bytes,
				   ZSTD_LEVEL);
	*f = (struct bk_frame){.offset = (uint32_t)p->len, .raw = bytes, .coding = BK_CODING_ZSTD};
	if (ZSTD_isError(stored) || stored >= bytes) {
		memcpy(p->buf + p->len, raw, bytes);
		stored = bytes;
		f->coding = BK_CODING_PLAIN;
	}
	f->stored = (uint32_t)stored;
	for (i = 0; i < n; i++, p->n++) {
		p->digests[p->n] = s->entries[items[i]].digest;
		p->items[p->n] = items[i];
		p->pos[p->n] = (uint8_t)i;
		p->frame_of[p->n] = p->nframes;
	}
	p->len += stored;
	p->nframes++;
	if (kind == BK_KIND_PAGE)
		s->stats.pages += n;
	else
		s->stats.blocks += n;
	if (p->len >= p->target || p->nframes == BK_PACK_FRAMES_MAX ||
	    p->n + BK_FRAME_RAW_MAX / bk_kind_bytes(kind) > p->items_max)
		return pack_seal(s, p, err);
	return 0;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dd_digest));
}

int bk_sink_commit(struct bk_sink *s, struct vs_error *err)
{
	struct bk_index_layout l;
	struct dd_digest digest;
	char name[BK_NAME_MAX];
	uint8_t *obj;
	uint32_t i;
	int rc = pack_seal(s, &s->packs[0], err);

	if (rc == 0)
		rc = pack_seal(s, &s->packs[1], err);
	if (rc == 0)
		rc = writer_settle(s, err); /* packs are durable before what lists them */
	if (rc || s->nentries == 0)
		return rc;
	for (i = 0; i < s->nentries; i++)
		VS_ASSERT(s->entries[i].frame != NO_FRAME);
	VS_ASSERT(s->nwritten <= BK_INDEX_PACKS_MAX);
	qsort(s->entries, s->nentries, sizeof(*s->entries), by_digest);
	bk_index_layout(s->nwritten, s->nframes, s->nentries, &l);
	obj = malloc(l.size);
	if (!obj)
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup's index");
	bk_index_encode(obj, &l, s->written, s->frames, s->entries);
	dd_hash(s->h, obj, l.size, &digest);
	bk_index_name(&digest, name);
	rc = put_object(s, name, obj, l.size, err);
	if (rc == 0)
		rc = bk_index_add(s->r->index, &digest, obj, l.size, err);
	free(obj);
	if (rc)
		return rc;
	memset(s->hash, 0, HASH_SLOTS * sizeof(*s->hash));
	s->nentries = s->nframes = s->nwritten = 0;
	return 0;
}
