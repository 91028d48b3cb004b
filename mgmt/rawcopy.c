#include "mgmt/rawcopy.h"

#include "blockstore/io.h"
#include "common/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define DEPTH 4

/* One piece on its way. busy from submit to done; only the task's thread touches it. */
struct piece {
	struct bs_req req;
	struct iovec iov;
	uint8_t *buf;
	struct pipe *pipe;
	uint64_t at;   /* out: offset of the piece */
	size_t length; /* out: bytes of the file in it */
	uint8_t mapped[PIECE / BS_BLOCK];
	bool busy;
	bool full; /* out: buf holds it */
};

struct pipe {
	struct mg_rawcopy *c;
	struct vs_loop *loop;
	struct bs_port *port;
	struct piece at[DEPTH];
	int status; /* the first failure */
	bool write_zeros;
};

static void pipe_close(struct pipe *p)
{
	if (p->port)
		bs_port_close(p->port);
	if (p->loop)
		vs_loop_free(p->loop);
	for (int i = 0; i < DEPTH; i++)
		free(p->at[i].buf);
}

static int pipe_open(struct pipe *p, struct mg_rawcopy *c, struct vs_error *err)
{
	int rc;

	memset(p, 0, sizeof(*p));
	p->c = c;
	for (int i = 0; i < DEPTH; i++) {
		p->at[i].pipe = p;
		p->at[i].buf = aligned_alloc(BS_BLOCK, PIECE);
		if (!p->at[i].buf) {
			pipe_close(p);
			return vs_fail(err, VS_E_NOMEM, "out of memory");
		}
	}
	rc = vs_loop_new(&p->loop, err);
	if (rc == 0)
		rc = bs_port_open(c->store, p->loop, DEPTH * 2, &p->port, err);
	if (rc != 0)
		pipe_close(p);
	return rc;
}

static struct piece *idle_piece(struct pipe *p)
{
	for (;;) {
		for (int i = 0; i < DEPTH; i++)
			if (!p->at[i].busy)
				return &p->at[i];
		vs_loop_turn(p->loop, -1);
	}
}

static void drain(struct pipe *p)
{
	for (int i = 0; i < DEPTH; i++)
		while (p->at[i].busy)
			vs_loop_turn(p->loop, -1);
}

static void written(struct bs_req *req)
{
	struct piece *x = req->arg;

	x->busy = false;
	if (req->status != 0 && x->pipe->status == 0)
		x->pipe->status = req->status;
}

static int read_full(int fd, uint8_t *buf, size_t len, uint64_t offset, struct vs_error *err)
{
	size_t n = 0;

	while (n < len) {
		uint64_t at = offset + n;
		ssize_t got = pread(fd, buf + n, len - n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return vs_fail_errno(err, "cannot read the source at %llu",
					     (unsigned long long)at);
		if (got == 0)
			return vs_fail(err, VS_E_IO, "the source became shorter while it was read");
		n += (size_t)got;
	}
	return 0;
}

static int write_full(int fd, const uint8_t *buf, size_t len, uint64_t offset, struct vs_error *err)
{
	size_t n = 0;

	while (n < len) {
		uint64_t at = offset + n;
		ssize_t put = pwrite(fd, buf + n, len - n, (off_t)at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return vs_fail_errno(err, "cannot write at %llu", (unsigned long long)at);
		n += (size_t)put;
	}
	return 0;
}

static int look(struct pipe *p, uint64_t at, struct vs_error *err)
{
	if (p->status != 0)
		return vs_fail(err, p->status, "the volume failed: %s", vs_err_text(p->status));
	if (mg_task_cancelled(p->c->task))
		return VS_E_CANCELED;
	mg_task_progress(p->c->task, at, p->c->size);
	return 0;
}

/* Copies [at, end) of the file, both within the file; at is a multiple of a block. */
static int copy_extent_in(struct pipe *p, uint64_t at, uint64_t end, struct vs_error *err)
{
	int rc = 0;

	while (at < end && rc == 0) {
		struct piece *x = idle_piece(p);
		size_t n = VS_MIN(end - at, PIECE - at % PIECE), whole = VS_ALIGN_UP(n, BS_BLOCK);

		rc = look(p, at, err);
		if (rc == 0)
			rc = read_full(p->c->fd, x->buf, n, at, err);
		if (rc != 0)
			break;
		memset(x->buf + n, 0, whole - n);
		x->iov = (struct iovec){.iov_base = x->buf, .iov_len = whole};
		x->req = (struct bs_req){.op = BS_WRITE,
					 .volume = p->c->volume,
					 .offset = at,
					 .length = whole,
					 .iov = &x->iov,
					 .iovcnt = 1,
					 .done = written,
					 .arg = x};
		x->busy = true;
		bs_submit(p->port, &x->req);
		p->c->bytes += n;
		at += n;
	}
	return rc;
}

/* The next data at or after at, in whole blocks; false at the end. Without SEEK_DATA all is data.
 */
static bool next_extent(const struct mg_rawcopy *c, uint64_t *at, uint64_t *end)
{
	off_t data = lseek(c->fd, (off_t)*at, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return false;
	if (data < 0) {
		*end = c->size;
		return *at < c->size;
	}
	hole = lseek(c->fd, data, SEEK_HOLE);
	*at = VS_MAX(*at, VS_ALIGN_DOWN((uint64_t)data, BS_BLOCK));
	*end = hole < 0 ? c->size : VS_MIN(VS_ALIGN_UP((uint64_t)hole, BS_BLOCK), c->size);
	return *at < *end;
}

int mg_rawcopy_in(struct mg_rawcopy *c, struct vs_error *err)
{
	uint64_t at = 0, end;
	struct pipe p;
	int rc = pipe_open(&p, c, err);

	if (rc != 0)
		return rc;
	c->bytes = 0;
	while (rc == 0 && at < c->size && next_extent(c, &at, &end)) {
		rc = copy_extent_in(&p, at, end, err);
		at = end;
	}
	drain(&p);
	if (rc == 0)
		rc = look(&p, c->size, err);
	pipe_close(&p);
	return rc;
}

/* Writes the runs of blocks of one piece that are mapped, or all of them. */
static int put_piece(struct pipe *p, const struct piece *x, struct vs_error *err)
{
	size_t block = 0, blocks = VS_DIV_UP(x->length, BS_BLOCK), run;
	int rc = 0;

	for (; block < blocks && rc == 0; block += run) {
		size_t from = block * BS_BLOCK, len;

		for (run = 1;
		     block + run < blocks && !!x->mapped[block + run] == !!x->mapped[block];)
			run++;
		len = VS_MIN(run * BS_BLOCK, x->length - from);
		if (!x->mapped[block] && !p->write_zeros)
			continue;
		rc = write_full(p->c->fd, x->buf + from, len, x->at + from, err);
		p->c->bytes += len;
	}
	return rc;
}

static void was_read(struct bs_req *req)
{
	struct piece *x = req->arg;

	x->busy = false;
	x->full = true;
	if (req->status != 0 && x->pipe->status == 0)
		x->pipe->status = req->status;
}

/* Which blocks are mapped is known: what is a hole throughout need not be read. */
static void was_looked_at(struct bs_req *req)
{
	struct piece *x = req->arg;

	if (req->status != 0 ||
	    (!x->pipe->write_zeros && !memchr(x->mapped, 1, req->length / BS_BLOCK))) {
		was_read(req);
		x->full = false;
		return;
	}
	req->op = BS_READ;
	req->iov = &x->iov;
	req->iovcnt = 1;
	req->done = was_read;
	bs_submit(x->pipe->port, req);
}

static void ask_for_piece(struct pipe *p, struct piece *x, uint64_t at)
{
	x->at = at;
	x->length = VS_MIN(p->c->size - at, (uint64_t)PIECE);
	x->full = false;
	x->iov = (struct iovec){.iov_base = x->buf, .iov_len = VS_ALIGN_UP(x->length, BS_BLOCK)};
	x->req = (struct bs_req){.op = BS_STATUS,
				 .volume = p->c->volume,
				 .offset = at,
				 .length = x->iov.iov_len,
				 .mapped = x->mapped,
				 .done = was_looked_at,
				 .arg = x};
	x->busy = true;
	bs_submit(p->port, &x->req);
}

/* Pieces take the slots in turn, so they are written in order while later ones are read. */
static int copy_out(struct pipe *p, struct vs_error *err)
{
	uint64_t pieces = VS_DIV_UP(p->c->size, PIECE), asked = 0;
	int rc = 0;

	for (uint64_t next = 0; next < pieces && rc == 0; next++) {
		struct piece *x = &p->at[next % DEPTH];

		for (; asked < pieces && asked < next + DEPTH; asked++)
			ask_for_piece(p, &p->at[asked % DEPTH], asked * PIECE);
		while (x->busy)
			vs_loop_turn(p->loop, -1);
		rc = look(p, next * PIECE, err);
		if (rc == 0 && x->full)
			rc = put_piece(p, x, err);
	}
	return rc;
}

int mg_rawcopy_out(struct mg_rawcopy *c, bool write_zeros, struct vs_error *err)
{
	struct pipe p;
	int rc = pipe_open(&p, c, err);

	if (rc != 0)
		return rc;
	p.write_zeros = write_zeros;
	c->bytes = 0;
	rc = copy_out(&p, err);
	drain(&p);
	pipe_close(&p);
	if (rc == 0 && fsync(c->fd) != 0)
		rc = vs_fail_errno(err, "cannot flush what was written");
	return rc;
}
