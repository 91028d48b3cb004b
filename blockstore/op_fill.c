/* Blocks that were at an origin have arrived: they become what they are fetched for. */
#include "blockstore/content.h"
#include "blockstore/map.h"
#include "blockstore/origin_int.h"
#include "blockstore/plant.h"

struct plan {
	bool wanted[BS_OP_BLOCKS];
	uint32_t payload;
	unsigned n;
	bool blind; /* nothing is looked for any more */
};

static bool is_private(const struct bs_iop *op)
{
	return (op->vol->ent.flags & BS_VOL_NO_DEDUP) != 0;
}

/* VS_E_NOENT: the content has gone, or its bytes are here, or it is another one by now. */
static int look_target(struct bs_engine *e, const struct bs_iop *op, unsigned i,
		       struct bs_place *now)
{
	const struct bs_piece *p = &op->piece[i];
	int rc = bs_content_look(e, p->cid, now);

	if (rc)
		return rc;
	if (bs_planted(STALE_FILL) && bs_place_stored(now))
		return 0;
	return bs_place_at_origin(now) && now->origin == op->vol->ent.id && now->block == p->check
		   ? 0
		   : VS_E_NOENT;
}

/* Whether `to` may store one more that has so many references. */
static bool may_keep(struct bs_engine *e, uint64_t to, uint32_t refs)
{
	struct bs_place kept;

	return bs_content_look(e, to, &kept) == 0 && bs_place_stored(&kept) &&
	       kept.refs <= e->cfg.ref_cap && refs <= e->cfg.ref_cap - kept.refs;
}

/*
 * What the store holds already. A page of the tables that cannot be read costs space only; it is
 * not tried again, for each try is a wait, and after a wait all is looked at anew.
 */
static int find(struct bs_engine *e, struct bs_iop *op, struct plan *p, struct bs_block *b)
{
	struct dd_digest d;
	int rc = is_private(op) || p->blind ? VS_E_NOENT : bs_index_find(e, &b->digest, &b->cid);

	b->kind = BS_BLOCK_NEW;
	if (rc == 0)
		rc = bs_content_digest(e, b->cid, &d); /* its page is needed */
	if (rc == VS_E_AGAIN)
		return rc;
	p->blind |= rc && rc != VS_E_NOENT;
	if (rc)
		return 0;
	b->kind = BS_BLOCK_KNOWN;
	bs_near_hit(e, op, bs_cid_slot(b->cid));
	return bs_content_ready(e, b->cid);
}

static int look_all(struct bs_engine *e, struct bs_iop *op, struct plan *p)
{
	bool missed = false;

	*p = (struct plan){.blind = p->blind};
	for (unsigned i = 0; i < op->count; i++) {
		struct bs_block *b = &op->to[i];
		struct bs_place now;
		int rc = look_target(e, op, i, &now);

		if (rc == VS_E_NOENT)
			continue;
		if (rc == 0)
			rc = bs_content_ready_fill(e, op->piece[i].cid, &now);
		if (rc == 0 && b->kind != BS_BLOCK_ZERO)
			rc = find(e, op, p, b);
		if (rc)
			return rc;
		p->wanted[i] = true;
		p->n++;
		p->payload += b->kind == BS_BLOCK_ZERO ? 0 : b->len;
		missed |= b->kind == BS_BLOCK_NEW;
	}
	return missed ? bs_near_missed(e, op) : 0;
}

static int prepare(struct bs_engine *e, struct bs_iop *op, struct plan *p)
{
	unsigned n = (unsigned)op->count;
	int rc = bs_frames_reserve(e, 8);

	if (rc == 0)
		rc = look_all(e, op, p);
	if (rc || !p->n)
		return rc;
	rc = bs_frames_room(e, 4 * n + 32);
	if (rc == 0)
		rc = bs_thick_room(e, op->vol, p->payload, 0, 0);
	if (rc == 0)
		rc = bs_log_room(e, BS_NEED_DATA, n * BS_REC_CONTENT_SIZE, p->payload, 0);
	return rc == VS_E_NOSPC ? bs_drops_relieve(e) : rc;
}

static void fill_zeros(struct bs_engine *e, uint64_t cid)
{
	struct bs_rec r = {.type = BS_REC_ZEROS, .cid = cid};

	bs_rec_put(bs_log_record(e, BS_REC_ZEROS_SIZE), &r);
	bs_content_zeros(e, cid);
}

static void fill_alias(struct bs_engine *e, uint64_t cid, uint64_t to)
{
	struct bs_rec r = {.type = BS_REC_ALIAS, .cid = cid, .other = to};

	bs_rec_put(bs_log_record(e, BS_REC_ALIAS_SIZE), &r);
	bs_content_alias(e, cid, to);
	e->count.dedup_hits++;
}

static void fill_new(struct bs_engine *e, const struct bs_iop *op, uint64_t cid,
		     const struct bs_block *b)
{
	struct bs_rec r = {.type = BS_REC_CONTENT,
			   .cid = cid,
			   .digest = b->digest,
			   .coding = b->coding,
			   .private = is_private(op),
			   .len = b->len,
			   .check = b->check};
	struct bs_place place = {.coding = b->coding, .private = is_private(op), .check = b->check};

	bs_rec_put(bs_log_record(e, BS_REC_CONTENT_SIZE), &r);
	bs_log_payload(e, b->src, b->len, &place);
	bs_content_fill(e, cid, &place, &b->digest);
}

/* (step) An equal block earlier in the same operation, stored by now. */
static bool twin_before(struct bs_iop *op, const struct plan *p, unsigned i)
{
	for (unsigned k = 0; k < i; k++) {
		if (!p->wanted[k] || op->to[k].kind != BS_BLOCK_NEW ||
		    !dd_digest_equal(&op->to[k].digest, &op->to[i].digest))
			continue;
		op->to[i].cid = op->piece[k].cid;
		return true;
	}
	return false;
}

/* (step) Looked at once more: an earlier block may have been for the same content. */
static void fill(struct bs_engine *e, struct bs_iop *op, const struct plan *p, unsigned i)
{
	uint64_t cid = op->piece[i].cid;
	struct bs_block *b = &op->to[i];
	struct bs_place now;
	bool found;

	if (look_target(e, op, i, &now))
		return;
	if (b->kind == BS_BLOCK_ZERO) {
		fill_zeros(e, cid);
		return;
	}
	found = b->kind == BS_BLOCK_KNOWN || (!is_private(op) && twin_before(op, p, i));
	if (found && may_keep(e, b->cid, now.refs)) {
		b->kind = BS_BLOCK_KNOWN;
		fill_alias(e, cid, b->cid);
		return;
	}
	b->kind = BS_BLOCK_NEW;
	fill_new(e, op, cid, b);
}

int bs_op_fill(struct bs_engine *e, struct bs_iop *op)
{
	struct plan p = {0};
	uint64_t blocks;

	bs_near_wait(e, op);
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		rc = prepare(e, op, &p);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!p.n) {
		bs_op_done(e, op, 0);
		return 0;
	}
	for (unsigned i = 0; i < op->count; i++)
		if (p.wanted[i])
			fill(e, op, &p, i);
	bs_thick_wrote(e, op->vol, p.payload, 0, 0);
	e->count.bytes_written += p.n * BS_BLOCK;
	bs_log_attach(e, op);
	return 0;
}
