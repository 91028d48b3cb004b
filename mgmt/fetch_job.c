#include "common/bytes.h"
#include "mgmt/fetch_impl.h"

#include <string.h>

#define PIECE (UINT64_C(1) << 20) /* of a read */
#define GAP 16u			  /* blocks: read with what is wanted on both sides */

static void over(struct mg_fetch_job *j, int status)
{
	j->busy = false;
	mg_fetch_job_over(j, status);
}

static void submit_far(struct mg_fetch_job *j, void *buf, uint64_t offset, uint64_t length,
		       void (*done)(struct mg_source_req *req))
{
	struct mg_source *s = j->fetch->source;

	j->far.offset = offset;
	j->far.length = length;
	j->far.buf = buf;
	j->far.done = done;
	j->far.arg = j;
	s->kind->submit(s, &j->far);
}

/* ---- into the store -------------------------------------------------------------------------- */

static void read_group(struct mg_fetch_job *j);

static void fill(struct mg_fetch_job *j);

static void filled(struct bs_req *req)
{
	struct mg_fetch_job *j = req->arg;

	if (req->status != 0) {
		over(j, req->status);
		return;
	}
	j->fetch->moved = true;
	j->next += j->filling;
	fill(j);
}

static void fill(struct mg_fetch_job *j)
{
	if (atomic_load(&j->fetch->stop)) {
		over(j, VS_E_CANCELED);
		return;
	}
	if (j->next == j->upto) {
		read_group(j);
		return;
	}
	j->filling = VS_MIN(j->upto - j->next, (size_t)BS_FILL_MAX);
	j->iov = (struct iovec){j->buf + (j->next - j->first) * BS_BLOCK, j->filling * BS_BLOCK};
	j->near = (struct bs_req){.op = BS_FILL,
				  .volume = bs_origin_volume(j->fetch->origin),
				  .length = j->filling * BS_BLOCK,
				  .iov = &j->iov,
				  .iovcnt = 1,
				  .wants = j->wants + j->next,
				  .done = filled,
				  .arg = j};
	bs_submit(j->fetch->port, &j->near);
}

/* The buffer has the blocks from `block` on; those of wants[first..upto) move together. */
static void pack(struct mg_fetch_job *j, uint64_t block)
{
	for (size_t i = j->first; i < j->upto; i++)
		memmove(j->buf + (i - j->first) * BS_BLOCK,
			j->buf + (j->wants[i].block - block) * BS_BLOCK, BS_BLOCK);
	fill(j);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void group_read(struct mg_source_req *req)
{
	struct mg_fetch_job *j = req->arg;
	uint64_t block = j->wants[j->first].block;

	if (req->status != 0) {
		over(j, req->status);
		return;
	}
	pack(j, block);
}

/* Those from next on that lie near to each other, in one read. */
static void read_group(struct mg_fetch_job *j)
{
	const struct bs_want *w = j->wants + j->next;
	uint64_t size = j->fetch->source->size, span, offset, length;
	size_t k = 1, left = j->n - j->next;

	if (!left) {
		over(j, 0);
		return;
	}
	while (k < left && w[k].block > w[k - 1].block && w[k].block - w[k - 1].block <= GAP &&
	       w[k].block - w[0].block < j->room)
		k++;
	j->first = j->next;
	j->upto = j->next + k;
	span = (w[k - 1].block - w[0].block + 1) * BS_BLOCK;
	offset = w[0].block * BS_BLOCK;
	if (offset >= size) {
		over(j, VS_E_RANGE);
		return;
	}
	length = VS_MIN(span, size - offset);
	memset(j->buf + length, 0, span - length); /* behind the end of the last block */
	submit_far(j, j->buf, offset, length, group_read);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void look(struct mg_fetch_job *j);

static bool is_zero(const uint8_t *block)
{
	static const uint8_t zeros[BS_BLOCK];

	return memcmp(block, zeros, BS_BLOCK) == 0;
}

static void set_zeros(struct mg_fetch_job *j)
{
	memset(j->zeros, 0, sizeof(j->zeros));
	for (uint64_t b = 0; b < j->blocks; b++)
		if (is_zero(j->buf + b * BS_BLOCK))
			j->zeros[b / 8] |= (uint8_t)(1u << b % 8);
}

/* What is left of the page's blocks and can be taken from the buffer; the rest is found later. */
static void keep_own(struct mg_fetch_job *j)
{
	size_t kept = 0;

	for (size_t i = 0; i < j->n; i++) {
		uint64_t b = j->wants[i].block;

		if (b >= j->block && b - j->block < j->blocks &&
		    (!kept || b > j->wants[kept - 1].block))
			j->wants[kept++] = j->wants[i];
	}
	j->n = kept;
}

static void expand(struct mg_fetch_job *j)
{
	struct vs_error err;
	int rc;

	if (j->what == MG_FETCH_PAGE)
		set_zeros(j);
	rc = bs_origin_expand(j->fetch->origin, j->cid, j->zeros, j->wants, &j->n, &err);
	if (rc != 0) {
		over(j, rc);
		return;
	}
	j->fetch->moved = true;
	if (j->what == MG_FETCH_UPPER)
		j->n = 0;
	keep_own(j);
	j->first = j->next = 0;
	j->upto = j->n;
	pack(j, j->block);
}

/* Of a page above others: what holds data is no zeros, and nobody has to look at the rest of it. */
static void mark(struct mg_fetch_job *j)
{
	uint64_t begin = j->block * BS_BLOCK, each = j->each * BS_BLOCK;

	for (unsigned i = 0; i < j->far.nruns; i++) {
		const struct mg_source_run *r = &j->far.runs[i];
		uint64_t from = (j->at - begin) / each, to = (j->at + r->length - 1 - begin) / each;

		j->at += r->length;
		if (!r->data)
			continue;
		for (uint64_t e = from; e <= to; e++)
			j->zeros[e / 8] &= (uint8_t) ~(1u << e % 8);
		if (i + 1 == j->far.nruns)
			j->at = VS_MAX(j->at, begin + (to + 1) * each);
	}
	look(j);
}

static void walk(struct mg_fetch_job *j);

static void page_read(struct mg_source_req *req)
{
	struct mg_fetch_job *j = req->arg;
	struct mg_source_run *r = &j->far.runs[j->run];

	if (req->status != 0) {
		over(j, req->status);
		return;
	}
	j->at += req->length;
	r->length -= req->length;
	j->run += r->length == 0;
	walk(j);
}

/* Reads what the runs say is data. */
static void walk(struct mg_fetch_job *j)
{
	while (j->run < j->far.nruns && !j->far.runs[j->run].data)
		j->at += j->far.runs[j->run++].length;
	if (j->run == j->far.nruns)
		look(j);
	else
		submit_far(j, j->buf + (j->at - j->block * BS_BLOCK), j->at,
			   VS_MIN(j->far.runs[j->run].length, PIECE), page_read);
}

/* Runs that a source gives beyond what it was asked for are cut; none of them is empty. */
static int check_runs(struct mg_source_req *req)
{
	uint64_t left = req->length;
	unsigned n = 0;

	for (; n < req->nruns && left; n++) {
		if (!req->runs[n].length)
			return VS_E_PROTO;
		req->runs[n].length = VS_MIN(req->runs[n].length, left);
		left -= req->runs[n].length;
	}
	req->nruns = n;
	return n ? 0 : VS_E_PROTO;
}

static void looked(struct mg_source_req *req)
{
	struct mg_fetch_job *j = req->arg;
	int rc = req->status != 0 ? req->status : check_runs(req);

	j->run = 0;
	if (rc != 0)
		over(j, rc);
	else if (j->what == MG_FETCH_UPPER)
		mark(j);
	else
		walk(j);
}

static void look(struct mg_fetch_job *j)
{
	if (j->at >= j->end)
		expand(j);
	else
		submit_far(j, NULL, j->at, j->end - j->at, looked);
}

/* ---- both ------------------------------------------------------------------------------------ */

static void begin_page(struct mg_fetch_job *j, const struct bs_origin_part *part)
{
	j->what = part->each == 1 ? MG_FETCH_PAGE : MG_FETCH_UPPER;
	j->cid = part->cid;
	j->block = part->block;
	j->blocks = part->blocks;
	j->each = part->each;
	j->at = part->block * BS_BLOCK;
	j->end = VS_MIN((part->block + part->blocks) * BS_BLOCK, j->fetch->source->size);
	memset(j->zeros, 0xff, sizeof(j->zeros));
	if (part->each == 1)
		memset(j->buf, 0, part->blocks * BS_BLOCK);
	look(j);
}

static void begin_blocks(struct mg_fetch_job *j, enum mg_fetch_what what)
{
	j->what = what;
	j->first = j->next = j->upto = 0;
	read_group(j);
}

void mg_fetch_job_part(struct mg_fetch_job *j, const struct bs_origin_part *part)
{
	j->busy = true;
	if (part->kind == BS_ORIGIN_PAGE) {
		begin_page(j, part);
		return;
	}
	j->n = part->n;
	memcpy(j->wants, part->wants, part->n * sizeof(part->wants[0]));
	begin_blocks(j, MG_FETCH_BLOCKS);
}

void mg_fetch_job_wants(struct mg_fetch_job *j, const struct bs_want *wants, size_t n)
{
	j->busy = true;
	j->n = n;
	memcpy(j->wants, wants, n * sizeof(wants[0]));
	begin_blocks(j, MG_FETCH_WANTED);
}
