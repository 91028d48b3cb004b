#include "blockstore/super_format.h"
#include "common/bytes.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#define FOR_GOOD (1u << 30)

static struct sim_disk *side(struct world *w, unsigned i)
{
	return i ? sim_disk_partner(w->disk) : w->disk;
}

/* The disk fails everything from some request of each kind on. */
static void kill_disk(struct world *w, struct sim_disk *d)
{
	static const enum bs_devop ops[] = {BS_DEV_READ, BS_DEV_WRITE, BS_DEV_FLUSH};

	for (unsigned i = 0; i < VS_ARRAY_LEN(ops); i++) {
		struct sim_rule rule = {
		    .op = ops[i], .skip = sim_below(&w->rng, 30), .count = FOR_GOOD};

		(void)sim_disk_add_rule(d, &rule);
	}
}

static void hiccup(struct world *w, struct sim_disk *d)
{
	for (unsigned i = 0; i < 3; i++) {
		struct sim_rule rule = {.op = sim_one_in(&w->rng, 2) ? BS_DEV_READ : BS_DEV_WRITE,
					.skip = sim_below(&w->rng, 60),
					.count = sim_between(&w->rng, 1, 4)};

		(void)sim_disk_add_rule(d, &rule);
	}
}

static void rot(struct world *w, struct sim_disk *d)
{
	for (unsigned i = sim_between(&w->rng, 1, 40); i; i--)
		sim_disk_rot(d, sim_below(&w->rng, (uint32_t)w->disk_size), sim_below(&w->rng, 8));
}

static void crash(struct world *w)
{
	world_crash(w, sim_one_in(&w->rng, 2), sim_one_in(&w->rng, 4));
}

/* The node runs without the disk for a while; the disk comes back as it was. */
static void pull(struct world *w, struct workload *l, struct sim_disk *d)
{
	world_die(w, sim_one_in(&w->rng, 2));
	sim_disk_pull(d, true);
	world_recover(w, true, sim_one_in(&w->rng, 4));
	for (unsigned i = sim_below(&w->rng, 3); i; i--) {
		workload_run(w, l, 60);
		crash(w);
	}
	workload_run(w, l, sim_below(&w->rng, 100));
	world_die(w, sim_one_in(&w->rng, 2));
	sim_disk_pull(d, false);
	world_recover(w, true, sim_one_in(&w->rng, 4));
}

/* Until both sides hold everything, with load and cuts on the way. */
static void bring_together(struct world *w, struct workload *l)
{
	for (unsigned i = sim_below(&w->rng, 4); i; i--) {
		sim_disk_silence_at(w->disk,
				    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 300));
		workload_run(w, l, 60);
		crash(w);
	}
	sim_disk_silence_at(w->disk, 0);
	for (unsigned i = 0; i < 200000 && !sim_host_in_sync(w->host); i++)
		sim_require(world_turn(w), "nothing happens and the mirror is not in sync");
	sim_require(sim_host_in_sync(w->host), "the mirror does not get in sync");
}

/* What is in sync has everything: the node runs with this disk alone. */
static void alone(struct world *w, struct workload *l, unsigned i)
{
	bool power = sim_one_in(&w->rng, 2);

	world_settle(w);
	world_die(w, power);
	sim_disk_pull(side(w, !i), true);
	world_recover(w, power, false);
	world_recount(w, true);
	workload_run(w, l, 20);
	world_die(w, power);
	sim_disk_pull(side(w, !i), false);
	world_recover(w, true, false);
	bring_together(w, l);
}

/*
 * One side of a mirror fails, rots, is pulled and comes back while guests work: they see no error,
 * and nothing is lost. The other side's turn comes when both are in sync, unless one has rotted.
 */
void sim_mirror(struct world *w)
{
	bool rots = sim_one_in(&w->rng, 3);
	unsigned bad = sim_below(&w->rng, 2), rounds = sim_between(&w->rng, 2, 4);
	struct workload l;

	sim_disk_pair(w->disk, sim_u64(&w->rng));
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	workload_run(w, &l, 60);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned what = sim_below(&w->rng, 4);

		if (rots)
			rot(w, side(w, bad));
		if (what == 0)
			kill_disk(w, side(w, bad));
		else if (what == 1)
			hiccup(w, side(w, bad));
		else if (what == 2)
			pull(w, &l, side(w, bad));
		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 500));
		workload_run(w, &l, sim_between(&w->rng, 20, 150));
		crash(w);
		bring_together(w, &l);
		if (rots)
			continue;
		alone(w, &l, sim_below(&w->rng, 2));
		bad = !bad;
	}
	world_settle(w);
	world_pin_all(w);
	world_verify(w, w->model.now, false);
	if (!rots)
		world_recount(w, true);
	world_stop(w);
}

static void maybe_silence(struct world *w, uint32_t events)
{
	if (sim_one_in(&w->rng, 2))
		sim_disk_silence_at(w->disk,
				    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, events));
}

static void await_change(struct world *w)
{
	for (unsigned i = 0; i < 200000 && sim_host_changed(w->host) == 1 && !world_cut(w); i++)
		sim_require(world_turn(w) || world_cut(w), "a change of the devices never ends");
	sim_require(world_cut(w) || sim_host_changed(w->host) == 0, "a change of the devices: %s",
		    vs_err_text(sim_host_changed(w->host)));
}

static void join(struct world *w, struct workload *l)
{
	for (unsigned i = 0; i < 3 || sim_host_sides(w->host) < 2; i++) {
		if (sim_host_sides(w->host) == 2) {
			workload_run(w, l, 40);
			crash(w);
		} else {
			if (i < 3)
				maybe_silence(w, 150);
			sim_host_join(w->host);
			workload_run(w, l, sim_below(&w->rng, 60));
			await_change(w);
			if (world_cut(w) || sim_one_in(&w->rng, 3))
				crash(w);
		}
		if (sim_host_forget(w->host))
			await_change(w);
	}
}

/* A store of the first disk, in use; the second one is there, and nobody's. */
static void begin_alone(struct world *w, struct workload *l)
{
	sim_disk_pair(w->disk, sim_u64(&w->rng));
	sim_disk_pull(side(w, 1), true);
	world_format(w);
	world_open(w);
	workload_default(w, l);
	workload_run(w, l, 80);
	sim_disk_pull(side(w, 1), false);
}

/* The disk that went is pulled, and the other one has everything. */
static void end_without(struct world *w, struct workload *l, unsigned goes)
{
	workload_run(w, l, 40);
	world_settle(w);
	world_die(w, sim_one_in(&w->rng, 2));
	sim_disk_pull(side(w, goes), true);
	world_recover(w, true, false);
	world_recount(w, true);
	world_stop(w);
}

static void extend(struct world *w, struct workload *l)
{
	for (unsigned i = 0; sim_host_sides(w->host) < 2; i++) {
		if (i < 3)
			maybe_silence(w, 150);
		sim_host_extend(w->host);
		workload_run(w, l, sim_below(&w->rng, 60));
		await_change(w);
		if (world_cut(w) || sim_one_in(&w->rng, 3))
			crash(w);
	}
}

/* Refused if what lives in the store, with what guests still write, has no room on one disk. */
static bool leave(struct world *w, struct workload *l, unsigned goes)
{
	struct bs_store_info info;

	sim_host_leave(w->host, goes);
	workload_run(w, l, sim_below(&w->rng, 60));
	for (unsigned i = 0; i < 200000 && sim_host_changed(w->host) == 1 && !world_cut(w); i++)
		sim_require(world_turn(w) || world_cut(w), "a change of the devices never ends");
	if (world_cut(w) || sim_host_changed(w->host) == 0)
		return true;
	sim_host_info(w->host, &info);
	sim_require(sim_host_changed(w->host) == VS_E_NOSPC &&
			info.physical_used_bytes > w->disk_size / 4,
		    "a disk cannot leave: %s", vs_err_text(sim_host_changed(w->host)));
	sim_trace("%llu bytes have no room on one disk",
		  (unsigned long long)info.physical_used_bytes);
	return false;
}

static bool gone(const struct world *w)
{
	return sim_host_sides(w->host) == 1 && sim_host_in_sync(w->host);
}

/* The store is larger by a second disk, and then one of the two is emptied and goes. */
void sim_extended(struct world *w)
{
	unsigned goes = sim_below(&w->rng, 2);
	struct workload l;

	begin_alone(w, &l);
	extend(w, &l);
	for (unsigned i = sim_below(&w->rng, 3); i; i--) {
		maybe_silence(w, 300);
		workload_run(w, &l, 80);
		crash(w);
	}
	maybe_silence(w, 60);
	if (!leave(w, &l, goes))
		return;
	crash(w);
	for (unsigned i = 0; i < 3 && sim_host_sides(w->host) == 2; i++) {
		maybe_silence(w, 300);
		workload_run(w, &l, 80);
		if (world_cut(w) || sim_one_in(&w->rng, 2))
			crash(w);
	}
	sim_disk_silence_at(w->disk, 0);
	if (sim_host_sides(w->host) == 2 && sim_host_in_sync(w->host)) {
		if (!leave(w, &l, goes)) /* power was lost before anybody knew */
			return;
	}
	for (unsigned i = 0; i < 200000 && !gone(w); i++)
		sim_require(world_turn(w), "nothing happens and the disk is not empty");
	sim_require(gone(w), "the disk does not get empty");
	end_without(w, &l, goes);
}

/*
 * A second disk becomes a mirror of a store in use, and then one of the two goes; power is cut at
 * any time. What is in sync works alone.
 */
void sim_joined(struct world *w)
{
	unsigned goes = sim_below(&w->rng, 2);
	struct workload l;

	begin_alone(w, &l);
	join(w, &l);
	bring_together(w, &l);
	if (sim_one_in(&w->rng, 2))
		alone(w, &l, sim_below(&w->rng, 2));
	maybe_silence(w, 60);
	sim_host_leave(w->host, goes);
	workload_run(w, &l, sim_below(&w->rng, 60));
	await_change(w);
	crash(w);
	if (sim_host_sides(w->host) == 2)
		bring_together(w, &l);
	end_without(w, &l, goes);
}
