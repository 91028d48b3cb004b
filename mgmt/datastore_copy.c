/* Files of datastores: copying in and out, as tasks. */
#include "mgmt/datastore_visit.h"

#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/datastore_part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

struct piece {
	struct ds_req req;
	struct iovec iov;
	uint8_t *buf;
	bool busy;
};

/* Pieces on their way between a file of the node and one of a datastore. */
struct copy {
	struct mg_visit *visit;
	struct mg_task *task;
	int fd;
	struct piece piece[MG_VISIT_DEPTH];
};

static void piece_done(struct ds_req *req)
{
	((struct piece *)req->arg)->busy = false;
}

static int await_piece(struct copy *c, struct piece *p)
{
	while (p->busy)
		vs_loop_turn(c->visit->loop, -1);
	return p->req.status;
}

static int buffers(struct copy *c, struct vs_error *err)
{
	for (unsigned i = 0; i < MG_VISIT_DEPTH; i++) {
		c->piece[i].buf = aligned_alloc(4096, PIECE);
		if (!c->piece[i].buf)
			return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	return 0;
}

static void begin(struct copy *c, struct piece *p, enum ds_op op, struct ds_handle file,
		  uint64_t offset, size_t len)
{
	p->iov = (struct iovec){p->buf, len};
	p->req = (struct ds_req){.op = op,
				 .file = file,
				 .offset = offset,
				 .length = len,
				 .iov = &p->iov,
				 .iovcnt = 1,
				 .done = piece_done,
				 .arg = p};
	p->busy = true;
	ds_submit(c->visit->client, &p->req);
}

/* Whatever rc is: nothing is under way afterwards. */
static int settle(struct copy *c, int rc, const char *what, struct vs_error *err)
{
	for (unsigned i = 0; i < MG_VISIT_DEPTH; i++) {
		int one = await_piece(c, &c->piece[i]);

		if (rc == 0 && one)
			rc = vs_fail(err, one, "cannot %s: %s", what,
				     mg_visit_why(&c->piece[i].req));
		free(c->piece[i].buf);
	}
	return rc;
}

struct transfer {
	struct mg_node *node;
	char name[BS_NAME_MAX], path[MG_DATASTORE_PATH], file[PATH_MAX];
	uint64_t bytes;
};

/* Reads a piece of the file; *got 0: only zeros, which a new file has anyway. */
static int read_piece(int fd, uint8_t *buf, uint64_t at, size_t len, size_t *got,
		      struct vs_error *err)
{
	static const uint8_t zeros[4096];
	size_t n = 0;
	bool any = false;

	while (n < len) {
		ssize_t k = pread(fd, buf + n, len - n, (off_t)(at + n));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "cannot read the file");
		if (k == 0)
			return vs_fail(err, VS_E_IO, "the file became shorter while it was read");
		n += (size_t)k;
	}
	for (size_t i = 0; i < len && !any; i += sizeof(zeros))
		any = memcmp(buf + i, zeros, VS_MIN(sizeof(zeros), len - i)) != 0;
	*got = any ? len : 0;
	return 0;
}

static int copy_in(struct copy *c, struct ds_handle file, const char *path, uint64_t size,
		   struct vs_error *err)
{
	struct ds_req grow = {
	    .op = DS_SETATTR, .file = file, .set = {.what = DS_SET_SIZE, .size = size}};
	struct ds_req commit = {.op = DS_COMMIT, .file = file};
	int rc = mg_visit_ask(c->visit, &grow, "write", path, err);

	if (rc == 0)
		rc = buffers(c, err);
	for (uint64_t at = 0; rc == 0 && at < size; at += PIECE) {
		struct piece *p = &c->piece[at / PIECE % MG_VISIT_DEPTH];
		size_t len = (size_t)VS_MIN(size - at, (uint64_t)PIECE), got = 0;

		rc = await_piece(c, p);
		if (rc)
			rc = vs_fail(err, rc, "cannot write: %s", mg_visit_why(&p->req));
		else if (mg_task_cancelled(c->task))
			rc = vs_fail(err, VS_E_CANCELED, "cancelled");
		else
			rc = read_piece(c->fd, p->buf, at, len, &got, err);
		if (rc == 0 && got)
			begin(c, p, DS_WRITE, file, at, len);
		mg_task_progress(c->task, at + len, size);
	}
	rc = settle(c, rc, "write", err);
	return rc == 0 ? mg_visit_ask(c->visit, &commit, "write", path, err) : rc;
}

/* The part becomes the file when all of it is durable. */
static int put_file(struct copy *c, struct transfer *tr, uint64_t size, struct vs_error *err)
{
	struct mg_part part;
	int rc = mg_part_make(c->visit, tr->path, &part, err);

	if (rc != 0)
		return rc;
	rc = copy_in(c, part.file, tr->path, size, err);
	if (rc == 0)
		rc = mg_part_name(&part, tr->path, err);
	if (rc != 0)
		mg_part_drop(&part, tr->name);
	return rc;
}

static int run_put(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *tr = arg;
	struct mg_visit v;
	struct copy c = {.visit = &v, .task = t};
	struct stat st;
	int fd = open(tr->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;

	if (fd < 0)
		return vs_fail_errno(err, "cannot read %s", tr->file);
	if (fstat(fd, &st) != 0)
		rc = vs_fail_errno(err, "cannot read %s", tr->file);
	else if (!S_ISREG(st.st_mode))
		rc = vs_fail(err, VS_E_INVAL, "%s is not a file", tr->file);
	if (rc == 0)
		rc = mg_visit_open(tr->node, tr->name, &v, err);
	if (rc == 0) {
		c.fd = fd;
		rc = put_file(&c, tr, (uint64_t)st.st_size, err);
		mg_visit_close(&v);
	}
	close(fd);
	if (rc == 0)
		*result = json_pack("{s:s, s:s, s:I}", "datastore", tr->name, "path", tr->path,
				    "bytes", (json_int_t)st.st_size);
	return rc;
}

static int write_piece(int fd, const uint8_t *buf, uint64_t at, size_t len, struct vs_error *err)
{
	while (len) {
		ssize_t k = pwrite(fd, buf, len, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return vs_fail_errno(err, "cannot write the file");
		buf += k;
		at += (uint64_t)k;
		len -= (size_t)k;
	}
	return 0;
}

/* A piece that was read, into the file: holes stay holes. */
static int take_piece(struct copy *c, struct piece *p, struct vs_error *err)
{
	static const uint8_t zeros[4096];
	bool any = false;
	int rc;

	if (!p->req.length)
		return 0;
	rc = await_piece(c, p);
	if (rc)
		return vs_fail(err, rc, "cannot read: %s", mg_visit_why(&p->req));
	if (p->req.count != p->req.length)
		return vs_fail(err, VS_E_IO, "the file became shorter while it was read");
	for (size_t i = 0; i < p->req.count && !any; i += sizeof(zeros))
		any = memcmp(p->buf + i, zeros, VS_MIN(sizeof(zeros), p->req.count - i)) != 0;
	rc = any ? write_piece(c->fd, p->buf, p->req.offset, p->req.count, err) : 0;
	p->req.length = 0;
	return rc;
}

static int copy_out(struct copy *c, const struct ds_attr *from, struct vs_error *err)
{
	int rc = buffers(c, err);

	for (uint64_t at = 0; rc == 0 && at < from->size; at += PIECE) {
		struct piece *p = &c->piece[at / PIECE % MG_VISIT_DEPTH];
		size_t len = (size_t)VS_MIN(from->size - at, (uint64_t)PIECE);

		rc = take_piece(c, p, err);
		if (rc == 0 && mg_task_cancelled(c->task))
			rc = vs_fail(err, VS_E_CANCELED, "cancelled");
		if (rc == 0)
			begin(c, p, DS_READ, from->handle, at, len);
		mg_task_progress(c->task, at, from->size);
	}
	for (unsigned i = 0; rc == 0 && i < MG_VISIT_DEPTH; i++)
		rc = take_piece(c, &c->piece[i], err);
	return settle(c, rc, "read", err);
}

/* Written beside its destination, and renamed when it is whole and durable. */
static int get_file(struct copy *c, struct transfer *tr, struct vs_error *err)
{
	char part[PATH_MAX + 16];
	struct ds_attr from;
	int rc = mg_visit_walk(c->visit, tr->path, NULL, &from, err);

	if (rc == 0 && from.type != DS_REG)
		rc = vs_fail(err, VS_E_INVAL, "%s/%s is not a file", tr->name, tr->path);
	if (rc != 0)
		return rc;
	(void)snprintf(part, sizeof(part), "%s.part", tr->file);
	c->fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (c->fd < 0)
		return vs_fail_errno(err, "cannot make %s", part);
	rc = ftruncate(c->fd, (off_t)from.size) != 0 ? vs_fail_errno(err, "cannot write %s", part)
						     : copy_out(c, &from, err);
	if (rc == 0 && fsync(c->fd) != 0)
		rc = vs_fail_errno(err, "cannot write %s", part);
	close(c->fd);
	if (rc == 0 && rename(part, tr->file) != 0)
		rc = vs_fail_errno(err, "cannot make %s", tr->file);
	if (rc != 0)
		unlink(part);
	tr->bytes = from.size;
	return rc;
}

static int run_get(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *tr = arg;
	struct mg_visit v;
	struct copy c = {.visit = &v, .task = t};
	int rc = mg_visit_open(tr->node, tr->name, &v, err);

	if (rc != 0)
		return rc;
	rc = get_file(&c, tr, err);
	mg_visit_close(&v);
	if (rc == 0)
		*result = json_pack("{s:s, s:s, s:I}", "datastore", tr->name, "path", tr->path,
				    "bytes", (json_int_t)tr->bytes);
	return rc;
}

static int start(struct mg_node *n, const char *kind,
		 int (*run)(struct mg_task *, void *, json_t **, struct vs_error *),
		 const char *name, const char *path, const char *file, json_t **task,
		 struct vs_error *err)
{
	struct mg_task_spec ts = {.kind = kind, .subject = name, .run = run, .free = free};
	struct transfer *tr;

	if (!vs_name_ok(name))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", name);
	if (strlen(path) >= MG_DATASTORE_PATH)
		return vs_fail(err, VS_E_TOOBIG, "the path has more than %u bytes",
			       MG_DATASTORE_PATH - 1);
	if (file[0] != '/' || strlen(file) >= PATH_MAX)
		return vs_fail(err, VS_E_INVAL, "the file must be an absolute path on the node");
	tr = calloc(1, sizeof(*tr));
	if (!tr)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	tr->node = n;
	mg_copy(tr->name, sizeof(tr->name), name);
	mg_copy(tr->path, sizeof(tr->path), path);
	mg_copy(tr->file, sizeof(tr->file), file);
	ts.arg = tr;
	return mg_task_start(n->tasks, &ts, task, err);
}

int mg_datastore_file_put(struct mg_node *n, const char *name, const char *path, const char *file,
			  json_t **task, struct vs_error *err)
{
	return start(n, "datastore put", run_put, name, path, file, task, err);
}

int mg_datastore_file_get(struct mg_node *n, const char *name, const char *path, const char *file,
			  json_t **task, struct vs_error *err)
{
	return start(n, "datastore get", run_get, name, path, file, task, err);
}
