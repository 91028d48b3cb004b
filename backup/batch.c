#include "backup/batch.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

struct wanted {
	struct dd_digest digest;
	struct bk_place place;
	uint64_t block;
};

struct bk_batch {
	struct bk_repo *r;
	struct bk_fetch *fetch;
	struct bk_batch_ops ops;
	struct wanted *w;
	uint32_t n;
	uint64_t unique;
};

int bk_batch_new(struct bk_repo *r, struct bk_fetch *fetch, const struct bk_batch_ops *ops,
		 struct bk_batch **out, struct vs_error *err)
{
	struct bk_batch *b = calloc(1, sizeof(*b));

	*out = NULL;
	if (b)
		b->w = calloc(BK_BATCH_MAX, sizeof(*b->w));
	if (!b || !b->w) {
		free(b);
		return vs_fail(err, VS_E_NOMEM, "no memory for a restore");
	}
	b->r = r;
	b->fetch = fetch;
	b->ops = *ops;
	*out = b;
	return 0;
}

void bk_batch_free(struct bk_batch *b)
{
	if (!b)
		return;
	free(b->w);
	free(b);
}

uint64_t bk_batch_unique(const struct bk_batch *b)
{
	return b->unique;
}

static int lose(struct bk_batch *b, uint64_t block, int rc, const struct vs_error *one,
		struct vs_error *err)
{
	if (rc == VS_E_CORRUPT && b->ops.lost)
		return b->ops.lost(b->ops.arg, block, one);
	return vs_fail(err, rc, "%s", one->text);
}

int bk_batch_add(struct bk_batch *b, uint64_t block, const struct dd_digest *digest,
		 struct vs_error *err)
{
	struct wanted *w;
	struct vs_error one = {0};
	char hex[65];
	int rc;

	if (b->n == BK_BATCH_MAX) {
		rc = bk_batch_run(b, err);
		if (rc)
			return rc;
	}
	w = &b->w[b->n];
	rc = bk_index_find(b->r->index, digest, BK_KIND_BLOCK, &w->place, &one);
	if (rc == VS_E_NOENT) {
		vs_format_hex(digest->b, sizeof(digest->b), hex);
		rc = vs_fail(&one, VS_E_CORRUPT,
			     "%s: no pack holds block %s: an object was lost, run repo check",
			     b->r->remote->url, hex);
	}
	if (rc)
		return lose(b, block, rc, &one, err);
	w->digest = *digest;
	w->block = block;
	b->n++;
	return 0;
}

static int by_place(const void *pa, const void *pb)
{
	const struct wanted *a = pa, *b = pb;
	int c = memcmp(&a->place.pack, &b->place.pack, sizeof(a->place.pack));

	if (c)
		return c;
	if (a->place.frame.offset != b->place.frame.offset)
		return a->place.frame.offset < b->place.frame.offset ? -1 : 1;
	if (a->place.pos != b->place.pos)
		return a->place.pos < b->place.pos ? -1 : 1;
	return (a->block > b->block) - (a->block < b->block);
}

int bk_batch_run(struct bk_batch *b, struct vs_error *err)
{
	uint32_t i;
	int rc = 0;

	qsort(b->w, b->n, sizeof(*b->w), by_place);
	for (i = 0; rc == 0 && i < b->n; i++) {
		const struct wanted *w = &b->w[i];
		struct vs_error one = {0};
		const uint8_t *data;

		if (bk_watch_canceled(b->ops.watch))
			return vs_fail(err, VS_E_CANCELED, "canceled");
		rc = bk_fetch_place(b->fetch, &w->place, &w->digest, BK_KIND_BLOCK, &data, &one);
		if (rc) {
			rc = lose(b, w->block, rc, &one, err);
			continue;
		}
		if (i == 0 || !dd_digest_equal(&w->digest, &w[-1].digest))
			b->unique++;
		rc = b->ops.block(b->ops.arg, w->block, data, err);
	}
	b->n = 0;
	return rc;
}
