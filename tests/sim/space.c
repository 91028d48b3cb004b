/* What deletions free: said before, measured after. */
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
