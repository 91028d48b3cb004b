#include "blockstore/open.h"

#include "blockstore/checkpoint.h"
#include "blockstore/clean.h"
#include "blockstore/discard.h"
#include "blockstore/exact_int.h"
#include "blockstore/index_save.h"
#include "blockstore/op.h"
#include "blockstore/pool_open.h"
#include "blockstore/replay.h"
#include "blockstore/temporary.h"
#include "blockstore/resilver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BEAT_NS UINT64_C(2000000000)

static int judge_features(struct bs_engine *e, struct vs_error *err)
{
	uint64_t in = e->sb.incompat & ~BS_KNOWN_INCOMPAT;
	uint64_t ro = e->sb.ro_compat & ~BS_KNOWN_RO_COMPAT;

	if (in)
		return vs_fail(err, VS_E_FEATURE,
			       "%s uses incompatible features 0x%llx that this vstore does not "
			       "know: use a later vstore",
			       e->dev->name, (unsigned long long)in);
	if (ro && !e->read_only) {
		e->read_only = true;
		(void)snprintf(e->why, sizeof(e->why), "unknown features 0x%llx",
			       (unsigned long long)ro);
		bs_engine_event(e, BS_WARNING, "read-only",
				"the store is read-only: features 0x%llx are not known",
				(unsigned long long)ro);
	}
	return 0;
}

static void machine_id(uint8_t id[32])
{
	FILE *f = fopen("/etc/machine-id", "re");

	memset(id, '0', 32);
	if (!f)
		return;
	if (fread(id, 1, 32, f) != 32)
		memset(id, '0', 32);
	(void)fclose(f);
}

static int write_owner(struct bs_engine *e)
{
	bs_owner_encode(e->owner_buf, &e->owner);
	return bs_device_sync(e->dev, BS_DEV_WRITE, BS_OWNER_OFFSET, e->owner_buf, BS_SUPER_SIZE);
}

/*
 * A store that another machine holds must not be opened: its heartbeat is watched for three beats.
 * On the same machine the device's lock has already decided.
 */
static int take_ownership(struct bs_engine *e, struct vs_error *err)
{
	struct bs_owner now, was;
	uint8_t me[32];
	int rc;

	machine_id(me);
	rc = bs_device_sync(e->dev, BS_DEV_READ, BS_OWNER_OFFSET, e->owner_buf, BS_SUPER_SIZE);
	if (rc)
		return vs_fail(err, rc, "cannot read the owner of %s", e->dev->name);
	if (bs_owner_decode(e->owner_buf, &was) == 0 && was.held &&
	    memcmp(was.machine, me, sizeof(me)) != 0) {
		(void)usleep(3 * (useconds_t)(BEAT_NS / 1000));
		rc = bs_device_sync(e->dev, BS_DEV_READ, BS_OWNER_OFFSET, e->owner_buf,
				    BS_SUPER_SIZE);
		if (rc == 0 && bs_owner_decode(e->owner_buf, &now) == 0 && now.beat != was.beat)
			return vs_fail(err, VS_E_BUSY,
				       "%s is in use by host %s: stop that node first",
				       e->dev->name, now.host);
	}
	e->owner = (struct bs_owner){.held = true, .store = e->sb.uuid, .beat = 1};
	memcpy(e->owner.machine, me, sizeof(me));
	(void)gethostname((char *)e->owner.host, sizeof(e->owner.host) - 1);
	rc = write_owner(e);
	return rc ? vs_fail(err, rc, "cannot write the owner of %s", e->dev->name) : 0;
}

static void beat_done(struct bs_devio *io)
{
	struct bs_engine *e = io->arg;

	e->owner_busy = false; /* a lost beat is made good by the next */
	bs_fiber_wake_all(e->fibers, &e->work_wait);
}

void bs_open_heartbeat(struct bs_engine *e)
{
	uint64_t now;

	if (e->cfg.no_owner || e->read_only || e->owner_busy || e->stopping)
		return;
	now = e->env.now_ns(e->env.arg);
	if (now < e->owner_due)
		return;
	e->owner_due = now + BEAT_NS;
	e->owner.beat++;
	e->owner_busy = true;
	bs_owner_encode(e->owner_buf, &e->owner);
	e->owner_io = (struct bs_devio){.op = BS_DEV_WRITE,
					.offset = BS_OWNER_OFFSET,
					.length = BS_SUPER_SIZE,
					.iov = {{e->owner_buf, BS_SUPER_SIZE}},
					.iovcnt = 1,
					.done = beat_done,
					.arg = e};
	bs_device_submit(e->dev, &e->owner_io);
}

int bs_open_disown(struct bs_engine *e)
{
	if (e->cfg.no_owner)
		return 0;
	while (e->owner_busy)
		bs_fiber_block(e->fibers, &e->work_wait);
	e->owner.held = false;
	bs_owner_encode(e->owner_buf, &e->owner);
	return bs_engine_dev(e, BS_DEV_WRITE, BS_OWNER_OFFSET, e->owner_buf, BS_SUPER_SIZE);
}

static int alloc_all(struct bs_engine *e)
{
	const struct bs_engine_config *c = &e->cfg;
	int rc = bs_segs_init(e, e->sb.segments, e->sb.segment_size);

	if (rc == 0)
		rc = bs_fiber_pool_new(c->fibers, &e->fibers);
	if (rc == 0)
		rc = bs_frames_init(&e->frames, c->frames, c->spares, c->fibers);
	if (rc == 0)
		rc = bs_checkpoint_init(e);
	if (rc == 0)
		rc = bs_vols_init(&e->vols);
	if (rc == 0)
		rc = bs_drops_init(e);
	if (rc == 0)
		rc = bs_cache_init(&e->cache, c->cache_blocks);
	if (rc == 0)
		rc = bs_marks_init(&e->marks);
	if (rc == 0)
		rc = bs_arena_new(c->read_pages, &e->read_arena);
	if (rc == 0)
		rc = bs_log_init(e);
	if (rc == 0)
		rc = bs_index_init(e);
	if (rc == 0)
		rc = bs_exact_init(e);
	if (rc == 0 && !c->read_only)
		rc = bs_clean_init(e);
	e->rio_mem = calloc(c->read_pages, sizeof(*e->rio_mem));
	e->owner_buf = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);
	if (!e->rio_mem || !e->owner_buf)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < c->read_pages; i++) {
		e->rio_mem[i].next = e->rios;
		e->rios = &e->rio_mem[i];
	}
	return rc;
}

/*
 * Dirty pages at which a checkpoint is due: what the store holds, and what recovery redoes in time.
 * It reads pages one by one and never more than twice as many (bs_frames_room): 5 s at 100 us.
 */
#define RECOVERY_PAGES 25000u

static unsigned dirty_limit(const struct bs_engine *e)
{
	uint64_t store_pages = (uint64_t)e->segs.count * e->segs.size / BS_PAGE;
	uint64_t n = VS_MIN(e->cfg.frames / 8u, RECOVERY_PAGES);

	n = VS_MIN(n, VS_MAX(store_pages / 64, 64u));
	return (unsigned)n;
}

static void set_up(struct bs_engine *e)
{
	uint64_t contents = e->cfg.max_contents;
	uint64_t most = (uint64_t)e->segs.count * e->segs.size / 64;

	e->era = e->sb.era;
	e->features = BS_INCOMPAT_DROPS; /* the checkpoint that ends recovery says so */
	e->works = e->sb.works;
	e->contents = e->sb.contents;
	e->stored_bytes = e->sb.stored_bytes;
	e->references = e->sb.references;
	for (unsigned i = 0; i < BS_TREES; i++)
		e->trees[i].root = e->sb.roots[i];
	e->log.epoch = e->sb.epoch;
	e->log.durable_seq = e->sb.durable_seq;
	e->places = (struct bs_idalloc){
	    .tree = BS_TREE_PLACE,
	    .per_page = BS_PLACES_PER_PAGE,
	    .hint = e->sb.place_hint,
	    .max_leaves = VS_DIV_UP(contents ? contents : most, BS_PLACES_PER_PAGE)};
	e->mappages = (struct bs_idalloc){.tree = BS_TREE_MAP,
					  .per_page = BS_MAPENTS_PER_PAGE,
					  .hint = e->sb.map_hint,
					  .max_leaves = UINT64_C(1) << 40};
	memcpy(&e->tag, e->sb.uuid.b, sizeof(e->tag));
	e->frames.dirty_limit = dirty_limit(e);
	bs_segs_reserves(e);
}

struct recovery {
	struct bs_call call;
	struct vs_error *err;
};

/* Ends with a checkpoint in a new epoch and fresh segments, so that nothing stale revalidates. */
static int recover(struct bs_engine *e, struct bs_call *c)
{
	struct recovery *r = vs_container_of(c, struct recovery, call);
	int rc = bs_replay_run(e, r->err);

	if (rc == 0 && e->cfg.recovered)
		rc = e->cfg.recovered(e, e->cfg.recovered_arg);
	if (rc == 0)
		bs_index_open(e);
	for (unsigned i = 0; rc == 0 && i < e->pool->tab.ndevs; i++)
		if (e->pool->tab.dev[i].state == BS_MEMBER_RESILVER)
			bs_resilver_mark(e, i);
	if (rc == 0 && !e->read_only)
		rc = bs_log_begin(e);
	if (rc == VS_E_NOSPC)
		rc =
		    vs_fail(r->err, rc, "cannot recover the store: no segment is free for the log");
	if (rc == 0)
		bs_thick_loaded(e);
	e->recovering = rc != 0; /* nothing runs in the background of a store that does not open */
	if (rc || e->read_only)
		return rc;
	if (bs_pool_segments(e->pool) > e->segs.count) { /* power was lost while it grew */
		rc = bs_segs_grow(e, bs_pool_segments(e->pool));
		if (rc)
			return vs_fail(r->err, rc, "cannot use all devices: %s", vs_err_text(rc));
	}
	bs_discard_open(e);
	for (unsigned i = 0; i < 2 && rc == 0; i++) /* both superblocks know the new epoch */
		rc = bs_checkpoint_run(e, false);
	if (rc == 0) /* what cannot be deleted now is at the next opening */
		(void)!bs_temporary_purge(e);
	return rc ? vs_fail(r->err, rc, "cannot write the checkpoint that ends recovery: %s",
			    e->why[0] ? e->why : vs_err_text(rc))
		  : 0;
}

static void pool_event(void *arg, enum bs_severity severity, const char *kind, const char *text)
{
	bs_engine_event(arg, severity, kind, "%s", text);
}

static int open_pool(struct bs_engine *e, struct bs_device *const *devs, unsigned ndevs,
		     struct vs_error *err)
{
	struct bs_pool_found found;
	int rc = bs_pool_open(devs, ndevs, &e->pool, &found, err);

	if (rc)
		return rc;
	e->dev = &e->pool->dev;
	e->sb = found.sb;
	e->read_only = e->cfg.read_only || e->dev->read_only;
	e->pool->event = pool_event;
	e->pool->event_arg = e;
	/* a device that was being added has its label before segments of it count */
	e->pool_changed = found.changed || bs_pool_segments(e->pool) > e->sb.segments;
	for (unsigned i = 0; i < found.nnotes; i++)
		bs_engine_event(e, found.note[i].severity, "device", "%s", found.note[i].text);
	rc = judge_features(e, err);
	e->pool->read_only = e->read_only;
	return rc;
}

/* Which devices are missing or back stands on all that are here before anything else changes. */
static int settle_pool(struct bs_engine *e, struct vs_error *err)
{
	struct bs_pool *p = e->pool;

	if (!e->pool_changed || e->read_only)
		return 0;
	bs_pool_settle(p);
	while (p->settling) {
		if (bs_device_poll(e->dev) == 0 && !bs_pool_pending(p))
			e->dev->ops->wait(e->dev);
		bs_device_kick(e->dev);
	}
	return p->failed ? vs_fail(err, VS_E_IO, "cannot write which devices %s consists of",
				   e->dev->name)
			 : 0;
}

int bs_engine_open(struct bs_device *const *devs, unsigned ndevs,
		   const struct bs_engine_config *cfg, const struct bs_env *env,
		   struct bs_engine **out, struct vs_error *err)
{
	struct bs_engine *e = calloc(1, sizeof(*e));
	struct recovery r = {.call = {.fn = recover, .writer = true}, .err = err};
	int rc;

	if (!e)
		return vs_fail(err, VS_E_NOMEM, "cannot open %s: out of memory", devs[0]->name);
	e->cfg = *cfg;
	e->env = *env;
	rc = open_pool(e, devs, ndevs, err);
	if (rc) {
		bs_pool_free(e->pool);
		free(e);
		return rc;
	}
	rc = alloc_all(e);
	if (rc) {
		rc = vs_fail(err, rc, "cannot open %s: %s", e->dev->name, vs_err_text(rc));
		goto fail;
	}
	set_up(e);
	if (!e->cfg.no_owner && !e->read_only) {
		rc = take_ownership(e, err);
		if (rc)
			goto fail;
	}
	rc = settle_pool(e, err);
	if (rc)
		goto fail;
	e->recovering = true;
	rc = bs_engine_call_wait(e, &r.call);
	if (rc)
		goto fail;
	*out = e;
	return 0;
fail:
	bs_engine_quiesce(e);
	bs_engine_abandon(e);
	return rc;
}
