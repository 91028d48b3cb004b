#include "tests/sim/world.h"

#include "common/bytes.h"
#include "common/text.h"
#include "tests/sim/report.h"

#include <stdio.h>

const char *const world_admin_names[SIM_ADMIN_KINDS] = {
    "create", "resize",	 "rename", "delete", "snapshot", "delete snapshot", "rollback",	   "clone",
    "open",   "close",	 "list",   "diff",   "sync",	 "drain",	    "exact space", "scrub",
    "merge",  "objects", "thick"};

static void side_done(struct sim_admin *a)
{
	a->arg = NULL;
}

struct sim_admin *world_side_new(struct world *w, enum sim_admin_kind kind)
{
	for (unsigned i = 0; i < WORLD_SIDE; i++) {
		struct sim_admin *a = &w->side[i];

		if (a->arg)
			continue;
		memset(a, 0, sizeof(*a));
		a->kind = kind;
		a->done = side_done;
		a->arg = w;
		return a;
	}
	sim_found("too many calls at once");
}

int world_side(struct world *w, struct sim_admin *a)
{
	uint64_t lo = model_tick(&w->model);

	sim_host_admin(w->host, a);
	while (a->arg && !world_cut(w))
		sim_require(world_turn(w) || world_cut(w) || !a->arg,
			    "deadlock: %s waits for nothing", world_admin_names[a->kind]);
	if (a->arg)
		return WORLD_CUT;
	w->idle_turns = 0;
	model_tick(&w->model);
	sim_trace("%llu: %s %s: %s", (unsigned long long)w->model.now, world_admin_names[a->kind],
		  a->name, vs_err_name(a->status));
	if (a->status == 0 && a->kind == SIM_SYNC)
		w->model.durable = VS_MAX(w->model.durable, lo);
	sim_require(a->status == 0 || w->may_fail || (w->may_nospc && a->status == VS_E_NOSPC) ||
			(w->with_origins && a->kind == SIM_DIFF && a->status == VS_E_BUSY),
		    "%s %s: %s %s", world_admin_names[a->kind], a->name, vs_err_name(a->status),
		    a->err.text);
	return a->status;
}

struct bs_volume *world_handle(struct world *w, struct model_image *img)
{
	struct sim_admin *a;

	if (img->user)
		return img->user;
	if (world_cut(w))
		return NULL;
	a = world_side_new(w, SIM_OPEN);
	(void)snprintf(a->name, sizeof(a->name), "%s", world_full_name(img));
	if (world_side(w, a) != 0)
		return NULL;
	img->user = a->volume;
	return img->user;
}

static bool image_in_use(const struct world *w, const struct model_image *img)
{
	for (unsigned i = 0; i < WORLD_REQS; i++)
		if (w->reqs[i].busy && (w->reqs[i].image == img || w->reqs[i].source == img))
			return true;
	return false;
}

void world_unhandle(struct world *w, struct model_image *img)
{
	struct sim_admin *a;

	while (image_in_use(w, img) && !world_cut(w))
		sim_require(world_turn(w) || world_cut(w),
			    "deadlock: requests of %s wait for nothing", world_full_name(img));
	if (!img->user || world_cut(w))
		return;
	a = world_side_new(w, SIM_CLOSE);
	a->volume = img->user;
	img->user = NULL;
	(void)world_side(w, a);
}

struct sim_admin *world_admin(struct world *w, enum sim_admin_kind kind)
{
	VS_ASSERT(!w->admin_busy);
	memset(&w->admin, 0, sizeof(w->admin));
	w->admin.kind = kind;
	return &w->admin;
}

struct model_image *world_find(struct world *w, const char *full)
{
	char name[64], snap[64];

	return vs_split_snapshot(full, name, snap) == 0 ? model_find(&w->model, name, snap) : NULL;
}

static unsigned snapshots_of(const struct world *w, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		const struct model_image *img = &w->model.images[i];

		n += img->live && img->snapshot && strcmp(img->name, name) == 0;
	}
	return n;
}

static int expect_snapshot(struct world *w, const struct sim_admin *a)
{
	for (unsigned i = 0; i < a->nfulls; i++) {
		char name[64], snap[64];

		if (vs_split_snapshot(a->fulls[i], name, snap) < 0)
			return VS_E_INVAL;
		if (!model_find(&w->model, name, ""))
			return VS_E_NOENT;
		if (model_find(&w->model, name, snap))
			return VS_E_EXIST;
	}
	return 0;
}

/* What the call must return, besides running out of space or a failing disk. */
static int expected(struct world *w, const struct sim_admin *a)
{
	struct model_image *img = world_find(w, a->name);

	switch (a->kind) {
	case SIM_CREATE:
		return img ? VS_E_EXIST : 0;
	case SIM_SNAPSHOT:
		return expect_snapshot(w, a);
	case SIM_CLONE:
	case SIM_RENAME:
		return !img ? VS_E_NOENT : world_find(w, a->to) ? VS_E_EXIST : 0;
	case SIM_DELETE:
		if (!img)
			return VS_E_NOENT;
		if (img->user || (a->mode == BS_DELETE_PLAIN && snapshots_of(w, img->name) > 0))
			return VS_E_BUSY;
		return 0;
	case SIM_UNSNAP:
		return !img ? VS_E_NOENT : img->user ? VS_E_BUSY : 0;
	case SIM_ROLLBACK:
		if (!img || !model_find(&w->model, img->name, ""))
			return VS_E_NOENT;
		return model_find(&w->model, img->name, "")->user ? VS_E_BUSY : 0;
	default:
		return img ? 0 : VS_E_NOENT;
	}
}

static void admin_done(struct sim_admin *a)
{
	struct world *w = a->arg;
	int want = w->admin_expect;

	model_tick(&w->model);
	w->admin_busy = false;
	w->idle_turns = 0;
	w->completions++;
	sim_trace("%llu: %s %s done: %s", (unsigned long long)w->model.now,
		  world_admin_names[a->kind], a->kind == SIM_SNAPSHOT ? a->fulls[0] : a->name,
		  vs_err_name(a->status));
	sim_require(a->status == want || (w->may_nospc && a->status == VS_E_NOSPC) ||
			(w->may_fail && (a->status == VS_E_IO || a->status == VS_E_FAILED ||
					 a->status == VS_E_ROFS || a->status == VS_E_CHECKSUM)),
		    "%s %s: %s (%s), expected %s", world_admin_names[a->kind],
		    a->kind == SIM_SNAPSHOT ? a->fulls[0] : a->name, vs_err_name(a->status),
		    a->err.text, vs_err_name(want));
	if (a->status == 0)
		world_admin_apply(w, a);
	else if (w->admin_op && (a->status == want || a->status == VS_E_NOSPC))
		model_op(&w->model, w->admin_op)->dropped = true;
	else if (a->status != want && a->status != VS_E_NOSPC)
		w->admin_unsure = true;
}

/* What a resize or rollback does to data is an operation like a write. */
static void note_op(struct world *w, const struct sim_admin *a)
{
	struct model_image *img = world_find(w, a->name), *vol;
	uint32_t end;

	w->admin_op = 0;
	if (w->admin_expect != 0)
		return;
	if (a->kind == SIM_RESIZE && world_sectors(w, a->size) < img->sectors) {
		w->admin_op = model_op_new(&w->model);
		for (uint32_t s = world_sectors(w, a->size); s < img->sectors; s++)
			model_write(&w->model, img, w->admin_op, s, 0);
	} else if (a->kind == SIM_ROLLBACK) {
		vol = model_find(&w->model, img->name, "");
		end = VS_MAX(vol->sectors, img->sectors);
		w->admin_op = model_op_new(&w->model);
		for (uint32_t s = 0; s < end; s++)
			model_write(&w->model, vol, w->admin_op, s,
				    s < img->sectors ? img->base[s] : 0);
	}
}

void world_admin_go(struct world *w)
{
	struct sim_admin *a = &w->admin;

	a->done = admin_done;
	a->arg = w;
	w->admin_busy = true;
	w->admin_unsure = false;
	w->admin_lo = model_tick(&w->model);
	w->admin_expect = expected(w, a);
	note_op(w, a);
	sim_trace("%llu: %s %s %s%s%llu", (unsigned long long)w->admin_lo,
		  world_admin_names[a->kind], a->kind == SIM_SNAPSHOT ? a->fulls[0] : a->name,
		  a->to, a->size ? " to " : " ", (unsigned long long)a->size);
	sim_host_admin(w->host, a);
}

int world_admin_wait(struct world *w)
{
	while (w->admin_busy && !world_cut(w))
		sim_require(world_turn(w) || world_cut(w) || !w->admin_busy,
			    "deadlock: %s waits for nothing", world_admin_names[w->admin.kind]);
	return w->admin_busy ? WORLD_CUT : w->admin.status;
}
