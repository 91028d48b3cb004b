#include "tests/sim/world.h"

#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"

#include <stdlib.h>

#define CHUNK 512u /* sectors a read */

bool world_read_image(struct world *w, struct model_image *img, uint64_t *tags)
{
	int status[VS_DIV_UP(MODEL_SECTORS, CHUNK)];
	bool all = true;
	unsigned n = 0;

	for (uint32_t s = 0; s < img->sectors; s += CHUNK) {
		struct world_req *q;

		if (!world_handle(w, img))
			return false;
		while (!(q = world_read(w, img, s, VS_MIN(CHUNK, img->sectors - s)))) {
			if (world_cut(w) || !world_turn(w))
				return false;
		}
		q->out = tags + s;
		status[n] = 1;
		q->status = &status[n++];
	}
	for (unsigned i = 0; i < n; i++) {
		int rc = world_await(w, &status[i]);

		if (rc == VS_E_IO && w->may_lose) {
			all = false;
			continue;
		}
		if (rc == 1 || (rc != 0 && w->may_fail)) {
			world_forget(w, status, n);
			return false;
		}
		sim_require(rc == 0, "reading %s: %s", world_full_name(img), vs_err_text(rc));
	}
	return all;
}

static struct model_reading *readings_new(unsigned n)
{
	struct model_reading *r = calloc(n ? n : 1, sizeof(*r));

	VS_ASSERT(r);
	return r;
}

static uint64_t *tags_new(void)
{
	uint64_t *tags = malloc(MODEL_SECTORS * sizeof(*tags));

	VS_ASSERT(tags);
	return tags;
}

static void readings_free(struct model_reading *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free((void *)r[i].tags);
	free(r);
}

/* Snapshots of one instant are one view. Returns the latest operation that they surely hold. */
static uint64_t check_group(struct world *w, const struct model_reading *r, unsigned n)
{
	const struct model_image *img = r[0].image;
	char why[1024];
	uint64_t cut;

	sim_require(
	    model_check_view(&w->model, r, n, img->lo, img->hi, false, &cut, why, sizeof(why)),
	    "snapshot between %llu and %llu: %s", (unsigned long long)img->lo,
	    (unsigned long long)img->hi, why);
	return cut;
}

static bool same_instant(const struct model_image *a, const struct model_image *b)
{
	return a->lo == b->lo && a->hi == b->hi;
}

static bool unpinned(const struct model_image *img)
{
	return img->live && img->snapshot && !img->pinned;
}

void world_pin(struct world *w, struct model_image *const *snaps, unsigned n)
{
	struct model_reading *r = readings_new(n);
	bool ok = true;
	unsigned k = 0;

	for (unsigned i = 0; i < n && ok; i++) {
		uint64_t *tags;

		if (!unpinned(snaps[i]))
			continue;
		tags = tags_new();
		r[k].image = snaps[i];
		r[k++].tags = tags;
		ok = world_read_image(w, snaps[i], tags);
	}
	if (ok && k) {
		(void)check_group(w, r, k);
		for (unsigned i = 0; i < k; i++)
			model_pin(&w->model, r[i].image, r[i].tags);
	}
	readings_free(r, k);
}

void world_pin_all(struct world *w)
{
	for (unsigned i = 0; i < MODEL_IMAGES && !world_cut(w); i++) {
		struct model_image *group[MODEL_IMAGES];
		unsigned n = 0;

		if (!unpinned(&w->model.images[i]))
			continue;
		for (unsigned k = i; k < MODEL_IMAGES; k++)
			if (unpinned(&w->model.images[k]) &&
			    same_instant(&w->model.images[i], &w->model.images[k]))
				group[n++] = &w->model.images[k];
		world_pin(w, group, n);
	}
}

static size_t list_all(struct world *w)
{
	struct sim_admin *a = world_side_new(w, SIM_LIST);
	size_t n = 0;
	int rc;

	a->infos = w->infos;
	a->ninfos = VS_ARRAY_LEN(w->infos);
	rc = world_side(w, a);
	sim_require(rc == 0, "list: %s", a->err.text);
	for (size_t i = 0; i < a->ninfos; i++)
		if (!w->infos[i].objects) /* those have a model of their own */
			w->infos[n++] = w->infos[i];
	return n;
}

static void check_list(struct world *w, size_t n)
{
	unsigned live = model_count(&w->model, false) + model_count(&w->model, true);

	for (size_t i = 0; i < n; i++) {
		const struct bs_volume_info *info = &w->infos[i];
		const struct model_image *img = model_find(&w->model, info->name, info->snap);

		sim_require(img, "the store lists %s%s%s, which should not be there", info->name,
			    info->snap[0] ? "@" : "", info->snap);
		sim_require(info->size == world_bytes(w, img->sectors),
			    "%s is %llu bytes, should be %llu", world_full_name(img),
			    (unsigned long long)info->size,
			    (unsigned long long)world_bytes(w, img->sectors));
		sim_require(info->snapshot == img->snapshot, "%s: wrong kind",
			    world_full_name(img));
	}
	for (unsigned i = 0; i < MODEL_IMAGES && live > n; i++) {
		const struct model_image *img = &w->model.images[i];
		bool there = false;

		for (size_t k = 0; k < n; k++)
			there |= img->live && strcmp(w->infos[k].name, img->name) == 0 &&
				 strcmp(w->infos[k].snap, img->snap) == 0;
		sim_require(!img->live || there, "%s is gone", world_full_name(img));
	}
	sim_require(live == n, "the store lists %zu images, should be %u", n, live);
}

void world_check_list(struct world *w)
{
	check_list(w, list_all(w));
}

static uint64_t check_snapshots(struct world *w, const struct model_reading *all, unsigned n)
{
	struct model_reading *r = readings_new(n);
	uint64_t cut = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0, before = 0;

		if (!unpinned(all[i].image))
			continue;
		for (unsigned j = 0; j < n; j++) {
			if (!unpinned(all[j].image) || !same_instant(all[i].image, all[j].image))
				continue;
			before += j < i;
			r[k++] = all[j];
		}
		if (!before) {
			uint64_t got = check_group(w, r, k);

			cut = VS_MAX(cut, got);
		}
	}
	free(r);
	return cut;
}

static uint64_t mapped_bytes(const struct model_reading *r)
{
	uint64_t blocks = 0;

	for (uint32_t b = 0; b < r->image->sectors / 8; b++) {
		bool zero = true;

		for (uint32_t i = 0; i < 8; i++)
			zero &= r->tags[b * 8 + i] == 0;
		blocks += !zero;
	}
	return blocks * BS_BLOCK;
}

/* What the store counts as mapped is what does not read as zeros. */
static void check_counts(struct world *w, size_t listed, const struct model_reading *r, unsigned n)
{
	for (size_t i = 0; i < listed; i++) {
		const struct bs_volume_info *info = &w->infos[i];

		for (unsigned k = 0; k < n; k++)
			sim_require(strcmp(info->name, r[k].image->name) != 0 ||
					strcmp(info->snap, r[k].image->snap) != 0 ||
					info->logical_bytes == mapped_bytes(&r[k]) ||
					(w->with_origins && /* zeros may be found late */
					 info->logical_bytes > mapped_bytes(&r[k])),
				    "%s is said to hold %llu bytes, holds %llu",
				    world_full_name(r[k].image),
				    (unsigned long long)info->logical_bytes,
				    (unsigned long long)mapped_bytes(&r[k]));
	}
}

/* Where blocks must be fetched, some come too late for some reads, but not always. */
static void read_surely(struct world *w, struct model_image *img, uint64_t *tags)
{
	unsigned tries = w->may_lose ? 100 : 1;

	while (!world_read_image(w, img, tags))
		sim_require(!world_cut(w) && --tries, "reading was cut off");
}

void world_verify(struct world *w, uint64_t lo, bool crash)
{
	struct model_reading *r, *exact = readings_new(MODEL_IMAGES);
	unsigned n = 0, k = 0;
	uint64_t cut, got;
	char why[1024];
	size_t listed;

	VS_ASSERT(w->in_flight == 0 && !w->admin_busy);
	listed = list_all(w);
	if (w->admin_cut)
		world_admin_resolve(w, listed);
	check_list(w, listed);
	r = readings_new(MODEL_IMAGES);
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		uint64_t *tags;

		if (!w->model.images[i].live)
			continue;
		tags = tags_new();
		read_surely(w, &w->model.images[i], tags);
		r[n].image = &w->model.images[i];
		r[n++].tags = tags;
	}
	check_counts(w, listed, r, n);
	cut = check_snapshots(w, r, n);
	for (unsigned i = 0; i < n; i++)
		if (!unpinned(r[i].image))
			exact[k++] = r[i];
	sim_require(model_check_view(&w->model, exact, k, VS_MAX(lo, cut), w->model.now, crash,
				     &got, why, sizeof(why)),
		    "%s: %s", crash ? "after the crash" : "now", why);
	model_new_epoch(&w->model, r, n);
	free(exact);
	readings_free(r, n);
}

static bool block_equal(const struct model_image *a, const struct model_image *b, uint32_t block)
{
	for (uint32_t i = block * 8; i < block * 8 + 8; i++) {
		uint64_t in_a = a && i < a->sectors ? a->base[i] : 0;

		if (in_a != b->base[i])
			return false;
	}
	return true;
}

static bool block_zero(const struct model_image *img, uint32_t block)
{
	for (uint32_t i = block * 8; i < block * 8 + 8; i++)
		if (img->base[i])
			return false;
	return true;
}

void world_check_diff(struct world *w, struct model_image *a, struct model_image *b)
{
	static const unsigned char none, data = 1, zero = 2;
	unsigned char said[MODEL_BLOCKS] = {0};
	struct bs_volume *va = a ? world_handle(w, a) : NULL, *vb = world_handle(w, b);
	struct sim_admin *call;

	if (!vb || (a && !va))
		return;
	call = world_side_new(w, SIM_DIFF);
	call->volume = va;
	call->volume2 = vb;
	call->diff = w->diff;
	call->ndiff = VS_ARRAY_LEN(w->diff);
	if (world_side(w, call) != 0)
		return;
	for (size_t i = 0; i < call->ndiff; i++) {
		const struct bs_diff_entry *e = &w->diff[i];

		sim_require(e->block >= w->shift &&
				vs_range_ok(e->block - w->shift, e->count, b->sectors / 8),
			    "diff says blocks %llu+%llu of %s", (unsigned long long)e->block,
			    (unsigned long long)e->count, world_full_name(b));
		memset(said + (e->block - w->shift), e->kind == BS_DIFF_ZERO ? zero : data,
		       e->count);
	}
	for (uint32_t i = 0; i < b->sectors / 8; i++) {
		unsigned char want = block_equal(a, b, i) ? none : block_zero(b, i) ? zero : data;

		sim_require(said[i] == want, "diff of %s and %s, block %u: says %u, should be %u",
			    a ? world_full_name(a) : "nothing", world_full_name(b), i, said[i],
			    want);
	}
}

void world_recount(struct world *w, bool read_data)
{
	struct bs_check_result res = {0};
	struct vs_error err = {0};
	int rc = sim_host_check(w->disk, read_data, &res, &err);

	sim_require(rc == 0, "check: %s", err.text);
	sim_require(res.problems == 0, "check found %llu problems",
		    (unsigned long long)res.problems);
	if (w->admin_busy)
		return;
	sim_require(res.volumes == model_count(&w->model, false) + w->beside[0] &&
			res.snapshots == model_count(&w->model, true) + w->beside[1],
		    "check counts %llu volumes and %llu snapshots, should be %u and %u",
		    (unsigned long long)res.volumes, (unsigned long long)res.snapshots,
		    model_count(&w->model, false) + w->beside[0],
		    model_count(&w->model, true) + w->beside[1]);
}
