/*
 * Administration through the store's public functions. They wait for the engine; here each runs in
 * a fiber, and what takes a call to the engine's thread (bs_store_call, replaced at link time by
 * the one below) blocks that fiber instead of a thread.
 */
#include "tests/sim/hostint.h"

#include "blockstore/object.h"
#include "blockstore/store_int.h"
#include "common/bytes.h"
#include "tests/sim/report.h"

#include <stddef.h>

int __wrap_bs_store_call(struct bs_store *s, bool writer,
			 int (*fn)(struct bs_engine *, struct bs_call *), void *arg,
			 struct vs_error *err);

struct sync_call {
	struct bs_call call;
	struct sim_host *host;
	struct bs_waitq wait;
	bool done;
};

static void call_done(struct bs_call *c)
{
	struct sync_call *s = vs_container_of(c, struct sync_call, call);

	s->done = true;
	bs_fiber_wake_all(s->host->tasks, &s->wait);
}

static struct bs_store *as_store(struct sim_host *h)
{
	return (struct bs_store *)h;
}

int __wrap_bs_store_call(struct bs_store *s, bool writer,
			 int (*fn)(struct bs_engine *, struct bs_call *), void *arg,
			 struct vs_error *err)
{
	struct sync_call c = {
	    .call = {.fn = fn, .arg = arg, .err = err, .writer = writer, .done = call_done},
	    .host = (struct sim_host *)s};

	bs_engine_call(c.host->engine, &c.call);
	while (!c.done)
		bs_fiber_block(c.host->tasks, &c.wait);
	if (c.call.status && err && err->code != c.call.status)
		return vs_fail(err, c.call.status, "%s", vs_err_text(c.call.status));
	return c.call.status;
}

static int sync_call(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	return e->read_only ? 0 : bs_log_commit(e);
}

static int drain_call(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	return bs_engine_drain(e);
}

static int run_snapshot(struct sim_host *h, struct sim_admin *a)
{
	const char *fulls[SIM_GROUP];

	for (unsigned i = 0; i < a->nfulls; i++)
		fulls[i] = a->fulls[i];
	return bs_snapshot_create(as_store(h), fulls, a->nfulls, &a->err);
}

/* In small steps, as a caller with little room would. */
static int run_diff(struct sim_admin *a)
{
	size_t max = a->ndiff, n;
	uint64_t cursor = 0;

	a->ndiff = 0;
	while (cursor != UINT64_MAX) {
		int rc = bs_volume_diff(a->volume, a->volume2, &cursor, a->diff + a->ndiff,
					VS_MIN(max - a->ndiff, (size_t)37), &n, &a->err);

		if (rc)
			return rc;
		a->ndiff += n;
		sim_require(a->ndiff < max || cursor == UINT64_MAX, "diff finds more than all");
	}
	return 0;
}

static int run_list(struct sim_host *h, struct sim_admin *a)
{
	size_t max = a->ninfos, n = 1;

	a->ninfos = 0;
	while (n && a->ninfos < max) {
		uint64_t after = a->ninfos ? a->infos[a->ninfos - 1].id : 0;
		int rc = bs_volume_list(as_store(h), after, a->infos + a->ninfos,
					VS_MIN(max - a->ninfos, (size_t)5), &n, &a->err);

		if (rc)
			return rc;
		a->ninfos += n;
	}
	return 0;
}

static int run_exact(struct sim_host *h, struct sim_admin *a)
{
	struct bs_volume_info info;
	int rc = bs_volume_find(as_store(h), a->name, &info, &a->err);

	return rc ? rc : bs_exact_get(as_store(h), &info.id, 1, 1000000, &a->exact, &a->err);
}

static int run_merge(struct bs_store *s, struct sim_admin *a)
{
	int rc = bs_store_merge_begin(s, &a->err);

	if (rc == 0 || rc == VS_E_BUSY)
		rc = bs_store_merge_step(s, &a->merge, &a->err);
	if (rc == 0 && a->merge.finished)
		bs_store_merge_end(s);
	return rc;
}

static int run_create(struct sim_host *h, struct sim_admin *a)
{
	const struct bs_volume_spec spec = {.name = a->name,
					    .size = a->size,
					    .compression = (int)(a->size / BS_BLOCK % 4) - 1,
					    .no_dedup = a->no_dedup,
					    .origin = a->origin};
	int rc = bs_volume_create(as_store(h), &spec, NULL, &a->err);

	if (rc == 0 && a->origin)
		sim_runner_kick(h->runner);
	return rc;
}

static int run(struct sim_host *h, struct sim_admin *a)
{
	struct bs_store *s = as_store(h);

	switch (a->kind) {
	case SIM_CREATE:
		return run_create(h, a);
	case SIM_RESIZE:
		return bs_volume_resize(s, a->name, a->size, a->force, &a->err);
	case SIM_RENAME:
		return bs_volume_rename(s, a->name, a->to, &a->err);
	case SIM_DELETE:
		return bs_volume_delete(s, a->name, a->mode, &a->err);
	case SIM_SNAPSHOT:
		return run_snapshot(h, a);
	case SIM_UNSNAP:
		return bs_snapshot_delete(s, a->name, &a->err);
	case SIM_ROLLBACK:
		return bs_snapshot_rollback(s, a->name, &a->err);
	case SIM_CLONE:
		return bs_volume_clone(s, a->name, a->to, NULL, &a->err);
	case SIM_OPEN:
		return a->force ? bs_objects_open(s, a->name, &a->volume, &a->err)
				: bs_volume_open(s, a->name, &a->volume, &a->err);
	case SIM_CLOSE:
		bs_volume_close(a->volume);
		return 0;
	case SIM_LIST:
		return run_list(h, a);
	case SIM_DIFF:
		return run_diff(a);
	case SIM_SYNC:
		return __wrap_bs_store_call(s, false, sync_call, NULL, &a->err);
	case SIM_DRAIN:
		return __wrap_bs_store_call(s, false, drain_call, NULL, &a->err);
	case SIM_SCRUB:
		return sim_host_scrub(h, a);
	case SIM_THICK:
		return bs_volume_set_thick(s, a->name, a->force, &a->err);
	case SIM_OBJECTS:
		return bs_objects_create(s, a->name, NULL, &a->err);
	case SIM_EXACT:
		return run_exact(h, a);
	case SIM_MERGE:
		return run_merge(s, a);
	case SIM_ADMIN_KINDS:
		break;
	}
	return VS_E_INVAL;
}

static void task(void *arg)
{
	struct sim_admin *a = arg;

	a->status = run(a->host, a);
	a->done(a);
}

void sim_host_admin(struct sim_host *h, struct sim_admin *a)
{
	a->host = h;
	sim_require(bs_fiber_start(h->tasks, task, a), "too many calls at once");
}
