#include "blockstore/log.h"

#include "blockstore/clean.h"
#include "blockstore/content.h"
#include "blockstore/engine.h"
#include "blockstore/mem.h"
#include "blockstore/op.h"
#include "blockstore/plant.h"

#include <stdlib.h>

/* Replay looks in the segments named ahead, and the unit that failed may itself begin the first. */
#define MAX_RETRIES (BS_LOG_AHEAD - 1)

int bs_log_init(struct bs_engine *e)
{
	struct bs_log *l = &e->log;

	l->nunits = VS_MIN(e->cfg.units, 64u);
	l->unit_max = VS_MIN(e->cfg.unit_max, e->segs.size);
	l->head_small = BS_PAGE;
	l->head_large = VS_MAX(2 * BS_PAGE, VS_ALIGN_UP(l->unit_max / 43, BS_PAGE));
	l->max_pages = 256;
	l->units = calloc(l->nunits, sizeof(*l->units));
	l->mem = bs_mem_new((size_t)l->nunits * l->unit_max);
	if (!l->units || !l->mem)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < l->nunits; i++) {
		l->units[i].engine = e;
		l->units[i].buf = l->mem + (size_t)i * l->unit_max;
		l->units[i].pages = calloc(l->max_pages, sizeof(uint64_t));
		if (!l->units[i].pages)
			return VS_E_NOMEM;
	}
	l->seg = l->meta[0].seg = l->meta[1].seg = BS_SEG_NONE;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		l->ahead[i] = BS_SEG_NONE;
	return 0;
}

void bs_log_destroy(struct bs_log *l)
{
	for (unsigned i = 0; l->units && i < l->nunits; i++)
		free(l->units[i].pages);
	bs_mem_free(l->mem, (size_t)l->nunits * l->unit_max);
	free(l->units);
}

int bs_log_begin(struct bs_engine *e)
{
	struct bs_log *l = &e->log;

	l->epoch = e->env.random(e->env.arg);
	l->seg = bs_seg_take(e, BS_SEG_LOG, BS_NEED_SYSTEM);
	l->off = 0;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		l->ahead[i] = bs_seg_take(e, BS_SEG_LOG, BS_NEED_SYSTEM);
	return l->ahead[BS_LOG_AHEAD - 1] == BS_SEG_NONE ? VS_E_NOSPC : 0;
}

/* The log goes on in the next segment named ahead; a further one is named. */
static bool next_segment(struct bs_engine *e, enum bs_need need)
{
	struct bs_log *l = &e->log;
	uint32_t more = bs_seg_take(e, BS_SEG_LOG, need);

	if (more == BS_SEG_NONE)
		return false;
	l->seg = l->ahead[0];
	for (unsigned i = 0; i + 1 < BS_LOG_AHEAD; i++)
		l->ahead[i] = l->ahead[i + 1];
	l->ahead[BS_LOG_AHEAD - 1] = more;
	l->off = 0;
	return true;
}

bool bs_log_leave(struct bs_engine *e)
{
	return !e->log.open && !e->log.drain && !e->log.retrying && next_segment(e, BS_NEED_SYSTEM);
}

static void place_unit(struct bs_log *l, struct bs_unit *u)
{
	u->seg = l->seg;
	u->off = l->off;
	u->first = l->off == 0;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		u->ahead[i] = u->first ? l->ahead[i] : BS_SEG_NONE;
}

static int open_unit(struct bs_engine *e, enum bs_need need, uint32_t head, uint32_t payload)
{
	struct bs_log *l = &e->log;
	struct bs_unit *u = NULL;

	for (unsigned i = 0; i < l->nunits && !u; i++)
		if (l->units[i].state == BS_UNIT_FREE)
			u = &l->units[i];
	if (!u)
		atomic_fetch_or(&e->starving, BS_STARVING_UNITS);
	if (!u || l->drain || l->retrying)
		return VS_E_AGAIN;
	if (l->off + head + payload > e->segs.size) {
		if (!next_segment(e, need))
			return VS_E_NOSPC;
	}
	place_unit(l, u);
	u->state = BS_UNIT_OPEN;
	u->cap = VS_MIN(l->unit_max, e->segs.size - l->off);
	u->head_cap = head;
	u->records_len = u->records = u->payload_len = u->npages = 0;
	u->ops = NULL;
	u->ops_tail = &u->ops;
	u->status = 0;
	u->fua = u->durable = false;
	e->segs.seg[u->seg].writers++;
	bs_unit_set_tag(u->buf, e->tag);
	l->open = u;
	return 0;
}

static bool fits(const struct bs_log *l, const struct bs_unit *u, uint32_t records,
		 uint32_t payload, uint32_t pages)
{
	uint32_t list = BS_REC_PAGES_HEAD + 8 * (u->npages + pages);

	return u->npages + pages <= l->max_pages &&
	       BS_UNIT_HEAD + u->records_len + records + list <= u->head_cap &&
	       u->head_cap + u->payload_len + payload <= u->cap;
}

/* No more goes into the open unit: its list of pages, sequence and length are settled. */
static struct bs_unit *close_unit(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	struct bs_unit *u = l->open;
	uint32_t used = u->head_cap + u->payload_len;

	if (u->npages) {
		struct bs_rec r = {.type = BS_REC_PAGES, .count = u->npages};
		uint8_t *p = u->buf + BS_UNIT_HEAD + u->records_len;
		uint32_t n = bs_rec_put_array_head(p, &r);

		for (unsigned i = 0; i < u->npages; i++)
			vs_put_le64(p + n + 8 * i, u->pages[i]);
		u->records_len += n + 8 * u->npages;
		u->records++;
	}
	u->seq = l->next_seq++;
	u->unit_len = VS_ALIGN_UP(used, BS_PAGE);
	memset(u->buf + used, 0, u->unit_len - used);
	l->open = NULL;
	l->flight[l->nflight++] = u;
	return u;
}

static void write_unit(struct bs_engine *e, struct bs_unit *u);

static void seal(struct bs_engine *e)
{
	struct bs_unit *u = close_unit(e);

	e->log.off += u->unit_len;
	u->durable = bs_log_flush_alone(e, u);
	write_unit(e, u);
}

static void unit_done(struct bs_devio *io)
{
	struct bs_unit *u = io->arg;

	u->state = BS_UNIT_WRITTEN;
	u->status = io->status;
	u->engine->segs.seg[u->seg].writers--;
	if (bs_planted(LOST_WRITE))
		u->status = 0;
	if (u->status) {
		u->engine->log.retrying = true;
		u->engine->log.never_alone |= u->durable;
	}
}

static void write_unit(struct bs_engine *e, struct bs_unit *u)
{
	struct bs_log *l = &e->log;
	struct bs_unit_head h = {.kind = BS_UNIT_LOG,
				 .first = u->first,
				 .epoch = l->epoch,
				 .seq = u->seq,
				 .durable_seq = l->durable_seq,
				 .chain = l->chain,
				 .unit_len = u->unit_len,
				 .head_len = u->head_cap,
				 .payload_len = u->payload_len,
				 .records_len = u->records_len,
				 .records = u->records};

	memcpy(h.ahead, u->ahead, sizeof(h.ahead));
	bs_unit_encode(u->buf, &h);
	l->chain = u->check = h.check;
	l->bytes += u->unit_len;
	e->count.bytes_data += u->unit_len;
	e->count.device_writes++;
	e->count.device_write_bytes += u->unit_len;
	u->state = BS_UNIT_WRITING;
	u->io = (struct bs_devio){.op = BS_DEV_WRITE,
				  .offset = bs_engine_where(e, u->seg, u->off),
				  .length = u->unit_len,
				  .durable = u->durable,
				  .iov = {{u->buf, u->unit_len}},
				  .iovcnt = 1,
				  .done = unit_done,
				  .arg = u};
	bs_device_submit(e->dev, &u->io);
}

static bool is_data(enum bs_need need, uint32_t payload)
{
	return (need == BS_NEED_DATA || need == BS_NEED_THICK) && payload;
}

/* Too much is live for more data. */
static bool beyond_limit(const struct bs_engine *e, enum bs_need need, uint32_t payload)
{
	return is_data(need, payload) && e->segs.live + payload > e->segs.live_limit;
}

/*
 * Who may not begin a segment does not fill the rest of another's: that would cost the cleaner more
 * segments than it gives back.
 */
static bool left_to_cleaner(const struct bs_engine *e, enum bs_need need, uint32_t payload)
{
	if (!payload || need == BS_NEED_CLEAN || need == BS_NEED_SYSTEM)
		return false;
	return e->segs.nfree <=
	       e->segs.reserve[is_data(need, payload) ? BS_NEED_DATA : BS_NEED_CLEAN];
}

static int room_now(struct bs_engine *e, enum bs_need need, uint32_t records, uint32_t payload,
		    uint32_t pages)
{
	struct bs_log *l = &e->log;
	uint32_t head = BS_UNIT_HEAD + records + BS_REC_PAGES_HEAD + 8 * pages;

	if (e->failed)
		return VS_E_FAILED;
	if (e->read_only)
		return VS_E_ROFS;
	if (beyond_limit(e, need, payload) || left_to_cleaner(e, need, payload))
		return VS_E_NOSPC;
	if (e->cutting || (is_data(need, payload) && bs_clean_holds_data(e)))
		return VS_E_AGAIN;
	if (l->open && fits(l, l->open, records, payload, pages))
		return 0;
	if (l->open) {
		if (l->nflight == VS_ARRAY_LEN(l->flight) || l->retrying)
			return VS_E_AGAIN;
		l->large = true;
		seal(e);
	}
	head = head > l->head_small || l->large ? l->head_large : l->head_small;
	l->large = false;
	VS_ASSERT(BS_UNIT_HEAD + records + BS_REC_PAGES_HEAD + 8 * pages <= head);
	return open_unit(e, need, head, payload);
}

/* What is being released may make room for data. */
static bool release_helps(const struct bs_engine *e, enum bs_need need)
{
	return e->works && !e->work_stuck &&
	       (need == BS_NEED_THICK || (need == BS_NEED_DATA && !e->work_starved));
}

int bs_log_room(struct bs_engine *e, enum bs_need need, uint32_t records, uint32_t payload,
		uint32_t pages)
{
	for (;;) {
		int rc = room_now(e, need, records, payload, pages);
		bool hopeless = rc == VS_E_NOSPC &&
				(e->clean_stuck || e->stopping || beyond_limit(e, need, payload)) &&
				!release_helps(e, need);

		if (rc != VS_E_AGAIN && (rc != VS_E_NOSPC || hopeless || need == BS_NEED_CLEAN ||
					 need == BS_NEED_SYSTEM))
			return rc;
		if (!bs_fiber_here(e->fibers))
			return VS_E_AGAIN;
		bs_fiber_block(e->fibers, &e->room_wait);
	}
}

uint8_t *bs_log_record(struct bs_engine *e, uint32_t len)
{
	struct bs_unit *u = e->log.open;
	uint8_t *p;

	VS_ASSERT(u && BS_UNIT_HEAD + u->records_len + len <= u->head_cap);
	p = u->buf + BS_UNIT_HEAD + u->records_len;
	u->records_len += len;
	u->records++;
	e->log.records++;
	return p;
}

void bs_log_payload(struct bs_engine *e, const void *data, uint32_t len, struct bs_place *where)
{
	struct bs_unit *u = e->log.open;

	VS_ASSERT(u && u->head_cap + u->payload_len + len <= u->cap);
	/* before the copy: what is read back at once would wait for its stores */
	where->seg = u->seg;
	where->off = u->off + u->head_cap + u->payload_len;
	where->len = len;
	memcpy(u->buf + u->head_cap + u->payload_len, data, len);
	u->payload_len += len;
}

void bs_log_note_page(struct bs_engine *e, uint64_t cid)
{
	struct bs_unit *u = e->log.open;

	if (e->recovering)
		return;
	VS_ASSERT(u && u->npages < e->log.max_pages);
	u->pages[u->npages++] = cid;
}

void bs_log_attach(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_unit *u = e->log.open;

	VS_ASSERT(u);
	op->next = NULL;
	op->seq = e->log.next_seq;
	u->fua |= op->fua;
	*u->ops_tail = op;
	u->ops_tail = &op->next;
}

void bs_log_attach_last(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_log *l = &e->log;
	struct bs_unit *u = l->nflight ? l->flight[l->nflight - 1] : NULL;

	if (l->open && (l->open->records || l->open->npages)) {
		bs_log_attach(e, op);
		return;
	}
	op->seq = l->next_seq - 1;
	if (!u) {
		bs_op_acked(e, op, e->failed ? VS_E_FAILED : 0);
		return;
	}
	op->next = NULL;
	*u->ops_tail = op;
	u->ops_tail = &op->next;
}

const uint8_t *bs_log_find(struct bs_engine *e, const struct bs_place *p, struct bs_unit **unit)
{
	struct bs_log *l = &e->log;

	for (unsigned i = 0; i < l->nunits; i++) {
		struct bs_unit *u = &l->units[i];

		if (u->state == BS_UNIT_FREE || u->seg != p->seg || p->off < u->off + u->head_cap ||
		    p->off - u->off + p->len > u->head_cap + u->payload_len)
			continue;
		u->readers++;
		*unit = u;
		return u->buf + (p->off - u->off);
	}
	return NULL;
}

static void free_unit(struct bs_engine *e, struct bs_unit *u)
{
	if (u->state == BS_UNIT_ACKED && !u->readers) {
		u->state = BS_UNIT_FREE;
		if (atomic_load_explicit(&e->starving, memory_order_relaxed) & BS_STARVING_UNITS)
			atomic_fetch_and(&e->starving, ~BS_STARVING_UNITS);
		bs_engine_room(e);
	}
}

void bs_log_release(struct bs_engine *e, struct bs_unit *u)
{
	VS_ASSERT(u->readers);
	u->readers--;
	free_unit(e, u);
}

static void ack(struct bs_engine *e, struct bs_unit *u, int status)
{
	struct bs_iop *op = u->ops, *next;

	u->ops = NULL;
	u->state = BS_UNIT_ACKED;
	for (; op; op = next) {
		next = op->next;
		bs_op_acked(e, op, status);
	}
	bs_engine_room(e); /* the cleaner may go on, even if the unit is still read from */
	free_unit(e, u);
}

static bool reap(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	unsigned n = 0;

	while (n < l->nflight && l->flight[n]->state == BS_UNIT_WRITTEN &&
	       l->flight[n]->status == 0) {
		l->written_seq = l->flight[n]->seq;
		l->acked_chain = l->flight[n]->check;
		if (l->flight[n]->durable)
			bs_log_flush_reached(e, l->written_seq);
		ack(e, l->flight[n], 0);
		n++;
	}
	l->nflight -= n;
	memmove(l->flight, l->flight + n, l->nflight * sizeof(struct bs_unit *));
	if (n)
		l->retries = 0;
	if (l->flush_wanted && l->durable_seq >= l->flush_first)
		bs_log_flush_answer(e);
	return n != 0;
}

/* The places of what u holds change from its old location to its new one. */
static void replace_contents(struct bs_engine *e, struct bs_unit *u, uint32_t seg, uint32_t off)
{
	uint32_t pos = 0, at = u->head_cap;
	bool cutting = e->cutting;
	struct bs_rec r;

	e->cutting = false; /* a cut waits for these units, so this is before it */
	for (unsigned i = 0; i < u->records; i++) {
		struct bs_place p;

		if (bs_rec_get(u->buf + BS_UNIT_HEAD, u->records_len, &pos, &r))
			VS_ASSERT(!"own record is damaged");
		if (r.type != BS_REC_CONTENT && r.type != BS_REC_MOVE)
			continue;
		if (bs_content_look(e, r.cid, &p) == 0 && p.seg == seg && p.off == off + at)
			bs_content_move(e, r.cid, u->seg, u->off + at);
		at += r.len;
	}
	e->cutting = cutting;
}

/*
 * A unit failed. When nothing is being written any more, it and all behind it are written again
 * from the start of the next segment on, where replay looks when it finds no valid successor.
 */
static bool retry(struct bs_engine *e)
{
	struct bs_log *l = &e->log;

	for (unsigned i = 0; i < l->nflight; i++)
		if (l->flight[i]->state == BS_UNIT_WRITING)
			return false;
	if (l->open && l->nflight < VS_ARRAY_LEN(l->flight)) { /* its place is given up too */
		struct bs_unit *u = close_unit(e);

		u->state = BS_UNIT_WRITTEN;
		e->segs.seg[u->seg].writers--;
	}
	if (++l->retries > MAX_RETRIES || !next_segment(e, BS_NEED_SYSTEM)) {
		bs_engine_fail(e, "the device fails writes of the log");
		return true;
	}
	bs_engine_event(e, BS_WARNING, "log", "a write failed: %u units are written again",
			l->nflight);
	l->retrying = false;
	l->chain = l->acked_chain;
	for (unsigned i = 0; i < l->nflight; i++) {
		struct bs_unit *u = l->flight[i];
		uint32_t seg = u->seg, off = u->off;

		if (l->off + u->unit_len > e->segs.size && !next_segment(e, BS_NEED_SYSTEM)) {
			bs_engine_fail(e, "no segment is left to write failed units again");
			return true;
		}
		place_unit(l, u);
		e->segs.seg[u->seg].writers++;
		if (!bs_planted(OLD_PLACE))
			replace_contents(e, u, seg, off);
		l->off += u->unit_len;
		u->status = 0;
		u->durable = false;
		write_unit(e, u);
	}
	return true;
}

void bs_log_fail_waiters(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	unsigned kept = 0;

	if (l->open && l->nflight < VS_ARRAY_LEN(l->flight)) {
		struct bs_unit *u = close_unit(e);

		u->state = BS_UNIT_WRITTEN;
		e->segs.seg[u->seg].writers--;
	}
	for (unsigned i = 0; i < l->nflight; i++) {
		if (l->flight[i]->state == BS_UNIT_WRITING)
			l->flight[kept++] = l->flight[i];
		else
			ack(e, l->flight[i], VS_E_FAILED);
	}
	l->nflight = kept;
	bs_log_flush_answer(e);
}

/* Small units at low load, large ones at high: while enough is being written, let it gather. */
static bool seal_due(const struct bs_log *l)
{
	const struct bs_unit *u = l->open;

	if (!u || (!u->records && !u->npages) || l->nflight == VS_ARRAY_LEN(l->flight))
		return false;
	if (l->drain || l->nflight == 0)
		return true;
	if (l->flush_wanted && !l->flight[l->nflight - 1]->durable)
		return true;
	return l->nflight < 4 && u->payload_len >= (64u << 10);
}

bool bs_log_pump(struct bs_engine *e)
{
	struct bs_log *l = &e->log;
	bool did = reap(e);

	if (e->failed) {
		if (l->nflight || l->open || l->flush_ops || l->flush_wait.head)
			bs_log_fail_waiters(e);
		return did;
	}
	if (l->retrying)
		return retry(e) || did;
	if (seal_due(l)) {
		seal(e);
		did = true;
	}
	return bs_log_flush_start(e) || did;
}

bool bs_log_serves(const struct bs_log *l)
{
	if (l->open && l->open->ops)
		return true;
	for (unsigned i = 0; i < l->nflight; i++)
		if (l->flight[i]->ops)
			return true;
	return false;
}

bool bs_log_quiet(const struct bs_log *l)
{
	return !l->nflight && !(l->open && (l->open->records || l->open->npages)) && !l->flush_busy;
}

void bs_log_drop_open(struct bs_engine *e)
{
	struct bs_unit *u = e->log.open;

	VS_ASSERT(u && !u->records && !u->npages && !u->ops);
	e->segs.seg[u->seg].writers--;
	u->state = BS_UNIT_FREE;
	e->log.open = NULL;
}
