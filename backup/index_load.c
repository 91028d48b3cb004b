#include "backup/index_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKS_MAX (1u << 22) /* listed; 64 TiB at 16 MiB each */

/* What one refresh gathers. */
struct refresh {
	struct bk_index *ix;
	struct dd_digest *fresh; /* index objects not loaded yet */
	size_t nfresh, room;
};

static struct bk_index_segment *segment_by_name(struct bk_index *ix, const struct dd_digest *name)
{
	size_t i;

	for (i = 0; i < ix->nsegments; i++)
		if (dd_digest_equal(&ix->segments[i].name, name))
			return &ix->segments[i];
	return NULL;
}

static int see_index(void *arg, const char *name, uint64_t size)
{
	struct refresh *f = arg;
	struct dd_digest d;
	struct bk_index_segment *s;

	(void)size;
	if (bk_index_name_parse(name, &d) != 0)
		return 0;
	s = segment_by_name(f->ix, &d);
	if (s) {
		s->listed = true;
		return 0;
	}
	if (f->nfresh == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		struct dd_digest *all;

		if (room > BK_INDEX_SEGMENTS_MAX * 2)
			return VS_E_LIMIT;
		all = reallocarray(f->fresh, room, sizeof(*all));
		if (!all)
			return VS_E_NOMEM;
		f->fresh = all;
		f->room = room;
	}
	f->fresh[f->nfresh++] = d;
	return 0;
}

static int see_pack(void *arg, const char *name, uint64_t size)
{
	struct bk_index *ix = arg;
	struct listed_pack p = {.size = size};

	if (bk_pack_name_parse(name, &p.name) != 0)
		return 0;
	if (ix->nlisted == ix->listed_room) {
		size_t room = ix->listed_room ? ix->listed_room * 2 : 256;
		struct listed_pack *all;

		if (room > PACKS_MAX)
			return VS_E_LIMIT;
		all = reallocarray(ix->listed, room, sizeof(*all));
		if (!all)
			return VS_E_NOMEM;
		ix->listed = all;
		ix->listed_room = room;
	}
	ix->listed[ix->nlisted++] = p;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dd_digest));
}

/* Reads one index object, checks its name against its bytes, takes it in. */
static int load_object(struct bk_index *ix, const struct dd_digest *d, struct dd_hasher *h,
		       struct vs_error *err)
{
	char name[BK_NAME_MAX], what[BK_NAME_MAX + 512];
	struct bk_index_layout l;
	struct dd_digest is;
	uint64_t size;
	uint8_t *obj;
	int rc;

	bk_index_name(d, name);
	rc = bk_remote_load(ix->r, name, BK_OBJECT_MAX, &obj, &size, err);
	if (rc)
		return rc;
	snprintf(what, sizeof(what), "%s/%s", ix->r->url, name);
	dd_hash(h, obj, size, &is);
	rc = bk_index_decode(obj, size, &l, what, err);
	if (rc == 0 && !dd_digest_equal(&is, d))
		rc = vs_fail(err, VS_E_CORRUPT, "%s: its content is damaged (digest)", what);
	if (rc == 0)
		rc = bk_index_take(ix, d, obj, &l, false, err);
	free(obj);
	return rc;
}

static int list_all(struct refresh *f, struct vs_error *err)
{
	struct bk_index *ix = f->ix;
	bool gone = false;
	size_t i;
	int rc;

	for (i = 0; i < ix->nsegments; i++)
		ix->segments[i].listed = false;
	rc = bk_remote_list(ix->r, "index/", see_index, f, err);
	for (i = 0; rc == 0 && i < ix->nsegments; i++)
		gone = gone || !ix->segments[i].listed;
	if (rc == 0 && gone) { /* somebody cleaned up: begin anew */
		bk_index_drop(ix);
		f->nfresh = 0;
		rc = bk_remote_list(ix->r, "index/", see_index, f, err);
	}
	ix->nlisted = 0;
	if (rc == 0)
		rc = bk_remote_list(ix->r, "packs/", see_pack, ix, err);
	if (rc == VS_E_LIMIT || rc == VS_E_NOMEM)
		return vs_fail(err, rc, "%s holds more objects than can be listed", ix->r->url);
	return rc;
}

int bk_index_refresh(struct bk_index *ix, void (*each_bad)(void *arg, const struct vs_error *e),
		     void *arg, struct vs_error *err)
{
	struct refresh f = {.ix = ix};
	struct vs_error one = {0};
	struct dd_hasher *h;
	size_t i;
	uint32_t k;
	int rc = dd_hasher_new(&h, err);

	if (rc)
		return rc;
	pthread_rwlock_wrlock(&ix->lock);
	rc = list_all(&f, err);
	if (rc == 0 && ix->nlisted)
		qsort(ix->listed, ix->nlisted, sizeof(*ix->listed), by_name);
	for (i = 0; rc == 0 && i < ix->nsegments; i++)
		for (k = 0; k < ix->segments[i].l.packs; k++)
			ix->segments[i].found[k] =
			    bk_index_pack_listed(ix, &ix->segments[i].packs[k]);
	for (i = 0; rc == 0 && i < f.nfresh; i++) {
		rc = load_object(ix, &f.fresh[i], h, &one);
		if (rc == VS_E_NOENT) /* merged or cleaned up since the listing */
			rc = 0;
		if (rc == VS_E_CORRUPT && each_bad) {
			each_bad(arg, &one);
			rc = 0;
		}
		if (rc)
			vs_fail(err, rc, "%s", one.text);
	}
	pthread_rwlock_unlock(&ix->lock);
	dd_hasher_free(h);
	free(f.fresh);
	return rc;
}
