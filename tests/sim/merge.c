#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

/* One step of merging; begins it when none is under way. false: cut. */
static bool step(struct world *w, struct bs_merge_info *info)
{
	struct sim_admin *a = world_side_new(w, SIM_MERGE);
	int rc = world_side(w, a);

	if (rc == WORLD_CUT)
		return false;
	sim_require(rc == 0 || (rc == VS_E_NOSPC && w->may_nospc), "merging: %s", a->err.text);
	*info = a->merge;
	return true;
}

/* Goes through everything while nobody changes anything. Returns what was merged. */
uint64_t sim_merge_all(struct world *w)
{
	struct bs_merge_info info = {0};

	while (!info.finished)
		if (!step(w, &info))
			return 0;
	return info.merged;
}

/* After that nothing is left to merge, and what was found agrees with a recount. */
static void merge_in_peace(struct world *w)
{
	struct bs_merge_info info = {0};

	world_settle(w);
	while (!info.finished) /* what was begun under load */
		(void)step(w, &info);
	(void)sim_merge_all(w);
	if (w->cfg.ref_cap > 100)
		sim_require(sim_merge_all(w) == 0, "merging twice finds more than merging once");
	world_verify(w, w->model.now, false);
	world_recount(w, true);
}

/*
 * Duplicates that are written because the index is small or absent are merged under load, in
 * snapshots, clones and volumes alike, with kills and power cuts on the way.
 */
void sim_merge(struct world *w)
{
	struct bs_merge_info info = {0};
	struct workload l;

	w->cfg.index_bytes = sim_one_in(&w->rng, 3) ? 4096 : 0;
	w->cfg.near_bytes = 0;
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	l.alphabet = sim_between(&w->rng, 3, 60);
	for (unsigned round = sim_between(&w->rng, 2, 4); round--;) {
		unsigned steps = sim_between(&w->rng, 2, 12);

		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 500));
		while (steps-- && !world_cut(w)) {
			workload_run(w, &l, sim_between(&w->rng, 2, 40));
			if (!world_cut(w) && !step(w, &info))
				break;
		}
		if (world_cut(w) || sim_one_in(&w->rng, 4))
			world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 3));
		sim_disk_silence_at(w->disk, 0);
	}
	merge_in_peace(w);
	workload_run(w, &l, 40);
	sim_end_empty(w);
}
