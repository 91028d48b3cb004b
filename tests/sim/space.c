/* Room: what deletions free, said before and measured after; thick volumes; a store filled anew. */
#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include "common/bytes.h"

#include <stdio.h>

/* Stored bytes of all contents, and 4096 for each map page, by an offline recount. */
static uint64_t measure(struct world *w)
{
	struct bs_check_result res;
	struct vs_error err = {0};
	int rc;

	(void)world_sync(w);
	rc = sim_host_check(w->disk, false, &res, &err);
	sim_require(rc == 0 && res.problems == 0, "recount: %s", err.text);
	return res.stored_bytes + res.map_pages * BS_BLOCK;
}

static uint64_t foretell(struct world *w, const struct model_image *img)
{
	struct sim_admin *a = world_side_new(w, SIM_EXACT);

	(void)snprintf(a->name, sizeof(a->name), "%s", world_full_name(img));
	(void)world_side(w, a);
	sim_require(a->exact.known && !a->exact.stale, "nothing changes, and %s is %s", a->name,
		    a->exact.known ? "stale" : "not known");
	return a->exact.frees;
}

static void delete_one(struct world *w)
{
	struct model_image *img = workload_pick(w, sim_one_in(&w->rng, 2));
	uint64_t before, after, want;
	char name[BS_FULL_NAME_MAX + 2];

	if (!img)
		return;
	(void)snprintf(name, sizeof(name), "%s", world_full_name(img));
	want = foretell(w, img);
	before = measure(w);
	(void)world_delete(w, img, BS_DELETE_KEEP_SNAPSHOTS);
	(void)world_drain(w);
	after = measure(w);
	sim_trace("%s: %llu bytes", name, (unsigned long long)want);
	sim_require(before - after == want, "deleting %s was to free %llu bytes and freed %lld",
		    name, (unsigned long long)want, (long long)(before - after));
}

void sim_exact_space(struct world *w)
{
	struct workload l;

	w->cfg.exact_slots = sim_one_in(&w->rng, 2) ? 16 : 0;
	if (sim_one_in(&w->rng, 2)) /* duplicates, for merging */
		w->cfg.index_bytes = w->cfg.near_bytes = 0;
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	l.images = 10;
	l.alphabet = sim_between(&w->rng, 4, 200);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 6; i++) {
			workload_run(w, &l, sim_between(&w->rng, 10, 60));
			world_settle(w);
			sim_grow_tree(w);
		}
		world_settle(w);
		if (sim_one_in(&w->rng, 2))
			(void)sim_merge_all(w);
		(void)world_drain(w);
		for (unsigned i = sim_between(&w->rng, 1, 4); i > 0; i--)
			delete_one(w);
		if (sim_one_in(&w->rng, 3))
			world_crash(w, sim_one_in(&w->rng, 2), false);
	}
	world_settle(w);
	(void)world_drain(w);
	while (workload_pick(w, false) || workload_pick(w, true))
		delete_one(w);
	sim_require(measure(w) == 0, "an empty store holds something");
	world_stop(w);
	world_recount(w, false);
}

/* Blocks that went in before there was no room left. */
static unsigned fill(struct world *w, struct model_image *v)
{
	unsigned n = 0;
	int status = 0;

	while (status == 0 && n < v->sectors / SIM_BLOCK_SECTORS) {
		struct world_req *q = world_write_block(w, v, n, world_new_content(w), 0);

		status = 1;
		if (!q)
			break;
		q->status = &status;
		(void)world_await(w, &status);
		n += status == 0;
	}
	world_forget(w, &status, 1);
	return n;
}

/* The others take what they can get; then every block anew, with content that nobody has. */
static void rewrite_thick(struct world *w)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && !img->snapshot && !img->thick)
			(void)fill(w, img);
	}
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && img->thick)
			sim_write_much(w, img, img->sectors / SIM_BLOCK_SECTORS);
	}
}

/* Where there is room for that. */
static void snapshot_thick(struct world *w)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];
		char name[32];

		(void)snprintf(name, sizeof(name), "s%u", ++w->names);
		if (img->live && img->thick)
			(void)world_snapshot(w, img, name);
	}
}

static void any_volume_thick(struct world *w)
{
	struct model_image *img = workload_pick(w, false);

	world_settle(w);
	if (img)
		(void)world_thick(w, img, !sim_one_in(&w->rng, 4));
}

/*
 * 23: whatever others write and whatever is done to them, volumes that are thick never find the
 * store full, also after their snapshots, kills and power cuts.
 */
void sim_thick(struct world *w)
{
	struct workload l;

	w->shift = 0;
	w->may_nospc = w->trims_may_drop = true;
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	l.alphabet = 4;
	l.min_blocks = 100;
	l.max_blocks = 600;
	l.largest_write = 1200;
	l.weight[WORK_WRITE] = 90;
	l.images = 8;
	for (unsigned round = 0; round < 4; round++) {
		workload_run(w, &l, sim_between(&w->rng, 50, 150));
		any_volume_thick(w);
		any_volume_thick(w);
		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 +
							 sim_below(&w->rng, 3000));
		workload_run(w, &l, sim_between(&w->rng, 50, 250));
		if (world_cut(w) || sim_one_in(&w->rng, 4))
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
		sim_disk_silence_at(w->disk, 0);
		world_settle(w);
		rewrite_thick(w);
		if (sim_one_in(&w->rng, 2)) {
			snapshot_thick(w);
			rewrite_thick(w);
		}
	}
	sim_end_empty(w);
}

static void trim_all(struct world *w)
{
	for (unsigned i = 0; i < MODEL_IMAGES; i++) {
		struct model_image *img = &w->model.images[i];

		if (img->live && !img->snapshot)
			(void)world_erase(w, img, BS_TRIM, 0, img->sectors, 0);
	}
	world_settle(w);
}

/* Filled, kept by snapshots, trimmed; a cut somewhere in it. */
static unsigned fill_and_trim(struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODEL_IMAGES && !world_cut(w); i++) {
		struct model_image *img = &w->model.images[i];
		char name[32];

		if (!img->live || img->snapshot)
			continue;
		n += fill(w, img);
		(void)snprintf(name, sizeof(name), "s%u", ++w->names);
		if (sim_one_in(&w->rng, 2) && !world_cut(w))
			(void)world_snapshot(w, img, name);
	}
	if (!world_cut(w))
		trim_all(w);
	return n;
}

/* 24: after each round of filling and deleting the store is as empty as before. */
void sim_filled_again(struct world *w)
{
	unsigned first = 0;

	w->may_nospc = w->trims_may_drop = true;
	world_format(w);
	world_open(w);
	for (unsigned i = 0; i < 5; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "v%u", ++w->names);
		(void)world_create(w, name, 600);
	}
	for (unsigned round = 0; round < 5; round++) {
		struct bs_store_info info;
		struct model_image *snap;
		unsigned n;
		bool cut;

		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 +
							 sim_below(&w->rng, 4000));
		n = fill_and_trim(w);
		cut = world_cut(w);
		if (cut)
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
		sim_disk_silence_at(w->disk, 0);
		while ((snap = workload_pick(w, true)))
			(void)world_delete(w, snap, BS_DELETE_PLAIN);
		trim_all(w);
		(void)world_drain(w);
		sim_host_info(w->host, &info);
		sim_require(info.unique_content_bytes == 0,
			    "%llu unique bytes are left after everything was trimmed",
			    (unsigned long long)info.unique_content_bytes);
		sim_require(cut || n + n / 8 >= first, "%u blocks filled the store, %u at first", n,
			    first);
		first = first || cut ? first : n;
	}
	sim_end_empty(w);
}
