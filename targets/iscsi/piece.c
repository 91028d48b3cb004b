/* Pieces of commands' data: their buffers, and their requests to the store. */
#include "targets/iscsi/internal.h"
#include "targets/iscsi/scsi.h"

struct iscsi_piece *iscsi_task_chunk(struct iscsi_task *t)
{
	struct iscsi_conn *c = t->conn;
	struct iscsi_piece *p = c->free_chunks;

	if (t->chunks >= ISCSI_TASK_CHUNKS)
		return NULL; /* one of its own will come back */
	if (!p) {
		if (!t->waiting) {
			t->waiting = true;
			t->wait_next = NULL;
			*(c->wait_last ? &c->wait_last->wait_next : &c->wait_first) = t;
			c->wait_last = t;
		}
		return NULL;
	}
	c->free_chunks = p->next;
	p->task = t;
	p->next = NULL;
	p->offset = p->length = p->filled = 0;
	p->ready = p->busy = false;
	p->out = (struct iscsi_out){.kind = ISCSI_OUT_DATA_IN, .owner = p};
	t->chunks++;
	return p;
}

void iscsi_task_chunk_put(struct iscsi_task *t, struct iscsi_piece *p)
{
	struct iscsi_conn *c = t->conn;

	t->chunks--;
	p->next = c->free_chunks;
	c->free_chunks = p;
	if (c->wait_first)
		iscsi_conn_dirty(c);
}

void iscsi_task_run_waiters(struct iscsi_conn *c)
{
	while (c->wait_first && c->free_chunks && c->state == ISCSI_CONN_FULL) {
		struct iscsi_task *t = c->wait_first;

		c->wait_first = t->wait_next;
		if (!c->wait_first)
			c->wait_last = NULL;
		t->waiting = false;
		iscsi_flow_advance(t);
	}
}

static void piece_done(struct bs_req *req)
{
	struct iscsi_piece *p = req->arg;
	struct iscsi_task *t = p->task;
	struct iscsi_conn *c = t->conn;

	p->busy = false;
	t->io--;
	c->io--;
	iscsi_share_done(p);
	if (c->state == ISCSI_CONN_DEAD) {
		iscsi_conn_dirty(c);
		return;
	}
	if (req->status == VS_E_MISMATCH && t->op->flags & SCSI_RETRIES)
		t->mismatched = true;
	else if (req->status < 0)
		scsi_io_failed(t, req);
	if (t->op->flow == SCSI_FLOW_READ)
		p->ready = true;
	if (t->op->flow == SCSI_FLOW_WRITE && p != &t->own)
		iscsi_task_chunk_put(t, p);
	iscsi_flow_advance(t);
}

void iscsi_task_withdrawn(struct iscsi_piece *p)
{
	struct iscsi_task *t = p->task;

	p->busy = false;
	t->io--;
	t->conn->io--;
	if (t->op->flow == SCSI_FLOW_WRITE && p != &t->own)
		iscsi_task_chunk_put(t, p);
}

static void submit(struct iscsi_task *t, struct iscsi_piece *p, enum bs_op op, uint64_t offset,
		   uint64_t length)
{
	p->req.op = op;
	p->req.flags = (t->fua && op != BS_READ ? BS_FUA : 0) | (t->atomic ? BS_ATOMIC : 0);
	p->req.offset = offset;
	p->req.length = length;
	p->req.done = piece_done;
	p->req.arg = p;
	p->busy = true;
	t->io++;
	t->conn->io++;
	iscsi_share_submit(p);
}

void iscsi_task_submit(struct iscsi_task *t, struct iscsi_piece *p, enum bs_op op, uint64_t offset,
		       uint64_t length, int iovcnt)
{
	bool data = op == BS_READ || op == BS_WRITE || op == BS_COMPARE_WRITE;

	if (data && iovcnt == 0) {
		p->iov[0] = (struct iovec){p->buf, length};
		iovcnt = 1;
	}
	p->req.volume = t->lun->vol;
	p->req.iov = p->iov;
	p->req.iovcnt = iovcnt;
	submit(t, p, op, offset, length);
}

void iscsi_task_copy(struct iscsi_task *t, struct bs_volume *from, uint64_t at,
		     struct bs_volume *to, uint64_t offset, uint64_t length)
{
	t->own.req.volume = to;
	t->own.req.source = from;
	t->own.req.source_offset = at;
	submit(t, &t->own, BS_COPY, offset, length);
}
