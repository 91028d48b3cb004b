#include "blockstore/checkpoint_int.h"

#include "blockstore/plant.h"

#include <stdlib.h>

#define BS_CK_UNIT_PAGES 120u /* a unit of pages stays below half a MiB */

static int stream_init(struct bs_ck_stream *s, uint32_t max)
{
	s->max = max;
	s->entries = calloc(max, sizeof(*s->entries));
	s->units = calloc(max, sizeof(*s->units));
	return s->entries && s->units ? 0 : VS_E_NOMEM;
}

static int ensure(struct bs_engine *e)
{
	uint32_t max =
	    e->frames.count + 2 * (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE) + 64;
	struct bs_checkpoint *c;

	if (e->checkpoint)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return VS_E_NOMEM;
	e->checkpoint = c;
	c->unit_pages = VS_MIN(BS_CK_UNIT_PAGES, e->segs.size / BS_PAGE - 1);
	c->staging = aligned_alloc(BS_PAGE, (size_t)(c->unit_pages + 1) * BS_PAGE);
	if (!c->staging)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < 2; i++)
		if (stream_init(&c->stream[i], max))
			return VS_E_NOMEM;
	return 0;
}

void bs_checkpoint_destroy(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;

	if (!c)
		return;
	for (unsigned i = 0; i < 2; i++) {
		free(c->stream[i].entries);
		free(c->stream[i].units);
	}
	free(c->staging);
	free(c);
	e->checkpoint = NULL;
}

void bs_checkpoint_keep(struct bs_engine *e, uint32_t entry, uint8_t *buf)
{
	struct bs_ck_entry *n = &e->checkpoint->stream[0].entries[entry];

	n->buf = buf;
	n->f = NULL;
}

static uint32_t put_records(const struct bs_ck_stream *s, const struct bs_ck_unit *u, uint8_t *buf)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < u->count; i++) {
		const struct bs_ck_entry *n = &s->entries[u->first + i];
		struct bs_rec r = {.type = n->tree == BS_TREES ? BS_REC_MAPPAGE : BS_REC_PAGE,
				   .cid = n->id,
				   .block = n->id,
				   .tree = n->tree,
				   .level = n->level};

		len += bs_rec_put(buf + len, &r);
	}
	return len;
}

static int write_unit(struct bs_engine *e, struct bs_ck_stream *s, const struct bs_ck_unit *u)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct bs_unit_head h = {.kind = BS_UNIT_META,
				 .epoch = c->sb.epoch,
				 .seq = c->sb.checkpoint,
				 .head_len = BS_PAGE,
				 .payload_len = u->count * BS_PAGE,
				 .unit_len = (u->count + 1) * BS_PAGE,
				 .records = u->count,
				 .ahead = {BS_SEG_NONE, BS_SEG_NONE}};

	for (uint32_t i = 0; i < u->count; i++) {
		struct bs_ck_entry *n = &s->entries[u->first + i];
		uint8_t *to = c->staging + (size_t)(i + 1) * BS_PAGE;

		memcpy(to, n->buf ? n->buf : n->f->data, BS_PAGE);
		if (n->buf)
			bs_buf_give(e, n->buf);
		else
			n->f->ckpt = 0;
		n->buf = NULL;
		n->f = NULL;
		if (n->tree == BS_TREES)
			e->count.bytes_maps += BS_PAGE;
		else
			e->count.bytes_tables += BS_PAGE;
	}
	bs_unit_set_tag(c->staging, e->tag);
	h.records_len = put_records(s, u, c->staging + BS_UNIT_HEAD);
	bs_unit_encode(c->staging, &h);
	return bs_engine_dev(e, BS_DEV_WRITE, bs_engine_where(e, u->seg, u->off), c->staging,
			     h.unit_len);
}

static int write_out(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	int rc = 0;

	for (unsigned i = 0; i < 2; i++)
		for (uint32_t u = 0; rc == 0 && u < c->stream[i].nunits; u++) {
			rc = write_unit(e, &c->stream[i], &c->stream[i].units[u]);
			bs_engine_room(e);
		}
	if (rc == 0 && !bs_planted(HASTY_SUPER))
		rc = bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0);
	if (rc == 0)
		rc = bs_engine_super(e, &c->sb);
	return rc;
}

static int drain_and_cut(struct bs_engine *e, bool clean)
{
	int rc;

	e->cutting = e->log.drain = true;
	while (!bs_log_quiet(&e->log) && !e->failed)
		bs_fiber_block(e->fibers, &e->drained_wait);
	e->cutting = e->log.drain = false;
	if (e->failed)
		return VS_E_FAILED;
	rc = bs_checkpoint_cut(e, clean);
	bs_engine_room(e);
	return rc;
}

int bs_checkpoint_run(struct bs_engine *e, bool clean)
{
	struct bs_checkpoint *c;
	int rc;

	while (e->checkpointing)
		bs_fiber_block(e->fibers, &e->checkpoint_wait);
	if (e->failed)
		return VS_E_FAILED;
	e->checkpointing = true;
	e->checkpoint_wanted = false;
	rc = ensure(e);
	if (rc == 0)
		rc = drain_and_cut(e, clean);
	if (rc == 0)
		rc = write_out(e);
	c = e->checkpoint;
	if (rc == 0) {
		e->sb = c->sb;
		if (e->log.durable_seq < c->sb.next_seq - 1)
			e->log.durable_seq = c->sb.next_seq - 1;
		bs_segs_reuse(e, c->sb.checkpoint);
		e->count.checkpoints++;
	} else if (rc != VS_E_FAILED) {
		bs_engine_fail(e, rc == VS_E_NOSPC ? "no segment is left for a checkpoint"
						   : "the device fails a checkpoint's writes");
	}
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

static bool due(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	if (e->checkpoint_wanted || e->frames.ndirty >= e->frames.dirty_limit)
		return true;
	if (e->log.bytes - e->checkpoint_started_bytes >= e->cfg.checkpoint_bytes)
		return true;
	return s->nfree <= s->reserve[BS_NEED_DATA] + s->count / 32 && (s->nfreeing || s->emptied);
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

	if (e->checkpointing || e->read_only || e->failed || stopped || e->recovering || !due(e))
		return;
	(void)bs_fiber_start(e->fibers, checkpoint_fiber, e);
}
