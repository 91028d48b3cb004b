/* Changes of records that go along with operations, and those that have only such. */
#include "blockstore/map.h"
#include "blockstore/op_int.h"
#include "blockstore/port.h"
#include "blockstore/work.h"

#define DIRECTLY (2 * BS_MAP_LEVELS + 8) /* frames for a change of two bottom pages */

unsigned bs_op_frames(const struct bs_iop *op)
{
	unsigned paths = (op->scattered ? (unsigned)op->count : 0) +
			 (bs_op_has_words(op) ? op->req->nchanges : 0);

	return DIRECTLY + paths * BS_MAP_LEVELS;
}

uint32_t bs_op_words_size(const struct bs_iop *op)
{
	return bs_op_has_words(op) ? op->req->nchanges * BS_REC_WORDS_SIZE : 0;
}

/* The entry of the page that covers an object knows how much of it is mapped. */
static int look(struct bs_engine *e, const struct bs_vol *v, struct bs_object_change *c)
{
	struct bs_mapent ent = {0};
	uint64_t cid;
	int rc = bs_map_words(e, v, c->object, c->now);

	if (rc == 0)
		rc = bs_map_page(e, v, (uint64_t)c->object << BS_OBJECT_SHIFT, BS_OBJECT_LEVEL,
				 &cid);
	if (rc == 0 && cid)
		rc = bs_page_ent(e, cid, &ent);
	c->mapped = ent.count;
	if (rc == 0 && c->check != BS_NO_WORD && c->now[c->check] != c->is)
		rc = VS_E_STALE;
	return rc;
}

int bs_op_words_look(struct bs_engine *e, const struct bs_iop *op)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < op->req->nchanges; i++)
		rc = look(e, op->vol, &op->req->changes[i]);
	return rc;
}

static bool only_looks(const struct bs_object_change *c)
{
	return !c->set && !c->add && c->end == BS_NO_WORD;
}

int bs_op_words_prepare(struct bs_engine *e, const struct bs_iop *op, struct bs_op_plan *p)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < op->req->nchanges; i++) {
		struct bs_object_change *c = &op->req->changes[i];
		struct bs_map_need need;

		rc = look(e, op->vol, c);
		if (rc || only_looks(c))
			continue;
		rc = bs_map_words_prepare(e, op->vol, c->object, &need);
		p->pages += need.pages;
	}
	return rc ? rc : bs_work_ready(e, (op->req->nchanges + 2) * (BS_MAP_LEVELS + 1));
}

/* Where what the operation writes ends in its object, in bytes. */
static uint64_t end_of(const struct bs_iop *op)
{
	uint64_t block = op->block & ((UINT64_C(1) << BS_OBJECT_SHIFT) - 1);

	return op->scattered ? 0 : block * BS_BLOCK + op->skip + op->bytes;
}

static uint16_t change(const struct bs_object_change *c, uint64_t end, uint64_t now[])
{
	uint16_t mask = c->set | c->add;

	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++) {
		if (c->set & 1u << i)
			now[i] = c->word[i];
		else if (c->add & 1u << i)
			now[i] += c->word[i];
	}
	if (c->end != BS_NO_WORD && now[c->end] < end) {
		now[c->end] = end;
		mask |= (uint16_t)(1u << c->end);
	}
	return mask;
}

static void record(struct bs_engine *e, const struct bs_vol *v, const struct bs_object_change *c,
		   uint16_t mask)
{
	struct bs_rec r = {
	    .type = BS_REC_WORDS, .volume = v->ent.id, .object = c->object, .count = mask};
	uint32_t size = BS_REC_WORDS_HEAD + 8 * (uint32_t)__builtin_popcount(mask);
	uint8_t *b = bs_log_record(e, size);

	b += bs_rec_put_array_head(b, &r);
	for (unsigned i = 0; i < BS_OBJECT_WORDS; i++) {
		if (!(mask & 1u << i))
			continue;
		vs_put_le64(b, c->now[i]);
		b += 8;
	}
}

void bs_op_words_apply(struct bs_engine *e, const struct bs_iop *op, int64_t mapped)
{
	uint32_t object = (uint32_t)(op->block >> BS_OBJECT_SHIFT);

	for (unsigned i = 0; i < op->req->nchanges; i++) {
		struct bs_object_change *c = &op->req->changes[i];
		int rc = bs_map_words(e, op->vol, c->object, c->now);
		uint16_t mask;

		VS_ASSERT(rc == 0); /* looked at while this was prepared; changed by one before */
		if (!c->done)
			memcpy(c->was, c->now, sizeof(c->was));
		c->done = true;
		if (c->object == object)
			c->mapped += (uint64_t)mapped;
		if (only_looks(c))
			continue;
		mask = change(c, end_of(op), c->now);
		if (!mask)
			continue;
		record(e, op->vol, c, mask);
		bs_map_words_apply(e, op->vol, c->object, mask, c->now);
	}
}

/* Room for p->pages new map pages and the records, of which there are more than words. */
static int room(struct bs_engine *e, const struct bs_iop *op, const struct bs_op_plan *p,
		uint32_t more)
{
	int rc = bs_ids_prepare(e, &e->mappages, p->pages);

	if (rc == 0)
		rc = bs_frames_room(e, 4 * p->pages + 3 * op->req->nchanges + 16);
	if (rc == 0)
		rc = bs_log_room(e, BS_NEED_DELETE, bs_op_words_size(op) + more, 0, p->pages);
	return rc;
}

int bs_op_words(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_op_plan p = {0};
	bool changes = false;
	uint64_t blocks;

	for (unsigned i = 0; i < op->req->nchanges; i++)
		changes |= !only_looks(&op->req->changes[i]);
	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		p.pages = 0;
		if (changes && op->vol->ent.kind != BS_VOL_VOLUME)
			return VS_E_RANGE;
		rc = bs_frames_reserve(e, bs_op_frames(op));
		if (rc == 0)
			rc = changes ? bs_op_words_prepare(e, op, &p) : bs_op_words_look(e, op);
		if (rc == 0 && changes)
			rc = room(e, op, &p, 0);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (!changes) {
		bs_op_done(e, op, 0);
		return 0;
	}
	bs_op_words_apply(e, op, 0);
	bs_thick_wrote(e, op->vol, 0, 0, p.pages);
	bs_log_attach_last(e, op);
	return 0;
}

/* The words first: behind a graft all pages of the path to them are shared. */
static void apply_graft(struct bs_engine *e, const struct bs_iop *op, const struct bs_map_graft *g)
{
	struct bs_rec r = {.type = BS_REC_GRAFT,
			   .volume = g->to->ent.id,
			   .object = g->to_object,
			   .other = g->from->ent.id,
			   .other_object = g->from_object};
	bs_op_words_apply(e, op, (int64_t)bs_page_ent_now(e, g->page).count);
	bs_rec_put(bs_log_record(e, BS_REC_GRAFT_SIZE), &r);
	bs_map_graft_apply(e, g);
}

int bs_op_clone(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_map_graft g = {.to = op->vol,
				 .from = op->req->source->vol,
				 .to_object = op->req->object,
				 .from_object = op->req->source_object};
	struct bs_op_plan p = {0};
	uint64_t blocks;

	do {
		struct bs_map_need need = {0};
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		p.pages = 0;
		if (!bs_op_in_range(op))
			return VS_E_RANGE;
		rc = bs_frames_reserve(e, 2 * BS_MAP_LEVELS + bs_op_frames(op));
		if (rc == 0)
			rc = bs_map_graft_prepare(e, &g, &need);
		if (rc == 0)
			rc = bs_op_words_prepare(e, op, &p);
		p.pages += need.pages;
		if (rc == 0)
			rc = room(e, op, &p, BS_REC_GRAFT_SIZE);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (e->locks && bs_op_conflicts(e, op))
		return VS_E_AGAIN;
	if (g.page)
		apply_graft(e, op, &g);
	else
		bs_op_words_apply(e, op, 0);
	bs_thick_wrote(e, op->vol, 0, 0, p.pages);
	bs_log_attach_last(e, op);
	return 0;
}
