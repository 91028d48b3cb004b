#include "tests/sim/world.h"

#include "blockstore/engine.h"
#include "common/bytes.h"
#include "dedup/digest.h"
#include "tests/sim/report.h"

#include <stdio.h>
#include <stdlib.h>

/* Turns without any request getting done: what the device holds back it gives now. */
#define STALL_TURNS 2000u
/* And without any after that: a deadlock. */
#define IDLE_TURNS 50000u

void world_init(struct world *w, uint64_t seed, uint64_t disk_size)
{
	struct vs_error err;

	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->rng = sim_rng_from(seed);
	w->clock.ns = 1000000000;
	w->disk_size = disk_size;
	w->disk = sim_disk_new(disk_size, sim_u64(&w->rng));
	w->next_content = 1000;
	model_init(&w->model);
	sim_require(dd_hasher_new(&w->hasher, &err) == 0, "no hasher");
	world_default_config(w);
	if (sim_one_in(&w->rng, 4)) /* maps of two and three levels instead of one and two */
		w->shift = 512 * 512 - 256;
}

void world_end(const struct world *w)
{
	struct sim_rng rng = w->rng;

	sim_trace("end: %llu turns, %llu completions, %llu I/O events, chance %016llx",
		  (unsigned long long)w->turns, (unsigned long long)w->completions,
		  (unsigned long long)sim_disk_events(w->disk), (unsigned long long)sim_u64(&rng));
}

void world_free(struct world *w)
{
	if (w->host) {
		sim_disk_kill(w->disk);
		sim_host_abandon(w->host);
		world_drop_requests(w);
	}
	dd_hasher_free(w->hasher);
	world_free_origins(w);
	model_free(&w->model);
	sim_disk_free(w->disk);
}

void world_default_config(struct world *w)
{
	struct sim_rng *r = &w->rng;

	w->cfg = (struct sim_host_config){
	    .segment_size = 256 << 10,
	    .frames = sim_between(r, 512, 700),
	    .cache_blocks = sim_between(r, 16, 128),
	    .units = sim_between(r, 3, 8),
	    .fibers = sim_between(r, BS_FIBERS_KEPT + 2, BS_FIBERS_KEPT + 18),
	    .unit_max = 4096u * sim_between(r, 36, 64),
	    .checkpoint_bytes = UINT64_C(65536) * sim_between(r, 2, 64),
	    .checkpoint_step = sim_between(r, 1, 8),
	    .spares = sim_between(r, 128, 200),
	    .recovery_us = sim_one_in(r, 4) ? 3000 : 5000000,
	    .discard_ns = sim_between(r, 3, 5000) * UINT64_C(1000),
	    .ref_cap = sim_one_in(r, 4) ? 3 : 65535,
	    .gen_mask = sim_one_in(r, 2) ? 3 : 0xffff,
	    .max_contents = 1u << 16,
	    .drops = sim_one_in(r, 3) ? 0 : sim_between(r, 1, 300),
	    .ports = sim_between(r, 1, SIM_PORTS),
	    .index_bytes = sim_one_in(r, 2) ? 65536 : 4096, /* all digests, or some of them */
	    .near_bytes = sim_one_in(r, 4) ? 0 : 4096,
	};
	for (unsigned i = 0; i < SIM_PORTS; i++)
		w->cfg.depth[i] = sim_between(r, 1, 32);
}

void world_format(struct world *w)
{
	struct vs_error err = {0};
	int rc = sim_host_format(w->disk, &w->clock, w->cfg.segment_size, &err);

	sim_require(rc == 0, "init: %s", err.text);
}

void world_open(struct world *w)
{
	struct vs_error err = {0};
	int rc;

	rc = sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err);
	sim_require(rc == 0, "open: %s", err.text);
	world_verify(w, w->model.now, false);
	w->opened_at = sim_disk_events(w->disk);
	if (w->cut_at)
		sim_disk_silence_at(w->disk, w->cut_at);
}

static void advance(struct world *w, uint64_t to)
{
	w->clock.ns = VS_MAX(w->clock.ns + 1, to);
}

/* Nobody could do anything: the next thing that can happen is the disk's or the engine's clock. */
static bool sleep_until_next(struct world *w)
{
	uint64_t wake = sim_host_wake(w->host), due;

	if (sim_disk_due(w->disk, &due))
		wake = VS_MIN(wake, due);
	if (wake == UINT64_MAX)
		return false;
	advance(w, wake);
	return true;
}

bool world_turn(struct world *w)
{
	unsigned parts = sim_host_parts(w->host), first = sim_below(&w->rng, parts);

	w->turns++;
	model_tick(&w->model);
	if (w->in_flight || w->admin_busy)
		sim_require(++w->idle_turns < IDLE_TURNS,
			    "deadlock: %u requests in flight, administration %s, nothing gets done",
			    w->in_flight, w->admin_busy ? "too" : "idle");
	if (w->idle_turns % STALL_TURNS == STALL_TURNS - 1)
		sim_disk_release(w->disk);
	if (sim_one_in(&w->rng, 8))
		advance(w, w->clock.ns + sim_below(&w->rng, 100000));
	for (unsigned i = 0; i < parts; i++)
		if (sim_host_poll(w->host, (first + i) % parts))
			return true;
	return sleep_until_next(w);
}

bool world_cut(const struct world *w)
{
	return sim_disk_silent(w->disk);
}

void world_turns(struct world *w, unsigned n)
{
	while (n-- && !world_cut(w) && world_turn(w))
		;
}

void world_settle(struct world *w)
{
	while ((w->in_flight || w->admin_busy) && !world_cut(w))
		sim_require(world_turn(w) || world_cut(w),
			    "deadlock: %u requests in flight and nothing to wait for",
			    w->in_flight);
}

void world_stop(struct world *w)
{
	struct vs_error err = {0};
	int rc;

	world_settle(w);
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		if (w->model.images[i].live)
			world_unhandle(w, &w->model.images[i]);
	rc = sim_host_close(w->host, &err);
	w->host = NULL;
	sim_require(rc == 0 || w->may_fail, "clean stop: %s", err.text);
}

void world_die(struct world *w, bool power)
{
	sim_trace("%s at event %llu, %u requests in flight%s", power ? "power cut" : "kill",
		  (unsigned long long)sim_disk_events(w->disk), w->in_flight,
		  w->admin_busy ? ", administration too" : "");
	model_tick(&w->model);
	if (power)
		sim_disk_power_cut(w->disk);
	else
		sim_disk_kill(w->disk);
	sim_host_abandon(w->host);
	w->host = NULL;
	w->crashes++;
	world_drop_requests(w);
	for (unsigned i = 0; i < MODEL_IMAGES; i++)
		w->model.images[i].user = NULL;
	for (unsigned i = 0; i < WORLD_SIDE; i++)
		w->side[i].arg = NULL;
	w->admin_cut = w->admin_busy || w->admin_unsure;
	w->admin_busy = w->admin_unsure = false;
}

/* Tries to open with the device falling silent on the way; true if it did. */
static bool cut_inside_recovery(struct world *w)
{
	struct vs_error err = {0};

	sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 +
					 sim_below(&w->rng, sim_one_in(&w->rng, 4) ? 400 : 60));
	if (sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err) == 0) {
		world_turns(w, 20);
		if (!sim_disk_silent(w->disk)) {
			sim_disk_silence_at(w->disk, 0);
			return false;
		}
		sim_disk_power_cut(w->disk);
		sim_host_abandon(w->host);
		w->host = NULL;
		return true;
	}
	sim_require(sim_disk_silent(w->disk), "recovery: %s", err.text);
	sim_trace("recovery cut: %s", err.text);
	sim_disk_power_cut(w->disk);
	return true;
}

bool world_try_open(struct world *w)
{
	struct vs_error err = {0};
	int rc = sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err);

	if (rc < 0)
		sim_trace("open: %s", err.text);
	return rc == 0;
}

void world_recover(struct world *w, bool power, bool again)
{
	struct vs_error err = {0};
	int rc;

	for (unsigned i = 0; again && i < 3 && !w->host; i++)
		power |= cut_inside_recovery(w);
	if (!w->host) {
		rc = sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err);
		sim_require(rc == 0, "recovery after a %s: %s", power ? "power cut" : "kill",
			    err.text);
	}
	world_verify(w, power ? w->model.durable : w->model.now, true);
}

void world_crash(struct world *w, bool power, bool again)
{
	world_die(w, power);
	world_recover(w, power, again);
}

uint64_t world_new_content(struct world *w)
{
	return w->next_content++;
}

const char *world_full_name(const struct model_image *img)
{
	static char names[4][BS_FULL_NAME_MAX + 2];
	static unsigned turn;
	char *p = names[turn++ % 4];

	(void)snprintf(p, sizeof(names[0]), "%s%s%s", img->name, img->snap[0] ? "@" : "",
		       img->snap);
	return p;
}
