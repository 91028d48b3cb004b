#include "blockstore/engine.h"

#include "blockstore/checkpoint.h"
#include "blockstore/clean.h"
#include "blockstore/discard.h"
#include "blockstore/evacuate.h"
#include "blockstore/exact_int.h"
#include "blockstore/index_save.h"
#include "blockstore/mend.h"
#include "blockstore/merge.h"
#include "blockstore/open.h"
#include "blockstore/origin_int.h"
#include "blockstore/port.h"
#include "blockstore/resilver.h"
#include "blockstore/work.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t bs_engine_where(const struct bs_engine *e, uint32_t seg, uint32_t off)
{
	VS_ASSERT(seg < e->segs.count);
	return bs_pool_offset(e->segs.size, seg, off);
}

struct dev_wait {
	struct bs_engine *e;
	struct bs_waitq q;
	bool done;
	int status;
};

static void dev_done(struct bs_devio *io)
{
	struct dev_wait *w = io->arg;

	w->done = true;
	w->e->waits_in_flight--;
	bs_fiber_wake_all(w->e->fibers, &w->q);
}

int bs_engine_dev(struct bs_engine *e, enum bs_devop op, uint64_t offset, void *buf, uint64_t len)
{
	return bs_engine_dev_sides(e, op, offset, buf, len, 0, NULL);
}

int bs_engine_dev_sides(struct bs_engine *e, enum bs_devop op, uint64_t offset, void *buf,
			uint64_t len, uint16_t sides, uint16_t *served)
{
	struct dev_wait w = {.e = e};
	struct bs_devio io = {.op = op,
			      .offset = offset,
			      .length = len,
			      .iov = {{buf, len}},
			      .iovcnt = buf ? 1 : 0,
			      .sides = sides,
			      .done = dev_done,
			      .arg = &w};

	if (op == BS_DEV_WRITE) {
		e->count.device_writes++;
		e->count.device_write_bytes += len;
	} else if (op == BS_DEV_READ) {
		e->count.device_reads++;
		e->count.device_read_bytes += len;
	} else if (op == BS_DEV_FLUSH) {
		e->count.flushes++;
	}
	e->waits_in_flight++;
	bs_device_submit(e->dev, &io);
	while (!w.done)
		bs_fiber_block(e->fibers, &w.q);
	if (served)
		*served = io.served;
	return io.status;
}

static void super_done(void *arg, int status)
{
	struct dev_wait *w = arg;

	w->status = status;
	w->done = true;
	w->e->waits_in_flight--;
	bs_fiber_wake_all(w->e->fibers, &w->q);
}

int bs_engine_super(struct bs_engine *e, const struct bs_super *sb)
{
	struct dev_wait w = {.e = e};

	e->count.device_writes += 2;
	e->count.device_write_bytes += 2 * (uint64_t)BS_SUPER_SIZE;
	e->count.flushes++;
	e->waits_in_flight++;
	bs_pool_super(e->pool, sb, super_done, &w);
	while (!w.done)
		bs_fiber_block(e->fibers, &w.q);
	return w.status;
}

int bs_engine_read(struct bs_engine *e, uint32_t seg, uint32_t off, void *buf, uint32_t len)
{
	int rc;

	if (bs_checkpoint_staged(e, seg, off, buf, len))
		return 0;
	e->segs.seg[seg].readers++;
	rc = bs_engine_dev(e, BS_DEV_READ, bs_engine_where(e, seg, off), buf, len);
	e->segs.seg[seg].readers--;
	return rc;
}

void bs_engine_event(struct bs_engine *e, enum bs_severity severity, const char *kind,
		     const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!e->env.event)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	e->env.event(e->env.arg, severity, kind, text);
}

void bs_engine_fail(struct bs_engine *e, const char *why)
{
	if (e->failed)
		return;
	e->failed = true;
	(void)snprintf(e->why, sizeof(e->why), "%s", why);
	bs_engine_event(e, BS_ERROR, "failed", "the store has failed: %s", why);
	bs_fiber_wake_all(e->fibers, &e->drained_wait);
	bs_fiber_wake_all(e->fibers, &e->drops.wait);
	bs_engine_room(e);
}

void bs_engine_damaged(struct bs_engine *e, const char *fmt, ...)
{
	char text[120];
	va_list ap;

	if (e->damaged)
		return;
	e->damaged = true;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bs_engine_event(e, BS_ERROR, "damage", "the tables are damaged: %s: run vstore check",
			text);
	if (!e->recovering)
		bs_engine_fail(e, "its tables are damaged: run vstore check");
}

void bs_engine_room(struct bs_engine *e)
{
	e->room_changed = true;
}

void bs_engine_call(struct bs_engine *e, struct bs_call *c)
{
	struct bs_call *head = atomic_load(&e->calls_head);

	c->engine = e;
	do {
		c->next = head;
	} while (!atomic_compare_exchange_weak(&e->calls_head, &head, c));
	if (e->env.wake)
		e->env.wake(e->env.arg);
}

static void call_fiber(void *arg)
{
	struct bs_call *c = arg;
	struct bs_engine *e = c->engine;
	bool writer = c->writer;

	c->status = c->fn(e, c);
	bs_frames_unkeep(e);
	e->calls_running--;
	if (writer)
		e->writer_active = false;
	c->done(c);
}

static void take_calls(struct bs_engine *e)
{
	struct bs_call *list = atomic_exchange(&e->calls_head, NULL), *fifo = NULL;

	while (list) {
		struct bs_call *next = list->next;

		list->next = fifo;
		fifo = list;
		list = next;
	}
	if (!fifo)
		return;
	if (e->calls_last)
		e->calls_last->next = fifo;
	else
		e->calls_first = fifo;
	while (fifo->next)
		fifo = fifo->next;
	e->calls_last = fifo;
}

/* Calls that change something run one after the other; up to three run at once. */
static bool start_calls(struct bs_engine *e)
{
	struct bs_call *c = e->calls_first;

	if (!c || e->calls_running >= 3 || (c->writer && e->writer_active) ||
	    !bs_fiber_idle(e->fibers))
		return false;
	e->calls_first = c->next;
	if (!e->calls_first)
		e->calls_last = NULL;
	e->calls_running++;
	if (c->writer)
		e->writer_active = true;
	if (!bs_fiber_start(e->fibers, call_fiber, c))
		VS_ASSERT(!"an idle fiber did not start");
	return true;
}

static void call_done(struct bs_call *c)
{
	*(bool *)c->arg = true;
}

struct waiting {
	struct bs_call call;
	struct bs_call *user;
	bool done;
};

static int run_user(struct bs_engine *e, struct bs_call *c)
{
	struct waiting *w = vs_container_of(c, struct waiting, call);

	return w->user->fn(e, w->user);
}

int bs_engine_call_wait(struct bs_engine *e, struct bs_call *user)
{
	struct waiting w = {.user = user};
	uint64_t wake;

	w.call = (struct bs_call){
	    .fn = run_user, .writer = user->writer, .done = call_done, .arg = &w.done};
	bs_engine_call(e, &w.call);
	while (!w.done)
		if (!bs_engine_poll(e, &wake) && !w.done)
			e->dev->ops->wait(e->dev);
	user->status = w.call.status;
	return user->status;
}

static void background(struct bs_engine *e)
{
	bs_checkpoint_start(e);
	bs_work_start(e);
	bs_drops_start(e);
	bs_mend_start(e);
	bs_resilver_start(e);
	bs_evacuate_start(e);
	bs_discard_start(e);
	bs_clean_start(e);
	bs_index_start(e);
	bs_open_heartbeat(e);
	bs_exact_start(e);
	bs_thick_start(e);
}

bool bs_engine_poll(struct bs_engine *e, uint64_t *wake_ns)
{
	bool did = bs_device_poll(e->dev) > 0;

	for (unsigned i = 0; i < e->nports; i++)
		did |= bs_port_drain(e->ports[i]);
	take_calls(e);
	while (start_calls(e))
		did = true;
	bs_origin_expire(e);
	did |= bs_ops_pump(e);
	did |= bs_fiber_run_ready(e->fibers) > 0;
	did |= bs_log_pump(e);
	if (!e->recovering)
		background(e);
	if (e->log.drain && bs_log_quiet(&e->log))
		bs_fiber_wake_all(e->fibers, &e->drained_wait);
	if (e->room_changed) {
		e->room_changed = false;
		bs_fiber_wake_all(e->fibers, &e->room_wait);
		did = true;
	}
	bs_device_kick(e->dev);
	for (unsigned i = 0; i < e->nports; i++)
		bs_port_wake(e->ports[i]);
	*wake_ns = VS_MIN(e->owner_due ? e->owner_due : UINT64_MAX, bs_exact_wake(e));
	*wake_ns = VS_MIN(*wake_ns, VS_MIN(bs_discard_wake(e), bs_origin_wake(e)));
	if (!e->drops.busy)
		*wake_ns = VS_MIN(*wake_ns, e->drops.due_ns);
	return did || bs_pool_pending(e->pool);
}

static int close_call(struct bs_engine *e, struct bs_call *c)
{
	int rc;

	(void)c;
	while (e->working || e->drops.busy || e->cleaning || (bs_index_busy(e) && !e->failed))
		bs_fiber_block(e->fibers, &e->work_wait);
	bs_index_save(e);
	rc = bs_checkpoint_run(e, true);
	if (rc == 0)
		rc = bs_open_disown(e);
	return rc;
}

static bool busy(const struct bs_engine *e)
{
	return e->thick.counting || bs_exact_busy(e) || bs_index_busy(e) || e->checkpointing ||
	       e->cleaning || e->working || e->drops.busy || e->owner_busy || e->op_fibers ||
	       e->calls_running || e->calls_first || e->reads_in_flight || e->remending ||
	       e->resilvering || e->evacuating || e->discarding;
}

int bs_engine_stop(struct bs_engine *e, struct vs_error *err)
{
	struct bs_call c = {.fn = close_call, .writer = true};
	uint64_t wake;
	int rc = 0;

	VS_ASSERT(e->nports == 0);
	e->stopping = true;
	bs_engine_room(e);
	if (!e->read_only && !e->failed)
		rc = bs_engine_call_wait(e, &c);
	else if (e->failed)
		rc = VS_E_FAILED;
	while (busy(e) && !e->failed)
		if (!bs_engine_poll(e, &wake) && busy(e))
			e->dev->ops->wait(e->dev);
	if (rc)
		rc = vs_fail(err, rc, "the store did not close cleanly: %s",
			     e->why[0] ? e->why : vs_err_text(rc));
	return rc;
}

int bs_engine_close(struct bs_engine *e, struct vs_error *err)
{
	int rc = bs_engine_stop(e, err);

	bs_engine_quiesce(e);
	bs_engine_abandon(e);
	return rc;
}

int bs_engine_drain(struct bs_engine *e)
{
	do {
		while (e->works && !e->failed && !e->work_stuck && !e->read_only) {
			if (e->working)
				bs_fiber_block(e->fibers, &e->work_wait);
			else
				bs_fiber_yield(e->fibers);
		}
	} while (bs_drops_relieve(e) == 0);
	return e->failed ? VS_E_FAILED : 0;
}

static bool device_busy(const struct bs_engine *e)
{
	for (unsigned i = 0; i < e->log.nflight; i++)
		if (e->log.flight[i]->state == BS_UNIT_WRITING)
			return true;
	return e->waits_in_flight || e->reads_in_flight || e->log.flush_busy || e->owner_busy ||
	       e->pool->supers.busy;
}

void bs_engine_quiesce(struct bs_engine *e)
{
	bs_device_kick(e->dev);
	while (device_busy(e))
		if (bs_device_poll(e->dev) == 0)
			e->dev->ops->wait(e->dev);
}

void bs_engine_abandon(struct bs_engine *e)
{
	bs_fiber_pool_free(e->fibers);
	bs_checkpoint_destroy(e);
	bs_exact_destroy(e);
	bs_log_destroy(&e->log);
	bs_vols_destroy(&e->vols);
	bs_drops_destroy(&e->drops);
	bs_cache_destroy(&e->cache);
	bs_marks_destroy(&e->marks);
	bs_frames_destroy(&e->frames);
	bs_segs_destroy(&e->segs);
	bs_index_destroy(e);
	bs_merge_end(e);
	bs_arena_free(e->read_arena);
	free(e->rio_mem);
	bs_clean_destroy(e);
	free(e->owner_buf);
	bs_pool_free(e->pool);
	free(e);
}

void bs_engine_info(struct bs_engine *e, struct bs_store_info *out)
{
	const struct bs_segs *s = &e->segs;
	uint64_t used = 0;

	memset(out, 0, sizeof(*out));
	out->uuid = e->sb.uuid;
	memcpy(out->device, e->dev->name, sizeof(out->device));
	out->format_version = e->sb.version;
	out->segment_size = s->size;
	out->read_only = e->read_only;
	out->failed = e->failed;
	out->capacity_bytes = s->live_limit;
	out->physical_used_bytes = s->live;
	out->unique_content_bytes = e->contents * BS_BLOCK;
	out->stored_content_bytes = e->stored_bytes;
	out->referenced_bytes = e->references * BS_BLOCK;
	out->segments = s->count;
	out->free_segments = s->nfree;
	used = (uint64_t)(s->count - s->shut - s->nfree) * s->size;
	out->reclaimable_bytes = used > s->live ? used - s->live : 0;
	out->reserved_bytes = (uint64_t)(s->count - s->shut) * s->size - s->live_limit;
	out->thick_reserved_bytes = bs_thick_unused(e);
	if (out->thick_reserved_bytes && e->thick.gain == UINT64_MAX)
		e->thick.wanted = true; /* the next who asks gets it more exactly */
	out->volumes = e->vols.volumes;
	out->snapshots = e->vols.snapshots;
	out->device_reads = e->count.device_reads;
	out->device_read_bytes = e->count.device_read_bytes;
	out->device_writes = e->count.device_writes;
	out->device_write_bytes = e->count.device_write_bytes;
	out->device_flushes = e->count.flushes;
	out->cache_hits = e->count.cache_hits;
	out->cache_misses = e->count.cache_misses;
	out->dedup_hits = e->count.dedup_hits;
	bs_index_info(e, out);
	out->checkpoints = e->count.checkpoints;
	out->segments_cleaned = e->count.cleaned;
	out->bytes_written = e->count.bytes_written;
	out->bytes_data = e->count.bytes_data - VS_MIN(e->count.bytes_data, e->count.bytes_cleaner);
	out->bytes_maps = e->count.bytes_maps;
	out->bytes_tables = e->count.bytes_tables;
	out->bytes_cleaner = e->count.bytes_cleaner;
	out->bytes_discarded = e->count.discarded;
	for (unsigned i = 0; i < e->pool->tab.ndevs; i++) {
		out->devices += e->pool->tab.dev[i].state != BS_MEMBER_NONE;
		out->devices_missing += e->pool->tab.dev[i].state == BS_MEMBER_MISSING;
	}
}
