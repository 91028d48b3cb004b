#include "blockstore/clean_int.h"

#include <string.h>

static void pump(struct bs_engine *e);

static void done(struct bs_devio *io)
{
	struct bs_clean_io *r = io->arg;
	struct bs_engine *e = r->e;
	struct bs_cleaner *c = e->cleaner;

	e->segs.seg[r->seg].readers--;
	e->waits_in_flight--;
	c->reads--;
	memset(c->pieces + r->first, BS_CLEAN_LOADED, r->n);
	if (io->status)
		c->status = io->status;
	r->e = NULL;
	pump(e);
	bs_fiber_wake_all(e->fibers, &c->wait);
}

static void submit(struct bs_engine *e, uint32_t first, uint32_t n)
{
	struct bs_cleaner *c = e->cleaner;
	struct bs_clean_io *r = c->ios;
	uint32_t off = first * BS_CLEAN_PIECE;
	uint32_t len = VS_MIN(n * BS_CLEAN_PIECE, e->segs.size - off);

	while (r->e)
		r++;
	r->e = e;
	r->seg = c->seg;
	r->first = first;
	r->n = n;
	r->io = (struct bs_devio){.op = BS_DEV_READ,
				  .offset = bs_engine_where(e, c->seg, off),
				  .length = len,
				  .iov = {{c->buf + off, len}},
				  .iovcnt = 1,
				  .sides = c->side,
				  .done = done,
				  .arg = r};
	memset(c->pieces + first, BS_CLEAN_LOADING, n);
	e->segs.seg[c->seg].readers++;
	e->waits_in_flight++;
	c->reads++;
	e->count.device_reads++;
	e->count.device_read_bytes += len;
	bs_device_submit(e->dev, &r->io);
}

/* What is wanted before the horizon, in order, a few reads at once. */
static void pump(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;
	unsigned most = bs_log_serves(&e->log) ? BS_CLEAN_READS_SERVING : BS_CLEAN_READS;

	while (c->reads < most && !c->status) {
		uint32_t n = 0;

		while (c->next_wanted < c->horizon && c->pieces[c->next_wanted] != BS_CLEAN_WANTED)
			c->next_wanted++;
		while (c->next_wanted + n < c->horizon && n < BS_CLEAN_RUN / BS_CLEAN_PIECE &&
		       c->pieces[c->next_wanted + n] == BS_CLEAN_WANTED)
			n++;
		if (!n)
			break;
		submit(e, c->next_wanted, n);
		c->next_wanted += n;
	}
}

void bs_clean_read_begin(struct bs_engine *e, uint32_t seg, uint16_t side)
{
	struct bs_cleaner *c = e->cleaner;

	VS_ASSERT(!c->reads);
	c->seg = seg;
	c->status = 0;
	c->next_wanted = c->horizon = 0;
	c->side = side;
	c->sparse = bs_clean_sparse(e, seg);
	memset(c->pieces, c->sparse ? BS_CLEAN_ABSENT : BS_CLEAN_WANTED, c->npieces);
}

void bs_clean_read_want(struct bs_engine *e, uint32_t off, uint32_t len)
{
	struct bs_cleaner *c = e->cleaner;

	for (uint32_t i = off / BS_CLEAN_PIECE; i <= (off + len - 1) / BS_CLEAN_PIECE; i++) {
		if (c->pieces[i] != BS_CLEAN_ABSENT)
			continue;
		c->pieces[i] = BS_CLEAN_WANTED;
		c->next_wanted = VS_MIN(c->next_wanted, i);
	}
}

bool bs_clean_read_has(const struct bs_engine *e, uint32_t off, uint32_t len)
{
	const struct bs_cleaner *c = e->cleaner;

	for (uint32_t i = off / BS_CLEAN_PIECE; i <= (off + len - 1) / BS_CLEAN_PIECE; i++)
		if (c->pieces[i] != BS_CLEAN_LOADED)
			return false;
	return true;
}

static bool missing(const struct bs_cleaner *c, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		if (c->pieces[i] == BS_CLEAN_WANTED || c->pieces[i] == BS_CLEAN_LOADING)
			return true;
	return false;
}

int bs_clean_read_load(struct bs_engine *e, uint32_t off, uint32_t len)
{
	struct bs_cleaner *c = e->cleaner;
	uint32_t end = VS_DIV_UP(off + len, BS_CLEAN_PIECE);

	c->horizon = VS_MIN(c->npieces, end + BS_CLEAN_AHEAD / BS_CLEAN_PIECE);
	while (!c->status) {
		pump(e);
		if (!missing(c, off / BS_CLEAN_PIECE, end))
			break;
		bs_fiber_block(e->fibers, &c->wait);
	}
	return c->status;
}

void bs_clean_read_end(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;

	c->horizon = 0;
	while (c->reads)
		bs_fiber_block(e->fibers, &c->wait);
}
