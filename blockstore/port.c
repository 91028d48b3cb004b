#include "blockstore/port_int.h"
#include "blockstore/warm.h"

#include <stdlib.h>

/* Operations that the engine takes from a port before the others have their turn. */
#define DRAIN_MOST (8 * BS_WARM)
/* Blocks that a port sends and works on before it wakes the engine for them. */
#define WAKE_AFTER 16u

struct bs_engine *bs_port_engine(const struct bs_port *p)
{
	return p->engine;
}

void bs_port_set_store(struct bs_port *p, struct bs_store *s)
{
	p->store = s;
}

struct bs_store *bs_port_store(const struct bs_port *p)
{
	return p->store;
}

void bs_port_settle(struct bs_port *p)
{
	p->settling = true;
	bs_port_start(p);
	while (p->outstanding || p->busy_ops || atomic_load(&p->posted))
		vs_loop_turn(p->loop, -1);
	p->settling = false;
}

unsigned bs_port_busy(const struct bs_port *p)
{
	return p->busy_ops;
}

void bs_port_post(struct bs_port *p)
{
	if (p->loop && !atomic_exchange(&p->posted, true))
		vs_loop_post(p->loop, &p->post);
}

static void posted(struct vs_post *post)
{
	struct bs_port *p = post->arg;

	atomic_store(&p->posted, false);
	while (bs_port_poll(p))
		;
}

int bs_port_new(struct bs_engine *e, struct vs_loop *loop, unsigned depth, struct bs_port **out)
{
	struct bs_port *p = calloc(1, sizeof(*p));

	if (!p)
		return VS_E_NOMEM;
	p->engine = e;
	p->loop = loop;
	p->alone = !loop; /* its owner lets everything happen in an order of its own */
	p->depth = depth;
	p->post = (struct vs_post){.call = posted, .arg = p};
	p->ops = aligned_alloc(64, depth * sizeof(*p->ops));
	p->zd = ZSTD_createDCtx();
	if (!p->ops || !p->zd || bs_hands_open(&p->hands) || vs_ring_init(&p->to_engine, depth) ||
	    vs_ring_init(&p->to_port, depth) || bs_arena_new(BS_STAGING_PAGES, &p->staging) ||
	    vs_ring_init(&p->from_helper, depth)) {
		bs_port_free(p);
		return VS_E_NOMEM;
	}
	memset(p->ops, 0, depth * sizeof(*p->ops));
	for (unsigned i = 0; i < depth; i++) {
		p->ops[i].port = p;
		p->ops[i].next = p->free;
		p->free = &p->ops[i];
	}
	*out = p;
	return 0;
}

void bs_port_free(struct bs_port *p)
{
	bs_port_helper_stop(p);
	vs_ring_destroy(&p->from_helper);
	vs_ring_destroy(&p->to_engine);
	vs_ring_destroy(&p->to_port);
	bs_arena_free(p->staging);
	bs_hands_close(&p->hands);
	ZSTD_freeDCtx(p->zd);
	free(p->ops);
	free(p);
}

static void push(struct bs_port *p, struct bs_iop *op)
{
	bool ok = vs_ring_push(&p->to_engine, op);

	VS_ASSERT(ok);
}

void bs_port_wake_engine(struct bs_port *p)
{
	if (p->engine->env.wake)
		p->engine->env.wake(p->engine->env.arg);
}

/* The engine is woken for what it has not been woken for yet. */
static void tell(struct bs_port *p)
{
	if (p->unsaid)
		bs_port_wake_engine(p);
	p->unsaid = 0;
}

void bs_port_work(struct bs_port *p, unsigned blocks)
{
	if (p->unsaid && (p->unsaid += blocks) >= WAKE_AFTER)
		tell(p);
}

void bs_port_send(struct bs_port *p, struct bs_iop *op)
{
	push(p, op);
	p->unsaid += op->count ? (unsigned)VS_MIN(op->count, WAKE_AFTER) : 1;
	if (p->unsaid >= WAKE_AFTER || p->busy_ops == 1 || !p->loop)
		tell(p);
	else if (!p->polling)
		bs_port_post(p);
}

/* One operation less of req, which is done with its last one. */
static void part_done(struct bs_port *p, struct bs_req *req, int status)
{
	if (status && req->status == 0)
		req->status = status;
	req->pending_--;
	if (req->pending_)
		return;
	if (req->next_off_ >= req->end_ || (req->status && bs_port_copy_overlaps(req))) {
		p->outstanding--;
		req->done(req);
	} else if (bs_port_copy_overlaps(req)) {
		bs_port_queue(p, req); /* its next piece */
	}
}

static void recycle(struct bs_port *p, struct bs_iop *op)
{
	if (op->staging)
		bs_arena_give(p->staging, op->staging, op->staged);
	op->staging = NULL;
	op->next = p->free;
	p->free = op;
	p->busy_ops--;
}

/* The request goes on at once; what the engine pinned for it follows with its next work. */
static void read_done(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;
	int status;

	bs_port_deliver(p, op);
	if (bs_port_mend(p, op))
		return;
	status = op->status;
	op->req = NULL;
	op->stage = BS_OP_RELEASE;
	push(p, op);
	if (atomic_load(&p->engine->starving) || atomic_load(&p->hungry))
		bs_port_wake_engine(p);
	part_done(p, req, status);
}

static void complete(struct bs_port *p, struct bs_iop *op)
{
	struct bs_req *req = op->req;
	int status = op->status;

	if (req && req->op == BS_LINK && status == 0)
		for (unsigned i = 0; i < op->count; i++)
			req->mapped[i] = op->to[i].kind == BS_BLOCK_KNOWN;
	if (status == 0)
		bs_port_learn(p, op);
	recycle(p, op);
	if (req)
		part_done(p, req, status);
}

static void handle(struct bs_port *p, struct bs_iop *op)
{
	switch (op->stage) {
	case BS_OP_COMPRESS:
		bs_port_work(p, (unsigned)op->count);
		bs_port_compress(&p->hands, op);
		op->stage = BS_OP_WRITE;
		bs_port_send(p, op);
		break;
	case BS_OP_FILLED:
		bs_port_work(p, (unsigned)op->count);
		if (op->then == BS_OP_WRITE)
			bs_port_merge(p, op);
		else if (op->then == BS_OP_COPY)
			bs_port_copy_keep(p, op);
		else
			read_done(p, op);
		break;
	case BS_OP_BYTES:
		bs_port_copy_read(op);
		bs_port_send(p, op);
		break;
	case BS_OP_LOADED:
		bs_port_work(p, (unsigned)op->count);
		bs_port_copy_write(p, op);
		break;
	default:
		complete(p, op);
		break;
	}
}

static bool finish_settled(struct bs_port *p)
{
	struct bs_req *req = p->settled, *next;

	if (!req)
		return false;
	p->settled = NULL;
	for (; req; req = next) {
		next = req->next_;
		p->outstanding--;
		req->done(req);
	}
	return true;
}

bool bs_port_poll(struct bs_port *p)
{
	struct bs_iop *op;
	bool did;

	p->polling = true;
	did = finish_settled(p);
	while ((op = vs_ring_pop(&p->to_port))) {
		handle(p, op);
		did = true;
	}
	if (did)
		bs_port_start(p);
	bs_port_flush_raw(p);
	p->polling = false;
	tell(p);
	return did;
}

static struct bs_iop *next_sent(struct bs_port *p)
{
	struct bs_iop *op = vs_ring_pop(&p->to_engine);

	return op ? op : vs_ring_pop(&p->from_helper);
}

bool bs_port_drain(struct bs_port *p)
{
	struct bs_iop *ops[BS_WARM];
	unsigned n, taken = 0;

	do {
		for (n = 0; n < BS_WARM && (ops[n] = next_sent(p));)
			n++;
		bs_warm(p->engine, ops, n);
		for (unsigned i = 0; i < n; i++)
			bs_op_submit(p->engine, ops[i]);
		if (n)
			bs_device_kick(
			    p->engine->dev); /* works on these, meanwhile come the next */
		taken += n;
	} while (n == BS_WARM && taken < DRAIN_MOST);
	return taken > 0;
}

void bs_port_answer(struct bs_port *p, struct bs_iop *op)
{
	bool ok = vs_ring_push(&p->to_port, op);

	VS_ASSERT(ok);
	p->answered = true;
}

void bs_port_return(struct bs_port *p, struct bs_iop *op)
{
	bool ok = vs_ring_push(&p->to_port, op);

	VS_ASSERT(ok);
	p->answered |= atomic_load(&p->hungry);
}

void bs_port_wake(struct bs_port *p)
{
	if (!p->answered)
		return;
	p->answered = false;
	bs_port_post(p);
}

static void wait_done(struct bs_req *req)
{
	*(bool *)req->arg = true;
}

int bs_io_wait(struct bs_port *p, struct bs_req *req)
{
	bool done = false;

	req->done = wait_done;
	req->arg = &done;
	bs_submit(p, req);
	tell(p);
	while (!done)
		vs_loop_turn(p->loop, -1);
	return req->status;
}

int bs_io_read(struct bs_port *p, struct bs_volume *v, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = {buf, len};
	struct bs_req req = {
	    .op = BS_READ, .volume = v, .offset = offset, .length = len, .iov = &iov, .iovcnt = 1};

	return bs_io_wait(p, &req);
}

int bs_io_write(struct bs_port *p, struct bs_volume *v, uint64_t offset, const void *buf,
		size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct bs_req req = {
	    .op = BS_WRITE, .volume = v, .offset = offset, .length = len, .iov = &iov, .iovcnt = 1};

	return bs_io_wait(p, &req);
}

int bs_io_flush(struct bs_port *p)
{
	struct bs_req req = {.op = BS_FLUSH};

	return bs_io_wait(p, &req);
}
