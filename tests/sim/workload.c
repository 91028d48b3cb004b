#include "tests/sim/workload.h"

#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"

#include <stdio.h>

#define DEPTH_MAX (WORLD_REQS - 8)

void workload_default(struct world *w, struct workload *l)
{
	struct sim_rng *r = &w->rng;

	*l = (struct workload){
	    .weight = {[WORK_WRITE] = 40,
		       [WORK_WRITE_PART] = 10,
		       [WORK_READ] = 20,
		       [WORK_FLUSH] = 6,
		       [WORK_TRIM] = 5,
		       [WORK_ZERO] = 4,
		       [WORK_COMPARE] = 6,
		       [WORK_LINK] = 4,
		       [WORK_COPY] = 5,
		       [WORK_STATUS] = 3},
	    .depth = sim_between(r, 1, 40),
	    .admin_one_in = sim_between(r, 10, 80),
	    .images = sim_between(r, 3, 12),
	    .min_blocks = 16,
	    .max_blocks = sim_one_in(r, 4) ? 600 : 64,
	    .largest_write = sim_one_in(r, 4) ? 600 : 64,
	    .alphabet = sim_between(r, 4, 40),
	    .hot = sim_one_in(r, 2) ? sim_between(r, 1, 8) : 0,
	    .synced = sim_one_in(r, 6),
	};
	if (l->synced && sim_one_in(r, 2))
		l->depth = 1;
}

struct model_image *workload_pick(struct world *w, bool snapshots)
{
	unsigned n = model_count(&w->model, snapshots), k;

	if (n == 0)
		return NULL;
	k = sim_below(&w->rng, n);
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && img->snapshot == snapshots && k-- == 0)
			return img;
	}
	return NULL;
}

uint64_t workload_content(struct world *w, const struct workload *l)
{
	if (sim_one_in(&w->rng, 12))
		return 0;
	if (sim_one_in(&w->rng, 2))
		return 1 + sim_below(&w->rng, l->alphabet);
	return world_new_content(w);
}

static uint32_t pick_sector(struct world *w, const struct workload *l,
			    const struct model_image *img, uint32_t align)
{
	uint32_t end = img->sectors;

	if (l->hot && sim_one_in(&w->rng, 2))
		end = VS_MIN(end, l->hot * SIM_BLOCK_SECTORS);
	return sim_below(&w->rng, end) / align * align;
}

static uint32_t pick_count(struct world *w, const struct model_image *img, uint32_t sector,
			   uint32_t most, uint32_t align)
{
	uint32_t room = VS_MIN(img->sectors - sector, VS_MAX(most, align));
	uint32_t n = sim_one_in(&w->rng, 2) ? align : align * sim_between(&w->rng, 1, room / align);

	return VS_MAX(VS_MIN(n, room / align * align), align);
}

static void start_write(struct world *w, const struct workload *l, struct model_image *img,
			uint32_t align)
{
	uint64_t tags[MODEL_SECTORS], content = 0;
	uint32_t sector = pick_sector(w, l, img, align);
	uint32_t count = pick_count(w, img, sector, l->largest_write, align);
	unsigned flags = sim_one_in(&w->rng, 10) ? BS_FUA : 0;
	struct world_req *q;
	int status = 1;

	if (sim_one_in(&w->rng, 6))
		flags |= BS_UNSTABLE;
	if (align == SIM_BLOCK_SECTORS && count <= BS_ATOMIC_MAX / SIM_SECTOR &&
	    sim_one_in(&w->rng, 4))
		flags |= BS_ATOMIC;
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || (sector + i) % SIM_BLOCK_SECTORS == 0)
			content = workload_content(w, l);
		tags[i] = sim_tag(content, sector + i);
	}
	if (!l->synced || sim_one_in(&w->rng, 10)) {
		(void)world_write(w, img, sector, count, tags, flags);
		return;
	}
	q = world_write(w, img, sector, count, tags, flags);
	if (!q)
		return;
	q->status = &status;
	(void)world_await(w, &status);
	if (!world_cut(w))
		(void)world_flush(w);
}

static void start_read(struct world *w, const struct workload *l)
{
	struct model_image *img = workload_pick(w, sim_one_in(&w->rng, 4));
	uint32_t sector;

	if (!img || (img->snapshot && !img->pinned))
		return;
	sector = pick_sector(w, l, img, 1);
	(void)world_read(w, img, sector, pick_count(w, img, sector, 256, 1));
}

static void start_erase(struct world *w, const struct workload *l, struct model_image *img,
			enum bs_op op)
{
	uint32_t align = sim_one_in(&w->rng, 3) ? 1 : SIM_BLOCK_SECTORS;
	uint32_t sector = pick_sector(w, l, img, align);
	uint32_t most = sim_one_in(&w->rng, 6) ? MODEL_SECTORS : l->largest_write;

	(void)world_erase(w, img, op, sector, pick_count(w, img, sector, most, align), 0);
}

static void start_compare(struct world *w, const struct workload *l, struct model_image *img)
{
	uint64_t compare[64], tags[64];
	uint32_t sector = pick_sector(w, l, img, 1);
	uint32_t count = pick_count(w, img, sector, VS_ARRAY_LEN(tags), 1);
	uint64_t content = workload_content(w, l);

	for (uint32_t i = 0; i < count; i++) {
		if (!model_only(&w->model, img, sector + i, w->model.now, &compare[i]))
			compare[i] = sim_tag(1, sector + i);
		tags[i] = sim_tag(content, sector + i);
	}
	if (sim_one_in(&w->rng, 5))
		compare[sim_below(&w->rng, count)] = sim_tag(world_new_content(w), sector);
	(void)world_compare_write(w, img, sector, count, compare, tags,
				  sim_one_in(&w->rng, 8) ? BS_FUA : 0);
}

static void start_link(struct world *w, const struct workload *l, struct model_image *img)
{
	uint64_t contents[BS_LINK_MAX];
	uint32_t block = pick_sector(w, l, img, 8) / 8;
	uint32_t most = VS_MIN(img->sectors / 8 - block, BS_LINK_MAX);
	uint32_t count = sim_between(&w->rng, 1, most);

	for (uint32_t i = 0; i < count; i++)
		contents[i] = sim_one_in(&w->rng, 8) ? world_new_content(w)
						     : 1 + sim_below(&w->rng, l->alphabet);
	(void)world_link(w, img, block, count, contents);
}

/* From anywhere, often within one volume; mostly whole blocks of both. */
static void start_copy(struct world *w, const struct workload *l, struct model_image *img)
{
	struct model_image *src =
	    sim_one_in(&w->rng, 3) ? img : workload_pick(w, sim_one_in(&w->rng, 4));
	uint32_t align = sim_one_in(&w->rng, 3) ? 1 : SIM_BLOCK_SECTORS, sector, from, count;

	if (!src || (src->snapshot && !src->pinned))
		return;
	sector = pick_sector(w, l, img, align);
	from = pick_sector(w, l, src, align);
	if (align == 1 &&
	    sim_one_in(&w->rng, 2)) /* both cut their first blocks at the same place */
		from = VS_ALIGN_DOWN(from, SIM_BLOCK_SECTORS) + sector % SIM_BLOCK_SECTORS;
	count = pick_count(w, img, sector, l->largest_write, align);
	count = VS_MIN(count, src->sectors - from);
	(void)world_copy(w, img, sector, src, from, count, sim_one_in(&w->rng, 10) ? BS_FUA : 0);
}

static void start_status(struct world *w, const struct workload *l, struct model_image *img)
{
	uint32_t block = pick_sector(w, l, img, 8) / 8;

	(void)world_status(w, img, block, sim_between(&w->rng, 1, img->sectors / 8 - block));
}

static enum work_kind pick_kind(struct world *w, const struct workload *l)
{
	unsigned total = 0, k;

	for (unsigned i = 0; i < WORK_KINDS; i++)
		total += l->weight[i];
	k = sim_below(&w->rng, total);
	for (unsigned i = 0; i < WORK_KINDS; i++) {
		if (k < l->weight[i])
			return (enum work_kind)i;
		k -= l->weight[i];
	}
	return WORK_READ;
}

static void start_io(struct world *w, const struct workload *l)
{
	struct model_image *img = workload_pick(w, false);

	if (!img)
		return;
	switch (pick_kind(w, l)) {
	case WORK_WRITE:
		start_write(w, l, img, SIM_BLOCK_SECTORS);
		break;
	case WORK_WRITE_PART:
		start_write(w, l, img, 1);
		break;
	case WORK_READ:
		start_read(w, l);
		break;
	case WORK_FLUSH:
		(void)world_flush(w);
		break;
	case WORK_TRIM:
		start_erase(w, l, img, BS_TRIM);
		break;
	case WORK_ZERO:
		start_erase(w, l, img, BS_ZERO);
		break;
	case WORK_COMPARE:
		start_compare(w, l, img);
		break;
	case WORK_LINK:
		start_link(w, l, img);
		break;
	case WORK_COPY:
		start_copy(w, l, img);
		break;
	case WORK_STATUS:
		start_status(w, l, img);
		break;
	case WORK_KINDS:
		break;
	}
}

static void new_name(struct world *w, char *name, size_t len)
{
	(void)snprintf(name, len, "v%u", ++w->names);
}

/* A group: up to SIM_GROUP volumes at one instant, not waited for. */
static void start_snapshot(struct world *w)
{
	struct sim_admin *a = world_admin(w, SIM_SNAPSHOT);
	unsigned want = sim_one_in(&w->rng, 2) ? 1 : sim_between(&w->rng, 1, SIM_GROUP);

	for (unsigned i = 0; i < MODEL_IMAGES && a->nfulls < want; i++) {
		struct model_image *img = &w->model.images[i];
		unsigned left = model_count(&w->model, false);

		if (!img->live || img->snapshot || !sim_one_in(&w->rng, VS_MAX(left / 2, 1u)))
			continue;
		(void)snprintf(a->fulls[a->nfulls++], sizeof(a->fulls[0]), "%s@s%u", img->name,
			       ++w->names);
	}
	if (a->nfulls)
		world_admin_go(w);
}

static void delete_one(struct world *w)
{
	struct model_image *img = workload_pick(w, sim_one_in(&w->rng, 2));
	enum bs_delete_mode mode =
	    sim_one_in(&w->rng, 2) ? BS_DELETE_WITH_SNAPSHOTS : BS_DELETE_KEEP_SNAPSHOTS;

	if (img)
		(void)world_delete(w, img, mode);
}

static void create_one(struct world *w, const struct workload *l)
{
	char name[64];

	new_name(w, name, sizeof(name));
	(void)world_create(w, name, sim_between(&w->rng, l->min_blocks, l->max_blocks));
}

void workload_administer(struct world *w, const struct workload *l)
{
	unsigned n = model_count(&w->model, false) + model_count(&w->model, true);
	struct model_image *vol = workload_pick(w, false), *snap = workload_pick(w, true);
	char name[64];

	if (!vol) {
		create_one(w, l);
		return;
	}
	if (n >= l->images && !l->no_delete && sim_one_in(&w->rng, 2)) {
		delete_one(w);
		return;
	}
	switch (sim_below(&w->rng, n >= l->images + 6 ? 3 : 8)) {
	case 0:
		(void)world_resize(w, vol, sim_between(&w->rng, l->min_blocks, l->max_blocks));
		break;
	case 1:
		new_name(w, name, sizeof(name));
		(void)world_rename(w, vol, name);
		break;
	case 2:
		if (snap && model_find(&w->model, snap->name, ""))
			(void)world_rollback(w, snap);
		break;
	case 3:
		create_one(w, l);
		break;
	case 4:
		new_name(w, name, sizeof(name));
		if (snap)
			(void)world_clone(w, snap, name);
		break;
	default:
		start_snapshot(w);
		break;
	}
}

void workload_step(struct world *w, const struct workload *l)
{
	if (world_cut(w))
		return;
	if (l->admin_one_in && !w->admin_busy && !w->admin_unsure &&
	    sim_one_in(&w->rng, l->admin_one_in))
		workload_administer(w, l);
	else if (!w->admin_busy && sim_one_in(&w->rng, 40))
		world_pin_all(w);
	else if (w->in_flight < VS_MIN(l->depth, DEPTH_MAX))
		start_io(w, l);
	if (!world_cut(w))
		world_turns(w, sim_below(&w->rng, 6));
	if (w->in_flight >= VS_MIN(l->depth, DEPTH_MAX) && !world_cut(w))
		world_turns(w, 4);
}

void workload_run(struct world *w, const struct workload *l, unsigned steps)
{
	while (steps-- && !world_cut(w))
		workload_step(w, l);
}

void workload_delete_all(struct world *w)
{
	for (unsigned i = 0; i < 4 * MODEL_IMAGES && !world_cut(w); i++) {
		struct model_image *vol = workload_pick(w, false), *snap = workload_pick(w, true);

		if (!vol && !snap)
			return;
		if (vol && (!snap || sim_one_in(&w->rng, 2)))
			(void)world_delete(w, vol, BS_DELETE_KEEP_SNAPSHOTS);
		else
			(void)world_delete(w, snap, BS_DELETE_PLAIN);
	}
}
