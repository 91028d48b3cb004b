#include "tests/sim/hostint.h"

#include "blockstore/pool_change.h"
#include "blockstore/pool_open.h"
#include "blockstore/port.h"
#include "common/bytes.h"
#include "tests/sim/report.h"

#include <stdlib.h>

static uint64_t env_now(void *arg)
{
	const struct sim_host *h = arg;

	return h->clock->ns;
}

static int64_t env_unix(void *arg)
{
	const struct sim_host *h = arg;

	return (int64_t)h->clock->ns + INT64_C(1700000000000000000);
}

static uint64_t env_random(void *arg)
{
	struct sim_host *h = arg;

	return sim_u64(&h->rng);
}

static void env_event(void *arg, enum bs_severity severity, const char *kind, const char *message)
{
	struct sim_host *h = arg;

	h->complaints += severity != BS_INFO;
	sim_trace("event %d %s: %s", (int)severity, kind, message);
}

static void env_wake(void *arg)
{
	struct sim_host *h = arg;

	h->wake = 0;
}

static unsigned attach(struct sim_disk *disk, struct sim_clock *clock, struct bs_device *dev[2])
{
	struct sim_disk *partner = sim_disk_partner(disk);
	unsigned n = 0;

	if (!sim_disk_pulled(disk))
		dev[n++] = sim_disk_attach(disk, clock);
	if (partner && !sim_disk_pulled(partner))
		dev[n++] = sim_disk_attach(partner, clock);
	return n;
}

static void detach(struct bs_device *dev[2], unsigned n)
{
	while (n)
		bs_device_close(dev[--n]);
}

int sim_host_format(struct sim_disk *disk, struct sim_clock *clock, uint64_t segment_size,
		    struct vs_error *err)
{
	struct bs_init_options opts = {
	    .segment_size = segment_size,
	    .compression = BS_CODING_LZ4,
	};
	struct bs_device *dev[2];
	unsigned n = attach(disk, clock, dev);
	int rc;

	opts.mirror = n > 1;
	rc = bs_store_init_all(dev, n, &opts, err);

	detach(dev, n);
	return rc;
}

static int open_engine(struct sim_host *h, const struct sim_host_config *cfg, struct vs_error *err)
{
	const struct bs_engine_config config = {
	    .frames = cfg->frames,
	    .cache_blocks = cfg->cache_blocks,
	    .read_pages = 256,
	    .index_bytes = cfg->index_bytes,
	    .near_bytes = cfg->near_bytes,
	    .near_digests = 128,
	    .merge_bytes = 4096,
	    .fibers = cfg->fibers,
	    .units = cfg->units,
	    .unit_max = cfg->unit_max,
	    .checkpoint_bytes = cfg->checkpoint_bytes,
	    .checkpoint_step = cfg->checkpoint_step,
	    .spares = cfg->spares,
	    .recovery_us = cfg->recovery_us,
	    .ref_cap = cfg->ref_cap,
	    .gen_mask = cfg->gen_mask,
	    .max_contents = cfg->max_contents,
	    .discard = true,
	    .discard_ns = cfg->discard_ns,
	    .exact_slots = cfg->exact_slots,
	    .drops = cfg->drops,
	    .origin_hold_ns = cfg->origin_hold_ns,
	};
	const struct bs_env env = {.now_ns = env_now,
				   .unix_ns = env_unix,
				   .random = env_random,
				   .event = env_event,
				   .wake = env_wake,
				   .arg = h};

	return bs_engine_open(h->dev, h->ndevs, &config, &env, &h->engine, err);
}

int sim_host_open(struct sim_disk *disk, struct sim_clock *clock, const struct sim_host_config *cfg,
		  uint64_t seed, struct sim_host **out, struct vs_error *err)
{
	struct sim_host *h = calloc(1, sizeof(*h));
	int rc;

	VS_ASSERT(h);
	h->disk = disk;
	h->clock = clock;
	h->rng = sim_rng_from(seed);
	h->ndevs = attach(disk, clock, h->dev);
	rc = open_engine(h, cfg, err);
	if (rc < 0) {
		detach(h->dev, h->ndevs);
		free(h);
		return rc;
	}
	for (unsigned i = 0; i < cfg->ports; i++) {
		VS_ASSERT(bs_port_new(h->engine, NULL, cfg->depth[i], &h->ports[i]) == 0);
		h->engine->ports[h->engine->nports++] = h->ports[i];
		h->nports++;
	}
	VS_ASSERT(bs_fiber_pool_new(8, &h->tasks) == 0);
	VS_ASSERT(bs_scrub_new((struct bs_store *)h, &h->scrub) == 0);
	if (cfg->fetch)
		h->runner = sim_runner_new(h, cfg);
	*out = h;
	return 0;
}

static void free_users(struct sim_host *h)
{
	for (unsigned i = 0; i < h->nports; i++)
		bs_port_free(h->ports[i]);
	h->engine->nports = 0;
	bs_fiber_pool_free(h->tasks);
	sim_runner_free(h->runner);
	bs_scrub_free(h->scrub);
}

/* All requests are done; what the engine pinned for the last reads is given back now. */
static void settle(struct sim_host *h)
{
	for (sim_runner_stop(h->runner); !sim_runner_ended(h->runner);) {
		bool did = sim_runner_poll(h->runner);

		did |= bs_fiber_run_ready(h->tasks) > 0;
		did |= bs_engine_poll(h->engine, &h->wake);
		if (!did)
			h->engine->dev->ops->wait(h->engine->dev);
	}
	for (unsigned i = 0; i < h->nports; i++) {
		while (bs_port_busy(h->ports[i])) {
			(void)bs_engine_poll(h->engine, &h->wake);
			(void)bs_port_poll(h->ports[i]);
		}
	}
}

int sim_host_close(struct sim_host *h, struct vs_error *err)
{
	int rc;

	settle(h);
	free_users(h);
	rc = bs_engine_close(h->engine, err);
	detach(h->dev, h->ndevs);
	free(h);
	return rc;
}

void sim_host_abandon(struct sim_host *h)
{
	free_users(h);
	bs_engine_abandon(h->engine);
	detach(h->dev, h->ndevs);
	free(h);
}

unsigned sim_host_parts(const struct sim_host *h)
{
	return 2 + h->nports + (h->runner != NULL);
}

bool sim_host_poll(struct sim_host *h, unsigned part)
{
	if (part > h->nports + 1)
		return sim_runner_poll(h->runner);
	if (part > h->nports)
		return bs_fiber_run_ready(h->tasks) > 0;
	if (part > 0)
		return bs_port_poll(h->ports[part - 1]);
	return bs_engine_poll(h->engine, &h->wake);
}

uint64_t sim_host_wake(const struct sim_host *h)
{
	return h->wake;
}

void sim_host_submit(struct sim_host *h, unsigned port, struct bs_req *req)
{
	bs_submit(h->ports[port], req);
}

void sim_host_info(struct sim_host *h, struct bs_store_info *out)
{
	bs_engine_info(h->engine, out);
}

uint64_t sim_host_mended(const struct sim_host *h)
{
	return h->engine->count.mended;
}

bool sim_host_in_sync(const struct sim_host *h)
{
	const struct bs_pool *p = h->engine->pool;

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->tab.dev[i].state != BS_MEMBER_NONE && p->tab.dev[i].state != BS_MEMBER_SYNC)
			return false;
	return !p->settling;
}

static const char *const disks[] = {"simulated disk", "second disk"};

static int join_call(struct bs_engine *e, struct bs_call *c)
{
	struct sim_host *h = c->arg;
	const struct bs_device_add how = {.mirror_of = disks[0], .force = true};
	struct bs_super label;
	bool has = bs_pool_read_super(h->dev[1], &label, NULL) == 0;

	return bs_pool_join(e, h->dev[1], has ? &label : NULL, &how, NULL);
}

static int extend_call(struct bs_engine *e, struct bs_call *c)
{
	struct sim_host *h = c->arg;
	const struct bs_device_add how = {.force = true};
	struct bs_super label;
	bool has = bs_pool_read_super(h->dev[1], &label, NULL) == 0;

	return bs_pool_join(e, h->dev[1], has ? &label : NULL, &how, NULL);
}

static int leave_call(struct bs_engine *e, struct bs_call *c)
{
	struct sim_host *h = vs_container_of(c, struct sim_host, change);
	struct bs_device *gone;
	int rc = bs_pool_leave(e, c->arg ? disks[1] : disks[0], &gone, NULL);

	return rc ? rc : h->changed;
}

static void change_done(struct bs_call *c)
{
	struct sim_host *h = vs_container_of(c, struct sim_host, change);

	h->changing = false;
	h->changed = c->status == 1 ? 0 : c->status;
}

static void change(struct sim_host *h, int (*fn)(struct bs_engine *, struct bs_call *), void *arg)
{
	sim_require(!h->changing, "two changes of the devices at once");
	h->changing = true;
	h->changed = 1;
	h->change = (struct bs_call){.fn = fn, .arg = arg, .writer = true, .done = change_done};
	bs_engine_call(h->engine, &h->change);
}

void sim_host_join(struct sim_host *h)
{
	if (h->ndevs == 1)
		h->dev[h->ndevs++] = sim_disk_attach(sim_disk_partner(h->disk), h->clock);
	change(h, join_call, h);
}

void sim_host_extend(struct sim_host *h)
{
	if (h->ndevs == 1)
		h->dev[h->ndevs++] = sim_disk_attach(sim_disk_partner(h->disk), h->clock);
	change(h, extend_call, h);
}

void sim_host_leave(struct sim_host *h, unsigned i)
{
	change(h, leave_call, i ? h : NULL);
}

static int forget_call(struct bs_engine *e, struct bs_call *c)
{
	const struct sim_host *h = vs_container_of(c, struct sim_host, change);
	const struct bs_pool *p = h->engine->pool;
	struct bs_device *gone;
	char uuid[VS_UUID_TEXT];

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state != BS_MEMBER_MISSING || p->side[i].dev)
			continue;
		vs_uuid_format(&p->tab.dev[i].uuid, uuid);
		return bs_pool_leave(e, uuid, &gone, NULL);
	}
	return VS_E_NOENT;
}

bool sim_host_forget(struct sim_host *h)
{
	const struct bs_pool *p = h->engine->pool;

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state == BS_MEMBER_MISSING && !p->side[i].dev) {
			change(h, forget_call, NULL);
			return true;
		}
	}
	return false;
}

int sim_host_changed(const struct sim_host *h)
{
	return h->changed;
}

unsigned sim_host_sides(const struct sim_host *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->engine->pool->tab.ndevs; i++)
		n += h->engine->pool->tab.dev[i].state != BS_MEMBER_NONE;
	return n;
}

unsigned sim_host_complaints(const struct sim_host *h)
{
	return h->complaints;
}

static void report_line(void *arg, const char *line, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	if (line)
		sim_note("check: %s", line);
}

int sim_host_check(const struct sim_disk *disk, bool read_data, struct bs_check_result *out,
		   struct vs_error *err)
{
	struct sim_disk *copy = sim_disk_copy(disk);
	struct sim_clock clock = {.ns = 1};
	const struct bs_check_options opts = {
	    .memory = UINT64_C(256) << 20, .read_data = read_data, .report = report_line};
	struct bs_device *dev[2];
	unsigned n;
	int rc;

	sim_forget_notes();
	n = attach(copy, &clock, dev);
	rc = bs_check_run_all(dev, n, &opts, out, err);

	sim_disk_free(copy);
	return rc;
}
