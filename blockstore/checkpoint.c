#include "blockstore/checkpoint_int.h"

#include "blockstore/plant.h"

#include <stdlib.h>

#define SEGMENTS_PER_STEP 4096u

int bs_checkpoint_init(struct bs_engine *e)
{
	struct bs_checkpoint *c = calloc(1, sizeof(*c));
	size_t unit;

	if (!c)
		return VS_E_NOMEM;
	e->checkpoint = c;
	c->unit_pages = VS_MIN(BS_CK_UNIT_PAGES, e->segs.size / BS_PAGE - 1);
	unit = (size_t)(c->unit_pages + 1) * BS_PAGE;
	c->mem = aligned_alloc(BS_PAGE, BS_CK_UNITS * unit);
	c->page = aligned_alloc(BS_PAGE, BS_PAGE);
	if (!c->mem || !c->page || bs_checkpoint_fit(e, e->segs.count))
		return VS_E_NOMEM;
	for (unsigned i = 0; i < BS_CK_UNITS; i++)
		c->units[i] = (struct bs_ck_unit){.engine = e, .buf = c->mem + i * unit};
	return 0;
}

int bs_checkpoint_fit(struct bs_engine *e, uint32_t segments)
{
	uint32_t leaves = (uint32_t)VS_DIV_UP(segments, BS_SEGENTS_PER_PAGE);
	struct bs_checkpoint *c = e->checkpoint;
	uint32_t *order = calloc(leaves, sizeof(*order));
	struct bs_ptr *ptrs = calloc(leaves + leaves / 64 + 16, sizeof(*ptrs));

	VS_ASSERT(!e->checkpointing);
	if (!order || !ptrs) {
		free(order);
		free(ptrs);
		return VS_E_NOMEM;
	}
	free(c->order);
	free(c->ptrs);
	c->order = order;
	c->ptrs = ptrs;
	return 0;
}

void bs_checkpoint_destroy(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;

	if (!c)
		return;
	free(c->mem);
	free(c->page);
	free(c->order);
	free(c->ptrs);
	free(c);
	e->checkpoint = NULL;
}

static void cut_super(struct bs_engine *e, bool clean)
{
	struct bs_super *sb = &e->checkpoint->sb;
	const struct bs_log *l = &e->log;

	*sb = e->sb;
	sb->incompat |= e->features;
	sb->checkpoint++;
	sb->written = e->env.unix_ns(e->env.arg);
	sb->epoch = l->epoch;
	sb->next_seq = l->next_seq;
	sb->chain = l->chain;
	sb->log_seg = l->seg;
	sb->log_off = l->off;
	memcpy(sb->ahead, l->ahead, sizeof(sb->ahead));
	sb->durable_seq = l->durable_seq;
	sb->segments = e->segs.count;
	sb->era = e->era;
	sb->next_volume = e->vols.next_id;
	sb->works = e->works;
	sb->contents = e->contents;
	sb->stored_bytes = e->stored_bytes;
	sb->references = e->references;
	for (unsigned i = 0; i < 2; i++)
		sb->drops[i] = e->drops.run[i].count;
	sb->drop_cursor = e->drops.cursor + bs_planted(DRAINED_AHEAD);
	sb->drop_side = (uint8_t)e->drops.side;
	sb->place_hint = e->places.hint;
	sb->map_hint = e->mappages.hint;
	sb->clean = clean;
	sb->index = e->index.saved;
	for (unsigned i = 0; i < BS_TREES; i++)
		sb->roots[i] = e->trees[i].root;
}

/* The step that everything else of the checkpoint is about: nothing is open or in flight. */
static void cut(struct bs_engine *e, bool clean)
{
	struct bs_checkpoint *c = e->checkpoint;

	VS_ASSERT(!c->writing && !c->stream[0].filling && !c->stream[1].filling);
	c->error = 0;
	c->step = 0;
	e->cut_at.bytes = e->log.bytes;
	e->cut_at.records = e->log.records;
	e->cut_at.taken_apart = e->taken_apart;
	if (e->log.open) /* empty: it would lie before the cut and be numbered after it */
		bs_log_drop_open(e);
	bs_frames_cut(e);
	bs_segcut_begin(e);
	cut_super(e, clean);
}

static int drain_and_cut(struct bs_engine *e, bool clean)
{
	uint64_t start = e->env.now_ns(e->env.arg), drained;

	e->cutting = e->log.drain = true;
	while (!bs_log_quiet(&e->log) && !e->failed)
		bs_fiber_block(e->fibers, &e->drained_wait);
	e->cutting = e->log.drain = false;
	bs_engine_room(e);
	if (e->failed)
		return VS_E_FAILED;
	drained = e->env.now_ns(e->env.arg);
	cut(e, clean);
	e->count.cut_wait_ns = VS_MAX(e->count.cut_wait_ns, drained - start);
	e->count.cut_ns = VS_MAX(e->count.cut_ns, e->env.now_ns(e->env.arg) - drained);
	return 0;
}

static int write_out(struct bs_engine *e)
{
	int rc = bs_ck_pages(e), waited;

	if (rc == 0)
		rc = bs_ck_segments(e);
	waited = bs_ck_wait(e);
	if (rc == 0)
		rc = waited;
	if (rc == 0 && !bs_planted(HASTY_SUPER))
		rc = bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0);
	if (rc == 0 && e->failed) /* nothing of tables that contradict each other may count */
		rc = VS_E_FAILED;
	return rc ? rc : bs_engine_super(e, &e->checkpoint->sb);
}

/* What the superblock before the last one needed is free. */
static void reuse(struct bs_engine *e)
{
	bs_segs_unhold(e);
	for (uint32_t i = 0; (e->segs.nfreeing || e->segs.shut) && i < e->segs.count;
	     i += SEGMENTS_PER_STEP) {
		bs_segs_reuse(e, e->sb.checkpoint, i, VS_MIN(i + SEGMENTS_PER_STEP, e->segs.count));
		if (bs_ck_pace(e, e->cfg.checkpoint_step))
			return;
	}
}

static void complete(struct bs_engine *e)
{
	e->sb = e->checkpoint->sb;
	if (e->log.durable_seq < e->sb.next_seq - 1)
		e->log.durable_seq = e->sb.next_seq - 1;
	bs_frames_cut_end(e);
	bs_segcut_end(e);
	reuse(e);
	e->count.checkpoints++;
}

void bs_checkpoint_settle(struct bs_engine *e)
{
	e->checkpoint_waiters++;
	while (e->checkpointing)
		bs_fiber_block(e->fibers, &e->checkpoint_wait);
	e->checkpoint_waiters--;
}

int bs_checkpoint_run(struct bs_engine *e, bool clean)
{
	int rc;

	bs_checkpoint_settle(e);
	if (e->failed)
		return VS_E_FAILED;
	e->checkpointing = true;
	e->checkpoint_wanted = false;
	rc = drain_and_cut(e, clean);
	if (rc == 0)
		rc = write_out(e);
	if (rc == 0)
		complete(e);
	else if (rc != VS_E_FAILED)
		bs_engine_fail(e, rc == VS_E_NOSPC ? "no segment is left for a checkpoint"
						   : "the device fails a checkpoint's writes");
	e->checkpointing = false;
	bs_fiber_wake_all(e->fibers, &e->checkpoint_wait);
	bs_engine_room(e);
	return rc;
}

void bs_checkpoint_want(struct bs_engine *e)
{
	if (!e->checkpointing)
		e->checkpoint_wanted = true;
}

/*
 * How long recovery from the last cut would take on a device of 10,000 reads and 1 GiB a second: it
 * reads each page that has changed, and those that were taken apart, once, and goes through the
 * log.
 */
static uint64_t recovery_us(const struct bs_engine *e)
{
	uint64_t pages = e->frames.ndirty + (e->taken_apart - e->cut_at.taken_apart);

	return 100 * pages + (e->log.records - e->cut_at.records) +
	       ((e->log.bytes - e->cut_at.bytes) >> 10);
}

/* It would make segments free: the fewer are left, the fewer are worth it. */
static bool frees_enough(const struct bs_segs *s)
{
	uint32_t least = s->reserve[BS_NEED_DATA], coming = s->nfreeing + s->emptied;

	return s->nfree <= least + s->count / 32 && coming >= VS_MAX(bs_segs_margin(s) / 16, 1u) &&
	       coming + least >= s->nfree;
}

static bool due(const struct bs_engine *e)
{
	if (e->checkpoint_wanted || e->frames.ndirty >= e->frames.dirty_limit)
		return true;
	if (e->log.bytes - e->cut_at.bytes >= e->cfg.checkpoint_bytes ||
	    recovery_us(e) >= e->cfg.recovery_us)
		return true;
	return frees_enough(&e->segs);
}

static void checkpoint_fiber(void *arg)
{
	struct bs_engine *e = arg;

	if (bs_checkpoint_run(e, false))
		bs_engine_room(e); /* the store has failed, which has been said */
	bs_frames_unkeep(e);
}

void bs_checkpoint_start(struct bs_engine *e)
{
	bool stopped = e->stopping && !e->working && !e->drops.busy; /* those may wait for one */

	if (e->checkpointing || e->checkpoint_waiters || e->read_only || e->failed || stopped ||
	    e->recovering || !due(e))
		return;
	(void)bs_fiber_start(e->fibers, checkpoint_fiber, e);
}
