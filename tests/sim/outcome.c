/* What an operation of administration changes in the model, and whether a cut-off one happened. */
#include "tests/sim/world.h"

#include "common/bytes.h"
#include "common/text.h"
#include "tests/sim/report.h"

#include <stdio.h>

static void apply_snapshot(struct world *w, const struct sim_admin *a)
{
	for (unsigned i = 0; i < a->nfulls; i++) {
		char name[64], snap[64];
		struct model_image *vol, *img;

		VS_ASSERT(vs_split_snapshot(a->fulls[i], name, snap) == 0);
		vol = model_find(&w->model, name, "");
		img = model_add(&w->model, name, snap, vol->sectors);
		VS_ASSERT(img);
		img->source = vol;
		vol->users++;
		img->lo = w->admin_lo;
		img->hi = w->model.now;
	}
}

static void apply_delete(struct world *w, const struct sim_admin *a)
{
	model_remove(&w->model, world_find(w, a->name));
	for (unsigned i = 0; a->mode == BS_DELETE_WITH_SNAPSHOTS && i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && img->snapshot && strcmp(img->name, a->name) == 0)
			model_remove(&w->model, img);
	}
}

static void apply_rename(struct world *w, const struct sim_admin *a)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && strcmp(img->name, a->name) == 0)
			(void)snprintf(img->name, sizeof(img->name), "%s", a->to);
	}
}

static void apply_clone(struct world *w, const struct sim_admin *a)
{
	struct model_image *snap = world_find(w, a->name), *img;

	VS_ASSERT(snap && snap->pinned);
	img = model_add(&w->model, a->to, "", snap->sectors);
	VS_ASSERT(img);
	memcpy(img->base, snap->base, MODEL_SECTORS * sizeof(*img->base));
}

static void op_happened(struct world *w)
{
	struct model_op *op;

	if (!w->admin_op)
		return;
	op = model_op(&w->model, w->admin_op);
	op->ack = w->model.now;
	op->durable = true;
}

void world_admin_apply(struct world *w, const struct sim_admin *a)
{
	struct model_image *img = world_find(w, a->name);

	op_happened(w);
	switch (a->kind) {
	case SIM_CREATE:
		img = model_add(&w->model, a->name, "", world_sectors(w, a->size));
		VS_ASSERT(img);
		if (a->origin)
			world_origin_content(w, a->origin, img->base);
		break;
	case SIM_RESIZE:
		img->sectors = world_sectors(w, a->size);
		break;
	case SIM_RENAME:
		apply_rename(w, a);
		break;
	case SIM_DELETE:
		apply_delete(w, a);
		break;
	case SIM_SNAPSHOT:
		apply_snapshot(w, a);
		break;
	case SIM_UNSNAP:
		model_remove(&w->model, img);
		break;
	case SIM_ROLLBACK:
		model_find(&w->model, img->name, "")->sectors = img->sectors;
		break;
	case SIM_CLONE:
		apply_clone(w, a);
		break;
	default:
		break;
	}
	w->model.durable = VS_MAX(w->model.durable, w->admin_lo);
}

static const struct bs_volume_info *listed(const struct world *w, size_t n, const char *full)
{
	char name[64], snap[64];

	if (vs_split_snapshot(full, name, snap) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strcmp(w->infos[i].name, name) == 0 && strcmp(w->infos[i].snap, snap) == 0)
			return &w->infos[i];
	return NULL;
}

static bool snapshot_happened(struct world *w, size_t n, const struct sim_admin *a)
{
	unsigned there = 0;

	for (unsigned i = 0; i < a->nfulls; i++)
		there += listed(w, n, a->fulls[i]) != NULL;
	sim_require(there == 0 || there == a->nfulls, "%u of %u snapshots of one instant survived",
		    there, a->nfulls);
	return there > 0;
}

/* 1 happened, 0 did not, -1 the list cannot say. */
static int happened(struct world *w, size_t n, const struct sim_admin *a)
{
	const struct bs_volume_info *info = listed(w, n, a->name);
	const struct model_image *img = world_find(w, a->name), *vol;

	switch (a->kind) {
	case SIM_CREATE:
		return info != NULL;
	case SIM_RESIZE:
		if (!info || world_sectors(w, a->size) == img->sectors)
			return -1;
		return info->size == a->size;
	case SIM_RENAME:
	case SIM_CLONE:
		return listed(w, n, a->to) != NULL;
	case SIM_DELETE:
	case SIM_UNSNAP:
		return info == NULL;
	case SIM_SNAPSHOT:
		return snapshot_happened(w, n, a);
	case SIM_ROLLBACK:
		vol = model_find(&w->model, img->name, "");
		info = listed(w, n, img->name);
		if (!info || vol->sectors == img->sectors)
			return -1;
		return info->size == world_bytes(w, img->sectors);
	default:
		return 0;
	}
}

void world_admin_resolve(struct world *w, size_t n)
{
	const struct sim_admin *a = &w->admin;
	int rc;

	w->admin_cut = false;
	if (w->admin_expect != 0)
		return;
	rc = happened(w, n, a);
	sim_trace("cut-off %s: %s", world_admin_names[a->kind],
		  rc > 0    ? "happened"
		  : rc == 0 ? "did not happen"
			    : "the data will tell");
	if (rc > 0)
		world_admin_apply(w, a);
	else if (rc == 0 && w->admin_op)
		model_op(&w->model, w->admin_op)->dropped = true;
}
