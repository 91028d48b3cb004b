#include "blockstore/content.h"
#include "blockstore/drop.h"
#include "blockstore/map.h"
#include "blockstore/op_int.h"
#include "blockstore/plant.h"
#include "blockstore/port.h"
#include "blockstore/work.h"

static unsigned split_scattered(const struct bs_iop *op, struct bs_op_part *parts)
{
	const uint64_t *blocks = op->req->blocks;
	unsigned n = 0;

	for (unsigned i = 0; i < op->count; i++) {
		bool follows = i && blocks[i] == blocks[i - 1] + 1 && blocks[i] % BS_MAP_FAN;

		if (follows)
			parts[n - 1].n++;
		else
			parts[n++] = (struct bs_op_part){op->block + blocks[i], i, 1};
	}
	return n;
}

static unsigned split(const struct bs_iop *op, struct bs_op_part *parts)
{
	unsigned n = (unsigned)op->count;

	if (op->scattered)
		return split_scattered(op, parts);
	uint64_t edge = (op->block | (BS_MAP_FAN - 1)) + 1;
	unsigned head = (unsigned)VS_MIN((uint64_t)n, edge - op->block);

	parts[0] = (struct bs_op_part){op->block, 0, head};
	parts[1] = (struct bs_op_part){edge, head, n - head};
	return head < n ? 2 : 1;
}

static bool is_private(const struct bs_vol *v)
{
	return (v->ent.flags & (BS_VOL_NO_DEDUP | BS_VOL_THICK)) != 0;
}

bool bs_op_private(const struct bs_iop *op)
{
	const struct bs_req *req = op->req;

	return is_private(op->vol) || (op->vol->ent.flags & BS_VOL_TEMPORARY &&
				       req->op == BS_COPY && is_private(req->source->vol));
}

/*
 * A block is looked for; what is near it may be wanted next. A page of the tables that cannot be
 * read costs space only, and is not tried again: each try is a wait, and after a wait all is looked
 * at anew.
 */
static int find(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p, struct bs_block *b)
{
	int rc = bs_op_private(op) || p->blind ? VS_E_NOENT : bs_index_find(e, &b->digest, &b->cid);

	if (rc && rc != VS_E_AGAIN) {
		p->blind |= rc != VS_E_NOENT;
		return VS_E_NOENT;
	}
	if (rc)
		return rc;
	b->kind = BS_BLOCK_KNOWN;
	bs_near_hit(e, op, bs_cid_slot(b->cid));
	return 0;
}

/* Whether the content that was found for a block may still be taken. */
static int confirm(struct bs_engine *e, const struct bs_iop *op, struct bs_block *b)
{
	struct bs_place place;
	struct dd_digest have;
	int rc = bs_content_look(e, b->cid, &place);

	if (rc == 0 && place.alias) { /* merged meanwhile */
		b->cid = place.alias;
		rc = bs_content_look(e, b->cid, &place);
	}
	if (rc == 0) /* generations wrap: the digest decides */
		rc = bs_content_digest(e, b->cid, &have);
	if (rc == 0 && (bs_op_private(op) || place.private || place.refs >= e->cfg.ref_cap ||
			bs_marks_has(&e->marks, b->cid) || !dd_digest_equal(&have, &b->digest)))
		rc = VS_E_NOENT;
	return rc;
}

/* A block as the tables have it now: each content is looked at once in an attempt. */
static int look(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p, struct bs_block *b)
{
	int rc = VS_E_NOENT;

	if (b->kind == BS_BLOCK_KNOWN) {
		rc = bs_planted(STALE_FIND) ? 0 : confirm(e, op, b);
		if (rc && rc != VS_E_NOENT)
			return rc;
	}
	if (rc) {
		b->kind = BS_BLOCK_NEW;
		rc = find(e, op, p, b);
		if (rc)
			return rc == VS_E_NOENT ? 0 : rc;
	}
	return bs_content_ready(e, b->cid);
}

static int look_all(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p)
{
	p->fresh = p->payload = 0;
	p->bare = false;
	for (unsigned i = 0; i < op->count; i++) {
		struct bs_block *b = &op->to[i];
		int rc = b->kind == BS_BLOCK_ZERO ? 0 : look(e, op, p, b);

		if (rc)
			return rc;
		if (b->kind != BS_BLOCK_NEW)
			continue;
		p->fresh++;
		p->payload += b->len;
		p->bare |= b->len == 0;
	}
	return p->fresh ? bs_near_missed(e, op) : 0;
}

static int prepare_maps(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p)
{
	p->nparts = split(op, p->parts);
	p->pages = p->drops = 0;
	for (unsigned k = 0; k < p->nparts; k++) {
		struct bs_op_part *t = &p->parts[k];
		struct bs_map_need need;
		int rc = bs_map_prepare(e, op->vol, t->block, t->n, &need, p->old + t->at);

		if (rc)
			return rc;
		p->pages += need.pages;
		p->drops += need.drops;
	}
	return 0;
}

static bool will_map(const struct bs_iop *op, const struct bs_op_plan *p, unsigned i)
{
	return op->stage == BS_OP_WRITE ? op->to[i].kind != BS_BLOCK_ZERO : p->cid[i] != 0;
}

/* A volume of objects may have a limit, which does not keep anybody from deleting. */
static int within_limit(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p)
{
	uint64_t limit = atomic_load_explicit(&op->vol->limit, memory_order_relaxed), more = 0;
	int rc = 0;

	if (!limit || op->req->flags & BS_SPARE)
		return 0;
	for (unsigned i = 0; i < op->count; i++)
		more += !p->old[i] && will_map(op, p, i);
	return more && bs_map_count(e, op->vol, &rc) + more > limit && rc == 0 ? VS_E_NOSPC : rc;
}

static enum bs_need needs(const struct bs_iop *op)
{
	if (op->req->flags & BS_SPARE)
		return BS_NEED_DELETE;
	return op->vol->ent.flags & BS_VOL_THICK ? BS_NEED_THICK : BS_NEED_DATA;
}

static int prepare_room(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p)
{
	uint32_t records = p->fresh * BS_REC_CONTENT_SIZE + p->nparts * BS_REC_MAP_HEAD +
			   (uint32_t)op->count * BS_REC_MAP_EACH + bs_op_words_size(op);
	unsigned touches = 3 * (unsigned)op->count + 4 * p->pages + 32;
	int rc = bs_ids_prepare(e, &e->places, p->fresh);

	if (rc == 0)
		rc = bs_ids_prepare(e, &e->mappages, p->pages);
	if (rc == 0)
		rc = bs_drop_ready(e, p->drops);
	if (rc == 0)
		rc = bs_frames_room(e, touches);
	if (rc == 0)
		rc = bs_thick_room(e, op->vol, p->payload, p->fresh, p->pages);
	if (rc == 0)
		rc = bs_log_room(e, needs(op), records, p->payload, p->pages);
	return rc == VS_E_NOSPC ? bs_drops_relieve(e) : rc;
}

int bs_op_prepare(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p)
{
	int rc = prepare_maps(e, op, p);

	if (rc == 0)
		rc = within_limit(e, op, p);
	if (rc == 0 && bs_op_has_words(op))
		rc = bs_op_words_prepare(e, op, p);
	if (rc == 0 && p->nparts > 2)
		rc = bs_work_ready(e, (p->nparts + BS_CHANGES_MAX) * (BS_MAP_LEVELS + 1));
	return rc ? rc : prepare_room(e, op, p);
}

bool bs_op_in_range(const struct bs_iop *op)
{
	uint64_t blocks = bs_volent_blocks(&op->vol->ent);

	return op->vol->ent.kind == BS_VOL_VOLUME && op->block < blocks &&
	       op->count <= blocks - op->block;
}

/* (step) An equal new block earlier in the same operation. */
static bool twin_before(struct bs_iop *op, struct bs_block *b)
{
	for (const struct bs_block *w = op->to; w < b; w++) {
		if (w->kind == BS_BLOCK_NEW && dd_digest_equal(&w->digest, &b->digest)) {
			b->cid = w->cid;
			return true;
		}
	}
	return false;
}

static void store_new(struct bs_engine *e, const struct bs_iop *op, struct bs_block *b)
{
	struct bs_rec r = {.type = BS_REC_CONTENT,
			   .digest = b->digest,
			   .coding = b->coding,
			   .private = bs_op_private(op),
			   .len = b->len,
			   .check = b->check};
	struct bs_place place = {
	    .coding = b->coding, .private = bs_op_private(op), .check = b->check};

	r.cid = b->cid = bs_ids_take(e, &e->places);
	bs_rec_put(bs_log_record(e, BS_REC_CONTENT_SIZE), &r);
	bs_log_payload(e, b->src, b->len, &place);
	bs_content_put(e, r.cid, &place, &b->digest);
}

static void record_maps(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p,
			const struct bs_op_part *t)
{
	struct bs_rec r = {
	    .type = BS_REC_MAP, .volume = op->vol->ent.id, .block = t->block, .count = t->n};
	uint8_t *b = bs_log_record(e, BS_REC_MAP_HEAD + t->n * BS_REC_MAP_EACH);

	b += bs_rec_put_array_head(b, &r);
	for (unsigned i = 0; i < t->n; i++) {
		vs_put_le64(b + 16 * i, p->old[t->at + i]);
		vs_put_le64(b + 16 * i + 8, p->cid[t->at + i]);
	}
}

void bs_op_apply_maps(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p)
{
	int64_t mapped = 0;

	for (unsigned k = 0; k < p->nparts; k++) {
		const struct bs_op_part *t = &p->parts[k];

		record_maps(e, op, p, t);
		bs_map_apply(e, op->vol, t->block, t->n, p->cid + t->at);
	}
	if (!bs_op_has_words(op))
		return;
	for (unsigned i = 0; i < op->count; i++)
		mapped += (p->cid[i] != 0) - (p->old[i] != 0);
	bs_op_words_apply(e, op, mapped);
}

static void apply(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p)
{
	for (unsigned i = 0; i < op->count; i++) {
		struct bs_block *b = &op->to[i];

		if (b->kind == BS_BLOCK_ZERO)
			b->cid = 0;
		else if (b->kind == BS_BLOCK_KNOWN || (!bs_op_private(op) && twin_before(op, b)))
			e->count.dedup_hits++;
		else
			store_new(e, op, b);
		p->cid[i] = b->cid;
	}
	bs_op_apply_maps(e, op, p);
	bs_thick_wrote(e, op->vol, p->payload, p->fresh, p->pages);
	e->count.bytes_written += op->count * BS_BLOCK;
	bs_log_attach(e, op);
}

int bs_op_write(struct bs_engine *e, struct bs_iop *op)
{
	uint64_t blocks;
	struct bs_op_plan p;

	p.blind = false;
	bs_near_wait(e, op);
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		if (!bs_op_in_range(op))
			return VS_E_RANGE;
		rc = bs_frames_reserve(e, bs_op_frames(op));
		if (rc == 0)
			rc = look_all(e, op, &p);
		if (rc)
			return rc;
		if (p.bare) {
			op->near_waited = true; /* not once more on the way back */
			bs_op_answer(e, op, BS_OP_COMPRESS);
			return 0;
		}
		rc = bs_op_prepare(e, op, &p);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (e->locks && !op->locked && bs_op_conflicts(e, op))
		return VS_E_AGAIN; /* locked while this one was prepared */
	apply(e, op, &p);
	return 0;
}

/* All blocks that are there, ready for a reference more. */
static int find_all(struct bs_engine *e, struct bs_iop *op, struct bs_op_plan *p)
{
	bool missed = false;

	for (unsigned i = 0; i < op->count; i++) {
		int rc;

		op->to[i].kind = BS_BLOCK_NEW;
		rc = find(e, op, p, &op->to[i]);
		if (rc == 0)
			rc = bs_content_ready(e, op->to[i].cid);
		else if (rc == VS_E_NOENT) {
			missed = true;
			continue;
		}
		if (rc)
			return rc;
	}
	return missed ? bs_near_missed(e, op) : 0;
}

int bs_op_link(struct bs_engine *e, struct bs_iop *op)
{
	uint64_t blocks;
	struct bs_op_plan p = {0};

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		if (!bs_op_in_range(op))
			return VS_E_RANGE;
		bs_near_wait(e, op);
		rc = bs_frames_reserve(e, 2 * BS_MAP_LEVELS + 8);
		if (rc == 0)
			rc = find_all(e, op, &p);
		if (rc == 0)
			rc = bs_op_prepare(e, op, &p);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (e->locks && !op->locked && bs_op_conflicts(e, op))
		return VS_E_AGAIN;
	for (unsigned i = 0; i < op->count; i++)
		p.cid[i] = op->to[i].kind == BS_BLOCK_NEW ? p.old[i] : op->to[i].cid;
	bs_thick_wrote(e, op->vol, 0, 0, p.pages);
	bs_op_apply_maps(e, op, &p);
	bs_log_attach(e, op);
	return 0;
}

int bs_trim_blocks(struct bs_engine *e, struct bs_vol *v, uint64_t first, uint64_t end)
{
	while (first < end) {
		struct bs_rec r = {.type = BS_REC_TRIM, .volume = v->ent.id, .block = first};
		struct bs_map_need need = {0};
		uint64_t blocks, to = end;
		bool nothing;
		int rc;

		do {
			blocks = bs_fiber_blocks(e->fibers);
			rc = bs_frames_reserve(e, 2 * BS_MAP_LEVELS + 8);
			if (rc == 0)
				rc = bs_map_trim_prepare(e, v, first, end, &to, &nothing, &need);
			if (rc == 0 && !nothing)
				rc = bs_ids_prepare(e, &e->mappages, need.pages);
			if (rc == 0 && !nothing)
				rc = bs_drop_ready(e, need.drops);
			if (rc == 0 && !nothing)
				rc = bs_frames_room(e, BS_MAP_FAN + 4 * need.pages + 16);
			if (rc == 0 && !nothing)
				rc =
				    bs_log_room(e, BS_NEED_DELETE, BS_REC_TRIM_SIZE, 0, need.pages);
			if (rc)
				return rc;
		} while (blocks != bs_fiber_blocks(e->fibers));
		if (!nothing) {
			r.count = to - first;
			bs_rec_put(bs_log_record(e, BS_REC_TRIM_SIZE), &r);
			bs_map_trim_apply(e, v, first, to);
			bs_thick_wrote(e, v, 0, 0, need.pages);
		}
		bs_frames_unkeep(e);
		first = to;
	}
	return 0;
}

int bs_op_trim(struct bs_engine *e, struct bs_iop *op)
{
	int rc;

	if (!bs_fiber_here(e->fibers))
		return VS_E_AGAIN;
	if (op->vol->ent.kind != BS_VOL_VOLUME ||
	    !vs_range_ok(op->block, op->count, bs_volent_blocks(&op->vol->ent)))
		return VS_E_RANGE;
	if (e->read_only)
		return VS_E_ROFS;
	if (!op->locked)
		bs_op_lock(e, op);
	rc = bs_trim_blocks(e, op->vol, op->block, op->block + op->count);
	if (rc)
		return rc;
	bs_log_attach_last(e, op);
	return 0;
}
