/*
 * What the tests of backups share: real stores in files, a repository in a directory, volumes whose
 * blocks follow from seeds.
 */
#ifndef TESTS_BACKUP_SCENE_H
#define TESTS_BACKUP_SCENE_H

#include "backup/job.h"
#include "backup/repo_impl.h"
#include "blockstore/check.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include "tests/unit/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE (UINT64_C(24) << 20)
#define BLOCKS (SIZE / BS_BLOCK)

#define ok(call) expect_code((call), 0, &err, #call)
#define fails(code, call) expect_code((call), (code), &err, #call)

static struct vs_error err;

static inline void expect_code(int rc, int want, const struct vs_error *e, const char *what)
{
	if (rc != want)
		fail_msg("%s: %s (%s), not %s", what, vs_err_name(rc), rc ? e->text : "",
			 vs_err_name(want));
}

/* A store with a port of its own, and what is needed to take it down. */
struct node {
	char path[128];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
};

struct env {
	char dir[64], url[96];
	struct bk_repo *repo;
	struct node a;
};

static inline void node_up(struct node *n, const char *dir, const char *name)
{
	const struct bs_open_options oo = {.memory = UINT64_C(256) << 20};
	struct bs_init_options io = {.segment_size = 1u << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;

	snprintf(n->path, sizeof(n->path), "%s/%s.img", dir, name);
	ok(bs_device_open(n->path, BS_DEVICE_CREATE, UINT64_C(512) << 20, &dev, &err));
	ok(bs_store_init(dev, &io, &err));
	bs_device_close(dev);
	ok(bs_device_open(n->path, 0, 0, &dev, &err));
	ok(bs_store_open(dev, &oo, &n->s, &err));
	ok(vs_loop_new(&n->loop, &err));
	ok(bs_port_open(n->s, n->loop, 8, &n->port, &err));
}

/* Closes the store and checks it. */
static inline void node_down(struct node *n)
{
	const struct bs_check_options opts = {.read_data = true};
	struct bs_check_result c;
	struct bs_device *dev;

	bs_port_close(n->port);
	vs_loop_free(n->loop);
	ok(bs_store_close(n->s, &err));
	ok(bs_device_open(n->path, BS_DEVICE_READ_ONLY, 0, &dev, &err));
	ok(bs_check_run(dev, &opts, &c, &err));
	assert_int_equal(c.problems, 0);
	unlink(n->path);
}

static inline int scene_up_bare(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	snprintf(e->dir, sizeof(e->dir), "/tmp/vstore-backup-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->url, sizeof(e->url), "dir://%s/repo", e->dir);
	ok(bk_repo_attach(e->url, NULL, &e->repo, NULL, &err));
	*state = e;
	return 0;
}

static inline int scene_down_bare(void **state)
{
	struct env *e = *state;

	bk_repo_close(e->repo);
	assert_int_equal(files_remove(e->dir), 0);
	free(e);
	return 0;
}

static inline int scene_up(void **state)
{
	scene_up_bare(state);
	node_up(&((struct env *)*state)->a, ((struct env *)*state)->dir, "a");
	return 0;
}

static inline int scene_down(void **state)
{
	node_down(&((struct env *)*state)->a);
	return scene_down_bare(state);
}

static inline struct bs_volume *volume_new(struct node *n, const char *name, uint64_t size)
{
	const struct bs_volume_spec spec = {.name = name, .size = size, .compression = -1};
	struct bs_volume *v;

	ok(bs_volume_create(n->s, &spec, NULL, &err));
	ok(bs_volume_open(n->s, name, &v, &err));
	return v;
}

static inline struct bs_volume *snap_new(struct node *n, const char *full)
{
	struct bs_volume *v;

	ok(bs_snapshot_create(n->s, &full, 1, &err));
	ok(bs_volume_open(n->s, full, &v, &err));
	return v;
}

/* A block's bytes follow from its seed. */
static inline void block_fill(uint8_t *p, uint64_t seed)
{
	for (unsigned i = 0; i < BS_BLOCK; i += 8)
		vs_put_le64(p + i, i < BS_BLOCK / 2 ? seed * 0x9e3779b97f4a7c15u + i : seed);
}

static inline void block_write(struct node *n, struct bs_volume *v, uint64_t block, uint64_t seed)
{
	uint8_t buf[BS_BLOCK];

	block_fill(buf, seed);
	ok(bs_io_write(n->port, v, block * BS_BLOCK, buf, sizeof(buf)));
}

static inline uint8_t *read_all(struct node *n, struct bs_volume *v)
{
	uint64_t size = bs_volume_size(v), at;
	uint8_t *p = malloc(size);

	assert_non_null(p);
	for (at = 0; at < size; at += 1u << 20)
		ok(bs_io_read(n->port, v, at, p + at, VS_MIN(size - at, UINT64_C(1) << 20)));
	return p;
}

static inline void same_content(struct node *n, struct bs_volume *v, struct node *m,
				struct bs_volume *w)
{
	uint8_t *a = read_all(n, v), *b = read_all(m, w);

	assert_int_equal(bs_volume_size(v), bs_volume_size(w));
	assert_memory_equal(a, b, bs_volume_size(v));
	free(a);
	free(b);
}

/* 2048 blocks of data, seeds 1..1024 twice, with holes between. */
static inline struct bs_volume *make_source(struct env *e, const char *name)
{
	struct bs_volume *v = volume_new(&e->a, name, SIZE);

	for (uint64_t i = 0; i < 2048; i++)
		block_write(&e->a, v, i * 3, i % 1024 + 1);
	return v;
}

static inline void check_clean(struct env *e)
{
	struct bk_check_result c;

	ok(bk_repo_check(e->repo, true, NULL, NULL, NULL, &c, &err));
	assert_int_equal(c.problems, 0);
}

static inline bool count_one(const char *path, const struct stat *st, void *arg)
{
	(void)path;
	(void)st;
	++*(uint64_t *)arg;
	return false;
}

static inline uint64_t count(struct env *e, const char *what)
{
	char folder[192];
	uint64_t n = 0;

	snprintf(folder, sizeof(folder), "%s/repo/%s", e->dir, what);
	assert_int_equal(files_walk(folder, false, count_one, &n), 0);
	return n;
}

/* Restores elsewhere and compares. */
static inline void restores_as(struct env *e, const char *id, struct bs_volume *want)
{
	struct bk_restore_result r;
	struct node far = {0};
	struct bs_volume *v;

	node_up(&far, e->dir, "far");
	v = volume_new(&far, "r", bs_volume_size(want));
	ok(bk_restore_run(far.s, e->repo, id, v, NULL, &r, &err));
	same_content(&e->a, want, &far, v);
	bs_volume_close(v);
	node_down(&far);
}

struct found_file {
	char *path;
	size_t len;
};

static inline bool is_large(const char *path, const struct stat *st, void *arg)
{
	struct found_file *f = arg;

	return st->st_size > 100 << 10 && snprintf(f->path, f->len, "%s", path) < (int)f->len;
}

/* The first large pack file in the repository; its name within it. */
static inline void first_pack(struct env *e, char *path, size_t len, const char **name)
{
	struct found_file found = {path, len};
	char folder[192];

	snprintf(folder, sizeof(folder), "%s/repo/packs", e->dir);
	assert_int_equal(files_walk(folder, false, is_large, &found), 1);
	*name = strstr(path, "packs/");
	assert_non_null(*name);
}

#endif
