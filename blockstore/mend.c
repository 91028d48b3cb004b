#include "blockstore/mend.h"

#include "blockstore/checkpoint.h"
#include "blockstore/content.h"

#include <stdlib.h>

static uint32_t first_page(const struct bs_mend *m)
{
	return VS_ALIGN_DOWN(m->off, BS_PAGE);
}

static uint32_t page_bytes(const struct bs_mend *m)
{
	return VS_ALIGN_UP(m->off + m->len, BS_PAGE) - first_page(m);
}

static bool right(const struct bs_mend *m, const uint8_t *pages)
{
	return (bs_checksum(pages + (m->off - first_page(m)), m->len) & m->mask) == m->check;
}

static int read_sides(struct bs_engine *e, const struct bs_mend *m, uint16_t sides,
		      uint16_t *served, uint8_t *pages)
{
	return bs_engine_dev_sides(e, BS_DEV_READ, bs_engine_where(e, m->seg, first_page(m)), pages,
				   page_bytes(m), sides, served);
}

static void heal(struct bs_engine *e, const struct bs_mend *m, uint16_t bit, const uint8_t *good,
		 uint8_t *now)
{
	unsigned i = (unsigned)__builtin_ctz(bit);
	uint32_t skip = m->off - first_page(m), n = page_bytes(m);
	int rc = read_sides(e, m, bit, NULL, now);

	if (rc == 0 && memcmp(now + skip, good + skip, m->len) == 0)
		return;
	if (rc)
		memcpy(now, good, n);
	else
		memcpy(now + skip, good + skip, m->len);
	if (e->read_only || e->failed || !(bs_pool_written(e->pool, m->seg) & bit))
		return;
	rc = bs_engine_dev_sides(e, BS_DEV_WRITE, bs_engine_where(e, m->seg, first_page(m)), now, n,
				 bit, NULL);
	if (rc == 0) {
		e->pool->side[i].healed++;
		bs_engine_event(e, BS_WARNING, "healed",
				"%s: %u bytes in segment %u at %u were damaged and are right again",
				bs_pool_name(e->pool, i), m->len, m->seg, m->off);
	} else if (bs_pool_can_drop(e->pool, i)) {
		bs_pool_drop(e->pool, i, "could not be healed");
	}
}

/* One at a time: two that heal different bytes of one page would undo each other. */
void bs_mend_heal(struct bs_engine *e, const struct bs_mend *m, uint16_t bit, const uint8_t *good)
{
	uint8_t *now = aligned_alloc(BS_PAGE, page_bytes(m));

	if (!now)
		return; /* it stays damaged there and is met again */
	e->segs.seg[m->seg].readers++;
	while (e->mending)
		bs_fiber_block(e->fibers, &e->mend_wait);
	e->mending = true;
	heal(e, m, bit, good, now);
	e->mending = false;
	bs_fiber_wake_all(e->fibers, &e->mend_wait);
	e->segs.seg[m->seg].readers--;
	free(now);
}

/* Some side's answer was wrong: the others, one by one. */
static int ask_others(struct bs_engine *e, const struct bs_mend *m, uint16_t wrong, uint8_t *pages)
{
	uint16_t rest = bs_pool_in_sync(e->pool, m->seg) & (uint16_t)~wrong;
	int rc = VS_E_CHECKSUM;

	while (rest) {
		uint16_t bit = (uint16_t)(rest & -rest);

		rest &= (uint16_t)~bit;
		if (read_sides(e, m, bit, NULL, pages) == 0 && right(m, pages)) {
			rc = 0;
			break;
		}
		wrong |= bit;
	}
	for (; rc == 0 && wrong; wrong &= (uint16_t)(wrong - 1))
		bs_mend_heal(e, m, (uint16_t)(wrong & -wrong), pages);
	return rc;
}

int bs_mend_read(struct bs_engine *e, const struct bs_mend *m, uint8_t *pages)
{
	uint16_t served;
	int rc;

	if (bs_checkpoint_staged(e, m->seg, first_page(m), pages, page_bytes(m)))
		return right(m, pages) ? 0 : VS_E_CHECKSUM;
	e->segs.seg[m->seg].readers++;
	rc = read_sides(e, m, 0, &served, pages);
	if (rc == 0 && !right(m, pages))
		rc = ask_others(e, m, served, pages);
	e->segs.seg[m->seg].readers--;
	return rc;
}

int bs_mend_check(struct bs_engine *e, const struct bs_mend *m, uint8_t *pages)
{
	uint16_t sides = bs_pool_in_sync(e->pool, m->seg), wrong = 0;
	uint32_t n = page_bytes(m);
	uint8_t *other;
	int rc;

	if ((sides & (sides - 1)) == 0)
		return bs_mend_read(e, m, pages);
	other = aligned_alloc(BS_PAGE, n);
	if (!other)
		return VS_E_NOMEM;
	e->segs.seg[m->seg].readers++;
	rc = bs_mend_read(e, m, pages);
	for (; rc == 0 && sides; sides &= (uint16_t)(sides - 1)) {
		uint16_t bit = (uint16_t)(sides & -sides);

		if (read_sides(e, m, bit, NULL, other) || !right(m, other))
			wrong |= bit;
	}
	for (; wrong; wrong &= (uint16_t)(wrong - 1))
		bs_mend_heal(e, m, (uint16_t)(wrong & -wrong), pages);
	e->segs.seg[m->seg].readers--;
	free(other);
	return rc;
}

bool bs_mend_same(struct bs_engine *e, uint32_t seg, uint32_t off, const uint8_t *buf, uint32_t len)
{
	uint16_t sides = bs_pool_in_sync(e->pool, seg);
	uint8_t *other;
	bool same = true;

	if ((sides & (sides - 1)) == 0)
		return true;
	other = aligned_alloc(BS_PAGE, len);
	for (; same && other && sides; sides &= (uint16_t)(sides - 1))
		same = bs_engine_dev_sides(e, BS_DEV_READ, bs_engine_where(e, seg, off), other, len,
					   (uint16_t)(sides & -sides), NULL) == 0 &&
		       memcmp(buf, other, len) == 0;
	free(other);
	return same && other;
}

static void look_again(struct bs_engine *e, const struct bs_pool_bad *b)
{
	uint64_t at = b->offset - BS_HEAD_AREA;
	struct bs_mend m = {.seg = (uint32_t)(at / e->segs.size),
			    .off = (uint32_t)(at % e->segs.size),
			    .len = (uint32_t)b->length};
	uint16_t others = bs_pool_in_sync(e->pool, m.seg) & (uint16_t)~b->side;
	uint8_t *good = aligned_alloc(BS_PAGE, m.len), *now = aligned_alloc(BS_PAGE, m.len);

	e->segs.seg[m.seg].readers++;
	/* what reads again is left alone: which side is right only a checksum can say */
	for (uint16_t bits = b->side; good && now && others && bits; bits &= (uint16_t)(bits - 1)) {
		uint16_t bit = (uint16_t)(bits & -bits);

		if (read_sides(e, &m, bit, NULL, now) != 0 &&
		    read_sides(e, &m, others, NULL, good) == 0)
			bs_mend_heal(e, &m, bit, good);
	}
	e->segs.seg[m.seg].readers--;
	free(good);
	free(now);
}

static void mend_fiber(void *arg)
{
	struct bs_engine *e = arg;

	while (e->pool->nbad && !e->stopping && !e->failed) {
		struct bs_pool_bad b = e->pool->bad[--e->pool->nbad];

		look_again(e, &b);
	}
	e->remending = false;
}

void bs_mend_start(struct bs_engine *e)
{
	if (!e->pool->nbad || e->remending || e->read_only || e->failed || e->stopping)
		return;
	e->remending = true;
	if (!bs_fiber_start(e->fibers, mend_fiber, e))
		e->remending = false;
}

/* Whether the piece is right now; *moved: it lies elsewhere by now and must be read again. */
static bool mend_piece(struct bs_engine *e, struct bs_piece *p, bool *moved)
{
	struct bs_mend m = {.seg = p->place.seg,
			    .off = p->place.off,
			    .len = p->len,
			    .check = p->check,
			    .mask = BS_CHECK56};
	struct bs_place now;
	uint8_t *pages;
	int rc = bs_content_look(e, p->cid, &now);

	if (rc || now.seg != m.seg || now.off != m.off || now.check != m.check) {
		*moved = true;
		return false;
	}
	pages = aligned_alloc(BS_PAGE, page_bytes(&m));
	rc = pages ? bs_mend_read(e, &m, pages) : VS_E_NOMEM;
	if (rc == 0) /* the buffer of the read, which is this operation's */
		memcpy((uint8_t *)(uintptr_t)p->ptr, pages + m.off % BS_PAGE, m.len);
	free(pages);
	return rc == 0;
}

int bs_op_mend(struct bs_engine *e, struct bs_iop *op)
{
	bool moved = false;

	if (!bs_fiber_here(e->fibers))
		return VS_E_AGAIN;
	e->count.mended++;
	for (unsigned i = 0; i < op->count && !moved; i++) {
		struct bs_piece *p = &op->piece[i];

		if (!p->ptr || p->decoded || p->unit ||
		    (bs_checksum(p->ptr, p->len) & BS_CHECK56) == p->check)
			continue;
		if (mend_piece(e, p, &moved) || moved)
			continue;
		op->mended = UINT8_MAX;
		bs_engine_event(e, BS_ERROR, "damage", "content in segment %u at %u is damaged",
				p->place.seg, p->place.off);
	}
	if (moved)
		return bs_op_read_again(e, op);
	op->status = 0;
	bs_op_answer(e, op, BS_OP_FILLED);
	return 0;
}
