#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi.h"

static struct iscsi_task **bucket(struct iscsi_conn *c, uint32_t itt)
{
	return &c->hash[(itt ^ itt >> 8 ^ itt >> 16) % ISCSI_HASH];
}

struct iscsi_task *iscsi_task_find(struct iscsi_conn *c, uint32_t itt)
{
	struct iscsi_task *t = *bucket(c, itt);

	while (t && t->itt != itt)
		t = t->hash_next;
	return t;
}

static void reset(struct iscsi_task *t)
{
	uint8_t *buf = t->own.buf;
	struct iscsi_conn *c = t->conn;

	memset(t, 0, offsetof(struct iscsi_task, own));
	t->conn = c;
	t->own.task = t;
	t->own.buf = buf;
	t->own.next = NULL;
	t->own.offset = t->own.length = t->own.filled = 0;
	t->own.busy = t->own.ready = false;
	t->own.out = (struct iscsi_out){.kind = ISCSI_OUT_DATA_IN, .owner = &t->own};
	t->out_status = (struct iscsi_out){.kind = ISCSI_OUT_STATUS, .owner = t};
	t->out_r2t = (struct iscsi_out){.kind = ISCSI_OUT_R2T, .owner = t};
	t->outs = 0;
}

struct iscsi_task *iscsi_task_new(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_task *t = c->free_tasks, **head = bucket(c, bhs->itt);

	if (!t)
		return NULL;
	c->free_tasks = t->next;
	reset(t);
	t->state = ISCSI_TASK_RECEIVING;
	t->itt = bhs->itt;
	t->cmd_sn = bhs->cmd_sn;
	t->raw_lun = bhs->lun;
	t->edtl = bhs->ttt;
	t->immediate = bhs->immediate;
	t->flag_read = bhs->flags & ISCSI_CMD_READ;
	t->flag_write = bhs->flags & ISCSI_CMD_WRITE;
	t->unsolicited = t->flag_write && !bhs->final;
	t->unsolicited_end = bhs->data_len;
	memcpy(t->cdb, bhs->raw + 32, sizeof(t->cdb));
	t->hash_next = *head;
	*head = t;
	t->prev = c->used_last;
	t->next = NULL;
	if (t->prev)
		t->prev->next = t;
	else
		c->used_first = t;
	c->used_last = t;
	t->attr = bhs->flags & 7;
	t->ordered = t->attr == ISCSI_ATTR_ORDERED;
	c->ordered += t->ordered;
	t->map = c->map;
	t->map->refs++;
	if (t->immediate)
		c->immediates++;
	else
		c->open_cmds++;
	if ((bhs->data_len && (!t->flag_write || !c->params.immediate_data)) ||
	    (t->unsolicited && c->params.initial_r2t))
		iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_UNEXPECTED_UNSOLICITED_DATA);
	else if (bhs->data_len > t->edtl)
		iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_INCORRECT_AMOUNT_OF_DATA);
	return t;
}

/* The window opens when the answer is queued, not when it is out. */
static void account_answer(struct iscsi_task *t)
{
	t->state = ISCSI_TASK_ANSWERED;
	if (t->ordered)
		t->conn->ordered--;
	if (t->held) { /* aborted before it began */
		t->held = false;
		t->conn->held--;
	}
	if (t->conn->held)
		iscsi_conn_dirty(t->conn);
	if (t->immediate)
		t->conn->immediates--;
	else
		t->conn->open_cmds--;
}

/* Data of this task that is still arriving goes nowhere from here on. */
static void redirect(struct iscsi_task *t)
{
	struct iscsi_rx *rx = &t->conn->rx;

	if (rx->task != t)
		return;
	rx->sink_left += rx->dst_left;
	rx->dst_left = 0;
}

static void stop_waiting(struct iscsi_task *t)
{
	struct iscsi_conn *c = t->conn;
	struct iscsi_task *prev = NULL;

	if (!t->waiting)
		return;
	t->waiting = false;
	for (struct iscsi_task *i = c->wait_first; i != t; i = i->wait_next)
		prev = i;
	*(prev ? &prev->wait_next : &c->wait_first) = t->wait_next;
	if (c->wait_last == t)
		c->wait_last = prev;
}

void iscsi_task_ended_by_tmf(struct iscsi_task *t)
{
	struct iscsi_tmf_op *op = t->tmf;

	t->tmf = NULL;
	if (op)
		iscsi_tmf_task_ended(t->conn, op);
}

/* Its tag is free for another command. */
void iscsi_task_forget(struct iscsi_task *t)
{
	struct iscsi_task **p = bucket(t->conn, t->itt);

	while (*p && *p != t)
		p = &(*p)->hash_next;
	if (*p)
		*p = t->hash_next;
}

void iscsi_task_each_unit(struct iscsi_task *t, void (*call)(struct iscsi_lu *lu))
{
	if (t->lun)
		call(t->lun->lu);
	for (size_t i = 0; i < VS_ARRAY_LEN(t->copies); i++)
		if (t->copies[i])
			call(t->copies[i]);
}

void iscsi_task_release(struct iscsi_task *t)
{
	struct iscsi_conn *c = t->conn;

	VS_ASSERT(t->io == 0 && t->outs == 0);
	redirect(t);
	if (c->rx.task == t) {
		c->rx.task = NULL;
		c->rx.ignore = true;
	}
	stop_waiting(t);
	if (t->state != ISCSI_TASK_ANSWERED) {
		account_answer(t);
		iscsi_conn_dirty(c); /* the initiator may wait for the room */
	}
	iscsi_task_forget(t);
	*(t->prev ? &t->prev->next : &c->used_first) = t->next;
	*(t->next ? &t->next->prev : &c->used_last) = t->prev;
	if (t->token.index)
		iscsi_token_put(c->srv->tokens, &t->token, false);
	iscsi_task_ended_by_tmf(t); /* while the map holds what it points to */
	if (t->orphan)
		iscsi_task_each_unit(t, iscsi_lu_orphan_ended);
	iscsi_lu_map_put(t->map);
	t->state = ISCSI_TASK_FREE;
	t->again = false;
	t->next = c->free_tasks;
	c->free_tasks = t;
	if (c->rx.paused)
		iscsi_conn_dirty(c);
}

static void queue_out(struct iscsi_task *t, struct iscsi_out *out)
{
	t->outs++;
	iscsi_tx_queue(t->conn, out);
}

void iscsi_task_fail(struct iscsi_task *t, uint8_t key, uint16_t asc)
{
	if (t->failed)
		return;
	t->failed = true;
	t->status = SCSI_CHECK_CONDITION;
	t->sense_len = SCSI_SENSE_LEN;
	scsi_sense_encode(t->sense + 2, key, asc);
}

void iscsi_task_request_data(struct iscsi_task *t, uint32_t offset, uint32_t length)
{
	t->r2t_open = true;
	t->r2t_ttt = t->conn->next_ttt++ & 0x7fffffff;
	t->r2t_offset = offset;
	t->r2t_length = VS_MIN(length, t->conn->params.max_burst);
	t->data_sn_in = 0;
	queue_out(t, &t->out_r2t);
}

static void set_residual(struct iscsi_task *t)
{
	bool wrong_way = t->op && ((scsi_op_reads(t->op) && !t->flag_read) ||
				   (scsi_op_writes(t->op) && !t->flag_write));
	uint32_t edtl = wrong_way ? 0 : t->edtl;
	uint32_t moved = t->failed ? t->sent_offset : t->dlen;

	if (!t->failed && t->dlen > edtl)
		t->residual = (struct iscsi_residual){true, false, t->dlen - edtl};
	else if (moved < edtl)
		t->residual = (struct iscsi_residual){false, true, edtl - moved};
}

/* As the control mode page wants it (SPC-4, 7.5.8: D_SENSE). */
static void convert_sense(struct iscsi_task *t)
{
	uint8_t fixed[SCSI_SENSE_LEN];

	_Static_assert(2 + SCSI_SENSE_DESCRIPTOR_MAX <= ISCSI_SENSE_MAX, "both formats fit");
	if (!t->sense_len || !t->lun || !atomic_load(&t->lun->lu->d_sense))
		return;
	memcpy(fixed, t->sense + 2, sizeof(fixed));
	t->sense_len = (uint8_t)scsi_sense_to_descriptor(fixed, t->sense + 2);
}

void iscsi_task_answer(struct iscsi_task *t)
{
	convert_sense(t);
	set_residual(t);
	account_answer(t);
	queue_out(t, &t->out_status);
}

void iscsi_task_tell_aborted(struct iscsi_task *t)
{
	set_residual(t);
	queue_out(t, &t->out_status);
}

void iscsi_task_send(struct iscsi_task *t, struct iscsi_piece *p)
{
	t->sent_offset = p->offset + p->length;
	if (t->sent_offset == t->want) {
		set_residual(t);
		account_answer(t);
	}
	atomic_fetch_add_explicit(&t->conn->read_bytes, p->length, memory_order_relaxed);
	queue_out(t, &p->out);
}

void iscsi_task_sent(struct iscsi_out *out)
{
	struct iscsi_piece *p = out->kind == ISCSI_OUT_DATA_IN ? out->owner : NULL;
	struct iscsi_task *t = p ? p->task : out->owner;

	VS_ASSERT(t && t->outs);
	t->outs--;
	if (p && p != &t->own)
		iscsi_task_chunk_put(t, p);
	if (t->conn->state == ISCSI_CONN_DEAD)
		return;
	if (t->state == ISCSI_TASK_ANSWERED && !t->outs && !t->io)
		iscsi_task_release(t);
	else
		iscsi_flow_advance(t);
}

/* Gives back what the task holds and nobody works on. */
void iscsi_task_drop(struct iscsi_task *t)
{
	struct iscsi_piece **p = &t->pieces;

	stop_waiting(t);
	redirect(t);
	if (t->filling && t->filling != &t->own)
		iscsi_task_chunk_put(t, t->filling);
	t->filling = NULL;
	if (t->scratch && !t->scratch->busy) {
		iscsi_task_chunk_put(t, t->scratch);
		t->scratch = NULL;
	}
	while (*p) {
		struct iscsi_piece *piece = *p;

		if (piece->busy) {
			p = &piece->next;
			continue;
		}
		*p = piece->next;
		if (piece != &t->own)
			iscsi_task_chunk_put(t, piece);
	}
	t->last = NULL;
}
