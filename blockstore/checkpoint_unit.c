#include "blockstore/checkpoint_int.h"

static bool more_fits(const struct bs_engine *e, unsigned si)
{
	return e->checkpoint->stream[si].left && e->log.meta[si].off + BS_PAGE <= e->segs.size;
}

int bs_ck_ready_places(struct bs_engine *e)
{
	for (unsigned si = 0; si < 2; si++) {
		struct bs_log_meta *m = &e->log.meta[si];
		uint32_t fresh;

		if (m->seg != BS_SEG_NONE &&
		    (more_fits(e, si) || m->off + 2 * BS_PAGE <= e->segs.size))
			continue;
		fresh = bs_segcut_take(e);
		if (fresh == BS_SEG_NONE)
			return VS_E_NOSPC;
		*m = (struct bs_log_meta){.seg = fresh};
		e->checkpoint->stream[si].left = 0;
	}
	return e->failed ? VS_E_FAILED : 0;
}

static unsigned free_units(const struct bs_checkpoint *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BS_CK_UNITS; i++)
		n += c->units[i].state == BS_CK_FREE;
	return n;
}

int bs_ck_ready(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	unsigned need = !c->stream[0].filling + !c->stream[1].filling;

	while (free_units(c) < need && !c->error)
		bs_fiber_block(e->fibers, &c->unit_wait);
	return c->error ? c->error : bs_ck_ready_places(e);
}

void bs_ck_place(struct bs_engine *e, unsigned si, uint32_t *seg, uint32_t *off)
{
	struct bs_ck_stream *s = &e->checkpoint->stream[si];
	struct bs_log_meta *m = &e->log.meta[si];

	if (!more_fits(e, si)) { /* a unit begins with its header */
		m->off += BS_PAGE;
		s->left = e->checkpoint->unit_pages;
	}
	VS_ASSERT(m->seg != BS_SEG_NONE && m->off + BS_PAGE <= e->segs.size);
	e->segs.seg[m->seg].paged = e->checkpoint->sb.checkpoint;
	*seg = m->seg;
	*off = m->off;
	m->off += BS_PAGE;
	s->left--;
}

static void unit_done(struct bs_devio *io)
{
	struct bs_ck_unit *u = io->arg;
	struct bs_engine *e = u->engine;

	u->state = BS_CK_FREE;
	e->segs.seg[u->seg].writers--;
	e->waits_in_flight--;
	e->checkpoint->writing--;
	if (io->status)
		e->checkpoint->error = io->status;
	bs_fiber_wake_all(e->fibers, &e->checkpoint->unit_wait);
}

static void write_unit(struct bs_engine *e, struct bs_ck_unit *u)
{
	struct bs_unit_head h = {.kind = BS_UNIT_META,
				 .epoch = e->checkpoint->sb.epoch,
				 .seq = e->checkpoint->sb.checkpoint,
				 .head_len = BS_PAGE,
				 .payload_len = u->count * BS_PAGE,
				 .unit_len = (u->count + 1) * BS_PAGE,
				 .records = u->count,
				 .records_len = u->records_len,
				 .ahead = {BS_SEG_NONE, BS_SEG_NONE}};

	bs_unit_set_tag(u->buf, e->tag);
	bs_unit_encode(u->buf, &h);
	u->state = BS_CK_WRITING;
	u->io = (struct bs_devio){.op = BS_DEV_WRITE,
				  .offset = bs_engine_where(e, u->seg, u->off),
				  .length = h.unit_len,
				  .iov = {{u->buf, h.unit_len}},
				  .iovcnt = 1,
				  .done = unit_done,
				  .arg = u};
	e->count.device_writes++;
	e->count.device_write_bytes += h.unit_len;
	e->segs.seg[u->seg].writers++;
	e->waits_in_flight++;
	e->checkpoint->writing++;
	bs_device_submit(e->dev, &u->io);
}

static struct bs_ck_unit *begin(struct bs_checkpoint *c, uint32_t seg, uint32_t off)
{
	struct bs_ck_unit *u = c->units;

	while (u < c->units + BS_CK_UNITS && u->state != BS_CK_FREE)
		u++;
	VS_ASSERT(u < c->units + BS_CK_UNITS && off >= BS_PAGE);
	u->state = BS_CK_FILLING;
	u->seg = seg;
	u->off = off - BS_PAGE;
	u->count = u->records_len = 0;
	return u;
}

void bs_ck_stage(struct bs_engine *e, unsigned si, uint32_t seg, uint32_t off,
		 const struct bs_ck_page *page, const uint8_t *data)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct bs_ck_stream *s = &c->stream[si];
	struct bs_rec r = {.type = page->tree == BS_TREES ? BS_REC_MAPPAGE : BS_REC_PAGE,
			   .cid = page->id,
			   .block = page->id,
			   .tree = page->tree,
			   .level = page->level};
	struct bs_ck_unit *u = s->filling;

	if (!u)
		u = s->filling = begin(c, seg, off);
	u->count++;
	VS_ASSERT(u->seg == seg && u->off + u->count * BS_PAGE == off);
	u->records_len += bs_rec_put(u->buf + BS_UNIT_HEAD + u->records_len, &r);
	memcpy(u->buf + (size_t)u->count * BS_PAGE, data, BS_PAGE);
	if (page->tree == BS_TREES)
		e->count.bytes_maps += BS_PAGE;
	else
		e->count.bytes_tables += BS_PAGE;
	if (u->count == c->unit_pages || off + 2 * BS_PAGE > e->segs.size) {
		s->filling = NULL;
		write_unit(e, u);
	}
}

void bs_ck_close(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;

	for (unsigned si = 0; si < 2; si++) {
		if (c->stream[si].filling)
			write_unit(e, c->stream[si].filling);
		c->stream[si] = (struct bs_ck_stream){0};
	}
}

int bs_ck_wait(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;

	while (c->writing)
		bs_fiber_block(e->fibers, &c->unit_wait);
	return c->error;
}

int bs_ck_pace(struct bs_engine *e, unsigned pages)
{
	const struct bs_frames *fs = &e->frames;
	struct bs_checkpoint *c = e->checkpoint;
	/* changes would have to wait soon */
	bool late = fs->ndirty > fs->dirty_limit / 2 || bs_segs_short(&e->segs);

	c->step += pages;
	if (c->step < e->cfg.checkpoint_step * (late ? 8 : 1))
		return 0;
	c->step = 0;
	bs_engine_room(e); /* changes may wait for what has been placed */
	bs_fiber_yield(e->fibers);
	return e->failed ? VS_E_FAILED : 0;
}

bool bs_checkpoint_staged(const struct bs_engine *e, uint32_t seg, uint32_t off, void *buf,
			  uint32_t len)
{
	for (unsigned i = 0; e->checkpointing && i < BS_CK_UNITS; i++) {
		const struct bs_ck_unit *u = &e->checkpoint->units[i];

		if (u->state == BS_CK_FREE || u->seg != seg || off < u->off + BS_PAGE ||
		    off - u->off + len > (u->count + 1) * BS_PAGE)
			continue;
		memcpy(buf, u->buf + (off - u->off), len);
		return true;
	}
	return false;
}
