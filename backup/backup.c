#include "backup/job.h"

#include "backup/fetch.h"
#include "backup/lock.h"
#include "backup/sink.h"
#include "backup/tree.h"
#include "blockstore/io.h"
#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIFF_BATCH 1024u
#define SLOTS 8u /* frames read at once */
#define FRAME_BLOCKS_MAX (BK_FRAME_RAW_MAX / BS_BLOCK)
#define PORT_DEPTH 64u
#define FETCH_FRAMES 16u
#define PROGRESS_NS 250000000u

struct job;

/* Blocks that the repository lacks, read together and compressed together. */
struct slot {
	uint8_t *raw;
	uint32_t items[FRAME_BLOCKS_MAX];
	uint64_t block[FRAME_BLOCKS_MAX];
	unsigned n;	  /* blocks */
	unsigned pending; /* requests under way */
	int status;
	uint64_t failed_at;
	struct bs_req req[FRAME_BLOCKS_MAX];
	struct iovec iov[FRAME_BLOCKS_MAX];
};

/* slots[first .. first + busy) are being read, in this order; the next one is being filled. */
struct job {
	struct bs_volume *snap, *parent;
	struct bk_repo *repo;
	const struct bk_watch *watch;
	struct bk_lock *lock;
	struct vs_loop *loop;
	struct bs_port *port;
	struct bk_sink *sink;
	struct bk_fetch *fetch;
	struct bk_tree *tree;
	struct bs_diff_entry *diff;
	struct slot *slots;
	unsigned first, busy, frame_blocks;
	uint64_t blocks, changed, reported_ns;
	bool parent_bad; /* the error came from the parent's pages */
};

static void job_close(struct job *j)
{
	if (j->port)
		bs_port_close(j->port); /* waits for what is being read */
	if (j->loop)
		vs_loop_free(j->loop);
	bk_tree_free(j->tree);
	bk_fetch_free(j->fetch);
	bk_sink_free(j->sink);
	for (unsigned i = 0; j->slots && i < SLOTS; i++)
		free(j->slots[i].raw);
	free(j->slots);
	free(j->diff);
}

static int job_open(struct job *j, struct bs_store *s, const struct bk_backup_info *base,
		    struct vs_error *err)
{
	uint32_t raw = j->repo->config.frame_raw;
	unsigned i;
	int rc;

	j->frame_blocks = raw / BS_BLOCK;
	j->blocks = bs_volume_size(j->snap) / BS_BLOCK;
	j->diff = calloc(DIFF_BATCH, sizeof(*j->diff));
	j->slots = calloc(SLOTS, sizeof(*j->slots));
	if (!j->diff || !j->slots)
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	for (i = 0; i < SLOTS; i++) {
		j->slots[i].raw = aligned_alloc(BS_BLOCK, raw);
		if (!j->slots[i].raw)
			return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	}
	rc = vs_loop_new(&j->loop, err);
	if (rc == 0)
		rc = bs_port_open(s, j->loop, PORT_DEPTH, &j->port, err);
	if (rc == 0)
		rc = bk_sink_new(j->repo, &j->sink, err);
	if (rc == 0)
		rc = bk_fetch_new(j->repo, FETCH_FRAMES, &j->fetch, err);
	if (rc)
		return rc;
	rc = bk_tree_new(j->sink, j->fetch, base ? &base->root : NULL,
			 base ? base->size / BS_BLOCK : 0, j->blocks, raw, &j->tree, err);
	j->parent_bad = base && rc == VS_E_CORRUPT;
	return rc;
}

static void read_done(struct bs_req *req)
{
	struct slot *s = req->arg;

	s->pending--;
	if (req->status && s->status == 0) {
		s->status = req->status;
		s->failed_at = req->offset;
	}
}

/* Starts reading a slot: one request for each run of neighbouring blocks. */
static void slot_submit(struct job *j, struct slot *s)
{
	unsigned at = 0, reqs = 0, n;

	s->status = 0;
	while (at < s->n) {
		for (n = 1; at + n < s->n && s->block[at + n] == s->block[at] + n; n++)
			;
		s->iov[reqs] = (struct iovec){s->raw + (size_t)at * BS_BLOCK, (size_t)n * BS_BLOCK};
		s->req[reqs] = (struct bs_req){.op = BS_READ,
					       .volume = j->snap,
					       .offset = s->block[at] * BS_BLOCK,
					       .length = (uint64_t)n * BS_BLOCK,
					       .iov = &s->iov[reqs],
					       .iovcnt = 1,
					       .done = read_done,
					       .arg = s};
		reqs++;
		at += n;
	}
	s->pending = reqs;
	for (n = 0; n < reqs; n++)
		bs_submit(j->port, &s->req[n]);
}

/* Waits for the slot read first and hands it to the sink. */
static int slot_retire(struct job *j, struct vs_error *err)
{
	struct slot *s = &j->slots[j->first];
	int rc;

	while (s->pending)
		vs_loop_turn(j->loop, -1);
	j->first = (j->first + 1) % SLOTS;
	j->busy--;
	if (s->status) {
		rc = vs_fail(err, s->status, "reading the snapshot at byte %llu: %s",
			     (unsigned long long)s->failed_at, vs_err_text(s->status));
		s->n = 0;
		return rc;
	}
	rc = bk_sink_frame(j->sink, BK_KIND_BLOCK, s->raw, s->items, s->n, err);
	s->n = 0;
	return rc;
}

static struct slot *slot_filling(struct job *j)
{
	return &j->slots[(j->first + j->busy) % SLOTS];
}

static int slot_start(struct job *j, struct vs_error *err)
{
	slot_submit(j, slot_filling(j));
	j->busy++;
	return j->busy == SLOTS ? slot_retire(j, err) : 0;
}

/* Brings everything known so far into the repository. */
static int drain(struct job *j, struct vs_error *err)
{
	int rc = slot_filling(j)->n ? slot_start(j, err) : 0;

	while (rc == 0 && j->busy)
		rc = slot_retire(j, err);
	if (rc == 0)
		rc = bk_tree_flush(j->tree, err);
	return rc ? rc : bk_sink_commit(j->sink, err);
}

static int take_block(struct job *j, uint64_t block, const struct dd_digest *digest,
		      struct vs_error *err)
{
	struct slot *s = slot_filling(j);
	uint32_t item;
	int rc = bk_sink_reserve(j->sink, digest, BK_KIND_BLOCK, &item, err);

	if (rc <= 0)
		return rc;
	s->items[s->n] = item;
	s->block[s->n++] = block;
	return s->n == j->frame_blocks ? slot_start(j, err) : 0;
}

static int take_entry(struct job *j, const struct bs_diff_entry *e, struct vs_error *err)
{
	int rc;

	if (bk_sink_full(j->sink)) {
		rc = drain(j, err);
		if (rc)
			return rc;
	}
	j->changed += e->count;
	if (e->kind == BS_DIFF_ZERO)
		rc = bk_tree_zero(j->tree, e->block, e->count, err);
	else
		rc = bk_tree_set(j->tree, e->block, &e->digest, err);
	if (rc) {
		j->parent_bad = j->parent && rc == VS_E_CORRUPT;
		return rc;
	}
	return e->kind == BS_DIFF_DATA ? take_block(j, e->block, &e->digest, err) : 0;
}

static void report(struct job *j, uint64_t done)
{
	uint64_t now = vs_now_ns();

	if (!j->watch->progress || (done < j->blocks && now - j->reported_ns < PROGRESS_NS))
		return;
	j->reported_ns = now;
	j->watch->progress(j->watch->arg, VS_MIN(done, j->blocks), j->blocks);
}

static int walk_diff(struct job *j, struct dd_digest *root, struct vs_error *err)
{
	uint64_t cursor = 0;
	size_t n = 0, i;
	int rc = 0;

	while (cursor != UINT64_MAX) {
		if (bk_watch_canceled(j->watch))
			return vs_fail(err, VS_E_CANCELED, "the backup was canceled");
		rc = bk_lock_refresh(j->lock, err);
		if (rc)
			return rc;
		rc = bs_volume_diff(j->parent, j->snap, &cursor, j->diff, DIFF_BATCH, &n, err);
		for (i = 0; rc == 0 && i < n; i++)
			rc = take_entry(j, &j->diff[i], err);
		if (rc)
			return rc;
		report(j, VS_MIN(cursor, j->blocks));
	}
	rc = bk_tree_finish(j->tree, root, err);
	if (rc) {
		j->parent_bad = j->parent && rc == VS_E_CORRUPT;
		return rc;
	}
	return drain(j, err);
}

static int put_descriptor(struct bk_repo *r, struct bk_backup_info *b, struct vs_error *err)
{
	uint8_t obj[BK_BACKUP_SIZE];
	char name[BK_NAME_MAX];
	int rc, tries = 8;

	do {
		rc = bk_repo_new_id(b->created_ns, b->id, err);
		if (rc == 0)
			rc = bk_repo_backup_name(b->id, name, err);
		if (rc)
			return rc;
		bk_backup_encode(b, obj);
		rc = bk_remote_put(r->remote, name, obj, sizeof(obj), BK_PUT_EXCLUSIVE, err);
	} while (rc == VS_E_EXIST && --tries);
	return rc;
}

/* Fills what the store knows of the snapshot. */
static int describe(struct bs_store *s, struct bs_volume *snap, const char *tag,
		    struct bk_backup_info *b, struct vs_error *err)
{
	struct bs_volume_info vi;
	size_t i;
	int rc = bs_volume_find_uuid(s, bs_volume_uuid(snap), &vi, err);

	if (rc)
		return rc;
	if (!vi.snapshot)
		return vs_fail(err, VS_E_INVAL, "%s is not a snapshot: take one and back that up",
			       vi.name);
	memset(b, 0, sizeof(*b));
	snprintf(b->volume, sizeof(b->volume), "%s", vi.name);
	snprintf(b->snapshot, sizeof(b->snapshot), "%s", vi.snap);
	b->volume_uuid = vi.origin;
	b->snapshot_uuid = vi.uuid;
	b->snapshot_ns = vi.created_ns;
	b->size = vi.size;
	b->sector = vi.sector;
	b->blocks_total = vi.size / BS_BLOCK;
	b->created_ns = vs_unix_ns();
	if (!tag)
		return 0;
	for (i = 0; tag[i]; i++)
		if ((unsigned char)tag[i] < 0x20 || tag[i] == 0x7f)
			return vs_fail(err, VS_E_INVAL, "the tag holds control characters");
	if (i >= BK_TAG_MAX)
		return vs_fail(err, VS_E_INVAL, "the tag is longer than %d bytes", BK_TAG_MAX - 1);
	memcpy(b->tag, tag, i + 1);
	return 0;
}

/* Whether the parent backup is there and was made of the parent snapshot. */
static bool find_base(struct bk_repo *r, const struct bk_backup_options *o,
		      struct bk_backup_info *base)
{
	return o->parent && o->parent_id && bk_repo_show(r, o->parent_id, base, NULL) == 0 &&
	       vs_uuid_equal(&base->snapshot_uuid, bs_volume_uuid(o->parent));
}

/* One attempt: objects, then the descriptor. */
static int attempt(struct bs_store *s, struct job *j, const struct bk_backup_info *base,
		   uint64_t start_ns, struct bk_backup_info *b, struct vs_error *err)
{
	struct bk_sink_stats stats;
	int rc = job_open(j, s, base, err);

	if (rc == 0)
		rc = walk_diff(j, &b->root, err);
	if (rc)
		return rc;
	bk_sink_stats(j->sink, &stats);
	b->blocks_changed = j->changed;
	b->blocks_sent = stats.blocks;
	b->bytes_sent = stats.bytes + BK_BACKUP_SIZE;
	b->duration_ns = vs_now_ns() - start_ns;
	snprintf(b->parent, sizeof(b->parent), "%s", base ? base->id : "");
	rc = bk_lock_refresh(j->lock, err);
	return rc ? rc : put_descriptor(j->repo, b, err);
}

/* Against the base if there is one, otherwise or if its pages are damaged from the beginning. */
static int run_locked(struct bs_store *s, struct bs_volume *snap, struct bk_repo *r,
		      const struct bk_backup_options *o, struct bk_lock *lock, uint64_t start,
		      struct bk_backup_info *b, bool *incremental, struct vs_error *err)
{
	struct bk_backup_info base;
	bool again;
	int rc = bk_index_refresh(r->index, NULL, NULL, err);

	if (rc)
		return rc;
	*incremental = find_base(r, o, &base);
	do {
		struct job j = {.snap = snap,
				.parent = *incremental ? o->parent : NULL,
				.repo = r,
				.watch = &o->watch,
				.lock = lock};

		rc = attempt(s, &j, *incremental ? &base : NULL, start, b, err);
		again = rc == VS_E_CORRUPT && *incremental && j.parent_bad;
		job_close(&j);
		*incremental = *incremental && !again;
	} while (again);
	return rc;
}

int bk_backup_run(struct bs_store *s, struct bs_volume *snap, struct bk_repo *r,
		  const struct bk_backup_options *opts, struct bk_backup_result *out,
		  struct vs_error *err)
{
	static const struct bk_backup_options none;
	const struct bk_backup_options *o = opts ? opts : &none;
	uint64_t start = vs_now_ns();
	struct bk_backup_info b;
	struct bk_lock *lock;
	int rc;

	memset(out, 0, sizeof(*out));
	if (r->read_only)
		return vs_fail(err, VS_E_ROFS,
			       "%s uses features of a later vstore: it can only be read",
			       r->remote->url);
	rc = describe(s, snap, o->tag, &b, err);
	if (rc == 0)
		rc = bk_lock_take(r->remote, false, &lock, err);
	if (rc)
		return rc;
	rc = run_locked(s, snap, r, o, lock, start, &b, &out->incremental, err);
	bk_lock_release(lock);
	if (rc)
		return rc;
	memcpy(out->id, b.id, sizeof(out->id));
	out->blocks_total = b.blocks_total;
	out->blocks_changed = b.blocks_changed;
	out->blocks_sent = b.blocks_sent;
	out->bytes_sent = b.bytes_sent;
	out->seconds = (double)(vs_now_ns() - start) / 1e9;
	return 0;
}
