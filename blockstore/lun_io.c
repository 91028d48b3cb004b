#include "blockstore/lun_int.h"

#define UNMAP_BYTES (UINT64_C(1) << 30) /* of one command, where the LUN says no less */
#define SAME_BYTES (UINT64_C(32) << 20)

/* Steps of a WRITE that must be durable on a LUN without FUA. */
enum { STEP_DATA, STEP_SYNC };

static void finish(struct bs_lun *l, struct bs_far_req *req)
{
	req->next = NULL;
	*l->finished_last = req;
	l->finished_last = &req->next;
}

void lun_io_deliver(struct bs_lun *l)
{
	struct bs_far_req *req = l->finished;

	l->finished = NULL;
	l->finished_last = &l->finished;
	while (req) {
		struct bs_far_req *next = req->next;

		req->done(req);
		req = next;
	}
}

void lun_io_line_up(struct bs_lun *l, struct bs_far_req *req)
{
	req->next = NULL;
	*l->last = req;
	l->last = &req->next;
}

void lun_io_submit(struct bs_lun *l, struct bs_far_req *req, int known)
{
	req->status = known == -1 ? 0 : known;
	req->issued = req->out = 0;
	req->step = STEP_DATA;
	if (known == -1)
		lun_io_line_up(l, req);
	else
		finish(l, req);
	lun_kick(l);
}

static uint64_t length_of(const struct bs_far_req *req)
{
	return req->op == BS_FAR_FLUSH ? 1 : req->length;
}

static bool issued_all(const struct bs_far_req *req)
{
	return req->status != 0 || req->issued >= length_of(req);
}

/* Nothing of it is in flight, and nothing is left to begin. */
static void complete(struct bs_lun *l, struct bs_far_req *req)
{
	if (req->status == 0 && req->op == BS_FAR_WRITE && req->durable && !l->caps.fua &&
	    req->step == STEP_DATA) {
		req->step = STEP_SYNC;
		req->issued = 0;
		lun_io_line_up(l, req);
		return;
	}
	finish(l, req);
}

void lun_io_piece_ended(struct lun_cmd *c, int status)
{
	struct bs_far_req *req = c->req;

	lun_cmd_free(c);
	req->out--;
	if (status != 0 && req->status == 0)
		req->status = status;
	/* one that failed while it was in line is taken off there */
	if (req->out == 0 && req->issued >= length_of(req))
		complete(c->l, req);
}

static void cut_iov(struct lun_cmd *c, const struct bs_far_req *req, uint64_t skip)
{
	uint64_t left = c->length;

	for (int i = 0; i < req->iovcnt && left; i++) {
		uint64_t n = req->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = VS_MIN(n - skip, left);
		c->iov[c->niov].iov_base = (uint8_t *)req->iov[i].iov_base + skip;
		c->iov[c->niov++].iov_len = (size_t)n;
		skip = 0;
		left -= n;
	}
}

/* The most bytes of one command; a multiple of 4096 and of the sector. */
static uint64_t most(const struct bs_lun *l, enum lun_kind kind)
{
	uint64_t sector = l->caps.sector, limit = LUN_PIECE, said = l->caps.max_transfer;

	if (kind == LUN_CMD_UNMAP) {
		limit = UNMAP_BYTES;
		said = l->caps.max_unmap;
	} else if (kind == LUN_CMD_SAME) {
		limit = SAME_BYTES;
		said = VS_MIN(l->caps.max_same, UNMAP_BYTES / 512);
	}
	if (said)
		limit = VS_MIN(limit, said * sector);
	return limit > 4096 ? VS_ALIGN_DOWN(limit, UINT64_C(4096)) : limit;
}

static enum lun_kind kind_of(const struct bs_lun *l, const struct bs_far_req *req)
{
	switch (req->op) {
	case BS_FAR_READ:
		return LUN_CMD_READ;
	case BS_FAR_WRITE:
		return req->step == STEP_SYNC ? LUN_CMD_SYNC : LUN_CMD_WRITE;
	case BS_FAR_FLUSH:
		return LUN_CMD_SYNC;
	case BS_FAR_UNMAP:
		return LUN_CMD_UNMAP;
	case BS_FAR_ZERO:
		return l->no_same ? LUN_CMD_WRITE : LUN_CMD_SAME;
	case BS_FAR_STATUS:
		return LUN_CMD_STATUS;
	}
	return LUN_CMD_READ;
}

static void fill_zeros(struct lun_cmd *c)
{
	c->iov[0] = (struct scsi_iovec){.iov_base = lun_zeros, .iov_len = (size_t)c->length};
	c->niov = 1;
}

/* Makes room for what is to be kept: everything is flushed before it is full. */
static void clean(struct bs_lun *l)
{
	struct lun_cmd *c;

	if (l->cleaning || l->lost)
		return;
	c = lun_cmd_take(&l->idle_own);
	if (!c)
		return;
	c->kind = LUN_CMD_SYNC;
	c->offset = c->length = 0;
	l->cleaning = true;
	(void)lun_cmd_send(c);
}

static bool reserve(struct lun_cmd *c)
{
	struct bs_lun *l = c->l;

	if (!lun_changes(c->kind) || l->lost)
		return true;
	c->reserved = bs_redo_reserve(&l->redo, lun_redo_kind(c->kind), c->length);
	return c->reserved;
}

/* Gives the next piece of req to command c; false: it cannot go now. */
static bool issue(struct bs_lun *l, struct bs_far_req *req, struct lun_cmd *c)
{
	c->kind = kind_of(l, req);
	c->req = req;
	c->offset = req->offset + req->issued;
	c->length =
	    c->kind == LUN_CMD_SYNC ? 0 : VS_MIN(req->length - req->issued, most(l, c->kind));
	if (c->kind == LUN_CMD_STATUS)
		c->length = req->length;
	if (!reserve(c)) {
		lun_cmd_free(c);
		clean(l);
		return false;
	}
	if (c->kind == LUN_CMD_READ || (c->kind == LUN_CMD_WRITE && req->op == BS_FAR_WRITE))
		cut_iov(c, req, req->issued);
	else if (c->kind == LUN_CMD_WRITE)
		fill_zeros(c);
	req->issued = c->kind == LUN_CMD_SYNC ? UINT64_MAX : req->issued + c->length;
	req->out++;
	return lun_cmd_send(c);
}

static void pop(struct bs_lun *l)
{
	struct bs_far_req *req = l->first;

	l->first = req->next;
	if (!l->first)
		l->last = &l->first;
}

void lun_io_pump(struct bs_lun *l)
{
	if (!lun_cmd_room(l) || !lun_cmd_send_again(&l->again))
		return;
	while (l->first && lun_cmd_room(l)) {
		struct bs_far_req *req = l->first;
		struct lun_cmd *c;

		if (issued_all(req)) { /* it failed meanwhile */
			pop(l);
			req->issued = UINT64_MAX;
			if (req->out == 0)
				complete(l, req);
			continue;
		}
		c = lun_cmd_take(&l->idle);
		if (!c || !issue(l, req, c))
			return;
		if (req->issued >= length_of(req))
			pop(l);
	}
	if (bs_redo_filling(&l->redo) && !l->broken)
		clean(l);
}

void lun_io_expire(struct bs_lun *l)
{
	while (l->first) {
		struct bs_far_req *req = l->first;

		pop(l);
		if (req->status == 0)
			req->status = VS_E_IO;
		req->issued = UINT64_MAX;
		if (req->out == 0)
			finish(l, req);
	}
	while (l->again.first) {
		struct lun_cmd *c = l->again.first;

		l->again.first = c->next;
		if (c->reserved)
			bs_redo_unreserve(&l->redo, lun_redo_kind(c->kind), c->length);
		if (c->req) {
			lun_io_piece_ended(c, VS_E_IO);
		} else {
			l->cleaning = false;
			lun_cmd_free(c);
		}
	}
	l->again.last = &l->again.first;
}
