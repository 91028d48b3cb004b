/* Repositories without a store: create and open, the index, trees against a model, damage. */
#include "backup/repo_impl.h"
#include "backup/sink.h"
#include "backup/tree.h"

#include "common/bytes.h"

#include "tests/unit/files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <xxhash.h>

#define ok(call) expect_code((call), 0, #call)
#define fails(code, call) expect_code((call), (code), #call)

static struct vs_error err;
static uint64_t rng_state;

static void expect_code(int rc, int want, const char *what)
{
	if (rc != want)
		fail_msg("%s: %s (%s), not %s", what, vs_err_name(rc), rc ? err.text : "",
			 vs_err_name(want));
}

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

struct env {
	char dir[64], url[80];
	struct dd_hasher *h;
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	rng_state = 0x853c49e6748fea9bu;
	snprintf(e->dir, sizeof(e->dir), "/tmp/vstore-repo-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->url, sizeof(e->url), "dir://%s", e->dir);
	ok(dd_hasher_new(&e->h, &err));
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	assert_int_equal(files_remove(e->dir), 0);
	dd_hasher_free(e->h);
	free(e);
	return 0;
}

/* A file of the repository, opened. */
static int file(struct env *e, const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", e->dir, name);
	fd = open(path, flags, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void attach_and_open(void **state)
{
	struct env *e = *state;
	struct bk_repo *r, *again;
	struct bk_repo_info a, b;
	bool created;
	char url[128];

	fails(VS_E_NOENT, bk_repo_open(e->url, NULL, &r, &err));
	ok(bk_repo_attach(e->url, NULL, &r, &created, &err));
	assert_true(created);
	ok(bk_repo_attach(e->url, NULL, &again, &created, &err));
	assert_false(created);
	ok(bk_repo_info(r, &a, &err));
	ok(bk_repo_info(again, &b, &err));
	assert_true(vs_uuid_equal(&a.uuid, &b.uuid));
	assert_int_equal(a.backups, 0);
	assert_int_equal(a.format_version, 1);
	bk_repo_close(again);
	bk_repo_close(r);
	snprintf(url, sizeof(url), "%s/new", e->url);
	ok(bk_repo_attach(url, NULL, &r, &created, &err)); /* makes the folder */
	assert_true(created);
	bk_repo_close(r);
	fails(VS_E_INVAL, bk_repo_open("nonsense", NULL, &r, &err));
}

static void not_a_repository(void **state)
{
	struct env *e = *state;
	struct bk_repo *r;

	close(file(e, "holiday.jpg", O_CREAT | O_WRONLY));
	fails(VS_E_NOTSTORE, bk_repo_open(e->url, NULL, &r, &err));
	assert_non_null(strstr(err.text, "not a vstore repository"));
	fails(VS_E_NOTSTORE, bk_repo_attach(e->url, NULL, &r, NULL, &err));
}

static void rewrite_config(struct env *e, unsigned at, uint8_t value, bool sum)
{
	uint8_t obj[BK_CONFIG_SIZE];
	int fd = file(e, "config", O_RDWR);

	assert_int_equal(read(fd, obj, sizeof(obj)), sizeof(obj));
	obj[at] = value;
	if (sum) {
		vs_put_le64(obj + 88, XXH3_64bits(obj + 128, sizeof(obj) - 128));
		vs_put_le64(obj + 120, XXH64(obj, 120, 0));
	}
	assert_int_equal(pwrite(fd, obj, sizeof(obj), 0), sizeof(obj));
	close(fd);
}

static void later_version(void **state)
{
	struct env *e = *state;
	struct bk_repo *r;
	struct bk_repo_info i;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	bk_repo_close(r);
	rewrite_config(e, 128 + 48, 1, true); /* read-only compatible feature */
	ok(bk_repo_open(e->url, NULL, &r, &err));
	ok(bk_repo_info(r, &i, &err));
	assert_true(i.read_only);
	fails(VS_E_ROFS, bk_repo_forget(r, "20260101-000000-00000000", &err));
	bk_repo_close(r);
	rewrite_config(e, 128 + 40, 0xff, true); /* compatible: no matter */
	ok(bk_repo_open(e->url, NULL, &r, &err));
	bk_repo_close(r);
	rewrite_config(e, 128 + 56, 1, true); /* incompatible */
	fails(VS_E_FEATURE, bk_repo_open(e->url, NULL, &r, &err));
	rewrite_config(e, 8, 2, true);
	fails(VS_E_VERSION, bk_repo_open(e->url, NULL, &r, &err));
	assert_non_null(strstr(err.text, "later vstore"));
	fails(VS_E_VERSION, bk_repo_attach(e->url, NULL, &r, NULL, &err));
	rewrite_config(e, 9, 9, false);
	fails(VS_E_CORRUPT, bk_repo_open(e->url, NULL, &r, &err));
	assert_non_null(strstr(err.text, "/config"));
}

/* Stores the blocks of seeds [from, to) through a sink; returns how many were new. */
static unsigned store_blocks(struct env *e, struct bk_repo *r, uint64_t from, uint64_t to)
{
	enum { PER_FRAME = 32 };
	static uint8_t raw[PER_FRAME * 4096];
	uint32_t items[PER_FRAME];
	struct bk_sink_stats st;
	struct dd_digest d;
	struct bk_sink *s;
	unsigned n = 0;

	ok(bk_sink_new(r, &s, &err));
	for (uint64_t i = from; i < to; i++) {
		uint8_t *p = raw + (size_t)n * 4096;
		int rc;

		memset(p, 0, 4096);
		vs_put_le64(p, i);
		dd_hash(e->h, p, 4096, &d);
		rc = bk_sink_reserve(s, &d, BK_KIND_BLOCK, &items[n], &err);
		assert_true(rc >= 0);
		n += (unsigned)rc;
		if (n == PER_FRAME) {
			ok(bk_sink_frame(s, BK_KIND_BLOCK, raw, items, n, &err));
			n = 0;
		}
		if (bk_sink_full(s)) {
			if (n)
				ok(bk_sink_frame(s, BK_KIND_BLOCK, raw, items, n, &err));
			n = 0;
			ok(bk_sink_commit(s, &err));
		}
	}
	if (n)
		ok(bk_sink_frame(s, BK_KIND_BLOCK, raw, items, n, &err));
	ok(bk_sink_commit(s, &err));
	bk_sink_stats(s, &st);
	bk_sink_free(s);
	return (unsigned)st.blocks;
}

static void all_found(struct env *e, struct bk_repo *r, uint64_t from, uint64_t to, uint64_t step)
{
	uint8_t raw[4096] = {0};
	struct bk_fetch *f;
	struct dd_digest d;
	const uint8_t *data;

	ok(bk_fetch_new(r, 4, &f, &err));
	for (uint64_t i = from; i < to; i += step) {
		vs_put_le64(raw, i);
		dd_hash(e->h, raw, 4096, &d);
		ok(bk_fetch_item(f, &d, BK_KIND_BLOCK, &data, &err));
		assert_memory_equal(data, raw, 4096);
		fails(VS_E_NOENT, bk_index_find(r->index, &d, BK_KIND_PAGE, NULL, &err));
		d.b[31] ^= 1; /* same slot and tag, another digest */
		fails(VS_E_NOENT, bk_index_find(r->index, &d, BK_KIND_BLOCK, NULL, &err));
	}
	bk_fetch_free(f);
}

static void blocks_are_stored_once(void **state)
{
	struct env *e = *state;
	struct bk_repo *r, *second;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	assert_int_equal(store_blocks(e, r, 0, 3000), 3000);
	assert_int_equal(store_blocks(e, r, 0, 3500), 500);
	all_found(e, r, 0, 3500, 1);
	/* Another handle learns of it when it refreshes. */
	ok(bk_repo_open(e->url, NULL, &second, &err));
	ok(bk_index_refresh(second->index, NULL, NULL, &err));
	assert_int_equal(bk_index_entries(second->index), 3500);
	assert_int_equal(store_blocks(e, r, 4000, 4100), 100);
	ok(bk_index_refresh(second->index, NULL, NULL, &err));
	assert_int_equal(store_blocks(e, second, 3000, 4200), 600);
	all_found(e, second, 0, 4200, 1);
	bk_repo_close(second);
	bk_repo_close(r);
}

/* A table for 45,000 entries and 60,000 blocks: the rest is searched in place. */
static void small_index_memory(void **state)
{
	const struct bk_repo_options opts = {.index_memory = 1u << 20};
	struct env *e = *state;
	struct bk_repo *r;

	ok(bk_repo_attach(e->url, &opts, &r, NULL, &err));
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(store_blocks(e, r, i * 20000, (i + 1) * 20000), 20000);
	assert_int_equal(bk_index_entries(r->index), 60000);
	all_found(e, r, 0, 60000, 31);
	assert_int_equal(store_blocks(e, r, 50000, 61000), 1000);
	bk_repo_close(r);
	ok(bk_repo_open(e->url, &opts, &r, &err));
	ok(bk_index_refresh(r->index, NULL, NULL, &err));
	all_found(e, r, 0, 61000, 37);
	bk_repo_close(r);
}

/* A model volume: a digest for each block, zeros where it reads as zeros. */
struct model {
	uint64_t blocks;
	struct dd_digest *d;
};

static void model_resize(struct model *m, uint64_t blocks)
{
	m->d = reallocarray(m->d, blocks, sizeof(*m->d));
	assert_non_null(m->d);
	if (blocks > m->blocks)
		memset(m->d + m->blocks, 0, (blocks - m->blocks) * sizeof(*m->d));
	m->blocks = blocks;
}

/* Random changes of the model, told to the tree in order; sparse in large ones. */
static void change(struct model *m, struct bk_tree *t)
{
	uint64_t at = rng() % (m->blocks / 4 + 1), n;

	while (at < m->blocks) {
		if (rng() % 4 == 0) {
			n = rng() % (rng() % 8 ? 40 : m->blocks / 2 + 1) + 1;
			n = VS_MIN(n, m->blocks - at);
			memset(m->d + at, 0, n * sizeof(*m->d));
			ok(bk_tree_zero(t, at, n, &err));
			at += n;
		} else {
			for (n = rng() % 30; n > 0 && at < m->blocks; n--, at++) {
				memset(&m->d[at], (int)(rng() % 255 + 1), sizeof(m->d[at]));
				ok(bk_tree_set(t, at, &m->d[at], &err));
			}
		}
		at += rng() % (m->blocks / 8 + 2);
	}
}

static void same_tree(struct bk_repo *r, const struct model *m, const struct dd_digest *root)
{
	static const struct dd_digest null;
	struct bk_walk *w = calloc(1, sizeof(*w));
	uint64_t first, count, at = 0;
	const struct dd_digest *d;
	struct bk_fetch *f;

	ok(bk_fetch_new(r, 8, &f, &err));
	bk_walk_begin(w, f, root, m->blocks);
	for (;;) {
		ok(bk_walk_next(w, &first, &count, &d, &err));
		if (count == 0)
			break;
		assert_int_equal(first, at);
		for (uint64_t i = 0; i < count; i++, at++)
			if (!dd_digest_equal(d ? &d[i] : &null, &m->d[at]))
				fail_msg("block %llu differs", (unsigned long long)at);
	}
	assert_int_equal(at, m->blocks);
	bk_fetch_free(f);
	free(w);
}

/* Builds trees upon trees, of changing sizes, from one to three levels. */
static void trees_equal_the_model(void **state)
{
	static const uint64_t sizes[] = {1,	511,	512,	513,	3000,
					 70000, 262144, 262145, 300000, 600};
	struct env *e = *state;
	struct model m = {0};
	struct dd_digest root = {{0}};
	struct bk_repo *r;
	uint64_t base = 0;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	for (unsigned round = 0; round < 60; round++) {
		struct bk_fetch *f;
		struct bk_sink *s;
		struct bk_tree *t;

		model_resize(&m, round % 3 || !base ? sizes[rng() % VS_ARRAY_LEN(sizes)] : base);
		ok(bk_sink_new(r, &s, &err));
		ok(bk_fetch_new(r, 4, &f, &err));
		ok(bk_tree_new(s, f, base ? &root : NULL, base, m.blocks, r->config.frame_raw, &t,
			       &err));
		if (round % 10 != 9)
			change(&m, t);
		ok(bk_tree_finish(t, &root, &err));
		ok(bk_sink_commit(s, &err));
		bk_tree_free(t);
		bk_fetch_free(f);
		bk_sink_free(s);
		same_tree(r, &m, &root);
		base = m.blocks;
	}
	bk_repo_close(r);
	free(m.d);
}

static uint64_t pages_for(struct bk_repo *r, const struct dd_digest *base, uint64_t blocks,
			  uint64_t set, struct dd_digest *root)
{
	struct bk_sink_stats st;
	struct bk_fetch *f;
	struct bk_sink *s;
	struct bk_tree *t;
	struct dd_digest d;

	memset(&d, 0x5a, sizeof(d));
	ok(bk_sink_new(r, &s, &err));
	ok(bk_fetch_new(r, 4, &f, &err));
	ok(bk_tree_new(s, f, base, base ? blocks : 0, blocks, r->config.frame_raw, &t, &err));
	if (base) {
		ok(bk_tree_set(t, set, &d, &err));
	} else {
		for (uint64_t i = 0; i < blocks; i++) /* all leaves are equal */
			ok(bk_tree_set(t, i, &d, &err));
	}
	ok(bk_tree_finish(t, root, &err));
	ok(bk_sink_commit(s, &err));
	bk_sink_stats(s, &st);
	bk_tree_free(t);
	bk_fetch_free(f);
	bk_sink_free(s);
	return st.pages;
}

static void equal_subtrees_are_stored_once(void **state)
{
	struct env *e = *state;
	struct dd_digest root, same, one;
	struct bk_repo *r;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	assert_int_equal(pages_for(r, NULL, 512 * 512, 0, &root), 2); /* 512 leaves, one page */
	assert_int_equal(pages_for(r, &root, 512 * 512, 777, &same), 0);
	assert_true(dd_digest_equal(&root, &same));
	assert_int_equal(pages_for(r, NULL, 513, 0, &one), 2); /* its second leaf and its top */
	bk_repo_close(r);
}

struct lines {
	unsigned n;
	char last[512];
};

static void take_line(void *arg, const char *line)
{
	struct lines *l = arg;

	l->n++;
	snprintf(l->last, sizeof(l->last), "%s", line);
}

static int first_name(void *arg, const char *name, uint64_t size)
{
	(void)size;
	snprintf(arg, BK_NAME_MAX, "%s", name);
	return 1;
}

static void damaged_index_is_named(void **state)
{
	struct env *e = *state;
	char name[BK_NAME_MAX];
	struct bk_check_result c;
	struct lines l = {0};
	struct bk_repo *r;
	int fd;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	store_blocks(e, r, 0, 100);
	ok(bk_repo_check(r, true, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 0);
	assert_int_equal(c.blocks, 100);
	assert_int_equal(bk_remote_list(r->remote, "index/", first_name, name, &err), 1);
	bk_repo_close(r);
	fd = file(e, name, O_RDWR);
	assert_int_equal(pwrite(fd, "x", 1, 700), 1);
	ok(bk_repo_open(e->url, NULL, &r, &err));
	fails(VS_E_CORRUPT, bk_index_refresh(r->index, NULL, NULL, &err));
	assert_non_null(strstr(err.text, name));
	ok(bk_repo_check(r, false, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 1);
	assert_non_null(strstr(l.last, name));
	assert_int_equal(ftruncate(fd, 300), 0);
	fails(VS_E_CORRUPT, bk_index_refresh(r->index, NULL, NULL, &err));
	assert_non_null(strstr(err.text, name));
	close(fd);
	bk_repo_close(r);
}

static void damaged_descriptor_is_named(void **state)
{
	struct env *e = *state;
	struct bk_backup_info b = {.volume = "v", .size = 4096, .sector = 512, .blocks_total = 1};
	uint8_t obj[BK_BACKUP_SIZE];
	char name[BK_NAME_MAX];
	struct bk_check_result c;
	struct lines l = {0};
	struct bk_repo *r;

	ok(bk_repo_attach(e->url, NULL, &r, NULL, &err));
	ok(bk_repo_new_id(1700000000500000000, b.id, &err));
	assert_int_equal(strncmp(b.id, "20231114-221320-8000", 20), 0);
	ok(bk_repo_backup_name(b.id, name, &err));
	bk_backup_encode(&b, obj);
	ok(bk_remote_put(r->remote, name, obj, sizeof(obj), BK_PUT_EXCLUSIVE, &err));
	ok(bk_repo_check(r, false, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 0);
	assert_int_equal(c.backups, 1);
	ok(bk_remote_put(r->remote, "backups/20231114-221320-another", obj, sizeof(obj), 0, &err));
	ok(bk_repo_check(r, false, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 1); /* its id is not its name */
	assert_non_null(strstr(l.last, "backups/20231114-221320-another"));
	obj[200]++;
	ok(bk_remote_put(r->remote, name, obj, sizeof(obj), 0, &err));
	fails(VS_E_CORRUPT, bk_repo_show(r, b.id, &b, &err));
	assert_non_null(strstr(err.text, name));
	fails(VS_E_NOENT, bk_repo_show(r, "20231114-221320-missing", &b, &err));
	fails(VS_E_INVAL, bk_repo_show(r, "../config", &b, &err));
	bk_repo_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(attach_and_open, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(not_a_repository, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(later_version, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(blocks_are_stored_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(small_index_memory, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(trees_equal_the_model, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(equal_subtrees_are_stored_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged_index_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged_descriptor_is_named, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
