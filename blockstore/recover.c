#include "blockstore/feature.h"
#include "blockstore/logread.h"
#include "blockstore/plant.h"
#include "blockstore/replay_int.h"

#include <stdio.h>
#include <stdlib.h>

/* At most so many units are in flight at once, so a unit may be written again that far back. */
#define REWRITTEN_MAX 64u

/* sides: of a mirror, the device to read from; 0: any. */
static int read_log(struct bs_engine *e, uint16_t sides, uint32_t seg, uint32_t off, uint8_t *buf,
		    uint32_t len)
{
	int rc = bs_logread(e, e->replay->log, sides, seg, off, buf, len);

	if (rc)
		e->replay->error = rc;
	return rc;
}

/* Reads and verifies a unit: header, records, and every content in it. */
static int read_side(struct bs_engine *e, struct bs_replay *r, uint16_t side, uint32_t seg,
		     uint32_t off, struct bs_unit_head *h)
{
	uint32_t pos = 0, at;
	int rc;

	if (off + BS_PAGE > e->segs.size)
		return VS_E_NOENT;
	rc = read_log(e, side, seg, off, r->buf, BS_PAGE);
	if (rc == 0)
		rc = bs_unit_decode(r->buf, BS_PAGE, e->segs.size, e->tag, h);
	if (rc && rc != VS_E_RANGE)
		return rc;
	if (h->kind != BS_UNIT_LOG || h->unit_len > e->segs.size - off ||
	    h->durable_seq >= h->seq || (h->epoch != e->sb.epoch && !bs_planted(FORMER_EPOCH)))
		return VS_E_NOENT;
	if (h->unit_len > BS_PAGE) {
		rc = read_log(e, side, seg, off, r->buf, h->unit_len);
		if (rc)
			return rc;
	}
	rc = bs_unit_decode(r->buf, h->unit_len, e->segs.size, e->tag, h);
	if (rc)
		return rc == VS_E_RANGE ? VS_E_CORRUPT : rc;
	at = h->head_len;
	for (uint32_t i = 0; i < h->records; i++) {
		struct bs_rec rec;

		rc = bs_rec_get(r->buf + BS_UNIT_HEAD, h->records_len, &pos, &rec);
		if (rc)
			return rc;
		if (rec.type != BS_REC_CONTENT && rec.type != BS_REC_MOVE)
			continue;
		if (rec.len > h->head_len + h->payload_len - at ||
		    ((bs_checksum(r->buf + at, rec.len) & BS_CHECK56) != rec.check &&
		     !bs_planted(TORN_UNIT)))
			return VS_E_CHECKSUM;
		at += rec.len;
	}
	return 0;
}

/* A unit that not all sides of a mirror have when power is lost: from now on all have it. */
static void spread(struct bs_engine *e, struct bs_replay *r, uint16_t from, uint32_t seg,
		   uint32_t off, uint32_t len)
{
	uint16_t rest = bs_pool_written(e->pool, seg) & (uint16_t)~from;
	uint64_t at = bs_engine_where(e, seg, off);

	for (; rest && !e->read_only && !bs_planted(ONE_SIDED); rest &= (uint16_t)(rest - 1)) {
		uint16_t bit = (uint16_t)(rest & -rest);
		unsigned i = (unsigned)__builtin_ctz(bit);

		if (bs_logread(e, r->log, bit, seg, off, r->other, len) == 0 &&
		    memcmp(r->buf, r->other, len) == 0)
			continue;
		bs_logread_forget(r->log, bit);
		if (bs_engine_dev_sides(e, BS_DEV_WRITE, at, r->buf, len, bit, NULL) &&
		    bs_pool_can_drop(e->pool, i))
			bs_pool_drop(e->pool, i, "failed a write");
	}
}

/*
 * Of the sides of a mirror the one that has the unit which comes next; else the one whose unit is
 * latest, for what was left behind is older.
 */
static int read_unit(struct bs_engine *e, struct bs_replay *r, uint32_t seg, uint32_t off,
		     struct bs_unit_head *h)
{
	uint16_t sides = bs_pool_in_sync(e->pool, seg), best = 0;
	int rc = VS_E_NOENT, error = r->error;
	uint64_t latest = 0;

	if (__builtin_popcount(bs_pool_written(e->pool, seg)) == 1)
		return read_side(e, r, 0, seg, off, h);
	for (; sides; sides &= (uint16_t)(sides - 1)) {
		uint16_t bit = (uint16_t)(sides & -sides);

		rc = read_side(e, r, bit, seg, off, h);
		if (rc == 0 && h->seq == r->seq && h->chain == r->chain) {
			r->error = error;
			spread(e, r, bit, seg, off, h->unit_len);
			return 0;
		}
		if (rc == 0 && (!best || h->seq > latest)) {
			best = bit;
			latest = h->seq;
		}
	}
	return best ? read_side(e, r, best, seg, off, h) : rc;
}
/*
 * Units that were written again after a failed write stand at the start of the next segment: those
 * already replayed are passed over. Moves r behind them; false when nothing of that kind is there.
 */
static bool enter(struct bs_engine *e, struct bs_replay *r, uint32_t seg)
{
	struct bs_replay to = *r;
	struct bs_unit_head h;
	uint64_t seq;

	to.seg = seg;
	to.off = 0;
	if (to.seg >= e->segs.count || read_unit(e, &to, to.seg, 0, &h) || !h.first)
		return false;
	if (h.seq > r->seq || h.seq + REWRITTEN_MAX < r->seq)
		return false;
	seq = h.seq;
	for (to.chain = h.chain; seq < r->seq; seq++) {
		to.seq = seq;
		if (read_unit(e, &to, to.seg, to.off, &h) || h.seq != seq || h.chain != to.chain) {
			memcpy(to.ahead, r->ahead, sizeof(to.ahead));
			return false;
		}
		if (h.first)
			memcpy(to.ahead, h.ahead, sizeof(to.ahead));
		to.chain = h.check;
		to.off += h.unit_len;
	}
	if (to.off == 0 && to.chain != r->chain)
		return false;
	bs_replay_use(e, to.seg);
	if (to.off) { /* the look-ahead was read from its first unit above */
		r->chain = to.chain;
		memcpy(r->ahead, to.ahead, sizeof(r->ahead));
	}
	r->seg = to.seg;
	r->off = to.off;
	return true;
}

/* Where writing again failed too, the log goes on in the segment after the next. */
static bool enter_next(struct bs_engine *e, struct bs_replay *r)
{
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		if (enter(e, r, r->ahead[i]))
			return true;
	return false;
}

/*
 * A later unit that says that the missing one was durable: then this is damage, not the end. ahead:
 * what a later unit at the segment's start names, else as it was.
 */
static bool damaged_in(struct bs_engine *e, struct bs_replay *r, uint32_t seg, uint32_t off,
		       uint32_t ahead[BS_LOG_AHEAD])
{
	if (seg >= e->segs.count || off + BS_PAGE > e->segs.size ||
	    read_log(e, 0, seg, off, r->buf, e->segs.size - off))
		return false;
	for (uint32_t at = 0; at < e->segs.size - off; at += BS_PAGE) {
		struct bs_unit_head h;
		int rc =
		    bs_unit_decode(r->buf + at, e->segs.size - off - at, e->segs.size, e->tag, &h);

		if (rc || h.kind != BS_UNIT_LOG || h.epoch != e->sb.epoch || h.seq <= r->seq)
			continue;
		if (h.durable_seq >= r->seq)
			return true;
		if (h.first)
			memcpy(ahead, h.ahead, sizeof(h.ahead));
	}
	return false;
}

/*
 * Looks along the log behind the gap as far as it goes on: the flush that covered the missing unit
 * may have been many segments later.
 */
static bool damaged_later(struct bs_engine *e, struct bs_replay *r)
{
	uint32_t ahead[BS_LOG_AHEAD], next[BS_LOG_AHEAD];

	memcpy(next, r->ahead, sizeof(next));
	if (damaged_in(e, r, r->seg, r->off, next))
		return true;
	for (uint32_t n = 0; n < e->segs.count; n++) {
		memcpy(ahead, next, sizeof(ahead));
		for (unsigned i = 0; i < BS_LOG_AHEAD && !memcmp(ahead, next, sizeof(ahead)); i++)
			if (ahead[i] < e->segs.count && damaged_in(e, r, ahead[i], 0, next))
				return true;
		if (!memcmp(ahead, next, sizeof(ahead)))
			return false;
	}
	return false;
}

static bool damaged(struct bs_engine *e, struct bs_replay *r)
{
	uint64_t epoch, seq;

	if (bs_planted(SILENT_END))
		return false;
	if (e->env.witness_get && e->env.witness_get(e->env.arg, &epoch, &seq) &&
	    epoch == e->sb.epoch && seq >= r->seq)
		return true;
	return damaged_later(e, r);
}

static void make_read_only(struct bs_engine *e, const char *why)
{
	e->read_only = true;
	(void)snprintf(e->why, sizeof(e->why), "%s", why);
	bs_engine_event(e, BS_ERROR, "read-only", "the store is read-only: %s", why);
}

static int replay_log(struct bs_engine *e, struct bs_replay *r)
{
	for (unsigned jumps = 0; jumps < 8;) {
		struct bs_unit_head h;
		int rc = read_unit(e, r, r->seg, r->off, &h);

		if (rc == 0 && h.seq == r->seq &&
		    (h.chain == r->chain || bs_planted(FORMER_EPOCH))) {
			if (h.first)
				memcpy(r->ahead, h.ahead, sizeof(r->ahead));
			rc = bs_replay_unit(e, r, &h);
			if (rc == VS_E_NOMEM || rc == VS_E_IO)
				return rc;
			if (rc) {
				bs_engine_event(e, BS_ERROR, "log", "unit %llu: %s",
						(unsigned long long)h.seq, vs_err_text(rc));
				make_read_only(e, "a record of the log does not fit the tables");
				return 0;
			}
			e->log.durable_seq = VS_MAX(e->log.durable_seq, h.durable_seq);
			r->seq++;
			r->chain = h.check;
			r->off += h.unit_len;
			jumps = 0;
			continue;
		}
		if (r->error || !enter_next(e, r))
			break;
		jumps++;
	}
	if (!r->error && damaged(e, r) && !r->error)
		make_read_only(e, "the log is damaged before its end: flushed writes are missing");
	return r->error;
}

/* The entry says again where the device table has it; where nobody has it nothing may live. */
static bool fits(const struct bs_segent *ent, const struct bs_segent *at)
{
	if (at->dev[0] == BS_POOL_NOWHERE)
		return ent->state == BS_SEG_FREE;
	return ent->slot[0] == at->slot[0] && ent->dev[0] == at->dev[0] && ent->copies == 1;
}

static int load_segments(struct bs_engine *e)
{
	uint64_t leaves = VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);

	for (uint64_t l = 0; l < leaves; l++) {
		struct bs_frame *f;
		int rc = bs_tree_get(e, BS_TREE_SEGMENT, 0, l, true, &f);

		if (rc || !f)
			return rc ? rc : VS_E_CORRUPT;
		for (uint32_t i = 0; i < BS_SEGENTS_PER_PAGE; i++) {
			uint32_t seg = (uint32_t)(l * BS_SEGENTS_PER_PAGE) + i;
			struct bs_segent *ent, at;

			if (seg >= e->segs.count)
				break;
			ent = &e->segs.seg[seg].ent;
			bs_segent_get(f->data + i * BS_SEGENT_SIZE, ent);
			bs_pool_place(e->pool, seg, &at);
			if (ent->state > BS_SEG_FREEING || ent->live > e->segs.size ||
			    (ent->live && ent->state == BS_SEG_FREE) || !fits(ent, &at))
				return VS_E_CORRUPT;
			e->segs.nfree += !e->segs.seg[seg].shut && ent->state == BS_SEG_FREE;
			e->segs.nfreeing += !e->segs.seg[seg].shut && ent->state == BS_SEG_FREEING;
			e->segs.live += ent->live;
		}
		bs_frames_unkeep(e);
	}
	return 0;
}

/* Checkpoints rewrite the segment table's inner pages each time: they stay. */
static int pin_segment_inner(struct bs_engine *e)
{
	uint64_t pages = VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);

	for (unsigned level = 1; level < e->trees[BS_TREE_SEGMENT].root.height; level++) {
		pages = VS_DIV_UP(pages, BS_PTRS_PER_PAGE);
		for (uint64_t i = 0; i < pages; i++) {
			struct bs_frame *f;
			int rc = bs_tree_get(e, BS_TREE_SEGMENT, level, i, true, &f);

			if (rc || !f)
				return rc ? rc : VS_E_CORRUPT;
			f->pins++;
		}
	}
	return 0;
}

/*
 * What is empty as of this checkpoint is kept for the one before. A newer one took that one's slot,
 * and has rotted: nobody can go back any more, and these may be the only segments left, because the
 * log behind the newer checkpoint has used up what was free.
 */
static void reuse_unneeded(struct bs_engine *e)
{
	unsigned before = (e->sb.checkpoint + 1) % 2;

	if (!e->pool->supers.have[before])
		bs_segs_reuse(e, e->sb.checkpoint + 1, 0, e->segs.count);
}

int bs_replay_run(struct bs_engine *e, struct vs_error *err)
{
	struct bs_logread log;
	struct bs_replay r = {.log = &log,
			      .seg = e->sb.log_seg,
			      .off = e->sb.log_off,
			      .seq = e->sb.next_seq,
			      .chain = e->sb.chain,
			      .settle = !(e->sb.incompat & BS_INCOMPAT_DROPS)};
	int rc;

	memcpy(r.ahead, e->sb.ahead, sizeof(r.ahead));
	r.buf = aligned_alloc(BS_PAGE, 2 * (size_t)e->segs.size);
	r.other = r.buf + e->segs.size;
	if (!r.buf || bs_logread_init(&log)) {
		free(r.buf);
		return vs_fail(err, VS_E_NOMEM, "cannot recover the store: out of memory");
	}
	e->replay = &r;
	rc = load_segments(e);
	if (rc == 0) /* as when it was written: the log from there on may lie in them */
		bs_segs_reuse(e, e->sb.checkpoint, 0, e->segs.count);
	if (rc == 0)
		rc = pin_segment_inner(e);
	if (rc == 0)
		rc = bs_vols_load(e);
	if (rc == 0)
		rc = bs_drops_load(e);
	if (e->vols.next_id < e->sb.next_volume)
		e->vols.next_id = e->sb.next_volume;
	if (rc == 0)
		rc = replay_log(e, &r);
	if (rc == 0 && !e->read_only)
		reuse_unneeded(e);
	e->replay = NULL;
	e->log.next_seq = r.seq;
	e->log.chain = e->log.acked_chain = r.chain;
	e->log.written_seq = r.seq - 1;
	free(r.buf);
	bs_logread_destroy(&log);
	bs_frames_unkeep(e);
	return rc ? vs_fail(err, rc, "cannot recover the store: %s", vs_err_text(rc)) : 0;
}
