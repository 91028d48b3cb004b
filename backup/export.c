#include "backup/job.h"

#include "backup/batch.h"
#include "backup/tree.h"
#include "blockstore/store.h"
#include "common/bytes.h"
#include "common/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FETCH_FRAMES_FILE 16u
#define FETCH_FRAMES_PIPE BK_FETCH_FRAMES_MAX /* in volume order frames come back */
#define ZEROS (64u << 10)
#define PROGRESS_NS 250000000u

static const uint8_t zeros[ZEROS];

struct job {
	struct bk_repo *repo;
	int fd;
	bool seekable,
	    holes; /* holes: a regular file that reads as zeros where nothing is written */
	struct bk_fetch *fetch;
	struct bk_batch *batch; /* seekable */
	struct bk_walk *walk;
	uint64_t reported_ns, fetched;
};

static int write_at(struct job *j, uint64_t at, const uint8_t *p, size_t len, struct vs_error *err)
{
	while (len > 0) {
		ssize_t n = j->seekable ? pwrite(j->fd, p, len, (off_t)at) : write(j->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vs_fail_errno(err, "writing the restored image");
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int take_block(void *arg, uint64_t block, const uint8_t *data, struct vs_error *err)
{
	return write_at(arg, block * BS_BLOCK, data, BS_BLOCK, err);
}

static int write_zeros(struct job *j, uint64_t first, uint64_t count, const struct bk_watch *w,
		       struct vs_error *err)
{
	uint64_t at = first * BS_BLOCK, end = at + count * BS_BLOCK;
	int rc = 0;

	while (rc == 0 && !j->holes && at < end) {
		size_t n = VS_MIN(end - at, (uint64_t)ZEROS);

		if (bk_watch_canceled(w))
			return vs_fail(err, VS_E_CANCELED, "the restore was canceled");
		rc = write_at(j, at, zeros, n, err);
		at += n;
	}
	return rc;
}

static int page_out(struct job *j, uint64_t first, uint64_t count, const struct dd_digest *d,
		    const struct bk_watch *w, struct vs_error *err)
{
	const uint8_t *data;
	uint64_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++) {
		if (bk_digest_null(&d[i])) {
			rc = write_zeros(j, first + i, 1, w, err);
		} else if (j->seekable) {
			rc = bk_batch_add(j->batch, first + i, &d[i], err);
		} else {
			rc = bk_fetch_item(j->fetch, &d[i], BK_KIND_BLOCK, &data, err);
			if (rc == 0)
				rc = take_block(j, first + i, data, err);
			j->fetched += rc == 0;
		}
	}
	return rc;
}

static int job_open(struct job *j, uint64_t size, const struct bk_watch *w, struct vs_error *err)
{
	const struct bk_batch_ops ops = {.block = take_block, .arg = j, .watch = w};
	struct stat st;
	int rc;

	if (fstat(j->fd, &st) != 0)
		return vs_fail_errno(err, "looking at the output");
	j->holes = S_ISREG(st.st_mode);
	j->seekable = j->holes || S_ISBLK(st.st_mode);
	if (j->holes && (ftruncate(j->fd, 0) != 0 || ftruncate(j->fd, (off_t)size) != 0))
		return vs_fail_errno(err, "setting the output's size");
	if (S_ISBLK(st.st_mode) && lseek(j->fd, 0, SEEK_END) < (off_t)size)
		return vs_fail(err, VS_E_NOSPC,
			       "the device is smaller than the backup's %llu bytes",
			       (unsigned long long)size);
	j->walk = calloc(1, sizeof(*j->walk));
	if (!j->walk)
		return vs_fail(err, VS_E_NOMEM, "no memory for a restore");
	rc = bk_fetch_new(j->repo, j->seekable ? FETCH_FRAMES_FILE : FETCH_FRAMES_PIPE, &j->fetch,
			  err);
	if (rc == 0 && j->seekable)
		rc = bk_batch_new(j->repo, j->fetch, &ops, &j->batch, err);
	return rc;
}

static void report(struct job *j, const struct bk_watch *w, uint64_t done, uint64_t total)
{
	uint64_t now = vs_now_ns();

	if (!w || !w->progress || (done < total && now - j->reported_ns < PROGRESS_NS))
		return;
	j->reported_ns = now;
	w->progress(w->arg, done, total);
}

static int write_out(struct job *j, const struct bk_backup_info *b, const struct bk_watch *w,
		     struct vs_error *err)
{
	const struct dd_digest *d;
	uint64_t first, count;
	int rc;

	bk_walk_begin(j->walk, j->fetch, &b->root, b->blocks_total);
	for (;;) {
		if (bk_watch_canceled(w))
			return vs_fail(err, VS_E_CANCELED, "the restore was canceled");
		rc = bk_walk_next(j->walk, &first, &count, &d, err);
		if (rc || count == 0)
			break;
		rc =
		    d ? page_out(j, first, count, d, w, err) : write_zeros(j, first, count, w, err);
		if (rc)
			break;
		report(j, w, first + count, b->blocks_total);
	}
	if (rc == 0 && j->seekable)
		rc = bk_batch_run(j->batch, err);
	if (rc == 0 && j->seekable && fsync(j->fd) != 0)
		rc = vs_fail_errno(err, "syncing the restored image");
	return rc;
}

int bk_restore_to_file(struct bk_repo *r, const char *id, int fd, const struct bk_watch *watch,
		       struct bk_restore_result *out, struct vs_error *err)
{
	struct job j = {.repo = r, .fd = fd};
	uint64_t start = vs_now_ns();
	struct bk_backup_info b;
	int rc = bk_repo_show(r, id, &b, err);

	memset(out, 0, sizeof(*out));
	if (rc == 0)
		rc = bk_index_refresh(r->index, NULL, NULL, err);
	if (rc)
		return rc;
	rc = job_open(&j, b.size, watch, err);
	if (rc == 0)
		rc = write_out(&j, &b, watch, err);
	out->blocks_total = b.blocks_total;
	out->blocks_fetched = j.batch ? bk_batch_unique(j.batch) : j.fetched;
	out->bytes_fetched = j.fetch ? bk_fetch_bytes(j.fetch) : 0;
	out->seconds = (double)(vs_now_ns() - start) / 1e9;
	bk_batch_free(j.batch);
	bk_fetch_free(j.fetch);
	free(j.walk);
	return rc;
}
