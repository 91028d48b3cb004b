#include "mgmt/farcopy.h"

#include "blockstore/io.h"
#include "common/bytes.h"

#include <stdlib.h>

#define WINDOW (UINT64_C(16) << 20) /* looked at for holes at once */
#define PIECE (UINT64_C(1) << 20)
#define WINDOWS 8
#define RUNS 64u

_Static_assert(WINDOW / BS_BLOCK <= BS_STATUS_MAX, "a window is one STATUS request");

/*
 * A window goes through its range on its own: what holds data is asked, a run after the other is
 * copied in pieces or, where it is a hole, passed over or zeroed. busy until it is through or the
 * copy has failed.
 */
struct window {
	struct copy *copy;
	uint64_t at, end;
	struct bs_far_run run[RUNS];
	unsigned runs, next; /* run[next] is where `at` is */
	size_t length;	     /* of the piece under way */
	uint8_t *buf;
	uint8_t mapped[WINDOW / BS_BLOCK];
	struct iovec iov;
	struct bs_far_req far;
	struct bs_req near;
	bool busy, away; /* away: `far` is under way */
};

struct copy {
	struct mg_farcopy *c;
	struct bs_port *port;
	struct window window[WINDOWS];
	struct bs_far_req flush;
	bool out;
	int status; /* the first failure, and whose it was */
	bool far_failed;
	uint64_t done;
};

static void go_on(struct window *w);

static bool failed(struct window *w, int status, bool far)
{
	struct copy *p = w->copy;

	w->away = w->away && !far;
	if (status != 0 && p->status == 0) {
		p->status = status;
		p->far_failed = far;
	}
	if (p->status != 0)
		w->busy = false;
	return p->status != 0;
}

static void far_request(struct window *w, enum bs_far_op op, uint64_t length,
			void (*done)(struct bs_far_req *req))
{
	w->far = (struct bs_far_req){.op = op,
				     .offset = w->at,
				     .length = length,
				     .runs = w->run,
				     .max_runs = RUNS,
				     .iov = {{w->buf, length}},
				     .iovcnt = op == BS_FAR_READ || op == BS_FAR_WRITE,
				     .done = done,
				     .arg = w};
	w->away = true;
	bs_far_submit(w->copy->c->far, &w->far);
}

static void near_request(struct window *w, enum bs_op op, uint64_t length,
			 void (*done)(struct bs_req *req))
{
	w->iov = (struct iovec){w->buf, length};
	w->near = (struct bs_req){.op = op,
				  .volume = w->copy->c->volume,
				  .offset = w->at,
				  .length = length,
				  .iov = &w->iov,
				  .iovcnt = op != BS_STATUS,
				  .mapped = w->mapped,
				  .done = done,
				  .arg = w};
	bs_submit(w->copy->port, &w->near);
}

static void pass(struct window *w, uint64_t length)
{
	w->at += length;
	w->copy->done += length;
	w->run[w->next].length -= length;
	if (w->run[w->next].length == 0)
		w->next++;
}

static void piece_written(struct window *w)
{
	w->copy->c->bytes += w->length;
	pass(w, w->length);
	go_on(w);
}

/* ---- from there ----------------------------------------------------------------------------- */

static void in_written(struct bs_req *req)
{
	struct window *w = req->arg;

	if (!failed(w, req->status, false))
		piece_written(w);
}

static void in_read(struct bs_far_req *req)
{
	struct window *w = req->arg;
	size_t whole = VS_ALIGN_UP(w->length, (size_t)BS_BLOCK);

	if (failed(w, req->status, true))
		return;
	memset(w->buf + w->length, 0, whole - w->length);
	near_request(w, BS_WRITE, whole, in_written);
}

static void in_looked(struct bs_far_req *req)
{
	struct window *w = req->arg;

	w->runs = req->nruns;
	if (!failed(w, req->status, true))
		go_on(w);
}

/* ---- to there ------------------------------------------------------------------------------- */

static void out_written(struct bs_far_req *req)
{
	struct window *w = req->arg;

	if (!failed(w, req->status, true))
		piece_written(w);
}

static void out_zeroed(struct bs_far_req *req)
{
	struct window *w = req->arg;

	if (failed(w, req->status, true))
		return;
	pass(w, req->length);
	go_on(w);
}

static void out_read(struct bs_req *req)
{
	struct window *w = req->arg;

	if (!failed(w, req->status, false))
		far_request(w, BS_FAR_WRITE, w->length, out_written);
}

/* As many runs as there is room for; the rest is asked for again. */
static void out_looked(struct bs_req *req)
{
	struct window *w = req->arg;
	size_t blocks = req->length / BS_BLOCK;

	if (failed(w, req->status, false))
		return;
	w->runs = 0;
	for (size_t i = 0; i < blocks; i++) {
		bool mapped = w->mapped[i] != 0;

		if (!w->runs || w->run[w->runs - 1].mapped != mapped) {
			if (w->runs == RUNS)
				break;
			w->run[w->runs++] = (struct bs_far_run){.mapped = mapped};
		}
		w->run[w->runs - 1].length += BS_BLOCK;
	}
	go_on(w);
}

/* ---- both ------------------------------------------------------------------------------------ */

static void look(struct window *w)
{
	w->next = w->runs = 0;
	if (w->copy->out)
		near_request(w, BS_STATUS, w->end - w->at, out_looked);
	else
		far_request(w, BS_FAR_STATUS, w->end - w->at, in_looked);
}

static void go_on(struct window *w)
{
	bool out = w->copy->out;

	while ((!out || w->copy->c->blank) && w->next < w->runs && !w->run[w->next].mapped)
		pass(w, w->run[w->next].length);
	if (w->at == w->end) {
		w->busy = false;
		return;
	}
	if (w->next == w->runs) {
		look(w);
		return;
	}
	if (!w->run[w->next].mapped) {
		far_request(w, BS_FAR_ZERO, w->run[w->next].length, out_zeroed);
		return;
	}
	w->length = (size_t)VS_MIN(w->run[w->next].length, PIECE);
	if (out)
		near_request(w, BS_READ, w->length, out_read);
	else
		far_request(w, BS_FAR_READ, w->length, in_read);
}

static int blame(const struct copy *p, struct vs_error *err)
{
	const char *why = p->status == VS_E_NOSPC && p->far_failed ? "it has no space left"
								   : vs_err_text(p->status);

	return vs_fail(err, p->status, "%s: %s",
		       p->far_failed ? bs_far_name(p->c->far) : "the volume failed", why);
}

static int check(struct copy *p, struct vs_error *err)
{
	if (p->status != 0)
		return blame(p, err);
	if (mg_task_cancelled(p->c->task))
		return VS_E_CANCELED;
	mg_task_progress(p->c->task, p->done, p->c->size);
	return 0;
}

static struct window *idle_window(struct copy *p)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		if (!p->window[i].busy)
			return &p->window[i];
	return NULL;
}

static bool busy(const struct copy *p)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		if (p->window[i].busy)
			return true;
	return false;
}

static int run(struct copy *p, struct vs_error *err)
{
	uint64_t at = 0;
	int rc = 0;

	while (rc == 0 && (at < p->c->size || busy(p))) {
		struct window *w = at < p->c->size ? idle_window(p) : NULL;

		if (w) {
			w->at = at;
			w->end = at = VS_MIN(at + WINDOW, p->c->size);
			w->busy = true;
			look(w);
		} else {
			vs_loop_turn(p->c->loop, 200);
		}
		rc = check(p, err);
	}
	if (rc != 0 && p->status == 0)
		p->status = rc; /* windows stop at their next step */
	return rc;
}

static void flushed(struct bs_far_req *req)
{
	*(bool *)req->arg = true;
}

static int flush(struct copy *p, struct vs_error *err)
{
	bool done = false;

	p->flush = (struct bs_far_req){.op = BS_FAR_FLUSH, .done = flushed, .arg = &done};
	bs_far_submit(p->c->far, &p->flush);
	while (!done) {
		vs_loop_turn(p->c->loop, 200);
		if (mg_task_cancelled(p->c->task))
			return VS_E_CANCELED;
	}
	return p->flush.status == 0
		   ? 0
		   : vs_fail(err, p->flush.status, "%s: cannot flush what was written: %s",
			     bs_far_name(p->c->far), vs_err_text(p->flush.status));
}

/* Nobody waits for one that may be away: what it was asked is dropped with its connection. */
static void give_up(struct copy *p)
{
	bs_far_close(p->c->far);
	p->c->far = NULL;
	for (unsigned i = 0; i < WINDOWS; i++)
		if (p->window[i].away)
			p->window[i].busy = false;
}

static int copy(struct mg_farcopy *c, bool out, struct vs_error *err)
{
	struct copy *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (!p)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	p->c = c;
	p->out = out;
	c->bytes = 0;
	for (unsigned i = 0; i < WINDOWS && rc == 0; i++) {
		p->window[i].copy = p;
		p->window[i].buf = aligned_alloc(BS_BLOCK, PIECE);
		if (!p->window[i].buf)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	if (rc == 0)
		rc = bs_port_open(c->store, c->loop, 2 * WINDOWS, &p->port, err);
	if (rc == 0)
		rc = run(p, err);
	if (rc == 0 && out)
		rc = flush(p, err);
	if (rc != 0)
		give_up(p);
	while (busy(p))
		vs_loop_turn(c->loop, -1);
	if (p->port)
		bs_port_close(p->port);
	for (unsigned i = 0; i < WINDOWS; i++)
		free(p->window[i].buf);
	free(p);
	return rc;
}

int mg_farcopy_in(struct mg_farcopy *c, struct vs_error *err)
{
	return copy(c, false, err);
}

int mg_farcopy_out(struct mg_farcopy *c, struct vs_error *err)
{
	return copy(c, true, err);
}
