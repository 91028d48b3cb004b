#include "mgmt/fetch.h"

#include "common/bytes.h"

#include "tests/unit/store_scene.h"

#include <string.h>

#define STORE (UINT64_C(128) << 20)
#define SIZE (UINT64_C(24) << 20)
#define TAIL 512u /* the source ends so much after its last whole block */
#define IDENTITY 42u
#define PATIENCE UINT64_C(60000000000)

/* How the source behaves; any thread. */
static atomic_int status; /* of reads; 1: they are not answered at all */
static atomic_int asked, opened;
static atomic_ullong size, identity;

struct fixture {
	char path[64];
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	struct vs_uuid uuid;
	struct mg_fetch *fetch;
	atomic_int troubles, relieved, over;
	atomic_ullong left;
	char why[256];
};

/* ---- a source: noise, every second MiB zeros of which it knows
 * ----------------------------------- */

static void bytes_at(uint64_t offset, uint8_t *p, uint64_t length)
{
	for (uint64_t i = 0; i < length; i += 8) {
		uint64_t at = offset + i, x = (at + 1) * UINT64_C(0x9e3779b97f4a7c15);

		x ^= x >> 29;
		vs_put_le64(p + i, at >> 20 & 1 ? 0 : x * UINT64_C(0xbf58476d1ce4e5b9));
	}
}

struct memory {
	struct mg_source base;
	struct vs_loop *loop;
	struct call {
		struct vs_post post;
		struct mg_source_req *req;
	} call[MG_SOURCE_DEPTH];
};

static void answer(struct vs_post *post)
{
	struct call *c = post->arg;
	struct mg_source_req *req = c->req;

	c->req = NULL;
	req->status = atomic_load(&status);
	if (req->status == 0 && req->buf) {
		bytes_at(req->offset, req->buf, req->length);
	} else if (req->status == 0) {
		uint64_t end = (req->offset >> 20 << 20) + (1u << 20);

		req->nruns = 1;
		req->runs[0] = (struct mg_source_run){VS_MIN(end - req->offset, req->length),
						      !(req->offset >> 20 & 1)};
	}
	req->done(req);
}

static void submit(struct mg_source *source, struct mg_source_req *req)
{
	struct memory *m = (struct memory *)source;
	struct call *c = m->call;

	while (c->req)
		c++;
	assert_true(c < m->call + MG_SOURCE_DEPTH);
	assert_true(vs_range_ok(req->offset, req->length, source->size));
	c->req = req;
	c->post = (struct vs_post){.call = answer, .arg = c};
	atomic_fetch_add(&asked, 1);
	if (atomic_load(&status) != 1)
		vs_loop_post(m->loop, &c->post);
}

static void close_memory(struct mg_source *source)
{
	struct memory *m = (struct memory *)source;

	while (atomic_load(&status) != 1) { /* what is posted is not to be called any more */
		unsigned busy = 0;

		for (unsigned i = 0; i < MG_SOURCE_DEPTH; i++)
			busy += m->call[i].req != NULL;
		if (!busy)
			break;
		vs_loop_turn(m->loop, 0);
	}
	free(m);
}

static int open_memory(const json_t *doc, struct vs_loop *loop, const atomic_bool *cancel,
		       struct mg_source **out, struct vs_error *err);
static const struct mg_source_kind kind = {
    .name = "memory", .open = open_memory, .submit = submit, .close = close_memory};

static int open_memory(const json_t *doc, struct vs_loop *loop, const atomic_bool *cancel,
		       struct mg_source **out, struct vs_error *err)
{
	struct memory *m = calloc(1, sizeof(*m));

	assert_true(json_is_object(doc) && cancel && m);
	(void)err;
	atomic_fetch_add(&opened, 1);
	m->base = (struct mg_source){&kind, atomic_load(&size), atomic_load(&identity), 512};
	m->loop = loop;
	*out = &m->base;
	return 0;
}

/* ---- the fetch ------------------------------------------------------------------------------- */

static int document(void *arg, json_t **doc, struct vs_error *err)
{
	(void)arg;
	(void)err;
	*doc = json_object();
	return 0;
}

static void progress(void *arg, uint64_t left)
{
	atomic_store(&((struct fixture *)arg)->left, left);
}

static void trouble(void *arg, const char *why)
{
	struct fixture *f = arg;

	if (why)
		(void)snprintf(f->why, sizeof(f->why), "%s", why);
	atomic_fetch_add(why ? &f->troubles : &f->relieved, 1);
}

static void finished(void *arg)
{
	atomic_store(&((struct fixture *)arg)->over, 1);
}

static void start(struct fixture *f)
{
	const struct mg_fetch_spec spec = {.store = f->s,
					   .origin = f->uuid,
					   .size = SIZE + TAIL,
					   .identity = IDENTITY,
					   .kind = &kind,
					   .document = document,
					   .progress = progress,
					   .trouble = trouble,
					   .finished = finished,
					   .arg = f};
	struct vs_error err = {0};

	if (mg_fetch_start(&spec, &f->fetch, &err))
		fail_msg("%s", err.text);
}

static void await(const atomic_int *what, int at_least)
{
	uint64_t end = vs_now_ns() + PATIENCE;

	while (atomic_load(what) < at_least) {
		assert_true(vs_now_ns() < end);
		usleep(1000);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_PLAIN};
	const struct bs_open_options opts = {.memory = UINT64_C(256) << 20,
					     .origin_hold_ms = 60000};
	const struct bs_volume_spec spec = {
	    .name = "v", .size = SIZE + BS_BLOCK, .compression = -1, .origin = &f->uuid};
	struct vs_error err = {0};

	atomic_store(&status, 0);
	atomic_store(&asked, 0);
	atomic_store(&opened, 0);
	atomic_store(&size, SIZE + TAIL);
	atomic_store(&identity, IDENTITY);
	store_make(f->path, "fetch", STORE, &init);
	assert_int_equal(vs_loop_new(&f->loop, &err), 0);
	assert_int_equal(vs_uuid_new(&f->uuid), 0);
	store_open(f->path, &opts, f->loop, 64, &f->s, &f->port);
	if (bs_volume_create(f->s, &spec, NULL, &err))
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mg_fetch_stop(f->fetch);
	store_close(f->s, f->port);
	assert_int_equal(store_problems(f->path), 0);
	vs_loop_free(f->loop);
	unlink(f->path);
	free(f);
	return 0;
}

/* All of the volume is what the source has; the rest of its last block are zeros. */
static void compare(struct fixture *f)
{
	uint8_t *have = malloc(SIZE + BS_BLOCK), *want = calloc(1, SIZE + BS_BLOCK);
	struct bs_volume *v;

	bytes_at(0, want, SIZE + TAIL);
	assert_int_equal(bs_volume_open(f->s, "v", &v, NULL), 0);
	assert_int_equal(bs_io_read(f->port, v, 0, have, SIZE + BS_BLOCK), 0);
	assert_memory_equal(have, want, SIZE + BS_BLOCK);
	bs_volume_close(v);
	free(have);
	free(want);
}

static int read_block(struct fixture *f, uint64_t block)
{
	uint8_t have[BS_BLOCK], want[BS_BLOCK];
	struct bs_volume *v;
	int rc;

	assert_int_equal(bs_volume_open(f->s, "v", &v, NULL), 0);
	rc = bs_io_read(f->port, v, block * BS_BLOCK, have, BS_BLOCK);
	bs_volume_close(v);
	bytes_at(block * BS_BLOCK, want, BS_BLOCK);
	if (rc == 0)
		assert_memory_equal(have, want, BS_BLOCK);
	return rc;
}

static void test_all_of_it(void **state)
{
	struct fixture *f = *state;
	struct bs_origin_info info;
	struct bs_store_info store;

	start(f);
	await(&f->over, 1);
	assert_int_equal(mg_fetch_left(f->fetch), 0);
	assert_int_equal(bs_origin_find(f->s, &f->uuid, &info, NULL), VS_E_NOENT);
	compare(f);
	assert_int_equal(f->troubles, 0);
	bs_store_info(f->s, &store); /* half of it are zeros */
	assert_int_equal(store.unique_content_bytes, SIZE / 2 + BS_BLOCK);
}

static void test_a_source_that_fails(void **state)
{
	struct fixture *f = *state;
	int before;

	atomic_store(&status, VS_E_IO);
	start(f);
	await(&f->troubles, 1);
	assert_string_equal(f->why, vs_err_text(VS_E_IO));
	/* who reads is told at once, not when the store's time is over */
	assert_int_equal(read_block(f, 5), VS_E_IO);
	before = atomic_load(&asked);
	usleep(300000);
	assert_in_range(atomic_load(&asked) - before, 0, 16); /* it does not ask all the time */
	atomic_store(&status, 0);
	assert_int_equal(read_block(f, 6), 0);
	await(&f->over, 1);
	assert_int_equal(f->troubles, f->relieved);
	compare(f);
}

static void test_another_source(void **state)
{
	struct fixture *f = *state;

	atomic_store(&identity, IDENTITY + 1);
	atomic_store(&size, SIZE + BS_BLOCK);
	start(f);
	await(&f->troubles, 1);
	assert_non_null(strstr(f->why, "another"));
	atomic_store(&identity, IDENTITY);
	atomic_store(&size, SIZE);
	await(&opened, 2);
	assert_int_equal(atomic_load(&asked), 0);
	atomic_store(&size, SIZE + TAIL + BS_BLOCK); /* larger is no harm */
	await(&f->over, 1);
	assert_in_range(f->troubles, 1, 2);
	assert_int_equal(read_block(f, 6), 0);
}

static void test_stopped_and_started(void **state)
{
	struct fixture *f = *state;
	uint64_t begun = vs_now_ns();

	atomic_store(&status, 1);
	start(f);
	await(&asked, 1);
	mg_fetch_stop(f->fetch);
	assert_true(vs_now_ns() - begun < PATIENCE);
	assert_int_equal(f->over, 0);
	atomic_store(&status, 0);
	start(f);
	await(&f->over, 1);
	compare(f);
}

static void test_a_full_store(void **state)
{
	struct fixture *f = *state;
	const struct bs_volume_spec spec = {.name = "w", .size = STORE, .compression = -1};
	uint8_t *noise = malloc(1 << 20);
	struct bs_volume *v;
	uint64_t at = 0;

	assert_int_equal(bs_volume_create(f->s, &spec, NULL, NULL), 0);
	assert_int_equal(bs_volume_open(f->s, "w", &v, NULL), 0);
	for (int rc = 0; rc == 0 && at < STORE; at += 1 << 20) {
		bytes_at((UINT64_C(1) << 40) + 2 * at, noise, 1 << 20);
		rc = bs_io_write(f->port, v, at, noise, 1 << 20);
	}
	assert_true(at < STORE);
	bs_volume_close(v);
	start(f);
	await(&f->troubles, 1);
	assert_string_equal(f->why, "the store is full");
	assert_int_equal(bs_volume_delete(f->s, "w", BS_DELETE_PLAIN, NULL), 0);
	await(&f->over, 1);
	compare(f);
	free(noise);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_all_of_it),      TEST(test_a_source_that_fails),
	    TEST(test_another_source), TEST(test_stopped_and_started),
	    TEST(test_a_full_store),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
