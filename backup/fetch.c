#include "backup/fetch.h"

#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct cached {
	struct dd_digest pack;
	struct bk_frame frame; /* raw is 0 while the slot is empty */
	uint64_t used;
	uint8_t *raw;
};

struct bk_fetch {
	struct bk_repo *r;
	struct dd_hasher *h;
	ZSTD_DCtx *zstd;
	uint8_t *stored;
	uint8_t *raw; /* of all slots */
	struct cached *cache;
	unsigned n;
	uint64_t tick, bytes;
};

int bk_fetch_new(struct bk_repo *r, unsigned frames, struct bk_fetch **out, struct vs_error *err)
{
	struct bk_fetch *f = calloc(1, sizeof(*f));
	bool ok;

	*out = NULL;
	if (!f)
		return vs_fail(err, VS_E_NOMEM, "no memory to read a repository");
	f->r = r;
	f->zstd = ZSTD_createDCtx();
	f->stored = malloc(BK_FRAME_STORED_MAX);
	f->cache = calloc(frames, sizeof(*f->cache));
	f->raw = malloc((size_t)frames * BK_FRAME_RAW_MAX);
	ok = f->zstd && f->stored && f->cache && f->raw && dd_hasher_new(&f->h, NULL) == 0;
	for (; ok && f->n < frames; f->n++)
		f->cache[f->n].raw = f->raw + (size_t)f->n * BK_FRAME_RAW_MAX;
	if (!ok) {
		bk_fetch_free(f);
		return vs_fail(err, VS_E_NOMEM, "no memory to read a repository");
	}
	*out = f;
	return 0;
}

void bk_fetch_free(struct bk_fetch *f)
{
	if (!f)
		return;
	free(f->raw);
	free(f->cache);
	free(f->stored);
	ZSTD_freeDCtx(f->zstd);
	dd_hasher_free(f->h);
	free(f);
}

uint64_t bk_fetch_bytes(const struct bk_fetch *f)
{
	return f->bytes;
}

/* The slot that holds the frame, or the one used longest ago. */
static struct cached *slot_for(struct bk_fetch *f, const struct bk_place *p)
{
	struct cached *oldest = &f->cache[0];
	unsigned i;

	for (i = 0; i < f->n; i++) {
		struct cached *c = &f->cache[i];

		if (c->frame.raw && c->frame.offset == p->frame.offset &&
		    dd_digest_equal(&c->pack, &p->pack))
			return c;
		if (c->used < oldest->used)
			oldest = c;
	}
	oldest->frame.raw = 0;
	return oldest;
}

static int load(struct bk_fetch *f, const struct bk_place *p, struct cached *c,
		struct vs_error *err)
{
	char name[BK_NAME_MAX], what[BK_NAME_MAX + 512];
	int rc;

	bk_pack_name(&p->pack, name);
	snprintf(what, sizeof(what), "%s/%s", f->r->remote->url, name);
	rc = bk_remote_get(f->r->remote, name, p->frame.offset, f->stored, p->frame.stored, err);
	if (rc == VS_E_NOENT)
		return vs_fail(err, VS_E_CORRUPT, "%s: is missing: run repo check", what);
	if (rc)
		return rc;
	f->bytes += p->frame.stored;
	rc = bk_frame_decode(f->zstd, &p->frame, f->stored, c->raw, what, err);
	if (rc)
		return rc;
	c->pack = p->pack;
	c->frame = p->frame;
	return 0;
}

int bk_fetch_place(struct bk_fetch *f, const struct bk_place *place, const struct dd_digest *digest,
		   enum bk_kind kind, const uint8_t **data, struct vs_error *err)
{
	struct cached *c = slot_for(f, place);
	uint32_t bytes = bk_kind_bytes(kind);
	char name[BK_NAME_MAX];
	struct dd_digest is;
	int rc;

	c->used = ++f->tick;
	if (c->frame.raw == 0) {
		rc = load(f, place, c, err);
		if (rc)
			return rc;
	}
	if ((uint64_t)(place->pos + 1) * bytes > c->frame.raw)
		return vs_fail(err, VS_E_CORRUPT, "%s: an index entry points beyond a frame",
			       f->r->remote->url);
	*data = c->raw + (size_t)place->pos * bytes;
	dd_hash(f->h, *data, bytes, &is);
	if (dd_digest_equal(&is, digest))
		return 0;
	bk_pack_name(&place->pack, name);
	return vs_fail(err, VS_E_CORRUPT,
		       "%s/%s: item %u of the frame at byte %u does not match its digest: the "
		       "object is damaged",
		       f->r->remote->url, name, place->pos, place->frame.offset);
}

int bk_fetch_item(struct bk_fetch *f, const struct dd_digest *digest, enum bk_kind kind,
		  const uint8_t **data, struct vs_error *err)
{
	struct bk_place place;
	char hex[65];
	int rc = bk_index_find(f->r->index, digest, kind, &place, err);

	if (rc == VS_E_NOENT) {
		vs_format_hex(digest->b, sizeof(digest->b), hex);
		return vs_fail(err, VS_E_CORRUPT,
			       "%s: no pack holds %s %s: an object was lost, run repo check",
			       f->r->remote->url, kind == BK_KIND_PAGE ? "page" : "block", hex);
	}
	return rc ? rc : bk_fetch_place(f, &place, digest, kind, data, err);
}

int bk_repo_refresh(struct bk_repo *r, struct vs_error *err)
{
	return bk_index_refresh(r->index, NULL, NULL, err);
}

int bk_repo_block(struct bk_repo *r, const struct dd_digest *digest, uint8_t out[4096],
		  struct vs_error *err)
{
	struct bk_fetch *f = NULL;
	struct bk_place place;
	const uint8_t *data;
	int rc = bk_index_find(r->index, digest, BK_KIND_BLOCK, &place, err);

	if (rc == 0)
		rc = bk_fetch_new(r, 1, &f, err);
	if (rc)
		return rc;
	rc = bk_fetch_place(f, &place, digest, BK_KIND_BLOCK, &data, err);
	if (rc == 0)
		memcpy(out, data, 4096);
	bk_fetch_free(f);
	return rc;
}
