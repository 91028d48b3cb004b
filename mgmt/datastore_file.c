/* Files of datastores, as the node itself reads and writes them. */
#include "mgmt/datastore.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define DEPTH 4u
#define LIST_MAX 100000u /* entries that a listing holds */

struct piece {
	struct ds_req req;
	struct iovec iov;
	uint8_t *buf;
	bool busy;
};

/* One user of a datastore, on the caller's thread. */
struct visit {
	struct mg_node *node;
	struct ds_store *store;
	struct ds_client *client;
	struct vs_loop *loop;
	struct piece piece[DEPTH];
};

static void leave(struct visit *v)
{
	if (v->client)
		ds_client_close(v->client);
	if (v->loop)
		vs_loop_free(v->loop);
	for (unsigned i = 0; i < DEPTH; i++)
		free(v->piece[i].buf);
	if (v->store)
		mg_datastore_put(v->node, v->store);
}

static int enter(struct mg_node *n, const char *name, struct visit *v, struct vs_error *err)
{
	int rc;

	*v = (struct visit){.node = n};
	rc = mg_datastore_get(n, name, &v->store, err);
	if (rc == 0)
		rc = vs_loop_new(&v->loop, err);
	if (rc == 0)
		rc = ds_client_open(v->store, v->loop, DEPTH, &v->client, err);
	if (rc != 0)
		leave(v);
	return rc;
}

static const char *why(const struct ds_req *req)
{
	static const char *const texts[] = {
	    [DS_NOT_DIR] = "not a directory",
	    [DS_IS_DIR] = "it is a directory",
	    [DS_NOT_EMPTY] = "the directory is not empty",
	    [DS_NAME_TOO_LONG] = "the name has more than 255 bytes",
	    [DS_BAD_NAME] = "that is no name of a file",
	    [DS_WRONG_TYPE] = "it is not a file",
	};

	if (req->status == VS_E_INVAL && req->why < VS_ARRAY_LEN(texts) && texts[req->why])
		return texts[req->why];
	return req->status == VS_E_NOENT ? "there is no such file" : vs_err_text(req->status);
}

static int ask(struct visit *v, struct ds_req *req, const char *what, const char *path,
	       struct vs_error *err)
{
	int rc = ds_wait(v->client, req);

	return rc ? vs_fail(err, rc, "cannot %s %s: %s", what, path[0] ? path : "/", why(req)) : 0;
}

/* The next part of a path; its length is 0 at the end. */
static size_t next_part(const char **path)
{
	*path += strspn(*path, "/");
	return strcspn(*path, "/");
}

/* What path names below the root, or, with leaf, the directory that its last part is in. */
static int walk(struct visit *v, const char *path, const char **leaf, struct ds_attr *out,
		struct vs_error *err)
{
	struct ds_req req = {.op = DS_GETATTR, .file = ds_root};
	const char *at = path;
	size_t len = next_part(&at);
	int rc = ask(v, &req, "find", path, err);

	while (rc == 0 && len) {
		const char *after = at + len;
		size_t more = next_part(&after);

		if (leaf && !more)
			break;
		req = (struct ds_req){
		    .op = DS_LOOKUP, .file = req.attr.handle, .name = at, .name_len = len};
		rc = ask(v, &req, "find", path, err);
		at = after;
		len = more;
	}
	if (rc == 0 && leaf && !len)
		rc = vs_fail(err, VS_E_INVAL, "a name of a file is missing");
	if (leaf)
		*leaf = at;
	*out = req.attr;
	return rc;
}

static void piece_done(struct ds_req *req)
{
	((struct piece *)req->arg)->busy = false;
}

static int await_piece(struct visit *v, struct piece *p)
{
	while (p->busy)
		vs_loop_turn(v->loop, -1);
	return p->req.status;
}

static int buffers(struct visit *v, struct vs_error *err)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		v->piece[i].buf = aligned_alloc(4096, PIECE);
		if (!v->piece[i].buf)
			return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	return 0;
}

static void begin(struct visit *v, struct piece *p, enum ds_op op, struct ds_handle file,
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
	ds_submit(v->client, &p->req);
}

static int settle(struct visit *v, int rc, const char *what, struct vs_error *err)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		int one = await_piece(v, &v->piece[i]);

		if (rc == 0 && one)
			rc = vs_fail(err, one, "cannot %s: %s", what, why(&v->piece[i].req));
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

static int copy_in(struct visit *v, struct mg_task *t, int fd, uint64_t size, struct ds_handle file,
		   struct vs_error *err)
{
	int rc = buffers(v, err);

	for (uint64_t at = 0; rc == 0 && at < size; at += PIECE) {
		struct piece *p = &v->piece[at / PIECE % DEPTH];
		size_t len = (size_t)VS_MIN(size - at, (uint64_t)PIECE), got = 0;

		rc = await_piece(v, p);
		if (rc)
			rc = vs_fail(err, rc, "cannot write: %s", why(&p->req));
		else if (mg_task_cancelled(t))
			rc = vs_fail(err, VS_E_CANCELED, "cancelled");
		else
			rc = read_piece(fd, p->buf, at, len, &got, err);
		if (rc == 0 && got)
			begin(v, p, DS_WRITE, file, at, len);
		mg_task_progress(t, at + len, size);
	}
	return settle(v, rc, "write", err);
}

/* A file that is not whole yet, under a name of its own in the directory where it goes. */
struct part {
	struct ds_handle dir, file;
	char name[64];
	const char *leaf; /* what it will be called */
};

static int make_part(struct visit *v, struct mg_task *t, const char *path, struct part *p,
		     struct vs_error *err)
{
	struct ds_attr dir;
	struct ds_req req = {.op = DS_CREATE,
			     .name = p->name,
			     .type = DS_REG,
			     .how = DS_UNCHECKED,
			     .set = {.what = DS_SET_MODE | DS_SET_SIZE, .mode = 0644}};
	int rc = walk(v, path, &p->leaf, &dir, err);

	if (rc != 0)
		return rc;
	(void)snprintf(p->name, sizeof(p->name), ".vstore-put-%lld", (long long)mg_task_id(t));
	p->dir = req.file = dir.handle;
	req.name_len = strlen(p->name);
	rc = ask(v, &req, "make", path, err);
	p->file = req.attr.handle;
	return rc;
}

static int fill_part(struct visit *v, struct mg_task *t, const struct part *p, const char *path,
		     int fd, uint64_t size, struct vs_error *err)
{
	struct ds_req grow = {
	    .op = DS_SETATTR, .file = p->file, .set = {.what = DS_SET_SIZE, .size = size}};
	struct ds_req commit = {.op = DS_COMMIT, .file = p->file};
	struct ds_req move = {.op = DS_RENAME,
			      .file = p->dir,
			      .name = p->name,
			      .name_len = strlen(p->name),
			      .other = p->dir,
			      .other_name = p->leaf,
			      .other_name_len = strcspn(p->leaf, "/")};
	int rc = ask(v, &grow, "write", path, err);

	if (rc == 0)
		rc = copy_in(v, t, fd, size, p->file, err);
	if (rc == 0)
		rc = ask(v, &commit, "write", path, err);
	return rc == 0 ? ask(v, &move, "make", path, err) : rc;
}

/* The part becomes the file when all of it is durable. */
static int put_file(struct visit *v, struct mg_task *t, struct transfer *tr, int fd, uint64_t size,
		    struct vs_error *err)
{
	struct part p;
	int rc = make_part(v, t, tr->path, &p, err);

	if (rc != 0)
		return rc;
	rc = fill_part(v, t, &p, tr->path, fd, size, err);
	if (rc != 0) {
		struct ds_req undo = {
		    .op = DS_REMOVE, .file = p.dir, .name = p.name, .name_len = strlen(p.name)};

		if (ds_wait(v->client, &undo))
			mg_event(v->node->events, MG_WARNING, "datastore.left", tr->name,
				 "%s could not be removed", p.name);
	}
	return rc;
}

static int run_put(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *tr = arg;
	struct visit v;
	struct stat st;
	int fd = open(tr->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;

	if (fd < 0)
		return vs_fail_errno(err, "cannot read %s", tr->file);
	if (fstat(fd, &st) != 0)
		rc = vs_fail_errno(err, "cannot read %s", tr->file);
	else if (!S_ISREG(st.st_mode))
		rc = vs_fail(err, VS_E_INVAL, "%s is not a file", tr->file);
	if (rc == 0)
		rc = enter(tr->node, tr->name, &v, err);
	if (rc == 0) {
		rc = put_file(&v, t, tr, fd, (uint64_t)st.st_size, err);
		leave(&v);
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
static int take_piece(struct visit *v, struct piece *p, int fd, struct vs_error *err)
{
	static const uint8_t zeros[4096];
	bool any = false;
	int rc;

	if (!p->req.length)
		return 0;
	rc = await_piece(v, p);
	if (rc)
		return vs_fail(err, rc, "cannot read: %s", why(&p->req));
	if (p->req.count != p->req.length)
		return vs_fail(err, VS_E_IO, "the file became shorter while it was read");
	for (size_t i = 0; i < p->req.count && !any; i += sizeof(zeros))
		any = memcmp(p->buf + i, zeros, VS_MIN(sizeof(zeros), p->req.count - i)) != 0;
	rc = any ? write_piece(fd, p->buf, p->req.offset, p->req.count, err) : 0;
	p->req.length = 0;
	return rc;
}

static int copy_out(struct visit *v, struct mg_task *t, int fd, const struct ds_attr *from,
		    struct vs_error *err)
{
	int rc = buffers(v, err);

	for (uint64_t at = 0; rc == 0 && at < from->size; at += PIECE) {
		struct piece *p = &v->piece[at / PIECE % DEPTH];
		size_t len = (size_t)VS_MIN(from->size - at, (uint64_t)PIECE);

		rc = take_piece(v, p, fd, err);
		if (rc == 0 && mg_task_cancelled(t))
			rc = vs_fail(err, VS_E_CANCELED, "cancelled");
		if (rc == 0)
			begin(v, p, DS_READ, from->handle, at, len);
		mg_task_progress(t, at, from->size);
	}
	for (unsigned i = 0; rc == 0 && i < DEPTH; i++)
		rc = take_piece(v, &v->piece[i], fd, err);
	return settle(v, rc, "read", err);
}

/* Written beside its destination, and renamed when it is whole and durable. */
static int get_file(struct visit *v, struct mg_task *t, struct transfer *tr, struct vs_error *err)
{
	char part[PATH_MAX + 16];
	struct ds_attr from;
	int fd, rc = walk(v, tr->path, NULL, &from, err);

	if (rc == 0 && from.type != DS_REG)
		rc = vs_fail(err, VS_E_INVAL, "%s/%s is not a file", tr->name, tr->path);
	if (rc != 0)
		return rc;
	(void)snprintf(part, sizeof(part), "%s.part", tr->file);
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return vs_fail_errno(err, "cannot make %s", part);
	rc = ftruncate(fd, (off_t)from.size) != 0 ? vs_fail_errno(err, "cannot write %s", part)
						  : copy_out(v, t, fd, &from, err);
	if (rc == 0 && fsync(fd) != 0)
		rc = vs_fail_errno(err, "cannot write %s", part);
	close(fd);
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
	struct visit v;
	int rc = enter(tr->node, tr->name, &v, err);

	if (rc != 0)
		return rc;
	rc = get_file(&v, t, tr, err);
	leave(&v);
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

static json_t *attr_json(const char *name, size_t len, const struct ds_attr *a)
{
	static const char *const types[] = {
	    [DS_NONE] = "unknown", [DS_REG] = "file",	[DS_DIR] = "directory",
	    [DS_LNK] = "link",	   [DS_FIFO] = "fifo",	[DS_SOCK] = "socket",
	    [DS_CHR] = "device",   [DS_BLK] = "device",
	};

	return json_pack("{s:s%, s:s, s:I, s:I, s:i, s:i, s:i, s:o}", "name", name, len, "type",
			 types[a->type], "size", (json_int_t)a->size, "used_bytes",
			 (json_int_t)a->used, "mode", (int)a->mode, "uid", (int)a->uid, "gid",
			 (int)a->gid, "modified", mg_time_json(a->mtime));
}

struct listing {
	struct ds_req req;
	json_t *list;
	uint64_t cookie;
	bool failed;
};

static bool add_entry(struct ds_req *req, const struct ds_entry *e)
{
	static const struct ds_attr unknown;
	struct listing *l = vs_container_of(req, struct listing, req);
	json_t *one;

	l->cookie = e->cookie;
	if (e->name_len <= 2 && memcmp(e->name, "..", e->name_len) == 0)
		return true;
	one = attr_json(e->name, e->name_len, e->attr ? e->attr : &unknown);
	if (!one) /* names are bytes; what is no UTF-8 cannot be shown */
		one = attr_json("?", 1, e->attr ? e->attr : &unknown);
	l->failed |= json_array_append_new(l->list, one) != 0;
	return json_array_size(l->list) < LIST_MAX;
}

static int list_directory(struct visit *v, const char *path, const struct ds_attr *dir,
			  json_t *list, struct vs_error *err)
{
	struct listing l = {.list = list};
	int rc = 0;

	do {
		l.req = (struct ds_req){.op = DS_READDIR,
					.file = dir->handle,
					.plus = true,
					.cookie = l.cookie,
					.entry = add_entry};
		rc = ask(v, &l.req, "list", path, err);
	} while (rc == 0 && !l.req.eof && json_array_size(list) < LIST_MAX);
	return rc == 0 && l.failed ? vs_fail(err, VS_E_NOMEM, "out of memory") : rc;
}

int mg_datastore_file_list(struct mg_node *n, const char *name, const char *path, json_t **out,
			   struct vs_error *err)
{
	json_t *list = json_array();
	struct ds_attr at;
	struct visit v;
	int rc = enter(n, name, &v, err);

	if (rc == 0) {
		rc = walk(&v, path, NULL, &at, err);
		if (rc == 0 && at.type == DS_DIR)
			rc = list_directory(&v, path, &at, list, err);
		else if (rc == 0)
			json_array_append_new(list, attr_json(path, strlen(path), &at));
		leave(&v);
	}
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}

int mg_datastore_file_remove(struct mg_node *n, const char *name, const char *path,
			     struct vs_error *err)
{
	struct ds_attr dir, at;
	const char *leaf;
	struct visit v;
	int rc = enter(n, name, &v, err);

	if (rc != 0)
		return rc;
	rc = walk(&v, path, &leaf, &dir, err);
	if (rc == 0)
		rc = walk(&v, path, NULL, &at, err);
	if (rc == 0) {
		struct ds_req req = {.op = at.type == DS_DIR ? DS_RMDIR : DS_REMOVE,
				     .file = dir.handle,
				     .name = leaf,
				     .name_len = strcspn(leaf, "/")};

		rc = ask(&v, &req, "remove", path, err);
	}
	leave(&v);
	return rc;
}
