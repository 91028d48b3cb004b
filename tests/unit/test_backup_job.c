/* Backups and restores between real stores in files and a repository in a directory. */
#include "backup/job.h"

#include "backup/lock.h"
#include "backup/repo_impl.h"
#include "blockstore/io.h"
#include "common/bytes.h"
#include "common/secret.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE (UINT64_C(24) << 20)
#define BLOCKS (SIZE / BS_BLOCK)

#define ok(call) expect_code((call), 0, &err, #call)
#define fails(code, call) expect_code((call), (code), &err, #call)

static struct vs_error err;

static void expect_code(int rc, int want, const struct vs_error *e, const char *what)
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

static void node_up(struct node *n, const char *dir, const char *name)
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

static void node_down(struct node *n)
{
	bs_port_close(n->port);
	vs_loop_free(n->loop);
	ok(bs_store_close(n->s, &err));
	unlink(n->path);
}

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	snprintf(e->dir, sizeof(e->dir), "/tmp/vstore-backup-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->url, sizeof(e->url), "dir://%s/repo", e->dir);
	ok(bk_repo_attach(e->url, NULL, &e->repo, NULL, &err));
	node_up(&e->a, e->dir, "a");
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;
	char cmd[128];

	node_down(&e->a);
	bk_repo_close(e->repo);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", e->dir);
	assert_int_equal(system(cmd), 0);
	free(e);
	return 0;
}

static struct bs_volume *volume_new(struct node *n, const char *name, uint64_t size)
{
	const struct bs_volume_spec spec = {.name = name, .size = size, .compression = -1};
	struct bs_volume *v;

	ok(bs_volume_create(n->s, &spec, NULL, &err));
	ok(bs_volume_open(n->s, name, &v, &err));
	return v;
}

static struct bs_volume *snap_new(struct node *n, const char *full)
{
	struct bs_volume *v;

	ok(bs_snapshot_create(n->s, &full, 1, &err));
	ok(bs_volume_open(n->s, full, &v, &err));
	return v;
}

/* A block's bytes follow from its seed. */
static void block_fill(uint8_t *p, uint64_t seed)
{
	for (unsigned i = 0; i < BS_BLOCK; i += 8)
		vs_put_le64(p + i, i < BS_BLOCK / 2 ? seed * 0x9e3779b97f4a7c15u + i : seed);
}

static void block_write(struct node *n, struct bs_volume *v, uint64_t block, uint64_t seed)
{
	uint8_t buf[BS_BLOCK];

	block_fill(buf, seed);
	ok(bs_io_write(n->port, v, block * BS_BLOCK, buf, sizeof(buf)));
}

static uint8_t *read_all(struct node *n, struct bs_volume *v)
{
	uint64_t size = bs_volume_size(v), at;
	uint8_t *p = malloc(size);

	assert_non_null(p);
	for (at = 0; at < size; at += 1u << 20)
		ok(bs_io_read(n->port, v, at, p + at, VS_MIN(size - at, UINT64_C(1) << 20)));
	return p;
}

static void same_content(struct node *n, struct bs_volume *v, struct node *m, struct bs_volume *w)
{
	uint8_t *a = read_all(n, v), *b = read_all(m, w);

	assert_int_equal(bs_volume_size(v), bs_volume_size(w));
	assert_memory_equal(a, b, bs_volume_size(v));
	free(a);
	free(b);
}

/* 2048 blocks of data, seeds 1..1024 twice, with holes between. */
static struct bs_volume *make_source(struct env *e, const char *name)
{
	struct bs_volume *v = volume_new(&e->a, name, SIZE);

	for (uint64_t i = 0; i < 2048; i++)
		block_write(&e->a, v, i * 3, i % 1024 + 1);
	return v;
}

static void check_clean(struct env *e)
{
	struct bk_check_result c;

	ok(bk_repo_check(e->repo, true, NULL, NULL, NULL, &c, &err));
	assert_int_equal(c.problems, 0);
}

static void full_and_increment(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "v"), *s1, *s2, *r1, *r2;
	struct bk_backup_result b1, b2;
	struct bk_restore_result r;
	struct bk_backup_info info;
	struct node far = {0};

	s1 = snap_new(&e->a, "v@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	assert_int_equal(b1.blocks_total, BLOCKS);
	assert_int_equal(b1.blocks_changed, 2048);
	assert_int_equal(b1.blocks_sent, 1024);
	assert_false(b1.incremental);

	/* 20 blocks: 5 unique new ones, 5 equal to one of them, 5 known, 5 trimmed. */
	for (uint64_t i = 0; i < 5; i++) {
		block_write(&e->a, v, 30 * i, 5000 + i);
		block_write(&e->a, v, 30 * i + 1, 5000);
		block_write(&e->a, v, 30 * i + 3, 700 + i);
	}
	for (uint64_t i = 0; i < 5; i++) {
		struct bs_req z = {.op = BS_ZERO,
				   .volume = v,
				   .offset = (30 * i + 6) * BS_BLOCK,
				   .length = BS_BLOCK};

		ok(bs_io_wait(e->a.port, &z));
	}
	s2 = snap_new(&e->a, "v@2");
	const struct bk_backup_options o = {.parent = s1, .parent_id = b1.id, .tag = "nightly"};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b2, &err));
	assert_true(b2.incremental);
	assert_int_equal(b2.blocks_changed, 20);
	assert_int_equal(b2.blocks_sent, 5);
	ok(bk_repo_show(e->repo, b2.id, &info, &err));
	assert_string_equal(info.parent, b1.id);
	assert_string_equal(info.tag, "nightly");
	assert_string_equal(info.volume, "v");
	assert_string_equal(info.snapshot, "2");
	check_clean(e);

	/* Here everything is still in the store. */
	r1 = volume_new(&e->a, "r1", SIZE);
	ok(bk_restore_run(e->a.s, e->repo, b1.id, r1, NULL, &r, &err));
	assert_int_equal(r.blocks_fetched, 0);
	assert_int_equal(r.blocks_local, 2048);
	same_content(&e->a, s1, &e->a, r1);

	/* Elsewhere everything is fetched once. */
	node_up(&far, e->dir, "far");
	r2 = volume_new(&far, "r2", SIZE);
	ok(bk_restore_run(far.s, e->repo, b2.id, r2, NULL, &r, &err));
	assert_true(r.blocks_fetched > 1000);
	assert_true(r.bytes_fetched > 0);
	same_content(&e->a, s2, &far, r2);
	/* Over it the older one: only what differs. */
	fails(VS_E_EXIST, bk_restore_run(far.s, e->repo, b1.id, r2, NULL, &r, &err));
	ok(bk_restore_run(far.s, e->repo, b1.id, r2,
			  &(struct bk_restore_options){.overwrite = true}, &r, &err));
	assert_in_range(r.blocks_fetched, 0, 20);
	same_content(&e->a, s1, &far, r2);
	bs_volume_close(r2);
	node_down(&far);
	bs_volume_close(r1);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

/* Without the base snapshot, or with a wrong one, only lacking blocks are sent. */
static void without_a_base(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "w"), *s1, *s2, *other;
	struct bk_backup_result b1, b2, b3;

	s1 = snap_new(&e->a, "w@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	block_write(&e->a, v, 17, 9001);
	s2 = snap_new(&e->a, "w@2");
	ok(bk_backup_run(e->a.s, s2, e->repo, NULL, &b2, &err));
	assert_false(b2.incremental);
	assert_int_equal(b2.blocks_changed, 2049);
	assert_int_equal(b2.blocks_sent, 1);
	other = snap_new(&e->a, "w@3");
	const struct bk_backup_options o = {.parent = other, .parent_id = b1.id};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b3, &err));
	assert_false(b3.incremental);
	assert_int_equal(b3.blocks_sent, 0);
	check_clean(e);
	bs_volume_close(other);
	bs_volume_close(s2);
	bs_volume_close(s1);
	fails(VS_E_INVAL, bk_backup_run(e->a.s, v, e->repo, NULL, &b3, &err));
	bs_volume_close(v);
}

static void grown_and_shrunk(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "g"), *s1, *s2, *s3, *r;
	struct bk_backup_result b;
	struct bk_restore_result rr;
	char id1[BK_ID_MAX];

	s1 = snap_new(&e->a, "g@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b, &err));
	memcpy(id1, b.id, sizeof(id1));
	bs_volume_close(v);
	ok(bs_volume_resize(e->a.s, "g", UINT64_C(2) << 30, false, &err));
	ok(bs_volume_open(e->a.s, "g", &v, &err));
	block_write(&e->a, v, (UINT64_C(2) << 30) / BS_BLOCK - 1, 77777);
	s2 = snap_new(&e->a, "g@2");
	const struct bk_backup_options o2 = {.parent = s1, .parent_id = id1};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o2, &b, &err));
	assert_true(b.incremental);
	assert_int_equal(b.blocks_sent, 1);
	memcpy(id1, b.id, sizeof(id1));
	bs_volume_close(v);
	ok(bs_volume_resize(e->a.s, "g", UINT64_C(8) << 20, true, &err));
	ok(bs_volume_open(e->a.s, "g", &v, &err));
	s3 = snap_new(&e->a, "g@3");
	const struct bk_backup_options o3 = {.parent = s2, .parent_id = id1};

	ok(bk_backup_run(e->a.s, s3, e->repo, &o3, &b, &err));
	assert_true(b.incremental);
	assert_int_equal(b.blocks_sent, 0);
	check_clean(e);
	r = volume_new(&e->a, "g3", UINT64_C(8) << 20);
	ok(bk_restore_run(e->a.s, e->repo, b.id, r, NULL, &rr, &err));
	same_content(&e->a, s3, &e->a, r);
	fails(VS_E_INVAL, bk_restore_run(e->a.s, e->repo, id1, r, NULL, &rr, &err));
	bs_volume_close(r);
	bs_volume_close(s3);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

static void to_a_file_and_a_pipe(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "f"), *s = snap_new(&e->a, "f@1");
	uint8_t *want = read_all(&e->a, s), *got = malloc(SIZE);
	struct bk_backup_result b;
	struct bk_restore_result r;
	char path[128];
	int fd, pipes[2], status;
	struct stat st;
	pid_t pid;

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	snprintf(path, sizeof(path), "%s/out.img", e->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, want, 4096), 4096);
	ok(bk_restore_to_file(e->repo, b.id, fd, NULL, &r, &err));
	assert_int_equal(r.blocks_fetched, 1024);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true((uint64_t)st.st_blocks * 512 < SIZE); /* holes */
	assert_int_equal(pread(fd, got, SIZE, 0), SIZE);
	assert_memory_equal(got, want, SIZE);
	close(fd);

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		size_t n = 0;
		ssize_t k;

		close(pipes[1]);
		while ((k = read(pipes[0], got + n, SIZE - n)) > 0)
			n += (size_t)k;
		_exit(n == SIZE && memcmp(got, want, SIZE) == 0 ? 0 : 1);
	}
	close(pipes[0]);
	ok(bk_restore_to_file(e->repo, b.id, pipes[1], NULL, &r, &err));
	close(pipes[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	free(want);
	free(got);
	bs_volume_close(s);
	bs_volume_close(v);
}

struct canceler {
	atomic_bool flag;
	unsigned calls;
};

static void cancel_it(void *arg, uint64_t done, uint64_t total)
{
	struct canceler *c = arg;

	assert_true(done <= total);
	c->calls++;
	atomic_store(&c->flag, true);
}

static void canceled_then_again(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "c"), *s = snap_new(&e->a, "c@1");
	struct canceler c = {0};
	const struct bk_backup_options o = {
	    .watch = {.progress = cancel_it, .arg = &c, .cancel = &c.flag}};
	struct bk_backup_result b;
	struct bk_repo_info i1, i2;

	ok(bk_repo_info(e->repo, &i1, &err));
	atomic_store(&c.flag, true);
	fails(VS_E_CANCELED, bk_backup_run(e->a.s, s, e->repo, &o, &b, &err));
	ok(bk_repo_info(e->repo, &i2, &err));
	assert_int_equal(i1.backups, i2.backups);
	check_clean(e);
	atomic_store(&c.flag, false);
	c.calls = 0;
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	assert_int_equal(b.blocks_sent, 1024);
	ok(bk_repo_forget(e->repo, b.id, &err));
	fails(VS_E_NOENT, bk_repo_forget(e->repo, b.id, &err));
	bs_volume_close(s);
	bs_volume_close(v);
}

struct second {
	struct env *e;
	struct bs_volume *snap;
	struct bk_backup_result b;
	struct vs_error err;
	int rc;
};

static void *second_job(void *arg)
{
	struct second *s = arg;

	s->rc = bk_backup_run(s->e->a.s, s->snap, s->e->repo, NULL, &s->b, &s->err);
	return NULL;
}

static void two_at_once(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "t"), *s = snap_new(&e->a, "t@1"), *r;
	struct second two[2] = {{.e = e, .snap = s}, {.e = e, .snap = s}};
	struct bk_restore_result rr;
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, second_job, &two[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2; i++) {
		char name[16];

		assert_int_equal(two[i].rc, 0);
		snprintf(name, sizeof(name), "t%d", i + 1);
		r = volume_new(&e->a, name, SIZE);
		ok(bk_restore_run(e->a.s, e->repo, two[i].b.id, r, NULL, &rr, &err));
		same_content(&e->a, s, &e->a, r);
		bs_volume_close(r);
	}
	check_clean(e);
	bs_volume_close(s);
	bs_volume_close(v);
}

static void flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* The first pack file in the repository; its name within it. */
static void first_pack(struct env *e, char *path, size_t len, const char **name)
{
	char cmd[192];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "find %s/repo/packs -type f -size +100k | head -1", e->dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_non_null(fgets(path, (int)len, f));
	pclose(f);
	path[strcspn(path, "\n")] = 0;
	*name = strstr(path, "packs/");
	assert_non_null(*name);
}

struct lines {
	unsigned n;
	const char *name;
	bool named;
};

static void take_line(void *arg, const char *line)
{
	struct lines *l = arg;

	l->n++;
	l->named = l->named || strstr(line, l->name);
}

static void damaged_pack_is_named(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "d"), *s = snap_new(&e->a, "d@1"), *r;
	struct bk_backup_result b, again;
	struct bk_restore_result rr;
	struct bk_check_result c;
	struct lines l = {0};
	struct node far = {0};
	char path[192];

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	first_pack(e, path, sizeof(path), &l.name);
	flip_byte(path, 4000);
	node_up(&far, e->dir, "far");
	r = volume_new(&far, "r", SIZE);
	fails(VS_E_CORRUPT, bk_restore_run(far.s, e->repo, b.id, r, NULL, &rr, &err));
	assert_non_null(strstr(err.text, l.name));
	ok(bk_backup_verify(e->repo, b.id, false, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 0); /* places are right, bytes were not asked for */
	ok(bk_backup_verify(e->repo, b.id, true, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);
	l.named = false;
	ok(bk_repo_check(e->repo, true, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);

	/* The pack deleted: named as missing, and the next backup sends its blocks again. */
	unlink(path);
	l.named = false;
	ok(bk_repo_check(e->repo, false, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);
	fails(VS_E_CORRUPT,
	      bk_restore_run(far.s, e->repo, b.id, r,
			     &(struct bk_restore_options){.overwrite = true}, &rr, &err));
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &again, &err));
	assert_true(again.blocks_sent > 0);
	ok(bk_restore_run(far.s, e->repo, b.id, r, &(struct bk_restore_options){.overwrite = true},
			  &rr, &err));
	same_content(&e->a, s, &far, r);
	bs_volume_close(r);
	node_down(&far);
	bs_volume_close(s);
	bs_volume_close(v);
}

static uint64_t count(struct env *e, const char *what)
{
	char cmd[192], line[64] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "find %s/repo/%s -type f 2>/dev/null | wc -l", e->dir, what);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	pclose(f);
	return strtoull(line, NULL, 10);
}

/* Restores elsewhere and compares. */
static void restores_as(struct env *e, const char *id, struct bs_volume *want)
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

/* Two backups of which the first is deleted; the second keeps `kept` blocks of its 1024. */
static void gc_after_forget(struct env *e, unsigned kept, struct bk_gc_result *gc)
{
	struct bs_volume *v = make_source(e, "v"), *s1 = snap_new(&e->a, "v@1"), *s2;
	struct bk_backup_result b1, b2;
	struct bk_gc_result dry, none;
	struct bk_repo_info before, after;

	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	for (uint64_t i = 0; i < 2048; i++)
		if (i % 1024 >= kept)
			block_write(&e->a, v, i * 3, i + 100000);
	s2 = snap_new(&e->a, "v@2");
	const struct bk_backup_options o = {.parent = s1, .parent_id = b1.id};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b2, &err));
	ok(bk_repo_gc(e->repo, false, NULL, &none, &err));
	assert_int_equal(none.freed_bytes, 0);
	ok(bk_repo_forget(e->repo, b1.id, &err));
	ok(bk_repo_info(e->repo, &before, &err));
	ok(bk_repo_gc(e->repo, true, NULL, &dry, &err));
	assert_true(dry.freed_bytes > 0);
	ok(bk_repo_info(e->repo, &after, &err));
	assert_int_equal(before.stored_bytes, after.stored_bytes);
	ok(bk_repo_gc(e->repo, false, NULL, gc, &err));
	ok(bk_repo_info(e->repo, &after, &err));
	assert_true(after.stored_bytes < before.stored_bytes);
	assert_int_equal(after.unindexed_bytes, 0);
	check_clean(e);
	restores_as(e, b2.id, s2);
	ok(bk_repo_gc(e->repo, false, NULL, &none, &err));
	assert_int_equal(none.freed_bytes, 0);
	assert_int_equal(none.packs_rewritten + none.packs_deleted, 0);
	/* What was freed is sent again when it comes back. */
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	assert_int_equal(b1.blocks_sent, 1024 - kept);
	restores_as(e, b1.id, s1);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

static void gc_deletes_packs_without_use(void **state)
{
	struct bk_gc_result gc;

	gc_after_forget(*state, 0, &gc);
	assert_true(gc.packs_deleted >= 2); /* blocks and pages */
	assert_int_equal(gc.packs_rewritten, 0);
}

static void gc_writes_sparse_packs_anew(void **state)
{
	struct bk_gc_result gc;

	gc_after_forget(*state, 100, &gc);
	assert_true(gc.packs_rewritten >= 1);
}

static void gc_merges_index_objects(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "m"), *s = NULL;
	struct bk_backup_result b;
	struct bk_gc_result gc;
	char ids[12][BK_ID_MAX], full[16];

	for (unsigned i = 0; i < 12; i++) {
		if (s)
			bs_volume_close(s);
		block_write(&e->a, v, i, 4000 + i);
		snprintf(full, sizeof(full), "m@%u", i);
		s = snap_new(&e->a, full);
		ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
		assert_int_equal(b.blocks_sent, i ? 1 : 1025);
		memcpy(ids[i], b.id, sizeof(b.id));
	}
	assert_int_equal(count(e, "index"), 12);
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "index"), 1);
	assert_int_equal(count(e, "locks"), 0);
	check_clean(e);
	restores_as(e, ids[11], s);
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	assert_int_equal(b.blocks_sent, 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

static void gc_refuses_what_it_cannot_follow(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "q"), *s = snap_new(&e->a, "q@1");
	struct bk_backup_result b;
	struct bk_gc_result gc;
	struct dd_digest orphan;
	const char *name;
	char path[192];
	uint64_t packs;

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	first_pack(e, path, sizeof(path), &name);
	unlink(path);
	packs = count(e, "packs");
	fails(VS_E_CORRUPT, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_non_null(strstr(err.text, b.id));
	assert_int_equal(count(e, "packs"), packs);
	/* Without that backup it can, and a pack that nobody mentions goes too. */
	ok(bk_repo_forget(e->repo, b.id, &err));
	memset(&orphan, 0xaa, sizeof(orphan));
	bk_pack_name(&orphan, path);
	ok(bk_remote_put(e->repo->remote, path, "left by a killed job", 20, 0, &err));
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "packs"), 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

static void locks(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "l"), *s = snap_new(&e->a, "l@1");
	struct bk_lock *shared, *second, *alone;
	struct bk_backup_result b;
	struct bk_gc_result gc;
	int status;
	pid_t pid;

	ok(bk_lock_take(e->repo->remote, false, &shared, &err));
	fails(VS_E_BUSY, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_non_null(strstr(err.text, "a backup"));
	ok(bk_lock_take(e->repo->remote, false, &second, &err));
	bk_lock_release(second);
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	ok(bk_lock_refresh(shared, &err));
	bk_lock_release(shared);
	ok(bk_lock_take(e->repo->remote, true, &alone, &err));
	fails(VS_E_BUSY, bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	fails(VS_E_BUSY, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	bk_lock_release(alone);
	/* The lock of a process that is gone does not count. */
	pid = fork();
	if (pid == 0)
		_exit(bk_lock_take(e->repo->remote, false, &shared, NULL) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count(e, "locks"), 1);
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "locks"), 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

static int set_up_bare(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	snprintf(e->dir, sizeof(e->dir), "/tmp/vstore-backup-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->url, sizeof(e->url), "dir://%s/repo", e->dir);
	ok(bk_repo_attach(e->url, NULL, &e->repo, NULL, &err));
	*state = e;
	return 0;
}

static int tear_down_bare(void **state)
{
	struct env *e = *state;
	char cmd[128];

	bk_repo_close(e->repo);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", e->dir);
	assert_int_equal(system(cmd), 0);
	free(e);
	return 0;
}

/* Backs up, deletes and cleans up until it is killed; tells of each backup that is done. */
static void work_for_ever(struct env *e, unsigned round, int tell)
{
	char id[2][BK_ID_MAX] = {"", ""}, full[16];
	struct bk_backup_result b;
	struct bk_gc_result gc;
	struct bs_volume *v, *s;

	ok(bk_repo_open(e->url, NULL, &e->repo, &err));
	snprintf(full, sizeof(full), "child%u", round);
	node_up(&e->a, e->dir, full);
	v = volume_new(&e->a, "v", SIZE);
	for (unsigned i = 0;; i++) {
		for (uint64_t k = 0; k < 300; k++)
			block_write(&e->a, v, (k * 7 + i * 100) % BLOCKS,
				    ((round * 1000 + i) << 16) + k);
		snprintf(full, sizeof(full), "v@%u", i);
		s = snap_new(&e->a, full);
		ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
		if (write(tell, b.id, sizeof(b.id)) != sizeof(b.id))
			_exit(1);
		if (id[i % 2][0])
			ok(bk_repo_forget(e->repo, id[i % 2], &err));
		memcpy(id[i % 2], b.id, sizeof(b.id));
		if (i % 3 == 2)
			ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
		bs_volume_close(s);
	}
}

/* Killed at any moment of backup, deletion or clean-up: what is there is whole. */
static void killed_at_any_moment(void **state)
{
	struct env *e = *state;

	for (unsigned round = 0; round < 12; round++) {
		int tell[2], status;
		char id[BK_ID_MAX];
		pid_t pid;

		assert_int_equal(pipe(tell), 0);
		pid = fork();
		if (pid == 0)
			work_for_ever(e, round, tell[1]);
		close(tell[1]);
		for (unsigned i = 0; i <= round % 4; i++)
			assert_int_equal(read(tell[0], id, sizeof(id)), sizeof(id));
		usleep(round * 1700); /* where the kill comes, not whether it is right */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		close(tell[0]);
		check_clean(e);
	}
	assert_true(count(e, "backups") >= 12);
}

/* In a mount namespace of its own: a repository on 24 MiB. Exit 0 right, 77 cannot be tried. */
static int full_child(struct env *e)
{
	struct bk_backup_result b;
	struct bk_check_result c;
	struct bs_volume *v, *s;
	struct bk_gc_result gc;
	uint8_t block[BS_BLOCK];
	char repo[96];

	snprintf(repo, sizeof(repo), "%s/repo", e->dir);
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", repo, "tmpfs", 0, "size=24m") != 0)
		return 77;
	ok(bk_repo_attach(e->url, NULL, &e->repo, NULL, &err));
	node_up(&e->a, e->dir, "child");
	v = volume_new(&e->a, "v", UINT64_C(48) << 20);
	for (uint64_t i = 0; i < (48u << 20) / BS_BLOCK; i++) {
		assert_int_equal(vs_random(block, sizeof(block)), 0);
		ok(bs_io_write(e->a.port, v, i * BS_BLOCK, block, sizeof(block)));
	}
	s = snap_new(&e->a, "v@1");
	fails(VS_E_NOSPC, bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	if (!strstr(err.text, "packs/") || !strstr(err.text, "no space"))
		return 1;
	ok(bk_repo_check(e->repo, true, NULL, NULL, NULL, &c, &err));
	if (c.problems || c.backups)
		return 2;
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	return gc.freed_bytes < (16u << 20) ? 3 : 0;
}

static void full_remote(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(full_child(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# no mount namespace here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(full_and_increment, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(without_a_base, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(grown_and_shrunk, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(to_a_file_and_a_pipe, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(canceled_then_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(two_at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged_pack_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gc_deletes_packs_without_use, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gc_writes_sparse_packs_anew, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gc_merges_index_objects, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(gc_refuses_what_it_cannot_follow, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(locks, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(killed_at_any_moment, set_up_bare, tear_down_bare),
	    cmocka_unit_test_setup_teardown(full_remote, set_up_bare, tear_down_bare),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
