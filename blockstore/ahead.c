#include "blockstore/ahead.h"

#include "blockstore/engine.h"

static void done(struct bs_devio *io)
{
	struct bs_ahead_io *a = io->arg;
	struct bs_engine *e = a->e;
	struct bs_frame *f = a->f;

	a->f = NULL;
	e->ahead.busy--;
	e->waits_in_flight--;
	e->segs.seg[a->seg].readers--;
	f->pins--;
	f->state = BS_FRAME_VALID;
	bs_fiber_wake_all(e->fibers, &f->waiters);
	if (io->status || bs_checksum(f->data, BS_PAGE) != a->check)
		bs_frame_drop(e, f);
}

static void submit(struct bs_engine *e, struct bs_ahead_io *a, struct bs_frame *f,
		   const struct bs_ptr *ptr)
{
	*a = (struct bs_ahead_io){.e = e, .f = f, .check = ptr->check, .seg = ptr->seg[0]};
	a->io = (struct bs_devio){.op = BS_DEV_READ,
				  .offset = bs_engine_where(e, ptr->seg[0], ptr->off[0]),
				  .length = BS_PAGE,
				  .iov = {{f->data, BS_PAGE}},
				  .iovcnt = 1,
				  .done = done,
				  .arg = a};
	f->used = ptr->used;
	f->pins++;
	e->segs.seg[a->seg].readers++;
	e->waits_in_flight++;
	e->ahead.busy++;
	e->count.device_reads++;
	e->count.device_read_bytes += BS_PAGE;
	bs_device_submit(e->dev, &a->io);
}

/* A number may come from a record on the device: only of leaves that there are is a key made. */
static bool exists(const struct bs_engine *e, unsigned tree, uint64_t leaf)
{
	return leaf < e->trees[tree].root.leaves;
}

/* From the page above, which must be in memory. */
static bool find_ptr(struct bs_engine *e, unsigned tree, uint64_t leaf, struct bs_ptr *ptr)
{
	struct bs_frame *above;

	if (e->trees[tree].root.height < 2)
		return false;
	above = bs_frame_find(e, bs_key_tree(tree, 1, leaf / BS_PTRS_PER_PAGE));
	if (!above || above->state != BS_FRAME_VALID)
		return false;
	bs_ptr_get(above->data + leaf % BS_PTRS_PER_PAGE * BS_PTR_SIZE, ptr);
	return ptr->seg[0] < e->segs.count && ptr->off[0] % BS_PAGE == 0 &&
	       vs_range_ok(ptr->off[0], BS_PAGE, e->segs.size);
}

/* False: as many are being read as may be, or no frame is free. */
static bool begin(struct bs_engine *e, unsigned tree, uint64_t leaf, const struct bs_ptr *ptr)
{
	struct bs_ahead_io *a = e->ahead.ios;
	struct bs_frame *f;

	if (e->ahead.busy == BS_AHEAD_MAX)
		return false;
	f = bs_frame_new(e, bs_key_tree(tree, 0, leaf));
	if (!f)
		return false;
	while (a->f)
		a++;
	submit(e, a, f, ptr);
	return true;
}

bool bs_ahead_leaf(struct bs_engine *e, unsigned tree, uint64_t leaf)
{
	struct bs_ptr ptr;

	if (!exists(e, tree, leaf))
		return false;
	return bs_frame_find(e, bs_key_tree(tree, 0, leaf)) ||
	       (find_ptr(e, tree, leaf, &ptr) && begin(e, tree, leaf, &ptr));
}

bool bs_ahead_leaf_at(struct bs_engine *e, unsigned tree, uint64_t leaf, uint32_t seg, uint32_t off)
{
	struct bs_ptr ptr;

	return !exists(e, tree, leaf) || bs_frame_find(e, bs_key_tree(tree, 0, leaf)) ||
	       !find_ptr(e, tree, leaf, &ptr) || ptr.seg[0] != seg || ptr.off[0] != off ||
	       begin(e, tree, leaf, &ptr);
}
