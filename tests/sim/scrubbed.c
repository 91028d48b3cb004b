/* A scrub beside everything else: it finds nothing where there is nothing, and what is there. */
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include "common/bytes.h"

/* It is looked at before its place is given to another call. */
static void stays(struct sim_admin *a)
{
	a->host = NULL;
}

/* A whole pass while guests and administrators go on; they are cut off in the middle of some. */
static void scrub_beside(struct world *w, const struct workload *l)
{
	struct sim_admin *a = world_side_new(w, SIM_SCRUB);

	a->rewrite = sim_one_in(&w->rng, 2) ? sim_between(&w->rng, 1, 4) : 0;
	a->done = stays;
	sim_host_admin(w->host, a);
	while (a->host && !world_cut(w))
		workload_run(w, l, 10);
	if (a->host)
		return;
	a->arg = NULL;
	sim_trace("scrub: %u found, %u rewritten, counts %u", a->found, a->rewritten, a->counts);
	sim_require(a->status == 0, "scrub: %s", a->err.text);
	sim_require(a->found == 0, "a scrub finds damage in a sound store");
	sim_require(a->counts == BS_COUNTS_RIGHT || a->counts == BS_COUNTS_PUT_OFF,
		    "a scrub cannot count the references of a sound store");
}

/* A content's bytes rot: the scrub says so, and whoever reads it. */
static void rot_one(struct world *w)
{
	struct sim_admin *a;

	world_settle(w);
	(void)world_drain(w);
	sim_require(world_sync(w) == 0, "flush failed");
	a = world_side_new(w, SIM_SCRUB);
	a->rot = true;
	(void)world_side(w, a);
	sim_trace("scrub: %u rotten, %u found", a->rotten, a->found);
	sim_require(a->found == a->rotten, "%u contents are rotten, %u are found", a->rotten,
		    a->found);
	a = world_side_new(w, SIM_SCRUB);
	a->heal = true;
	(void)world_side(w, a);
	sim_require(a->found == a->rewritten, "%u of %u damaged contents are healed", a->rewritten,
		    a->found);
	world_verify(w, w->model.now, false);
}

void sim_scrubbed(struct world *w)
{
	struct workload l;

	world_format(w);
	world_open(w);
	workload_default(w, &l);
	for (unsigned round = 0; round < 3; round++) {
		workload_run(w, &l, sim_between(&w->rng, 50, 200));
		if (!world_cut(w) && sim_one_in(&w->rng, 3))
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 400));
		for (unsigned i = 0; i < 3 && !world_cut(w); i++)
			scrub_beside(w, &l);
		if (world_cut(w) || sim_one_in(&w->rng, 3))
			world_crash(w, sim_one_in(&w->rng, 2), false);
	}
	sim_disk_silence_at(w->disk, 0);
	rot_one(w);
	world_stop(w);
	world_recount(w, true);
}
