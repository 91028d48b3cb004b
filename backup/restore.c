#include "backup/job.h"

#include "backup/batch.h"
#include "backup/tree.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

#define DIFF_BATCH 1024u
#define LINKS (BK_PAGE_ENTRIES / BS_LINK_MAX * 2)
#define SLOTS 8u
#define SLOT_BLOCKS 32u
#define PORT_DEPTH 64u
#define FETCH_FRAMES 32u
#define PROGRESS_NS 250000000u

struct job;

/* Neighbouring blocks on their way into the target. */
struct slot {
	struct job *j;
	uint8_t *raw;
	uint64_t block;
	unsigned n;
	bool pending;
	struct iovec iov;
	struct bs_req req;
};

/* Neighbouring blocks that the store may hold already. */
struct link {
	struct job *j;
	struct bs_req req;
	uint8_t mapped[BS_LINK_MAX];
};

/* slots[slot] is being filled, all others are pending or free. */
struct job {
	struct bk_repo *repo;
	struct bs_volume *target;
	bool overwrite;
	const struct bk_watch *watch;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bk_fetch *fetch;
	struct bk_batch *batch;
	struct bk_walk *walk;
	struct bs_diff_entry *diff; /* what the target holds, read ahead */
	size_t diff_at, diff_n;
	uint64_t cursor;
	struct dd_digest have[BK_PAGE_ENTRIES]; /* the target's, of the page looked at */
	struct slot slots[SLOTS];
	unsigned slot;
	struct link *links;
	unsigned nlinks, outstanding;
	int status; /* of the first request that failed */
	uint64_t failed_at, local, reported_ns;
};

static void job_close(struct job *j)
{
	if (j->port)
		bs_port_close(j->port); /* waits for what is under way */
	if (j->loop)
		vs_loop_free(j->loop);
	bk_batch_free(j->batch);
	bk_fetch_free(j->fetch);
	for (unsigned i = 0; i < SLOTS; i++)
		free(j->slots[i].raw);
	free(j->walk);
	free(j->diff);
	free(j->links);
	free(j);
}

static int take_fetched(void *arg, uint64_t block, const uint8_t *data, struct vs_error *err);

static int job_open(struct job *j, struct bs_store *s, struct vs_error *err)
{
	const struct bk_batch_ops ops = {.block = take_fetched, .arg = j, .watch = j->watch};
	unsigned i;
	int rc;

	j->diff = calloc(DIFF_BATCH, sizeof(*j->diff));
	j->links = calloc(LINKS, sizeof(*j->links));
	j->walk = calloc(1, sizeof(*j->walk));
	if (!j->diff || !j->links || !j->walk)
		return vs_fail(err, VS_E_NOMEM, "no memory for a restore");
	for (i = 0; i < SLOTS; i++) {
		j->slots[i].raw = aligned_alloc(BS_BLOCK, SLOT_BLOCKS * BS_BLOCK);
		j->slots[i].j = j;
		if (!j->slots[i].raw)
			return vs_fail(err, VS_E_NOMEM, "no memory for a restore");
	}
	rc = vs_loop_new(&j->loop, err);
	if (rc == 0)
		rc = bs_port_open(s, j->loop, PORT_DEPTH, &j->port, err);
	if (rc == 0)
		rc = bk_fetch_new(j->repo, FETCH_FRAMES, &j->fetch, err);
	return rc ? rc : bk_batch_new(j->repo, j->fetch, &ops, &j->batch, err);
}

static void note(struct job *j, const struct bs_req *req)
{
	j->outstanding--;
	if (req->status && j->status == 0) {
		j->status = req->status;
		j->failed_at = req->offset;
	}
}

static int failed(struct job *j, struct vs_error *err)
{
	if (j->status == 0)
		return 0;
	return vs_fail(err, j->status, "writing the volume at byte %llu: %s",
		       (unsigned long long)j->failed_at, vs_err_text(j->status));
}

static int settle(struct job *j, struct vs_error *err)
{
	while (j->outstanding)
		vs_loop_turn(j->loop, -1);
	return failed(j, err);
}

static void write_done(struct bs_req *req)
{
	struct slot *s = req->arg;

	s->pending = false;
	s->n = 0;
	note(s->j, req);
}

static void slot_submit(struct job *j)
{
	struct slot *s = &j->slots[j->slot];

	if (s->n == 0)
		return;
	s->iov = (struct iovec){s->raw, (size_t)s->n * BS_BLOCK};
	s->req = (struct bs_req){.op = BS_WRITE,
				 .volume = j->target,
				 .offset = s->block * BS_BLOCK,
				 .length = (uint64_t)s->n * BS_BLOCK,
				 .iov = &s->iov,
				 .iovcnt = 1,
				 .done = write_done,
				 .arg = s};
	s->pending = true;
	j->outstanding++;
	j->slot = (j->slot + 1) % SLOTS;
	bs_submit(j->port, &s->req);
}

/* A block from the repository: gathered with its neighbours and written. */
static int take_fetched(void *arg, uint64_t block, const uint8_t *data, struct vs_error *err)
{
	struct job *j = arg;
	struct slot *s = &j->slots[j->slot];

	if (!s->pending && s->n > 0 && (s->n == SLOT_BLOCKS || block != s->block + s->n)) {
		slot_submit(j);
		s = &j->slots[j->slot];
	}
	while (s->pending)
		vs_loop_turn(j->loop, -1);
	if (s->n == 0)
		s->block = block;
	memcpy(s->raw + (size_t)s->n * BS_BLOCK, data, BS_BLOCK);
	s->n++;
	return failed(j, err);
}

static int zero(struct job *j, uint64_t block, uint64_t count, struct vs_error *err)
{
	struct bs_req req = {.op = BS_ZERO,
			     .volume = j->target,
			     .offset = block * BS_BLOCK,
			     .length = count * BS_BLOCK};
	int rc = bs_io_wait(j->port, &req);

	if (rc)
		return vs_fail(err, rc, "zeroing the volume at byte %llu: %s",
			       (unsigned long long)req.offset, vs_err_text(rc));
	return 0;
}

/* The target's next mapped block; NULL at the end. */
static int have_peek(struct job *j, const struct bs_diff_entry **e, struct vs_error *err)
{
	int rc = 0;

	*e = NULL;
	while (rc == 0 && j->diff_at == j->diff_n && j->cursor != UINT64_MAX) {
		j->diff_at = j->diff_n = 0;
		rc = bs_volume_diff(NULL, j->target, &j->cursor, j->diff, DIFF_BATCH, &j->diff_n,
				    err);
	}
	if (rc == 0 && j->diff_at < j->diff_n) {
		if (!j->overwrite)
			return vs_fail(err, VS_E_EXIST,
				       "the volume holds data: restore to a new one or overwrite "
				       "it");
		*e = &j->diff[j->diff_at];
	}
	return rc;
}

/* A run that is zeros in the backup: zeroes what the target has mapped there. */
static int restore_zeros(struct job *j, uint64_t first, uint64_t count, struct vs_error *err)
{
	uint64_t from = 0, n = 0;
	const struct bs_diff_entry *e;
	int rc;

	while ((rc = have_peek(j, &e, err)) == 0 && e && e->block < first + count) {
		j->diff_at++;
		if (n && e->block == from + n) {
			n++;
			continue;
		}
		rc = n ? zero(j, from, n, err) : 0;
		if (rc)
			return rc;
		from = e->block;
		n = 1;
	}
	return rc == 0 && n ? zero(j, from, n, err) : rc;
}

static void link_done(struct bs_req *req)
{
	struct link *l = req->arg;

	note(l->j, req);
}

static void link_add(struct job *j, uint64_t block, const struct dd_digest *d, unsigned n)
{
	struct link *l = &j->links[j->nlinks++];

	memset(l->mapped, 0, sizeof(l->mapped));
	l->j = j;
	l->req = (struct bs_req){.op = BS_LINK,
				 .volume = j->target,
				 .offset = block * BS_BLOCK,
				 .length = (uint64_t)n * BS_BLOCK,
				 .digests = d,
				 .mapped = l->mapped,
				 .done = link_done,
				 .arg = l};
	j->outstanding++;
	bs_submit(j->port, &l->req);
}

/* Waits for the links; what the store lacks goes to the batch. */
static int links_settle(struct job *j, struct vs_error *err)
{
	unsigned i, k;
	int rc = settle(j, err);

	for (i = 0; rc == 0 && i < j->nlinks; i++) {
		const struct bs_req *req = &j->links[i].req;

		for (k = 0; rc == 0 && k < req->length / BS_BLOCK; k++) {
			if (j->links[i].mapped[k])
				j->local++;
			else
				rc = bk_batch_add(j->batch, req->offset / BS_BLOCK + k,
						  &req->digests[k], err);
		}
	}
	j->nlinks = 0;
	return rc;
}

/* One page's blocks: zeroes, links, and puts on the list what has to be fetched. */
static int restore_page(struct job *j, uint64_t first, uint64_t count, const struct dd_digest *want,
			struct vs_error *err)
{
	const struct bs_diff_entry *e;
	uint64_t i, n;
	int rc;

	memset(j->have, 0, sizeof(j->have));
	while ((rc = have_peek(j, &e, err)) == 0 && e && e->block < first + count) {
		j->have[e->block - first] = e->digest;
		j->diff_at++;
	}
	for (i = 0; rc == 0 && i < count; i += n) {
		n = 1;
		if (dd_digest_equal(&want[i], &j->have[i])) {
			j->local += !bk_digest_null(&want[i]);
			continue;
		}
		if (bk_digest_null(&want[i])) {
			rc = zero(j, first + i, 1, err);
			continue;
		}
		while (i + n < count && n < BS_LINK_MAX && !bk_digest_null(&want[i + n]) &&
		       !dd_digest_equal(&want[i + n], &j->have[i + n]))
			n++;
		link_add(j, first + i, &want[i], (unsigned)n);
		if (j->nlinks == LINKS)
			rc = links_settle(j, err);
	}
	return rc ? rc : links_settle(j, err);
}

static void report(struct job *j, uint64_t done, uint64_t total)
{
	uint64_t now = vs_now_ns();

	if (!j->watch->progress || (done < total && now - j->reported_ns < PROGRESS_NS))
		return;
	j->reported_ns = now;
	j->watch->progress(j->watch->arg, done, total);
}

static int restore_all(struct job *j, const struct bk_backup_info *b, struct vs_error *err)
{
	const struct dd_digest *d;
	uint64_t first, count;
	int rc;

	bk_walk_begin(j->walk, j->fetch, &b->root, b->blocks_total);
	for (;;) {
		if (bk_watch_canceled(j->watch))
			return vs_fail(err, VS_E_CANCELED, "the restore was canceled");
		rc = bk_walk_next(j->walk, &first, &count, &d, err);
		if (rc || count == 0)
			break;
		rc =
		    d ? restore_page(j, first, count, d, err) : restore_zeros(j, first, count, err);
		if (rc)
			break;
		report(j, first + count, b->blocks_total);
	}
	if (rc == 0)
		rc = bk_batch_run(j->batch, err);
	if (rc == 0) {
		slot_submit(j);
		rc = settle(j, err);
	}
	if (rc)
		return rc;
	rc = bs_io_flush(j->port);
	return rc ? vs_fail(err, rc, "flushing the volume: %s", vs_err_text(rc)) : 0;
}

int bk_restore_run(struct bs_store *s, struct bk_repo *r, const char *id, struct bs_volume *target,
		   const struct bk_restore_options *opts, struct bk_restore_result *out,
		   struct vs_error *err)
{
	static const struct bk_restore_options none;
	const struct bk_restore_options *o = opts ? opts : &none;
	uint64_t start = vs_now_ns();
	struct bk_backup_info b;
	struct job *j;
	int rc = bk_repo_show(r, id, &b, err);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	if (bs_volume_size(target) != b.size)
		return vs_fail(err, VS_E_INVAL,
			       "backup %s has %llu bytes and the volume %llu: resize it first", id,
			       (unsigned long long)b.size,
			       (unsigned long long)bs_volume_size(target));
	rc = bk_index_refresh(r->index, NULL, NULL, err);
	if (rc)
		return rc;
	j = calloc(1, sizeof(*j));
	if (!j)
		return vs_fail(err, VS_E_NOMEM, "no memory for a restore");
	j->repo = r;
	j->target = target;
	j->overwrite = o->overwrite;
	j->watch = &o->watch;
	rc = job_open(j, s, err);
	if (rc == 0)
		rc = restore_all(j, &b, err);
	out->blocks_total = b.blocks_total;
	out->blocks_local = j->local;
	out->blocks_fetched = j->batch ? bk_batch_unique(j->batch) : 0;
	out->bytes_fetched = j->fetch ? bk_fetch_bytes(j->fetch) : 0;
	out->seconds = (double)(vs_now_ns() - start) / 1e9;
	job_close(j);
	return rc;
}
