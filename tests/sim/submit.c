#include "tests/sim/world.h"

#include "common/bytes.h"
#include "dedup/digest.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"

#include <stdlib.h>

#define PIECE_SECTORS 256u /* 128 KiB: what is atomic in a write */

static void *must_alloc(size_t n)
{
	void *p = malloc(n ? n : 1);

	VS_ASSERT(p);
	return p;
}

/* The buffer in up to four pieces, cut anywhere. */
static void give_buffer(struct world_req *q, size_t len)
{
	size_t at = 0;
	int n = 0;

	q->buf = must_alloc(len);
	while (n < 3 && len - at > 1 && sim_one_in(&q->world->rng, 4)) {
		size_t piece = 1 + sim_below(&q->world->rng, (uint32_t)(len - at - 1));

		q->iov[n++] = (struct iovec){q->buf + at, piece};
		at += piece;
	}
	q->iov[n++] = (struct iovec){q->buf + at, len - at};
	q->req.iov = q->iov;
	q->req.iovcnt = n;
}

static struct world_req *go(struct world_req *q)
{
	struct world *w = q->world;

	sim_trace("%llu: op %d %s sector %u count %u flags %u", (unsigned long long)q->lo,
		  (int)q->req.op, q->image ? world_full_name(q->image) : "-", q->sector, q->count,
		  q->req.flags);
	sim_host_submit(w->host, sim_below(&w->rng, w->cfg.ports), &q->req);
	return q;
}

struct world_req *world_read(struct world *w, struct model_image *img, uint32_t sector,
			     uint32_t count)
{
	struct world_req *q = world_req_begin(w, img, BS_READ, sector, count, 0);

	if (!q)
		return NULL;
	give_buffer(q, (size_t)count * SIM_SECTOR);
	memset(q->buf, 0xdb, (size_t)count * SIM_SECTOR);
	return go(q);
}

/*
 * Where a new atomic part of a write begins: at each aligned 128 KiB, and where a block that is
 * written in part meets whole ones; an atomic write has one part. Zeros are atomic block by block
 * only, copies that do not align in pieces of half that size.
 */
static bool part_begins(const struct world_req *q, uint32_t sector, bool zeros)
{
	uint32_t end = q->sector + q->count, piece = PIECE_SECTORS;

	if (q->req.flags & BS_ATOMIC)
		return sector == q->sector;
	if (q->req.op == BS_COPY && (q->req.offset ^ q->req.source_offset) % BS_BLOCK)
		piece /= 2;
	if (sector == q->sector || sector % piece == 0)
		return true;
	if (sector % SIM_BLOCK_SECTORS)
		return false;
	return zeros || (q->sector % SIM_BLOCK_SECTORS && sector - q->sector < SIM_BLOCK_SECTORS) ||
	       end - sector < SIM_BLOCK_SECTORS;
}

static void note_writes(struct world_req *q, const uint64_t *tags)
{
	struct model *m = &q->world->model;

	for (uint32_t i = 0; i < q->count; i++) {
		uint32_t s = q->sector + i;

		if (part_begins(q, s, !tags)) {
			uint32_t op = model_op_new(m);

			if (i == 0)
				q->op = op;
			q->nops++;
		}
		model_write(m, q->image, q->op + q->nops - 1, s, tags ? tags[i] : 0);
	}
}

struct world_req *world_write(struct world *w, struct model_image *img, uint32_t sector,
			      uint32_t count, const uint64_t *tags, unsigned flags)
{
	struct world_req *q = world_req_begin(w, img, BS_WRITE, sector, count, flags);

	if (!q)
		return NULL;
	give_buffer(q, (size_t)count * SIM_SECTOR);
	for (uint32_t i = 0; i < count; i++)
		sim_content_fill(tags[i], q->buf + (size_t)i * SIM_SECTOR);
	note_writes(q, tags);
	return go(q);
}

struct world_req *world_write_block(struct world *w, struct model_image *img, uint32_t block,
				    uint64_t content, unsigned flags)
{
	uint64_t tags[SIM_BLOCK_SECTORS];

	for (uint32_t i = 0; i < SIM_BLOCK_SECTORS; i++)
		tags[i] = sim_tag(content, i);
	return world_write(w, img, block * SIM_BLOCK_SECTORS, SIM_BLOCK_SECTORS, tags, flags);
}

/* A trim erases whole blocks only, each on its own; a zero erases everything. */
static void note_trim(struct world_req *q)
{
	struct model *m = &q->world->model;
	uint32_t first = VS_DIV_UP(q->sector, SIM_BLOCK_SECTORS);
	uint32_t end = (q->sector + q->count) / SIM_BLOCK_SECTORS;

	for (uint32_t b = first; b < end; b++) {
		uint32_t op = model_op_new(m);

		if (q->nops++ == 0)
			q->op = op;
		model_op(m, op)->optional = q->world->trims_may_drop;
		for (uint32_t i = 0; i < SIM_BLOCK_SECTORS; i++)
			model_write(m, q->image, op, b * SIM_BLOCK_SECTORS + i, 0);
	}
}

struct world_req *world_erase(struct world *w, struct model_image *img, enum bs_op op,
			      uint32_t sector, uint32_t count, unsigned flags)
{
	struct world_req *q = world_req_begin(w, img, op, sector, count, flags);

	if (!q)
		return NULL;
	if (op == BS_TRIM)
		note_trim(q);
	else
		note_writes(q, NULL);
	return go(q);
}

struct world_req *world_compare_write(struct world *w, struct model_image *img, uint32_t sector,
				      uint32_t count, const uint64_t *compare, const uint64_t *tags,
				      unsigned flags)
{
	struct world_req *q = world_req_begin(w, img, BS_COMPARE_WRITE, sector, count, flags);
	size_t len = (size_t)count * SIM_SECTOR;
	uint32_t op;

	if (!q)
		return NULL;
	give_buffer(q, 2 * len);
	q->tags = must_alloc(count * sizeof(*q->tags));
	memcpy(q->tags, compare, count * sizeof(*q->tags));
	op = model_op_new(&w->model);
	q->op = op;
	q->nops = 1;
	for (uint32_t i = 0; i < count; i++) {
		sim_content_fill(compare[i], q->buf + (size_t)i * SIM_SECTOR);
		sim_content_fill(tags[i], q->buf + len + (size_t)i * SIM_SECTOR);
		model_write(&w->model, img, op, sector + i, tags[i]);
	}
	return go(q);
}

static void note_copy(struct world_req *q, uint32_t from)
{
	struct model *m = &q->world->model;
	struct model_copy *pieces = must_alloc(q->count * sizeof(*pieces));

	for (uint32_t i = 0; i < q->count; i++) {
		if (!part_begins(q, q->sector + i, false)) {
			pieces[q->nops - 1].count++;
			continue;
		}
		pieces[q->nops] = (struct model_copy){.op = model_op_new(m),
						      .source = q->source,
						      .image = q->image,
						      .from = from + i,
						      .sector = q->sector + i,
						      .count = 1};
		q->op = pieces[0].op;
		pieces[q->nops++].group = q->op;
	}
	model_copy(m, pieces, q->nops);
	free(pieces);
}

struct world_req *world_copy(struct world *w, struct model_image *img, uint32_t sector,
			     struct model_image *source, uint32_t from, uint32_t count,
			     unsigned flags)
{
	struct bs_volume *v = world_handle(w, source);
	struct world_req *q = NULL;

	if (v && model_copyable(&w->model, source, from, count))
		q = world_req_begin(w, img, BS_COPY, sector, count, flags);
	if (!q)
		return NULL;
	q->source = source;
	q->req.source = v;
	q->req.source_offset = world_bytes(w, from);
	note_copy(q, from);
	return go(q);
}

static void digest_of(struct world *w, uint64_t content, struct dd_digest *out)
{
	unsigned char block[BS_BLOCK];

	for (uint32_t i = 0; i < SIM_BLOCK_SECTORS; i++)
		sim_content_fill(sim_tag(content, i), block + (size_t)i * SIM_SECTOR);
	dd_hash(w->hasher, block, sizeof(block), out);
}

struct world_req *world_link(struct world *w, struct model_image *img, uint32_t block,
			     uint32_t count, const uint64_t *contents)
{
	struct world_req *q = world_req_begin(w, img, BS_LINK, block * SIM_BLOCK_SECTORS,
					      count * SIM_BLOCK_SECTORS, 0);

	if (!q)
		return NULL;
	q->digests = must_alloc(count * sizeof(*q->digests));
	q->mapped = calloc(count, 1);
	VS_ASSERT(q->mapped);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t op = model_op_new(&w->model);

		if (i == 0)
			q->op = op;
		q->nops++;
		digest_of(w, contents[i], &q->digests[i]);
		for (uint32_t k = 0; k < SIM_BLOCK_SECTORS; k++)
			model_write(&w->model, img, op, (block + i) * SIM_BLOCK_SECTORS + k,
				    sim_tag(contents[i], k));
	}
	q->req.digests = q->digests;
	q->req.mapped = q->mapped;
	return go(q);
}

struct world_req *world_status(struct world *w, struct model_image *img, uint32_t block,
			       uint32_t count)
{
	struct world_req *q = world_req_begin(w, img, BS_STATUS, block * SIM_BLOCK_SECTORS,
					      count * SIM_BLOCK_SECTORS, 0);

	if (!q)
		return NULL;
	q->count = count;
	q->mapped = calloc(count, 1);
	VS_ASSERT(q->mapped);
	q->req.mapped = q->mapped;
	return go(q);
}

struct world_req *world_flush(struct world *w)
{
	struct world_req *q = world_req_begin(w, NULL, BS_FLUSH, 0, 0, 0);

	return q ? go(q) : NULL;
}
