#include "blockstore/content.h"
#include "blockstore/map.h"
#include "blockstore/op_int.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"
#include "blockstore/port.h"

/* Reads of small requests enter the block cache; long ones would only push others out. */
#define CACHE_BLOCKS 16u
/* Unneeded bytes that are read to make one request of two. */
#define GAP 16384u

static bool place_ok(const struct bs_engine *e, const struct bs_place *p)
{
	return p->seg < e->segs.count && p->len > 0 && p->len <= 2 * BS_BLOCK &&
	       p->coding <= BS_CODING_ZSTD && vs_range_ok(p->off, p->len, e->segs.size);
}

/* What has no bytes here: zeros, or at an origin. */
static int look_elsewhere(struct bs_piece *p, bool *absent)
{
	if (p->place.coding == BS_CODING_ZEROS)
		p->cid = 0;
	else if (bs_place_at_origin(&p->place))
		*absent = true;
	else
		return VS_E_CORRUPT;
	return 0;
}

/* Which content each block has and where it lies. Pins nothing. *absent: not all are here. */
static int look(struct bs_engine *e, struct bs_iop *op, bool *absent)
{
	uint64_t leaf_of = UINT64_MAX;
	struct bs_frame *leaf = NULL;

	*absent = false;
	for (unsigned i = 0; i < op->count; i++) {
		uint64_t block = op->block + i;
		struct bs_piece *p = &op->piece[i];
		int rc;

		*p = (struct bs_piece){0};
		if (block / BS_MAP_FAN != leaf_of) {
			rc = bs_map_leaf(e, op->vol, block, &leaf);
			if (rc)
				return rc;
			leaf_of = block / BS_MAP_FAN;
		}
		p->cid = leaf ? bs_map_entry(leaf->data, (unsigned)(block % BS_MAP_FAN)) : 0;
		if (!p->cid)
			continue;
		bs_cache_expect(&e->cache, p->cid);
		rc = bs_content_look(e, p->cid, &p->place);
		if (rc)
			return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
		if (!place_ok(e, &p->place)) {
			rc = look_elsewhere(p, absent);
			if (rc)
				return rc;
			continue;
		}
		if (p->place.alias) /* from here on it is what stores it, also for the cache */
			p->cid = p->place.alias;
		if (bs_marks_has(&e->marks, p->cid))
			return VS_E_CHECKSUM;
	}
	return 0;
}

static void from_memory(struct bs_engine *e, struct bs_piece *p)
{
	p->cached = bs_cache_get(&e->cache, p->cid);
	if (p->cached) {
		p->ptr = p->cached->data;
		p->len = BS_BLOCK;
		p->decoded = true;
		e->count.cache_hits++;
		return;
	}
	p->len = p->place.len;
	p->coding = p->place.coding;
	p->check = p->place.check;
	p->ptr = bs_log_find(e, &p->place, &p->unit);
}

static uint32_t page_end(const struct bs_place *p)
{
	return VS_ALIGN_UP(p->off + p->len, BS_PAGE);
}

/* The pieces that the device has to give, in the order in which they lie there. */
static unsigned wanted(const struct bs_iop *op, uint8_t order[BS_OP_BLOCKS])
{
	uint64_t at[BS_OP_BLOCKS];
	unsigned n = 0;

	for (unsigned i = 0; i < op->count; i++) {
		const struct bs_piece *p = &op->piece[i];
		uint64_t place = (uint64_t)p->place.seg << 32 | p->place.off;
		unsigned k = n;

		if (!p->cid || p->ptr)
			continue;
		for (; k && at[k - 1] > place; k--) {
			at[k] = at[k - 1];
			order[k] = order[k - 1];
		}
		at[k] = place;
		order[k] = (uint8_t)i;
		n++;
	}
	return n;
}

/* Pieces order[i] to before order[k] that one device read serves: its bytes in the segment. */
static unsigned extent(const struct bs_iop *op, const uint8_t *order, unsigned n, unsigned i,
		       uint32_t *from, uint32_t *to)
{
	const struct bs_place *first = &op->piece[order[i]].place;
	unsigned k = i + 1;

	*from = VS_ALIGN_DOWN(first->off, BS_PAGE);
	*to = page_end(first);
	for (; k < n; k++) {
		const struct bs_place *p = &op->piece[order[k]].place;

		if (p->seg != first->seg || p->off > *to + GAP)
			break;
		*to = VS_MAX(*to, page_end(p));
	}
	return k;
}

static void release_rios(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_rio *r = op->rios, *next;

	op->rios = NULL;
	for (; r; r = next) {
		next = r->next;
		if (r->pages)
			bs_arena_give(e->read_arena, r->buf, r->pages);
		r->next = e->rios;
		e->rios = r;
	}
}

/*
 * Whether the CID still means the bytes that were read: it may have been freed meanwhile and given
 * out again. Only looked up in memory; what is not there is not worth a read.
 */
static bool still_there(struct bs_engine *e, const struct bs_piece *p)
{
	uint64_t slot = bs_cid_slot(p->cid);
	struct bs_frame *f =
	    bs_frame_find(e, bs_key_tree(BS_TREE_PLACE, 0, slot / BS_PLACES_PER_PAGE));
	struct bs_place now;

	if (!f || f->state != BS_FRAME_VALID)
		return bs_planted(STALE_CACHE);
	bs_place_get(f->data + slot % BS_PLACES_PER_PAGE * BS_PLACE_SIZE, &now);
	return bs_planted(STALE_CACHE) ||
	       (now.refs && now.gen == bs_cid_gen(p->cid) && now.seg == p->place.seg &&
		now.off == p->place.off && now.check == p->place.check);
}

void bs_op_read_release(struct bs_engine *e, struct bs_iop *op)
{
	bool waiters = op->rios != NULL, merged = op->then == BS_OP_WRITE;

	if (op->stage != BS_OP_RELEASE && !(op->stage == BS_OP_WRITE && merged) && !waiters)
		return;
	for (unsigned i = 0; i < op->count && i < BS_OP_BLOCKS; i++) {
		struct bs_piece *p = &op->piece[i];

		if (p->cached) {
			if (p->filled && still_there(e, p))
				bs_cache_insert(&e->cache, p->cached, p->cid);
			bs_cache_put(&e->cache, p->cached);
		}
		if (p->unit)
			bs_log_release(e, p->unit);
		*p = (struct bs_piece){0};
	}
	release_rios(e, op);
	if (!waiters)
		return;
	if (atomic_load_explicit(&e->starving, memory_order_relaxed) & BS_STARVING_READS)
		atomic_fetch_and(&e->starving, ~BS_STARVING_READS);
	bs_fiber_wake_all(e->fibers, &e->read_wait); /* who is short again says so again */
}

static void read_done(struct bs_devio *io)
{
	struct bs_rio *r = io->arg;
	struct bs_iop *op = r->op;
	struct bs_engine *e = bs_port_engine(op->port);

	e->segs.seg[r->seg].readers--;
	e->reads_in_flight--;
	if (io->status)
		op->status = VS_E_IO;
	if (--op->rios_pending == 0)
		bs_op_answer(e, op, BS_OP_FILLED);
}

/* into: room for the bytes that is not the arena's; NULL: there is none. */
static struct bs_rio *new_rio(struct bs_engine *e, struct bs_iop *op, uint32_t seg, uint32_t from,
			      uint32_t to, uint8_t *into)
{
	struct bs_rio *r = e->rios;

	if (!r)
		return NULL;
	r->pages = into ? 0 : (to - from) / BS_PAGE;
	r->buf = into ? into : bs_arena_take(e->read_arena, r->pages);
	if (!r->buf)
		return NULL;
	e->rios = r->next;
	r->op = op;
	r->seg = seg;
	r->io = (struct bs_devio){.op = BS_DEV_READ,
				  .offset = bs_engine_where(e, seg, from),
				  .length = to - from,
				  .iov = {{r->buf, to - from}},
				  .iovcnt = 1,
				  .done = read_done,
				  .arg = r};
	r->next = op->rios;
	op->rios = r;
	return r;
}

/* What is stored as it is, in a page of its own, is read to where the cache has it. */
static uint8_t *read_in_place(struct bs_engine *e, struct bs_piece *p)
{
	if (p->coding != BS_CODING_PLAIN || p->len != BS_BLOCK || p->place.off % BS_PAGE)
		return NULL;
	p->cached = bs_cache_new(&e->cache);
	return p->cached ? p->cached->data : NULL;
}

/* (step) Pins what is in memory and sets up the device reads: false when buffers are short. */
static bool gather(struct bs_engine *e, struct bs_iop *op)
{
	bool cache = op->count <= CACHE_BLOCKS && e->cache.count;
	uint8_t order[BS_OP_BLOCKS];
	unsigned n;

	for (unsigned i = 0; i < op->count; i++)
		if (op->piece[i].cid)
			from_memory(e, &op->piece[i]);
	n = wanted(op, order);
	for (unsigned i = 0; i < n;) {
		uint32_t from, to;
		unsigned end = extent(op, order, n, i, &from, &to);
		struct bs_piece *first = &op->piece[order[i]];
		uint8_t *into = cache && end == i + 1 ? read_in_place(e, first) : NULL;
		struct bs_rio *r = new_rio(e, op, first->place.seg, from, to, into);

		if (!r)
			return false;
		for (; i < end; i++) {
			struct bs_piece *p = &op->piece[order[i]];

			p->ptr = r->buf + (p->place.off - from);
			e->count.cache_misses++;
			if (cache && !p->cached)
				p->cached = bs_cache_new(&e->cache);
		}
	}
	return true;
}

static void drop(struct bs_engine *e, struct bs_iop *op)
{
	enum bs_stage stage = op->stage;

	op->stage = BS_OP_RELEASE;
	bs_op_read_release(e, op);
	op->stage = stage;
}

static void submit(struct bs_engine *e, struct bs_iop *op)
{
	op->rios_pending = 0;
	for (struct bs_rio *r = op->rios; r; r = r->next)
		op->rios_pending++;
	if (!op->rios) {
		bs_op_answer(e, op, BS_OP_FILLED);
		return;
	}
	for (struct bs_rio *r = op->rios; r; r = r->next) {
		e->segs.seg[r->seg].readers++;
		e->reads_in_flight++;
		e->count.device_reads++;
		e->count.device_read_bytes += r->io.length;
		bs_device_submit(e->dev, &r->io);
	}
}

int bs_op_read(struct bs_engine *e, struct bs_iop *op)
{
	uint64_t blocks;
	bool absent;

	for (;;) {
		do {
			int rc;

			blocks = bs_fiber_blocks(e->fibers);
			if (!vs_range_ok(op->block, op->count, bs_volent_blocks(&op->vol->ent)))
				return VS_E_RANGE;
			rc = look(e, op, &absent);
			if (rc == 0 && op->req->op == BS_READ && bs_op_has_words(op))
				rc = bs_op_words_look(e, op);
			if (rc) { /* places, not pins: nothing to give back */
				memset(op->piece, 0, sizeof(op->piece));
				return rc;
			}
		} while (blocks != bs_fiber_blocks(e->fibers));
		if (absent)
			return bs_origin_park(e, op);
		if (gather(e, op))
			break;
		drop(e, op);
		atomic_fetch_or(&e->starving, BS_STARVING_READS);
		if (!bs_fiber_here(e->fibers))
			return VS_E_AGAIN;
		if (!e->reads_in_flight && e->read_arena->nfree == e->read_arena->count)
			return VS_E_NOMEM;
		bs_fiber_block(e->fibers, &e->read_wait);
	}
	op->status = 0;
	submit(e, op);
	return 0;
}

int bs_op_read_again(struct bs_engine *e, struct bs_iop *op)
{
	drop(e, op);
	bs_fiber_wake_all(e->fibers, &e->read_wait);
	return bs_op_read(e, op);
}

int bs_op_status(struct bs_engine *e, struct bs_iop *op)
{
	uint64_t leaf_of = UINT64_MAX;
	struct bs_frame *leaf = NULL;

	if (!vs_range_ok(op->block, op->count, bs_volent_blocks(&op->vol->ent)))
		return VS_E_RANGE;
	for (uint64_t i = 0; i < op->count; i++) {
		uint64_t block = op->block + i;

		if (block / BS_MAP_FAN != leaf_of) {
			int rc = bs_map_leaf(e, op->vol, block, &leaf);

			if (rc)
				return rc;
			leaf_of = block / BS_MAP_FAN;
		}
		op->req->mapped[i] =
		    leaf && bs_map_entry(leaf->data, (unsigned)(block % BS_MAP_FAN)) != 0;
	}
	bs_op_done(e, op, 0);
	return 0;
}
