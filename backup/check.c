#include "backup/repo_impl.h"

#include "backup/batch.h"
#include "backup/fetch.h"
#include "backup/tree.h"
#include "common/bytes.h"
#include "common/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define FETCH_FRAMES 16u
#define PROGRESS_NS 250000000u
#define LINES_MAX 1000u

struct check {
	struct bk_repo *r;
	bool read_data;
	void (*line)(void *arg, const char *line);
	void *line_arg;
	const struct bk_watch *watch;
	struct bk_check_result *out;
	struct bk_fetch *fetch;
	struct bk_batch *batch;
	struct bk_walk *walk;
	struct dd_hasher *h;
	ZSTD_DCtx *zstd;
	uint8_t *raw;
	const char *backup;		    /* the one being looked at */
	char last[VS_ERROR_TEXT_MAX + 128]; /* a line is not said twice in a row */
	unsigned lines;
	uint64_t done, total, reported_ns;
	struct vs_error *err;
};

static void problem(struct check *c, const char *text)
{
	char line[VS_ERROR_TEXT_MAX + 128];

	c->out->problems++;
	if (c->backup)
		snprintf(line, sizeof(line), "backup %s: %s", c->backup, text);
	else
		snprintf(line, sizeof(line), "%s", text);
	if (strcmp(line, c->last) == 0)
		return;
	memcpy(c->last, line, sizeof(line));
	c->lines++;
	if (c->line && c->lines < LINES_MAX)
		c->line(c->line_arg, line);
	else if (c->line && c->lines == LINES_MAX)
		c->line(c->line_arg, "there is more, which is only counted");
}

static void bad_index(void *arg, const struct vs_error *e)
{
	problem(arg, e->text);
}

static void report(struct check *c, uint64_t done)
{
	uint64_t now = vs_now_ns();

	c->done = done;
	if (!c->watch || !c->watch->progress ||
	    (done < c->total && now - c->reported_ns < PROGRESS_NS))
		return;
	c->reported_ns = now;
	c->watch->progress(c->watch->arg, done, c->total);
}

static int see_block(void *arg, uint64_t block, const uint8_t *data, struct vs_error *err)
{
	(void)arg;
	(void)block;
	(void)data;
	(void)err;
	return 0;
}

static int see_lost(void *arg, uint64_t block, const struct vs_error *e)
{
	(void)block;
	problem(arg, e->text);
	return 0;
}

static void check_close(struct check *c)
{
	bk_batch_free(c->batch);
	bk_fetch_free(c->fetch);
	dd_hasher_free(c->h);
	ZSTD_freeDCtx(c->zstd);
	free(c->walk);
	free(c->raw);
}

static int check_open(struct check *c, struct vs_error *err)
{
	const struct bk_batch_ops ops = {
	    .block = see_block, .lost = see_lost, .arg = c, .watch = c->watch};
	int rc;

	memset(c->out, 0, sizeof(*c->out));
	c->walk = calloc(1, sizeof(*c->walk));
	c->raw = malloc(BK_FRAME_RAW_MAX);
	c->zstd = ZSTD_createDCtx();
	if (!c->walk || !c->raw || !c->zstd)
		return vs_fail(err, VS_E_NOMEM, "no memory for a check");
	rc = dd_hasher_new(&c->h, err);
	if (rc == 0)
		rc = bk_fetch_new(c->r, FETCH_FRAMES, &c->fetch, err);
	if (rc == 0)
		rc = bk_batch_new(c->r, c->fetch, &ops, &c->batch, err);
	return rc ? rc : bk_index_refresh(c->r->index, bad_index, c, err);
}

static int check_place(struct check *c, const struct dd_digest *d, struct vs_error *err)
{
	struct bk_place place;
	struct vs_error one = {0};
	int rc = bk_index_find(c->r->index, d, BK_KIND_BLOCK, &place, &one);

	c->out->blocks++;
	if (rc == VS_E_NOENT) {
		problem(c, "no pack holds some of its blocks: an object was lost");
		return 0;
	}
	return rc ? vs_fail(err, rc, "%s", one.text) : 0;
}

/* A backup's pages, and its blocks' places or bytes (each_block). */
static int check_backup(struct check *c, const struct bk_backup_info *b, bool bytes, bool progress,
			struct vs_error *err)
{
	const struct dd_digest *d;
	struct vs_error one = {0};
	uint64_t first, count, i;
	int rc = 0;

	c->backup = b->id;
	c->out->backups++;
	bk_walk_begin(c->walk, c->fetch, &b->root, b->blocks_total);
	for (;;) {
		if (bk_watch_canceled(c->watch))
			return vs_fail(err, VS_E_CANCELED, "the check was canceled");
		rc = bk_walk_next(c->walk, &first, &count, &d, &one);
		if (rc == VS_E_CORRUPT)
			problem(c, one.text);
		else if (rc)
			return vs_fail(err, rc, "%s", one.text);
		if (count == 0)
			break;
		for (i = 0, rc = 0; d && rc == 0 && i < count; i++) {
			if (bk_digest_null(&d[i]))
				continue;
			if (!bytes) {
				rc = check_place(c, &d[i], err);
				continue;
			}
			c->out->blocks++;
			rc = bk_batch_add(c->batch, first + i, &d[i], err);
		}
		if (rc)
			return rc;
		if (progress)
			report(c, first + count);
	}
	c->out->pages += c->walk->pages;
	rc = bytes ? bk_batch_run(c->batch, err) : 0;
	c->backup = NULL;
	return rc;
}

int bk_backup_verify(struct bk_repo *r, const char *id, bool read_data,
		     void (*line)(void *arg, const char *line), void *line_arg,
		     const struct bk_watch *watch, struct bk_check_result *out,
		     struct vs_error *err)
{
	struct check c = {.r = r, .line = line, .line_arg = line_arg, .watch = watch, .out = out};
	struct bk_backup_info b;
	int rc = check_open(&c, err);

	if (rc == 0)
		rc = bk_repo_show(r, id, &b, err);
	if (rc == 0) {
		c.total = b.blocks_total;
		rc = check_backup(&c, &b, read_data, true, err);
		out->bytes_read = bk_fetch_bytes(c.fetch);
	}
	check_close(&c);
	return rc;
}

static int check_listed(void *arg, const char *index_name, const struct bk_index_pack *p,
			bool found)
{
	struct check *c = arg;
	char name[BK_NAME_MAX], text[3 * BK_NAME_MAX];

	if (found)
		return 0;
	bk_pack_name(&p->name, name);
	snprintf(text, sizeof(text),
		 "%s: is missing or has the wrong length (%s expects %llu bytes)", name, index_name,
		 (unsigned long long)p->size);
	problem(c, text);
	return 0;
}

/* Hashes every item of a frame against the pack's list of digests. */
static int check_frame(struct check *c, const struct bk_pack *p, const uint8_t *obj, uint32_t i,
		       uint32_t *item, const char *what, struct vs_error *err)
{
	uint32_t bytes = bk_kind_bytes(p->kind), k;
	struct dd_digest is;
	struct bk_frame f;
	int rc;

	bk_pack_frame(p, i, &f);
	rc = bk_frame_decode(c->zstd, &f, obj + f.offset, c->raw, what, err);
	for (k = 0; rc == 0 && k < f.raw / bytes; k++) {
		dd_hash(c->h, c->raw + (size_t)k * bytes, bytes, &is);
		if (memcmp(is.b, p->digests + (size_t)(*item + k) * sizeof(is), sizeof(is)) != 0)
			rc = vs_fail(err, VS_E_CORRUPT,
				     "%s: item %u of the frame at byte %u does not match its "
				     "digest",
				     what, k, f.offset);
		c->out->blocks += p->kind == BK_KIND_BLOCK;
		c->out->pages += p->kind == BK_KIND_PAGE;
	}
	*item += f.raw / bytes;
	return rc;
}

/* Reads one pack: its name, its table, every item. VS_E_CORRUPT is a finding. */
static int read_pack(struct check *c, const char *name, struct vs_error *err)
{
	struct dd_digest expect, is;
	char what[BK_NAME_MAX + 512];
	uint32_t i, item = 0;
	struct bk_pack p;
	uint64_t size;
	uint8_t *obj;
	int rc = bk_pack_name_parse(name, &expect);

	snprintf(what, sizeof(what), "%s/%s", c->r->remote->url, name);
	if (rc)
		return vs_fail(err, VS_E_CORRUPT, "%s: is not a pack's name", what);
	rc = bk_remote_load(c->r->remote, name, BK_PACK_BYTES_MAX, &obj, &size, err);
	if (rc)
		return rc;
	c->out->packs++;
	c->out->bytes_read += size;
	dd_hash(c->h, obj, size, &is);
	rc = bk_pack_decode(obj, size, &p, what, err);
	for (i = 0; rc == 0 && i < p.frames; i++)
		rc = check_frame(c, &p, obj, i, &item, what, err);
	if (rc == 0 && !dd_digest_equal(&is, &expect))
		rc = vs_fail(err, VS_E_CORRUPT, "%s: its content is damaged (digest)", what);
	free(obj);
	return rc;
}

static int sum_pack(void *arg, const char *name, uint64_t size)
{
	struct check *c = arg;

	(void)name;
	c->total += size;
	return 0;
}

static int check_pack(void *arg, const char *name, uint64_t size)
{
	struct check *c = arg;
	struct vs_error one = {0};
	int rc;

	if (bk_watch_canceled(c->watch))
		return vs_fail(c->err, VS_E_CANCELED, "the check was canceled");
	rc = read_pack(c, name, &one);
	report(c, c->done + size);
	if (rc == VS_E_CORRUPT) {
		problem(c, one.text);
		return 0;
	}
	if (rc == VS_E_NOENT) /* deleted meanwhile */
		return 0;
	return rc ? vs_fail(c->err, rc, "%s", one.text) : 0;
}

static int each_backup(void *arg, const struct bk_backup_info *b)
{
	struct check *c = arg;

	return check_backup(c, b, false, false, c->err);
}

static void bad_backup(void *arg, const char *id, const struct vs_error *e)
{
	(void)id;
	problem(arg, e->text);
}

int bk_repo_check(struct bk_repo *r, bool read_data, void (*line)(void *arg, const char *line),
		  void *line_arg, const struct bk_watch *watch, struct bk_check_result *out,
		  struct vs_error *err)
{
	struct check c = {.r = r,
			  .read_data = read_data,
			  .line = line,
			  .line_arg = line_arg,
			  .watch = watch,
			  .out = out,
			  .err = err};
	int rc = check_open(&c, err);

	if (rc == 0) {
		bk_index_each_pack(r->index, check_listed, &c);
		rc = bk_repo_list(r, each_backup, bad_backup, &c, err);
	}
	c.backup = NULL;
	if (rc == 0 && read_data)
		rc = bk_remote_list(r->remote, "packs/", sum_pack, &c, err);
	if (rc == 0 && read_data)
		rc = bk_remote_list(r->remote, "packs/", check_pack, &c, err);
	check_close(&c);
	return rc;
}
