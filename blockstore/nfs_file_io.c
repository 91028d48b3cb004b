#include "blockstore/nfs_file_int.h"

/* Steps of a WRITE that must be durable: a server may answer that it is not yet. */
enum { STEP_DATA, STEP_UNSTABLE, STEP_COMMIT };

static void finish(struct bs_nfs_file *f, struct bs_far_req *req)
{
	req->next = NULL;
	*f->finished_last = req;
	f->finished_last = &req->next;
}

void nf_io_deliver(struct bs_nfs_file *f)
{
	struct bs_far_req *req = f->finished;

	f->finished = NULL;
	f->finished_last = &f->finished;
	while (req) {
		struct bs_far_req *next = req->next;

		req->done(req);
		req = next;
	}
}

static void line_up(struct bs_nfs_file *f, struct bs_far_req *req)
{
	req->next = NULL;
	*f->last = req;
	f->last = &req->next;
}

void nf_io_submit(struct bs_nfs_file *f, struct bs_far_req *req, int known)
{
	req->status = known == -1 ? 0 : known;
	req->issued = req->out = 0;
	req->step = STEP_DATA;
	if (known == -1)
		line_up(f, req);
	else
		finish(f, req);
	nf_kick(f);
}

static uint64_t length_of(const struct bs_far_req *req)
{
	return req->op == BS_FAR_FLUSH ? 1 : req->length;
}

/* Nothing of it is in flight, and nothing is left to begin. */
static void complete(struct bs_nfs_file *f, struct bs_far_req *req)
{
	if (req->status == 0 && req->step == STEP_UNSTABLE && req->durable) {
		req->step = STEP_COMMIT;
		req->issued = 0;
		line_up(f, req);
		return;
	}
	finish(f, req);
}

void nf_io_piece_ended(struct nf_call *c, int status)
{
	struct bs_far_req *req = c->req;

	if (c->unstable && req->step == STEP_DATA)
		req->step = STEP_UNSTABLE;
	nf_call_free(c);
	req->out--;
	if (status != 0 && req->status == 0)
		req->status = status;
	/* one that failed while it was in line is taken off there */
	if (req->out == 0 && req->issued >= length_of(req))
		complete(c->f, req);
}

static void pop(struct bs_nfs_file *f)
{
	f->first = f->first->next;
	if (!f->first)
		f->last = &f->first;
}

static void cut_iov(struct nf_call *c, const struct bs_far_req *req, uint64_t skip)
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

/* Makes room for what is to be kept: everything is flushed before it is full. */
static void clean(struct bs_nfs_file *f)
{
	struct nf_call *c;

	if (f->cleaning || f->lost)
		return;
	c = nf_call_take(&f->idle_own);
	if (!c)
		return;
	c->kind = NF_COMMIT;
	c->offset = c->length = 0;
	f->cleaning = true;
	(void)nf_call_send(c);
}

/* A write whose request has failed for want of an answer may be done all the same. */
static bool meets_given_up(const struct bs_nfs_file *f, const struct bs_far_req *req)
{
	for (unsigned i = 0; f->given_up && i < VS_ARRAY_LEN(f->call); i++) {
		const struct nf_call *c = &f->call[i];

		if (c->sent && c->given_up && c->kind == NF_WRITE &&
		    c->offset < req->offset + req->length && req->offset < c->offset + c->length)
			return true;
	}
	return false;
}

/* Its turn comes when no older write can land there any more. */
static bool hold(struct bs_nfs_file *f, struct bs_far_req *req)
{
	if (req->issued || (req->op != BS_FAR_WRITE && req->op != BS_FAR_ZERO) ||
	    (!bs_nfs_doubt_hits(&f->doubt, req->offset, req->length) &&
	     !bs_nfs_doubt_hits(&f->doubt_redo, req->offset, req->length) &&
	     !meets_given_up(f, req)))
		return false;
	pop(f);
	req->next = f->held;
	f->held = req;
	return true;
}

static void let_go(struct bs_nfs_file *f)
{
	nf_call_unpark(f);
	while (f->held) {
		struct bs_far_req *req = f->held;

		f->held = req->next;
		line_up(f, req);
	}
}

static void end_doubt(struct bs_nfs_file *f)
{
	if ((f->doubt.n || f->doubt_redo.n) && vs_now_ns() >= f->doubt_end)
		f->doubt.n = f->doubt_redo.n = 0;
	if (f->doubt.n == 0 && f->doubt_redo.n == 0)
		let_go(f);
}

/* Whether what it writes may be sent now, and can be kept. */
static bool admit(struct nf_call *c)
{
	struct bs_nfs_file *f = c->f;

	if (c->kind != NF_WRITE)
		return true;
	if (f->lost)
		return true;
	c->reserved = bs_redo_reserve(&f->redo, nf_redo_kind(c), c->length);
	if (!c->reserved)
		clean(f);
	return c->reserved;
}

static enum nf_kind kind_of(const struct bs_far_req *req)
{
	if (req->op == BS_FAR_FLUSH || req->step == STEP_COMMIT)
		return NF_COMMIT;
	return req->op == BS_FAR_READ ? NF_READ : NF_WRITE;
}

/* Gives the next piece of req to call c; false: it cannot go now. */
static bool issue(struct bs_nfs_file *f, struct bs_far_req *req, struct nf_call *c)
{
	uint32_t most;

	c->kind = kind_of(req);
	most = c->kind == NF_READ ? f->read_max : f->write_max;
	c->offset = req->offset + req->issued;
	c->length = c->kind == NF_COMMIT ? 0 : VS_MIN(req->length - req->issued, (uint64_t)most);
	c->zeros = req->op == BS_FAR_ZERO;
	if (!admit(c)) {
		nf_call_free(c);
		return false;
	}
	c->req = req;
	if (c->kind != NF_COMMIT && !c->zeros)
		cut_iov(c, req, req->issued);
	req->issued = c->kind == NF_COMMIT ? UINT64_MAX : req->issued + c->length;
	req->out++;
	return nf_call_send(c);
}

void nf_io_pump(struct bs_nfs_file *f)
{
	end_doubt(f);
	if (!nf_call_send_again(f, &f->again))
		return;
	while (f->first && !f->broken) {
		struct bs_far_req *req = f->first;
		struct nf_call *c;

		if (req->status != 0) { /* it failed meanwhile */
			pop(f);
			req->issued = UINT64_MAX;
			if (req->out == 0)
				complete(f, req);
			continue;
		}
		if (hold(f, req))
			continue;
		c = nf_call_take(&f->idle);
		if (!c || !issue(f, req, c))
			return;
		if (req->issued >= length_of(req))
			pop(f);
	}
	if (bs_redo_filling(&f->redo) && !f->broken)
		clean(f);
}

/* The request of a call that is under way fails; the call itself waits for its answer. */
static void give_up(struct nf_call *c)
{
	struct bs_nfs_file *f = c->f;
	struct bs_far_req *req = c->req;

	c->given_up = true;
	f->given_up++;
	c->req = NULL;
	req->out--;
	if (req->status == 0)
		req->status = VS_E_IO;
	if (req->out == 0 && req->issued >= length_of(req))
		complete(f, req);
}

static void end_waiting(struct bs_nfs_file *f, struct nf_call *c)
{
	nf_unreserve(c);
	if (c->req) {
		nf_io_piece_ended(c, VS_E_IO);
		return;
	}
	f->cleaning = f->cleaning && c->kind != NF_COMMIT;
	nf_call_free(c);
}

void nf_io_expire(struct bs_nfs_file *f)
{
	let_go(f);
	while (f->first) {
		struct bs_far_req *req = f->first;

		pop(f);
		if (req->status == 0)
			req->status = VS_E_IO;
		req->issued = UINT64_MAX;
		if (req->out == 0)
			finish(f, req);
	}
	while (f->again.first) {
		struct nf_call *c = f->again.first;

		f->again.first = c->next;
		end_waiting(f, c);
	}
	f->again.last = &f->again.first;
	for (unsigned i = 0; i < VS_ARRAY_LEN(f->call); i++)
		if (f->call[i].sent && f->call[i].req)
			give_up(&f->call[i]);
}
