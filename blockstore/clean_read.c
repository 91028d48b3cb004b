#include "blockstore/clean_int.h"

#include <string.h>

static void done(struct bs_devio *io)
{
	struct bs_clean_io *r = io->arg;
	struct bs_engine *e = r->e;
	struct bs_cleaner *c = e->cleaner;

	e->segs.seg[r->seg].readers--;
	e->waits_in_flight--;
	c->reads--;
	if (io->status)
		c->status = io->status;
	r->e = NULL;
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
	r->io = (struct bs_devio){.op = BS_DEV_READ,
				  .offset = bs_engine_where(e, c->seg, off),
				  .length = len,
				  .iov = {{c->buf + off, len}},
				  .iovcnt = 1,
				  .sides = c->side,
				  .done = done,
				  .arg = r};
	memset(c->pieces + first, BS_CLEAN_LOADED, n);
	e->segs.seg[c->seg].readers++;
	e->waits_in_flight++;
	c->reads++;
	e->count.device_reads++;
	e->count.device_read_bytes += len;
	bs_device_submit(e->dev, &r->io);
}

void bs_clean_read_begin(struct bs_engine *e, uint32_t seg, uint16_t side)
{
	struct bs_cleaner *c = e->cleaner;

	c->seg = seg;
	c->status = 0;
	c->side = side;
	c->sparse = bs_clean_sparse(e, seg);
	memset(c->pieces, c->sparse ? BS_CLEAN_ABSENT : BS_CLEAN_WANTED, c->npieces);
}

void bs_clean_read_want(struct bs_engine *e, uint32_t off, uint32_t len)
{
	struct bs_cleaner *c = e->cleaner;

	for (uint32_t i = off / BS_CLEAN_PIECE; i <= (off + len - 1) / BS_CLEAN_PIECE; i++)
		if (c->pieces[i] == BS_CLEAN_ABSENT)
			c->pieces[i] = BS_CLEAN_WANTED;
}

bool bs_clean_read_has(const struct bs_engine *e, uint32_t off, uint32_t len)
{
	const struct bs_cleaner *c = e->cleaner;

	for (uint32_t i = off / BS_CLEAN_PIECE; i <= (off + len - 1) / BS_CLEAN_PIECE; i++)
		if (c->pieces[i] != BS_CLEAN_LOADED)
			return false;
	return true;
}

int bs_clean_read_load(struct bs_engine *e)
{
	struct bs_cleaner *c = e->cleaner;
	uint32_t i = 0;

	while (i < c->npieces || c->reads) {
		uint32_t n = 0;

		while (i < c->npieces && c->pieces[i] != BS_CLEAN_WANTED)
			i++;
		while (i + n < c->npieces && c->pieces[i + n] == BS_CLEAN_WANTED &&
		       n < BS_CLEAN_RUN / BS_CLEAN_PIECE)
			n++;
		if (n && c->reads < BS_CLEAN_READS) {
			submit(e, i, n);
			i += n;
		} else if (c->reads) {
			bs_fiber_block(e->fibers, &c->wait);
		}
	}
	return c->status;
}
