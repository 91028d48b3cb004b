/* The catalogue in a real store: what is there after any end, and what a store in trouble answers.
 */
#include "mgmt/catalogue.h"

#include "blockstore/object.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "datastore/record_format.h"
#include "tests/unit/store_scene.h"

#include <pthread.h>
#include <string.h>

#define SIZE (UINT64_C(160) << 20)

struct scene {
	char path[64];
	struct vs_loop *loop;
	struct bs_store *s;
	struct bs_port *port;
	struct mg_catalogue *c;
};

static const struct bs_init_options init = {.segment_size = 1u << 20};
static const struct bs_open_options opts = {.memory = UINT64_C(256) << 20};

static void open_scene(struct scene *x)
{
	struct vs_error err;

	store_open(x->path, &opts, x->loop, 8, &x->s, &x->port);
	if (mg_catalogue_open(x->s, &x->c, &err) != 0)
		fail_msg("%s", err.text);
}

static void close_scene(struct scene *x)
{
	mg_catalogue_close(x->c);
	x->c = NULL;
	store_close(x->s, x->port);
	x->s = NULL;
}

static void reopen(struct scene *x)
{
	close_scene(x);
	open_scene(x);
}

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));
	struct vs_error err;

	assert_non_null(x);
	assert_int_equal(vs_loop_new(&x->loop, &err), 0);
	store_make(x->path, "catalogue", SIZE, &init);
	open_scene(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct scene *x = *state;

	if (x->s)
		close_scene(x);
	assert_int_equal(store_problems(x->path), 0);
	vs_loop_free(x->loop);
	unlink(x->path);
	free(x);
	return 0;
}

static int put_one(struct scene *x, unsigned i, size_t length)
{
	char name[32], *text = calloc(1, length + 1);
	struct vs_error err = {0};
	json_t *doc;
	int rc;

	assert_non_null(text);
	memset(text, 'a' + (int)(i % 26), length);
	doc = json_pack("{s:s, s:i}", "text", text, "i", (int)i);
	(void)snprintf(name, sizeof(name), "vm-%u", i);
	rc = mg_catalogue_insert(x->c, MG_VM, name, doc, NULL, 0, &err);
	json_decref(doc);
	free(text);
	return rc;
}

static void put(struct scene *x, unsigned i, size_t length, int expected)
{
	assert_int_equal(put_one(x, i, length), expected);
}

static uint64_t count(struct scene *x)
{
	struct vs_error err;
	uint64_t n = 0;

	assert_int_equal(mg_catalogue_count(x->c, &n, &err), 0);
	return n;
}

static void test_objects(void **state)
{
	struct scene *x = *state;
	struct mg_catalogue *c = x->c;
	struct vs_uuid v[2] = {{{1}}, {{2}}};
	json_t *doc = json_pack("{s:s}", "secret", "s3cret"), *got = NULL;
	struct vs_error err;

	assert_int_equal(mg_catalogue_insert(c, MG_TARGET, "a", doc, v, 2, &err), 0);
	assert_int_equal(mg_catalogue_insert(c, MG_TARGET, "a", doc, v, 2, &err), VS_E_EXIST);
	assert_int_equal(mg_catalogue_insert(c, MG_VM, "a", doc, v, 1, &err), 0);
	assert_int_equal(mg_catalogue_update(c, MG_VM, "b", doc, v, 1, &err), VS_E_NOENT);
	assert_int_equal(mg_catalogue_delete(c, MG_REPO, "a", &err), VS_E_NOENT);
	assert_int_equal(mg_catalogue_get(c, MG_REPO, "a", &got, &err), VS_E_NOENT);

	reopen(x);
	c = x->c;
	assert_int_equal(mg_catalogue_get(c, MG_TARGET, "a", &got, &err), 0);
	assert_true(json_equal(got, doc));
	json_decref(got);
	assert_int_equal(mg_catalogue_users(c, &v[0], &got, &err), 0);
	assert_int_equal(json_array_size(got), 2);
	json_decref(got);

	/* An update replaces the volumes, a failed one changes nothing. */
	assert_int_equal(mg_catalogue_update(c, MG_TARGET, "a", doc, &v[1], 1, &err), 0);
	assert_int_equal(mg_catalogue_users(c, &v[0], &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(got, 0), "kind")),
			    "vm");
	json_decref(got);
	assert_int_equal(mg_catalogue_delete(c, MG_TARGET, "a", &err), 0);
	assert_int_equal(mg_catalogue_users(c, &v[1], &got, &err), 0);
	assert_int_equal(json_array_size(got), 0);
	json_decref(got);
	assert_int_equal(mg_catalogue_list(c, MG_VM, &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	json_decref(doc);
}

/* No user sees the volume, and a store that only has it is empty. */
static void test_is_hidden(void **state)
{
	struct scene *x = *state;
	struct bs_volume_info info;
	struct bs_store_info all;
	struct vs_error err;
	size_t n = 1;

	put(x, 1, 100, 0);
	assert_int_equal(bs_volume_list(x->s, 0, &info, 1, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_not_equal(bs_volume_find(x->s, MG_CATALOGUE_VOLUME, &info, &err), 0);
	assert_int_not_equal(bs_volume_delete(x->s, MG_CATALOGUE_VOLUME, BS_DELETE_PLAIN, &err), 0);
	bs_store_info(x->s, &all);
	assert_int_equal(all.volumes, 0);
	assert_int_equal(all.logical_used_bytes, 0);
	assert_int_equal(mg_catalogue_delete(x->c, MG_VM, "vm-1", &err), 0);
}

/* A document of a size that no single request of the store takes is there wholly. */
static void test_a_large_change(void **state)
{
	struct scene *x = *state;
	const char *text;
	json_t *doc = NULL;
	struct vs_error err;

	put(x, 1, 3u << 20, 0);
	reopen(x);
	assert_int_equal(mg_catalogue_get(x->c, MG_VM, "vm-1", &doc, &err), 0);
	text = json_string_value(json_object_get(doc, "text"));
	assert_int_equal(strlen(text), 3u << 20);
	assert_int_equal(strspn(text, "b"), 3u << 20);
	json_decref(doc);
}

/* One beyond what a commit takes is refused, and all is as it was. */
static void test_too_large_a_change(void **state)
{
	struct scene *x = *state;

	put(x, 1, 1000, 0);
	put(x, 2, 20u << 20, VS_E_NOSPC);
	assert_int_equal(count(x), 1);
	put(x, 3, 1000, 0);
	reopen(x);
	assert_int_equal(count(x), 2);
}

static unsigned fill(struct scene *x)
{
	struct bs_volume_spec spec = {.name = "full", .size = SIZE, .compression = -1};
	uint8_t *block = malloc(65536);
	struct bs_volume *v;
	struct vs_error err;
	unsigned n = 0;

	assert_non_null(block);
	assert_int_equal(bs_volume_create(x->s, &spec, NULL, &err), 0);
	assert_int_equal(bs_volume_open(x->s, "full", &v, &err), 0);
	for (int rc = 0; rc == 0; n += rc == 0) {
		for (unsigned i = 0; i < 65536; i += 8)
			vs_put_le64(block + i, ((uint64_t)n << 32 | i) * 0x9e3779b97f4a7c15u);
		rc = bs_io_write(x->port, v, (uint64_t)n * 65536, block, 65536);
	}
	bs_volume_close(v);
	free(block);
	return n;
}

/*
 * What has to be remembered is remembered, also when guests have taken all space. New objects are
 * refused, however many come, so that there is always room to delete.
 */
static void test_a_full_store(void **state)
{
	struct scene *x = *state;
	json_t *doc = json_pack("{s:s}", "kept", "00");
	char name[32];
	unsigned more = 0;
	struct vs_error err = {0};

	for (unsigned i = 0; i < 30; i++)
		put(x, i, 500, 0);
	assert_true(fill(x) > 100);
	while (put_one(x, 100 + more, 5000) == 0) /* what is left beside pieces of 64 KiB */
		assert_true(++more < 100);
	for (unsigned i = 0; i < 1000; i++)
		put(x, 1000 + i, 5000, VS_E_NOSPC);
	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "unit-%u", i);
		assert_int_equal(mg_catalogue_insert(x->c, MG_UNIT, name, doc, NULL, 0, &err), 0);
		(void)snprintf(name, sizeof(name), "repo-%u", i);
		assert_int_equal(mg_catalogue_take(x->c, MG_REPO, name, doc, NULL, 0, &err), 0);
	}
	for (unsigned i = 0; i < 30; i++) {
		(void)snprintf(name, sizeof(name), "vm-%u", i);
		assert_int_equal(mg_catalogue_update(x->c, MG_VM, name, doc, NULL, 0, &err), 0);
		assert_int_equal(mg_catalogue_delete(x->c, MG_VM, name, &err), 0);
	}
	json_decref(doc);
	assert_int_equal(count(x), 20 + more);
	reopen(x);
	assert_int_equal(count(x), 20 + more);
	assert_int_equal(bs_volume_delete(x->s, "full", BS_DELETE_PLAIN, &err), 0);
}

static void writes_base(struct scene *x, uint64_t magic)
{
	struct bs_object_change c = {.object = DS_BASE,
				     .check = BS_NO_WORD,
				     .end = BS_NO_WORD,
				     .set = DS_BIT(DS_B_MAGIC),
				     .word = {[DS_B_MAGIC] = magic}};
	struct bs_req req = {.op = BS_RECORDS, .changes = &c, .nchanges = 1, .flags = BS_FUA};
	struct vs_error err;

	assert_int_equal(bs_own_open(x->s, MG_CATALOGUE_VOLUME, NULL, &req.volume, &err), 0);
	assert_int_equal(bs_io_wait(x->port, &req), 0);
	bs_volume_close(req.volume);
}

/* Something else in its place is neither taken for it nor written over. */
static void test_another_magic(void **state)
{
	struct scene *x = *state;
	struct vs_error err = {0};

	put(x, 1, 100, 0);
	mg_catalogue_close(x->c);
	x->c = NULL;
	writes_base(x, DS_MAGIC);
	assert_int_equal(mg_catalogue_open(x->s, &x->c, &err), VS_E_CORRUPT);
	assert_non_null(strstr(err.text, MG_CATALOGUE_VOLUME));
	assert_null(x->c);
}

/* A page that is not what SQLite wrote. */
static void test_damage(void **state)
{
	struct scene *x = *state;
	uint8_t page[BS_BLOCK];
	struct iovec iov = {page, sizeof(page)};
	struct bs_req req = {
	    .op = BS_WRITE, .object = DS_BASE, .length = sizeof(page), .iov = &iov, .iovcnt = 1};
	struct vs_error err = {0};

	for (unsigned i = 0; i < 50; i++)
		put(x, i, 500, 0);
	mg_catalogue_close(x->c);
	x->c = NULL;
	memset(page, 0x5a, sizeof(page));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(bs_own_open(x->s, MG_CATALOGUE_VOLUME, NULL, &req.volume, &err),
				 0);
		req.offset = (uint64_t)(3 - i) * sizeof(page);
		assert_int_equal(bs_io_wait(x->port, &req), 0);
		bs_volume_close(req.volume);
		assert_int_equal(mg_catalogue_open(x->s, &x->c, &err), VS_E_CORRUPT);
		assert_null(strchr(err.text, '\n'));
		assert_null(x->c);
	}
}

/* A daemon that is killed: what was answered is there. */
static void test_a_kill(void **state)
{
	struct scene *x = *state;
	char name[96], command[192];

	for (unsigned i = 0; i < 20; i++)
		put(x, i, 3000, 0);
	(void)snprintf(name, sizeof(name), "%s.killed", x->path);
	(void)snprintf(command, sizeof(command), "cp %s %s", x->path, name);
	assert_int_equal(system(command), 0);
	close_scene(x);
	assert_int_equal(rename(name, x->path), 0);
	open_scene(x);
	assert_int_equal(count(x), 20);
}

static void *inserts(void *arg)
{
	struct {
		struct scene *x;
		unsigned from;
	} *a = arg;

	for (unsigned i = 0; i < 40; i++) {
		put(a->x, a->from + i, 200, 0);
		(void)count(a->x);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct {
		struct scene *x;
		unsigned from;
	} arg[3] = {{*state, 0}, {*state, 100}, {*state, 200}};
	pthread_t thread[3];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, inserts, &arg[i]), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(count(*state), 120);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_objects),	       TEST(test_is_hidden),
	    TEST(test_a_large_change), TEST(test_too_large_a_change),
	    TEST(test_a_full_store),   TEST(test_another_magic),
	    TEST(test_damage),	       TEST(test_a_kill),
	    TEST(test_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
