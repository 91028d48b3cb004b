#include "targets/iscsi/sanitize.h"

#include "common/bytes.h"
#include "common/log.h"
#include "targets/iscsi/internal.h"
#include "targets/iscsi/keep.h"

#include <stdlib.h>

#define IOVS 16
#define BUF 65536u
#define STEP ((uint64_t)IOVS * BUF)
/* At most 1 GiB/s, one request at a time: whoever else uses the store is to find room. */
#define PAUSE_NS (STEP * 1000000000u >> 30)
#define LOOK_NS 10000000u /* for the end of others' commands */

struct job {
	struct iscsi_server *srv;
	struct iscsi_thread *thread;
	struct iscsi_lu *lu;
	struct iscsi_sanitize_order order;
	uint64_t at;
	unsigned pass;
	bool flushing;
	struct bs_req req;
	struct iovec iov[IOVS];
	struct vs_timer timer;
	struct vs_post post;
	uint8_t buf[BUF]; /* the block, over and over */
};

static void finish(struct job *j, int status);

static void set_progress(struct job *j, uint64_t size)
{
	uint64_t all = size * j->order.count / STEP + 1;
	uint64_t done = (size * j->pass + j->at) / STEP;

	atomic_store(&j->lu->progress, (unsigned)VS_MIN(done * 65536 / all, UINT64_C(65535)));
}

static void invert(struct job *j)
{
	for (size_t i = 0; i < BUF; i++)
		j->buf[i] = (uint8_t)~j->buf[i];
}

static void submit(struct job *j, enum bs_op op, uint64_t offset, uint64_t length)
{
	j->req.op = op;
	j->req.flags = 0;
	j->req.volume = j->lu->vol;
	j->req.offset = offset;
	j->req.length = length;
	j->req.iov = j->iov;
	j->req.iovcnt = IOVS;
	bs_submit(j->thread->port, &j->req);
}

static void next(struct job *j)
{
	uint64_t size = bs_volume_size(j->lu->vol);

	if (atomic_load(&j->srv->ending)) {
		finish(j, VS_E_CLOSED);
		return;
	}
	if (j->at >= size) {
		j->at = 0;
		j->pass++;
		if (j->order.invert)
			invert(j);
	}
	set_progress(j, size);
	if (j->pass == j->order.count) {
		j->flushing = true;
		submit(j, BS_FLUSH, 0, 0);
	} else if (j->order.how == ISCSI_SANITIZE_ERASE) {
		submit(j, BS_ZERO, 0, size);
		j->at = size;
	} else {
		uint64_t length = VS_MIN(size - j->at, STEP);

		submit(j, BS_WRITE, j->at, length);
		j->at += length;
	}
}

static void fired(struct vs_timer *t)
{
	next(t->arg);
}

static void done(struct bs_req *req)
{
	struct job *j = req->arg;
	bool shrunk = req->status == VS_E_RANGE; /* goes on with the volume as it is now */

	if (shrunk)
		j->at = 0;
	else if (req->status < 0 || j->flushing) {
		finish(j, req->status);
		return;
	}
	if (vs_loop_timer(j->thread->loop, &j->timer, PAUSE_NS) < 0)
		finish(j, VS_E_LIMIT);
}

/* On the control thread. */
static void ended(struct vs_post *p)
{
	struct job *j = p->arg;
	struct iscsi_lu *lu = j->lu;

	if (j->req.status < 0 && j->req.status != VS_E_CLOSED) {
		char uuid[VS_UUID_TEXT];

		vs_uuid_format(&lu->volume, uuid);
		vs_err("iscsi: sanitizing volume %s failed: %s", uuid, vs_err_text(j->req.status));
		atomic_fetch_or(&lu->state, ISCSI_LU_SANITIZE_FAILED);
	}
	if (j->req.status != VS_E_CLOSED) { /* else it is found unfinished at the next start */
		atomic_fetch_and(&lu->state, ~(unsigned)ISCSI_LU_SANITIZING);
		iscsi_keep_now(j->srv, lu);
		iscsi_lu_resume(lu);
	}
	iscsi_lu_unuse(j->srv, lu);
	free(j);
}

static void finish(struct job *j, int status)
{
	struct iscsi_thread *t = j->thread;

	j->req.status = status;
	j->post.call = ended;
	vs_loop_post(j->srv->loop, &j->post);
	atomic_fetch_sub(&t->jobs, 1); /* last: the thread may end now */
}

/* The other initiators' commands end first: what they write may not come after. */
static void begin(struct job *j)
{
	bool others = iscsi_lu_aborting(j->lu) || atomic_load(&j->lu->orphans);
	bool wait = others && !atomic_load(&j->srv->ending);

	if (!wait) {
		j->timer.fired = fired;
		next(j);
	} else if (vs_loop_timer(j->thread->loop, &j->timer, LOOK_NS) < 0) {
		finish(j, VS_E_LIMIT);
	}
}

static void look_again(struct vs_timer *t)
{
	begin(t->arg);
}

/* On the I/O thread. */
static void posted(struct vs_post *p)
{
	begin(p->arg);
}

/* On the control thread. */
static void hold(struct vs_post *p)
{
	struct job *j = p->arg;

	iscsi_lu_use(j->srv, j->lu);
	if (!j->lu->vol || j->srv->stopping) {
		j->req.status = j->lu->vol ? VS_E_CLOSED : VS_E_NOENT;
		ended(p);
		return;
	}
	iscsi_keep_now(j->srv,
		       j->lu); /* before the first byte is gone, and before IMMED is answered */
	atomic_store(&j->lu->sanitize_kept, true);
	iscsi_lu_resume(j->lu);
	atomic_fetch_add(&j->thread->jobs, 1);
	j->post.call = posted;
	vs_loop_post(j->thread->loop, &j->post);
}

int iscsi_sanitize_start(struct iscsi_lun *l, const struct iscsi_sanitize_order *order)
{
	struct iscsi_lu *lu = l->lu;
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return VS_E_NOMEM;
	if (atomic_fetch_or(&lu->state, ISCSI_LU_SANITIZING) & ISCSI_LU_SANITIZING) {
		free(j);
		return VS_E_BUSY;
	}
	if (l->conn->srv->tokens)
		iscsi_tokens_revoke(l->conn->srv->tokens, &lu->volume);
	atomic_store(&lu->progress, 0);
	atomic_store(&lu->sanitize_kept, false);
	atomic_store(&lu->may_exit, order->may_exit);
	atomic_fetch_and(&lu->state, ~(unsigned)ISCSI_LU_SANITIZE_FAILED);
	j->srv = l->conn->srv;
	j->thread = l->conn->thread;
	j->lu = lu;
	j->order = *order;
	j->order.block = NULL;
	for (uint32_t at = 0; order->block && at < BUF; at += order->sector)
		memcpy(j->buf + at, order->block, order->sector);
	for (unsigned i = 0; i < IOVS; i++)
		j->iov[i] = (struct iovec){j->buf, BUF};
	j->req.done = done;
	j->req.arg = j;
	j->timer = (struct vs_timer){.fired = look_again, .arg = j};
	j->post = (struct vs_post){.call = hold, .arg = j};
	(void)iscsi_lu_abort_others(l, ISCSI_UA_CLEARED);
	vs_loop_post(j->srv->loop, &j->post);
	return 0;
}
