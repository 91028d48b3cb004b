#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi.h"

static void own_piece(struct iscsi_task *t)
{
	t->own.offset = 0;
	t->own.length = VS_MIN(t->want, ISCSI_OWN_BUF);
	t->own.filled = VS_MIN(t->unsolicited_end, t->own.length);
	t->next_offset = t->own.length;
	t->filling = &t->own;
}

/* SAM-5, 8.3: an ORDERED task waits for all older ones, and all younger ones for it. */
static bool has_order(const struct iscsi_task *t)
{
	if (!t->conn->ordered || t->attr == ISCSI_ATTR_HEAD)
		return false;
	for (const struct iscsi_task *o = t->prev; o; o = o->prev)
		if (o->state == ISCSI_TASK_ACTIVE && !o->orphan && o->raw_lun == t->raw_lun &&
		    (t->ordered || o->ordered))
			return true;
	return false;
}

/* What an aborted command may still write has to be there before anybody looks or writes again:
   then it is as if it had been written before the abort (SAM-5, 7.1). */
static bool meets_orphans(const struct iscsi_task *t)
{
	return t->lun && atomic_load(&t->lun->lu->orphans) && scsi_uses_medium(t->cdb);
}

static bool must_wait(const struct iscsi_task *t)
{
	return has_order(t) || meets_orphans(t);
}

static void begin(struct iscsi_task *t)
{
	uint32_t edtl = t->edtl;

	if (!t->failed)
		scsi_prepare(t);
	if (!t->failed) {
		if ((scsi_op_reads(t->op) && !t->flag_read) ||
		    (scsi_op_writes(t->op) && !t->flag_write))
			edtl = 0;
		t->want = VS_MIN(t->dlen, edtl);
		if (t->op->flow == SCSI_FLOW_WRITE)
			t->want -= t->want % scsi_sector(t);
		if (scsi_op_writes(t->op))
			own_piece(t);
	}
	iscsi_flow_advance(t);
}

void iscsi_flow_start(struct iscsi_task *t)
{
	struct iscsi_conn *c = t->conn;

	t->state = ISCSI_TASK_ACTIVE;
	t->lun = scsi_find_lun(t);
	if (t->attr >= ISCSI_ATTR_ACA)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_MESSAGE_ERROR);
	if (!must_wait(t)) {
		begin(t);
		return;
	}
	t->held = true;
	c->held++;
}

void iscsi_flow_run_held(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->used_first, *next;

	for (; c->held && t && c->state == ISCSI_CONN_FULL; t = next) {
		next = t->next;
		if (!t->held || t->aborted || must_wait(t))
			continue;
		t->held = false;
		c->held--;
		begin(t);
	}
}

/* What they waited for may have come about elsewhere. */
void iscsi_flow_run_parked(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->used_first, *next;

	for (; t && c->state == ISCSI_CONN_FULL; t = next) {
		next = t->next;
		if (!t->parked)
			continue;
		t->parked = false;
		iscsi_flow_advance(t);
	}
}

/* What has not begun begins on the new map. */
static void take_lun(struct iscsi_task *t)
{
	iscsi_lu_map_put(t->map);
	t->map = t->conn->map;
	t->map->refs++;
	t->lun = t->held ? scsi_find_lun(t) : NULL;
}

static bool shown_as_before(const struct iscsi_lun *l, const struct iscsi_task *t)
{
	return l->lun == t->lun->lun && l->lu == t->lun->lu;
}

/* What has begun ends where it would be refused now: however long its data takes to come, who takes
   a unit from an initiator can rely on that. */
static void end_refused(struct iscsi_task *t)
{
	const struct iscsi_lun_map *map = t->conn->map;
	unsigned i = 0;

	while (i < map->n && !shown_as_before(&map->luns[i], t))
		i++;
	if (i == map->n)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LUN_NOT_SUPPORTED);
	else if (map->luns[i].read_only && t->op && t->op->flags & SCSI_CHANGES)
		iscsi_task_fail(t, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
	if (t->failed)
		iscsi_flow_advance(t);
}

void iscsi_flow_remap(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->used_first, *next;

	for (; t; t = next) {
		next = t->next;
		if (t->state == ISCSI_TASK_RECEIVING || t->held)
			take_lun(t);
		else if (t->state == ISCSI_TASK_ACTIVE && !t->aborted && !t->failed && t->lun)
			end_refused(t);
	}
	iscsi_conn_dirty(c); /* what was held may have nothing to wait for any more */
}

static void read_more(struct iscsi_task *t)
{
	uint32_t sector = scsi_sector(t);

	while (t->next_offset < t->want && !t->failed) {
		struct iscsi_piece *p = t->want <= ISCSI_OWN_BUF ? &t->own : iscsi_task_chunk(t);

		if (!p)
			return;
		p->offset = t->next_offset;
		p->length = VS_MIN(t->want - p->offset, ISCSI_CHUNK);
		p->next = NULL;
		if (t->pieces)
			t->last->next = p;
		else
			t->pieces = p;
		t->last = p;
		t->next_offset += p->length;
		iscsi_task_submit(t, p, BS_READ, t->lba * sector + p->offset,
				  VS_ALIGN_UP(p->length, sector), 0);
	}
}

static void flow_read(struct iscsi_task *t)
{
	if (t->want == 0) {
		iscsi_task_answer(t);
		return;
	}
	read_more(t);
	while (t->pieces && t->pieces->ready && !t->failed) {
		struct iscsi_piece *p = t->pieces;

		t->pieces = p->next;
		iscsi_task_send(t, p);
	}
}

/* The piece that fills next, its data asked for; NULL while there is none to be had. */
static struct iscsi_piece *next_filling(struct iscsi_task *t)
{
	struct iscsi_piece *p = iscsi_task_chunk(t);

	if (!p)
		return NULL;
	p->offset = t->next_offset;
	p->length = VS_MIN(t->want - p->offset, ISCSI_CHUNK);
	t->next_offset += p->length;
	t->filling = p;
	return p;
}

static void ask(struct iscsi_task *t, const struct iscsi_piece *p)
{
	if (!t->r2t_open && !t->out_r2t.queued)
		iscsi_task_request_data(t, p->offset + p->filled, p->length - p->filled);
}

static void flow_write(struct iscsi_task *t)
{
	uint64_t start = t->lba * scsi_sector(t);

	while (!t->failed) {
		struct iscsi_piece *p = t->filling;

		if (!p && t->next_offset < t->want)
			p = next_filling(t);
		if (!p)
			break;
		if (p->filled < p->length) {
			ask(t, p);
			return;
		}
		t->filling = NULL;
		if (p->length) {
			atomic_fetch_add_explicit(&t->conn->written_bytes, p->length,
						  memory_order_relaxed);
			iscsi_task_submit(t, p, BS_WRITE, start + p->offset, p->length, 0);
		}
	}
	if (!t->failed && !t->io && !t->filling && t->next_offset == t->want)
		iscsi_task_answer(t);
}

/* Parameter lists, and data that is worked on one buffer after the other. */
static void flow_out(struct iscsi_task *t)
{
	struct iscsi_piece *p = &t->own;

	if (t->io)
		return;
	if (p->filled < p->length) {
		ask(t, p);
		return;
	}
	if (t->op->run(t) == SCSI_WAIT || t->failed)
		return;
	t->step = 0;
	if (p->offset + p->length == t->want) {
		iscsi_task_answer(t);
		return;
	}
	p->offset += p->length;
	p->length = VS_MIN(t->want - p->offset, ISCSI_OWN_BUF);
	p->filled = 0;
	t->again = true;
}

static void flow_in(struct iscsi_task *t)
{
	uint32_t edtl = t->flag_read ? t->edtl : 0;

	if (t->io || t->op->run(t) == SCSI_WAIT || t->failed)
		return;
	t->want = VS_MIN(t->dlen, edtl);
	if (t->want == 0) {
		iscsi_task_answer(t);
		return;
	}
	t->own.offset = 0;
	t->own.length = t->want;
	iscsi_task_send(t, &t->own);
}

/* All of the data before run: what the own buffer does not hold comes into one chunk. */
static void flow_whole(struct iscsi_task *t)
{
	struct iscsi_piece *own = &t->own;

	if (t->io)
		return;
	if (own->filled < own->length) {
		ask(t, own);
		return;
	}
	if (t->want > own->length && !t->scratch) {
		struct iscsi_piece *p = t->filling == own ? next_filling(t) : t->filling;

		if (!p)
			return;
		if (p->filled < p->length) {
			ask(t, p);
			return;
		}
		t->filling = NULL;
		t->scratch = p;
	}
	if (t->op->run(t) == SCSI_WAIT || t->failed)
		return;
	iscsi_task_answer(t);
}

static void flow_none(struct iscsi_task *t)
{
	if (t->io || t->op->run(t) == SCSI_WAIT || t->failed)
		return;
	iscsi_task_answer(t);
}

static void (*const flows[])(struct iscsi_task *t) = {
    [SCSI_FLOW_NONE] = flow_none, [SCSI_FLOW_IN] = flow_in,	  [SCSI_FLOW_OUT] = flow_out,
    [SCSI_FLOW_READ] = flow_read, [SCSI_FLOW_WRITE] = flow_write, [SCSI_FLOW_WHOLE] = flow_whole,
};

/* The initiator need not wait for a store that is stuck; the command's buffer and its place in the
   window do. */
static void orphan(struct iscsi_task *t)
{
	if (t->orphan)
		return;
	t->orphan = true;
	iscsi_task_each_unit(t, iscsi_lu_orphan_begun);
	iscsi_task_forget(t);
	iscsi_task_ended_by_tmf(t);
}

static void end(struct iscsi_task *t)
{
	iscsi_share_drop(t->conn, t);
	iscsi_task_drop(t);
	if (t->tell_aborted) {
		t->tell_aborted = false;
		iscsi_task_tell_aborted(t);
	}
	if (t->io && t->aborted)
		orphan(t);
	if (t->io)
		return;
	if (t->aborted) {
		iscsi_task_ended_by_tmf(t); /* what is still being sent holds nobody up */
		if (!t->outs)
			iscsi_task_release(t);
		return;
	}
	if (!t->unsolicited && !t->r2t_open)
		iscsi_task_answer(t);
}

static void advance(struct iscsi_task *t)
{
	if (t->state != ISCSI_TASK_ACTIVE || t->conn->state != ISCSI_CONN_FULL)
		return;
	if (!t->failed && !t->aborted && !t->unsolicited && !t->held)
		flows[t->op->flow](t);
	if (t->state == ISCSI_TASK_ACTIVE && (t->aborted || (t->failed && !t->held)))
		end(t);
}

void iscsi_flow_advance(struct iscsi_task *t)
{
	if (t->in_advance) {
		t->again = true;
		return;
	}
	t->in_advance = true;
	do {
		t->again = false;
		advance(t);
	} while (t->again);
	t->in_advance = false;
}

void iscsi_flow_abort(struct iscsi_task *t)
{
	t->aborted = true;
	iscsi_flow_advance(t);
}

/* The connection has closed: all that the store still works on. */
void iscsi_flow_orphan_all(struct iscsi_conn *c)
{
	for (struct iscsi_task *t = c->used_first; t; t = t->next) {
		if (!t->io)
			continue;
		t->aborted = true;
		orphan(t);
	}
}

void iscsi_flow_drop_all(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->used_first, *next;

	for (; t; t = next) {
		next = t->next;
		t->aborted = true;
		if (!t->io && !t->outs)
			iscsi_task_release(t);
	}
}
