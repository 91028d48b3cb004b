#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

static int run(struct world *w)
{
	world_admin_go(w);
	return world_admin_wait(w);
}

static struct sim_admin *of(struct world *w, enum sim_admin_kind kind,
			    const struct model_image *img)
{
	struct sim_admin *a;

	if (world_admin_wait(w) == WORLD_CUT || w->admin_unsure)
		return NULL;
	a = world_admin(w, kind);
	(void)snprintf(a->name, sizeof(a->name), "%s", img ? world_full_name(img) : "");
	return a;
}

static int create(struct world *w, const char *name, uint32_t blocks, bool there)
{
	struct sim_admin *a = of(w, SIM_CREATE, NULL);

	if (!a)
		return WORLD_CUT;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	a->size = world_bytes(w, blocks * 8);
	a->no_dedup = sim_one_in(&w->rng, 6);
	a->origin = there ? world_new_origin(w, blocks) : NULL;
	return run(w);
}

int world_create(struct world *w, const char *name, uint32_t blocks)
{
	return create(w, name, blocks, w->with_origins && sim_one_in(&w->rng, 2));
}

int world_create_there(struct world *w, const char *name, uint32_t blocks)
{
	return create(w, name, blocks, true);
}

int world_snapshot(struct world *w, struct model_image *img, const char *snap)
{
	struct sim_admin *a = of(w, SIM_SNAPSHOT, NULL);
	struct model_image *made;
	int rc;

	if (!a)
		return WORLD_CUT;
	(void)snprintf(a->fulls[0], sizeof(a->fulls[0]), "%s@%s", img->name, snap);
	a->nfulls = 1;
	rc = run(w);
	made = rc == 0 ? model_find(&w->model, img->name, snap) : NULL;
	if (made)
		world_pin(w, &made, 1);
	return rc;
}

int world_delete(struct world *w, struct model_image *img, enum bs_delete_mode mode)
{
	struct sim_admin *a;

	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *snap = &w->model.images[i];

		if (snap->live && snap->snapshot && !img->snapshot &&
		    strcmp(snap->name, img->name) == 0) {
			world_pin(w, &snap, 1);
			if (mode == BS_DELETE_WITH_SNAPSHOTS)
				world_unhandle(w, snap);
		}
	}
	world_unhandle(w, img);
	a = of(w, img->snapshot ? SIM_UNSNAP : SIM_DELETE, img);
	if (!a)
		return WORLD_CUT;
	a->mode = mode;
	return run(w);
}

int world_clone(struct world *w, struct model_image *snap, const char *name)
{
	struct sim_admin *a;

	world_pin(w, &snap, 1);
	a = of(w, SIM_CLONE, snap);
	if (!a || !snap->pinned)
		return WORLD_CUT;
	(void)snprintf(a->to, sizeof(a->to), "%s", name);
	return run(w);
}

int world_rollback(struct world *w, struct model_image *snap)
{
	struct model_image *vol = model_find(&w->model, snap->name, "");
	struct sim_admin *a;

	world_pin(w, &snap, 1);
	if (vol)
		world_unhandle(w, vol);
	a = of(w, SIM_ROLLBACK, snap);
	return a && snap->pinned ? run(w) : WORLD_CUT;
}

int world_resize(struct world *w, struct model_image *img, uint32_t blocks)
{
	struct sim_admin *a;

	if (blocks * 8 < img->sectors)
		world_unhandle(w, img); /* nothing may be in flight where it is cut off */
	a = of(w, SIM_RESIZE, img);
	if (!a)
		return WORLD_CUT;
	a->size = world_bytes(w, blocks * 8);
	a->force = true;
	return run(w);
}

int world_rename(struct world *w, struct model_image *img, const char *to)
{
	struct sim_admin *a = of(w, SIM_RENAME, img);

	if (!a)
		return WORLD_CUT;
	(void)snprintf(a->to, sizeof(a->to), "%s", to);
	return run(w);
}

int world_thick(struct world *w, struct model_image *img, bool thick)
{
	struct sim_admin *a = of(w, SIM_THICK, img);
	int rc;

	if (!a)
		return WORLD_CUT;
	a->force = thick;
	img->thick = false;
	rc = run(w);
	img->thick = thick && rc == 0;
	return rc;
}

int world_sync(struct world *w)
{
	return world_side(w, world_side_new(w, SIM_SYNC));
}

int world_drain(struct world *w)
{
	return world_side(w, world_side_new(w, SIM_DRAIN));
}
