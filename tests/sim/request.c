#include "tests/sim/world.h"

#include "common/bytes.h"
#include "dedup/digest.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"

#include <stdlib.h>

/* Whether what the volume holds must be read for it: of whole blocks nothing. */
static bool reads(const struct world_req *q)
{
	switch (q->req.op) {
	case BS_READ:
	case BS_COMPARE_WRITE:
	case BS_COPY: /* what cannot be shared */
		return true;
	case BS_WRITE:
	case BS_ZERO:
		return (q->sector | q->count) % SIM_BLOCK_SECTORS != 0;
	default:
		return false;
	}
}

static bool status_allowed(const struct world *w, const struct world_req *q, int status)
{
	switch (status) {
	case 0:
		return true;
	case VS_E_NOSPC:
		return w->may_nospc && q->req.op != BS_READ && q->req.op != BS_FLUSH &&
		       (!q->thick || q->req.op == BS_TRIM);
	case VS_E_IO:
		return w->may_fail || (w->may_lose && reads(q));
	case VS_E_FAILED:
	case VS_E_ROFS:
	case VS_E_CHECKSUM:
		return w->may_fail;
	case VS_E_RANGE:
		return w->may_lie || w->admin_unsure;
	case VS_E_CORRUPT:
		return w->may_lie;
	case VS_E_MISMATCH:
		return q->req.op == BS_COMPARE_WRITE;
	default:
		return false;
	}
}

static void check_sector(struct world_req *q, uint32_t sector, const unsigned char *bytes)
{
	struct model *m = &q->world->model;
	uint64_t tag, only = 0;
	bool known;

	sim_require(sim_content_read(bytes, &tag),
		    "%s sector %u reads bytes that nobody wrote (first word %016llx)",
		    world_full_name(q->image), sector, (unsigned long long)tag);
	if (model_may_read(m, q->image, sector, tag, q->lo))
		return;
	known = model_only(m, q->image, sector, q->lo, &only);
	sim_found("%s sector %u reads %llu.%llu (submitted at %llu)%s %llu.%llu",
		  world_full_name(q->image), sector, (unsigned long long)tag / 8,
		  (unsigned long long)tag % 8, (unsigned long long)q->lo,
		  known ? ", must be" : "; several are right, among them not",
		  (unsigned long long)only / 8, (unsigned long long)only % 8);
}

/* A snapshot not yet pinned is only read to be pinned, and checked as a whole then. */
static bool checked_elsewhere(const struct model_image *img)
{
	return img->snapshot && !img->pinned;
}

static void take_tags(struct world_req *q)
{
	for (uint32_t i = 0; i < q->count; i++)
		sim_require(sim_content_read(q->buf + (size_t)i * SIM_SECTOR, &q->out[i]),
			    "%s sector %u reads bytes that nobody wrote (first word %016llx)",
			    world_full_name(q->image), q->sector + i,
			    (unsigned long long)q->out[i]);
}

static void read_done(struct world_req *q)
{
	if (q->out) {
		take_tags(q);
		return;
	}
	if (checked_elsewhere(q->image))
		return;
	for (uint32_t i = 0; i < q->count; i++)
		check_sector(q, q->sector + i, q->buf + (size_t)i * SIM_SECTOR);
}

static void compare_done(struct world_req *q)
{
	struct model *m = &q->world->model;
	uint64_t only;
	bool all = true;

	for (uint32_t i = 0; i < q->count; i++) {
		bool known = model_only(m, q->image, q->sector + i, q->lo, &only);

		all &= known && only == q->tags[i];
		if (q->req.status == 0)
			continue;
		if (q->req.mismatch_at / SIM_SECTOR == i)
			sim_require(!known || only != q->tags[i],
				    "%s sector %u: a compare-and-write failed on equal data",
				    world_full_name(q->image), q->sector + i);
	}
	sim_require(q->req.status == 0 || !all,
		    "%s sector %u: a compare-and-write failed on equal data",
		    world_full_name(q->image), q->sector);
}

/* Before its own effect is known to the model: could every compared sector have matched? */
static void compare_matched(struct world_req *q)
{
	for (uint32_t i = 0; i < q->count; i++)
		sim_require(
		    model_may_read(&q->world->model, q->image, q->sector + i, q->tags[i], q->lo),
		    "%s sector %u: a compare-and-write succeeded on other data",
		    world_full_name(q->image), q->sector + i);
}

static void status_done(struct world_req *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		if (q->mapped[i] || checked_elsewhere(q->image))
			continue;
		for (uint32_t k = 0; k < SIM_BLOCK_SECTORS; k++)
			sim_require(model_may_read(&q->world->model, q->image,
						   (q->sector / 8 + i) * SIM_BLOCK_SECTORS + k, 0,
						   q->lo),
				    "%s block %u is said to be zeros and is not",
				    world_full_name(q->image), q->sector / 8 + i);
	}
}

static void link_done(struct world_req *q)
{
	for (uint32_t i = 0; i < q->nops; i++)
		if (!q->mapped[i])
			model_op(&q->world->model, q->op + i)->dropped = true;
}

/* The model learns that the operations are done, or that they never will be known to be. */
static void settle_ops(struct world_req *q)
{
	struct model *m = &q->world->model;
	bool refused = q->req.status == VS_E_MISMATCH;

	for (uint32_t i = 0; i < q->nops; i++) {
		struct model_op *op = model_op(m, q->op + i);

		if (q->req.status == 0)
			op->ack = m->now;
		op->dropped |= refused;
		op->durable = q->req.status == 0 && (q->req.flags & BS_FUA);
	}
	if (q->req.status == 0 && (q->req.op == BS_FLUSH || (q->req.flags & BS_FUA)))
		m->durable = VS_MAX(m->durable, q->lo);
}

static void release(struct world_req *q)
{
	free(q->tags);
	free(q->buf);
	free(q->digests);
	free(q->mapped);
	q->tags = NULL;
	q->buf = NULL;
	q->digests = NULL;
	q->mapped = NULL;
	q->busy = false;
	q->world->in_flight--;
}

static void req_done(struct bs_req *req)
{
	struct world_req *q = req->arg;
	struct world *w = q->world;

	model_tick(&w->model);
	w->completions++;
	w->idle_turns = 0;
	sim_trace("%llu: op %d of %llu done: %s", (unsigned long long)w->model.now, (int)req->op,
		  (unsigned long long)q->lo, vs_err_name(req->status));
	sim_require(status_allowed(w, q, req->status), "op %d at sector %u of %s, %u sectors: %s",
		    (int)req->op, q->sector, q->image ? world_full_name(q->image) : "nothing",
		    q->count, vs_err_text(req->status));
	if (req->op == BS_READ && req->status == 0)
		read_done(q);
	else if (req->op == BS_STATUS && req->status == 0)
		status_done(q);
	else if (req->op == BS_LINK && req->status == 0)
		link_done(q);
	else if (req->op == BS_COMPARE_WRITE && req->status == 0)
		compare_matched(q);
	settle_ops(q);
	if (req->op == BS_COPY)
		model_copied(&w->model, q->op);
	if (req->op == BS_COMPARE_WRITE && req->status == VS_E_MISMATCH)
		compare_done(q);
	if (q->status)
		*q->status = req->status;
	release(q);
}

void world_forget(struct world *w, const int *status, unsigned n)
{
	for (unsigned i = 0; i < WORLD_REQS; i++) {
		struct world_req *q = &w->reqs[i];

		if (!q->busy || q->status < status || q->status >= status + n)
			continue;
		q->status = NULL;
		q->out = NULL;
	}
}

void world_drop_requests(struct world *w)
{
	for (unsigned i = 0; i < WORLD_REQS; i++)
		if (w->reqs[i].busy)
			release(&w->reqs[i]);
}

struct world_req *world_req_begin(struct world *w, struct model_image *img, enum bs_op op,
				  uint32_t sector, uint32_t count, unsigned flags)
{
	struct bs_volume *v = img ? world_handle(w, img) : NULL;

	if (img && !v)
		return NULL;
	for (unsigned i = 0; i < WORLD_REQS; i++) {
		struct world_req *q = &w->reqs[i];

		if (q->busy)
			continue;
		memset(q, 0, sizeof(*q));
		q->busy = true;
		q->world = w;
		q->image = img;
		q->thick = img && img->thick;
		q->sector = sector;
		q->count = count;
		q->req = (struct bs_req){.op = op,
					 .flags = flags,
					 .volume = v,
					 .offset = img ? world_bytes(w, sector) : 0,
					 .length = (uint64_t)count * SIM_SECTOR,
					 .done = req_done,
					 .arg = q};
		q->lo = model_tick(&w->model);
		w->in_flight++;
		return q;
	}
	return NULL;
}

int world_await(struct world *w, int *status)
{
	while (*status == 1 && !world_cut(w))
		sim_require(world_turn(w) || world_cut(w), "deadlock: a request waits for nothing");
	return *status;
}
