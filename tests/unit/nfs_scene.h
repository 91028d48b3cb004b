/*
 * What the tests of NFS files share: the server, and the client's side, which runs in the test's
 * thread.
 */
#ifndef TESTS_UNIT_NFS_SCENE_H
#define TESTS_UNIT_NFS_SCENE_H

#include "blockstore/nfs_file.h"

#include "tests/unit/hostile_nfs.h"

#include <stdio.h>

#define BLOCK 4096u
#define MS UINT64_C(1000000)

struct scene {
	struct nfs_server *server;
	struct vs_loop *loop;
	struct bs_nfs_file *file;
	struct bs_far *far;
	uint64_t hold_ns, doubt_ns, silence_ns;
	bool quiet;
	struct vs_error err;
};

static inline struct scene *start(enum nfs_mode mode)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->server = nfs_start(mode);
	assert_int_equal(vs_loop_new(&s->loop, &s->err), 0);
	return s;
}

static inline int open_path(struct scene *s, const char *path, const atomic_bool *cancel)
{
	struct bs_nfs_spec spec = {.keep = 1 << 20,
				   .hold_ns = s->hold_ns,
				   .doubt_ns = s->doubt_ns,
				   .silence_ns = s->silence_ns,
				   .quiet = s->quiet,
				   .cancel = cancel};
	char url[128];
	int rc;

	(void)snprintf(url, sizeof(url), "nfs://127.0.0.1:%u%s", s->server->port, path);
	assert_int_equal(bs_nfs_url_parse(url, &spec.url, &s->err), 0);
	rc = bs_nfs_open(s->loop, &spec, &s->file, &s->err);
	s->far = rc == 0 ? bs_nfs_far(s->file) : NULL;
	return rc;
}

static inline struct scene *begin_with(enum nfs_mode mode, uint64_t hold_ns, uint64_t doubt_ns)
{
	struct scene *s = start(mode);

	s->hold_ns = hold_ns;
	s->doubt_ns = doubt_ns;
	if (open_path(s, "/export/folder/disk", NULL) != 0)
		fail_msg("%s", s->err.text);
	assert_int_equal(bs_far_info(s->far).size, NFS_SIZE);
	return s;
}

static inline struct scene *begin(enum nfs_mode mode)
{
	return begin_with(mode, 0, 0);
}

static inline void stop(struct scene *s)
{
	if (s->far)
		bs_far_close(s->far);
	vs_loop_free(s->loop);
	nfs_stop(s->server);
	free(s);
}

static inline void done(struct bs_far_req *req)
{
	++*(unsigned *)req->arg;
}

static inline void wait_for(struct scene *s, const unsigned *ended, unsigned n)
{
	uint64_t until = vs_now_ns() + 60000 * MS;

	while (*ended < n && vs_now_ns() < until)
		vs_loop_turn(s->loop, 20);
	assert_int_equal(*ended, n);
}

/* One request, to its end; buf is of length bytes. */
static inline int run(struct scene *s, enum bs_far_op op, uint64_t offset, void *buf, size_t length)
{
	unsigned ended = 0;
	struct bs_far_req req = {.op = op,
				 .offset = offset,
				 .length = length,
				 .iov = {{buf, length}},
				 .iovcnt = 1,
				 .done = done,
				 .arg = &ended};

	bs_far_submit(s->far, &req);
	wait_for(s, &ended, 1);
	return req.status;
}

static inline int flush(struct scene *s)
{
	return run(s, BS_FAR_FLUSH, 0, NULL, 0);
}

static inline void write_block(struct scene *s, unsigned block, uint8_t value)
{
	uint8_t buf[BLOCK];

	memset(buf, value, sizeof(buf));
	assert_int_equal(run(s, BS_FAR_WRITE, block * (uint64_t)BLOCK, buf, BLOCK), 0);
}

static inline void expect_block(struct scene *s, unsigned block, uint8_t value)
{
	uint8_t buf[BLOCK], want[BLOCK];

	memset(want, value, sizeof(want));
	assert_int_equal(run(s, BS_FAR_READ, block * (uint64_t)BLOCK, buf, BLOCK), 0);
	assert_memory_equal(buf, want, BLOCK);
}

#endif
