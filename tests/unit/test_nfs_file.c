/* Files of NFS servers: found, used, and of servers that break the protocol: what fails says so. */
#include "blockstore/nfs_doubt.h"

#include "tests/unit/nfs_scene.h"

/* ---- what a server is to do ------------------------------------------------------------------ */

static void test_use(void **state)
{
	static uint8_t out[1 << 20], in[1 << 20];
	struct scene *s = begin(HONEST);
	struct bs_far_run run_of;
	unsigned ended = 0;
	struct bs_far_req status = {.op = BS_FAR_STATUS,
				    .length = NFS_SIZE,
				    .runs = &run_of,
				    .max_runs = 1,
				    .done = done,
				    .arg = &ended};

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 4096);
	assert_int_equal(run(s, BS_FAR_WRITE, 12345, out, sizeof(out)), 0);
	assert_int_equal(run(s, BS_FAR_READ, 12345, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(run(s, BS_FAR_ZERO, 12345, NULL, 4096), 0);
	memset(out, 0, 4096);
	assert_int_equal(run(s, BS_FAR_READ, 12345, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(flush(s), 0);
	assert_memory_equal(s->server->disk + 12345, out, sizeof(out));
	bs_far_submit(s->far, &status);
	wait_for(s, &ended, 1);
	assert_true(status.nruns == 1 && run_of.mapped && run_of.length == NFS_SIZE);
	assert_int_equal(run(s, BS_FAR_UNMAP, 0, NULL, 4096), VS_E_NOTSUP);
	assert_int_equal(run(s, BS_FAR_READ, NFS_SIZE - 1, in, 2), VS_E_RANGE);
	stop(s);
}

/* Pieces of buffers that do not end where calls do, and answers that are only half. */
static void test_halves(void **state)
{
	static uint8_t out[300000], in[300000];
	struct scene *s = begin(HALVES);
	unsigned ended = 0;
	struct bs_far_req req = {.op = BS_FAR_WRITE,
				 .offset = 4096,
				 .length = sizeof(out),
				 .iov = {{out, 1000}, {out + 1000, 131000}, {out + 132000, 168000}},
				 .iovcnt = 3,
				 .done = done,
				 .arg = &ended};

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 13 + i / 997);
	bs_far_submit(s->far, &req);
	wait_for(s, &ended, 1);
	assert_int_equal(req.status, 0);
	assert_int_equal(run(s, BS_FAR_READ, 4096, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	stop(s);
}

static void test_paths(void **state)
{
	static const struct {
		const char *path;
		int code;
		const char *words;
	} wrong[] = {
	    {"/export/folder/none", VS_E_NOENT, "no such file"},
	    {"/export/none/disk", VS_E_NOENT, "'none'"},
	    {"/other/disk", VS_E_ACCESS, "admits this node to no"},
	    {"/export/folder", VS_E_INVAL, "folder"},
	};
	struct scene *s = start(HONEST);

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(wrong); i++) {
		assert_int_equal(open_path(s, wrong[i].path, NULL), wrong[i].code);
		assert_non_null(strstr(s->err.text, wrong[i].words));
	}
	stop(s);
}

static void test_kerberos(void **state)
{
	struct scene *s = start(KERBEROS);

	(void)state;
	assert_int_equal(open_path(s, "/export/folder/disk", NULL), VS_E_NOTSUP);
	assert_non_null(strstr(s->err.text, "sec=sys"));
	stop(s);
}

/* What still writes to it is over before it is used. */
static void test_written_to(void **state)
{
	struct scene *s = start(HONEST);
	uint64_t begun = vs_now_ns();

	(void)state;
	s->quiet = true;
	s->server->changes = 6; /* three a time */
	assert_int_equal(open_path(s, "/export/folder/disk", NULL), 0);
	assert_int_equal(s->server->changes, 0);
	assert_true(vs_now_ns() - begun > 1000 * MS);
	stop(s);
}

static void test_doubt(void **state)
{
	struct bs_nfs_doubt d = {0};

	(void)state;
	assert_false(bs_nfs_doubt_hits(&d, 0, UINT64_MAX));
	bs_nfs_doubt_add(&d, 100, 50);
	bs_nfs_doubt_add(&d, 110, 10);
	assert_int_equal(d.n, 1);
	assert_true(bs_nfs_doubt_hits(&d, 149, 1) && bs_nfs_doubt_hits(&d, 0, 101));
	assert_false(bs_nfs_doubt_hits(&d, 150, 100) || bs_nfs_doubt_hits(&d, 0, 100));
	for (unsigned i = 0; i < 2 * BS_NFS_DOUBTS; i++)
		bs_nfs_doubt_add(&d, 1000 + i * 100, 10);
	for (unsigned i = 0; i < 2 * BS_NFS_DOUBTS; i++)
		assert_true(bs_nfs_doubt_hits(&d, 1000 + i * 100, 10));
	assert_false(bs_nfs_doubt_hits(&d, 1010, 90));
}

/* ---- what cannot be done --------------------------------------------------------------------- */

static void test_failures(void **state)
{
	static const struct {
		enum nfs_mode mode;
		enum bs_far_op op;
		int status;
	} cases[] = {
	    {LONG, BS_FAR_READ, VS_E_IO},      {NOTHING, BS_FAR_READ, VS_E_IO},
	    {NOTHING, BS_FAR_WRITE, VS_E_IO},  {STALE, BS_FAR_READ, VS_E_STALE},
	    {STALE, BS_FAR_WRITE, VS_E_STALE}, {FULL, BS_FAR_WRITE, VS_E_NOSPC},
	    {JUKEBOX, BS_FAR_READ, 0},	       {NOISE, BS_FAR_READ, 0},
	};
	static uint8_t buf[BLOCK];

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		struct scene *s = begin(cases[i].mode);

		assert_int_equal(run(s, cases[i].op, 0, buf, BLOCK), cases[i].status);
		stop(s);
	}
}

/* A flush that failed is never repeated into success. */
static void test_commit_refused(void **state)
{
	struct scene *s = begin(REFUSES_COMMIT);

	(void)state;
	write_block(s, 0, 1);
	assert_int_equal(flush(s), VS_E_IO);
	assert_int_equal(flush(s), VS_E_IO);
	stop(s);
}

/* Held for as long as was said, then an error; nothing is written to what is another file. */
static void test_exchanged(void **state)
{
	struct scene *s = begin_with(EXCHANGED, 300 * MS, 0);
	uint8_t buf[BLOCK] = {1};

	(void)state;
	write_block(s, 0, 1);
	write_block(s, 1, 1);
	assert_int_equal(run(s, BS_FAR_WRITE, 2 * BLOCK, buf, BLOCK), VS_E_IO);
	assert_int_equal(atomic_load(&s->server->written), 3);
	assert_int_equal(run(s, BS_FAR_READ, 0, buf, BLOCK), VS_E_IO);
	stop(s);
}

/* The server goes away for longer than requests are held, and is of use again when it is back. */
static void test_away_and_back(void **state)
{
	struct scene *s = begin_with(HONEST, 200 * MS, 0);
	uint8_t buf[BLOCK];

	(void)state;
	write_block(s, 0, 5);
	nfs_vanish(s->server);
	assert_int_equal(run(s, BS_FAR_READ, 0, buf, BLOCK), VS_E_IO);
	nfs_appear(s->server);
	for (int i = 0; i < 1000 && run(s, BS_FAR_READ, 0, buf, BLOCK) != 0; i++)
		vs_loop_turn(s->loop, 20);
	expect_block(s, 0, 5);
	assert_int_equal(flush(s), 0);
	assert_int_equal(s->server->disk[0], 5);
	stop(s);
}

/* A server that is there and does not answer: requests fail in time, and work when it does. */
static void test_silence(void **state)
{
	struct scene *s = start(HANGS);
	uint8_t buf[BLOCK];

	(void)state;
	s->hold_ns = s->silence_ns = 200 * MS;
	assert_int_equal(open_path(s, "/export/folder/disk", NULL), 0);
	write_block(s, 0, 1);
	write_block(s, 1, 1);
	memset(buf, 2, sizeof(buf));
	assert_int_equal(run(s, BS_FAR_WRITE, 0, buf, BLOCK), VS_E_IO);
	assert_int_equal(run(s, BS_FAR_WRITE, 0, buf, BLOCK), VS_E_IO); /* at once */
	atomic_store(&s->server->go_on, true);
	memset(buf, 3, sizeof(buf));
	for (int i = 0; i < 1000 && run(s, BS_FAR_WRITE, 0, buf, BLOCK) != 0; i++)
		vs_loop_turn(s->loop, 20);
	assert_int_equal(s->server->connections, 2); /* the same that it was */
	expect_block(s, 0, 3);
	expect_block(s, 1, 1);
	assert_int_equal(flush(s), 0);
	assert_int_equal(s->server->disk[0], 3);
	stop(s);
}

static void test_cancel(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct bs_nfs_spec spec = {.url = {.host = "127.0.0.1", .path = "/export/disk"}};
	atomic_bool cancel = true;
	struct bs_nfs_file *file;
	struct vs_loop *loop;
	struct vs_error err;

	(void)state;
	spec.cancel = &cancel;
	assert_int_equal(bind(mute, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(mute, 4), 0);
	assert_int_equal(getsockname(mute, (struct sockaddr *)&at, &len), 0);
	spec.url.port = ntohs(at.sin_port);
	assert_int_equal(vs_loop_new(&loop, &err), 0);
	assert_int_equal(bs_nfs_open(loop, &spec, &file, &err), VS_E_CANCELED);
	vs_loop_free(loop);
	close(mute);
}

static void test_urls(void **state)
{
	static const char *const wrong[] = {
	    "nfs://",	   "nfs://h",	      "nfs://h/",	"nfs:///a",
	    "nfs://h/a/",  "nfs://h/a//b",    "nfs://h/a/../b", "nfs://h/./b",
	    "nfs://h:0/a", "nfs://h:65536/a", "nfs://h:x/a",	"nfs://[::1/a",
	    "nfs://u@h/a", "nfs://h/a?uid=0", "iscsi://h/a",	"nfs://[h]/a",
	};
	struct bs_nfs_url u;
	char text[BS_NFS_URL_TEXT], longest[1200];

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(wrong); i++)
		assert_int_equal(bs_nfs_url_parse(wrong[i], &u, NULL), VS_E_INVAL);
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "nfs://h/", 8);
	longest[8 + 255] = '\0';
	assert_int_equal(bs_nfs_url_parse(longest, &u, NULL), 0);
	longest[8 + 255] = 'a';
	longest[8 + 256] = '\0';
	assert_int_equal(bs_nfs_url_parse(longest, &u, NULL), VS_E_INVAL);
	assert_int_equal(bs_nfs_url_parse("nfs://[fe80::1]:20049/a/b c", &u, NULL), 0);
	assert_string_equal(u.host, "fe80::1");
	assert_int_equal(u.port, 20049);
	assert_string_equal(bs_nfs_url_text(&u, text), "nfs://[fe80::1]:20049/a/b c");
	assert_int_equal(bs_nfs_url_parse_server("nfs://host", &u, NULL), 0);
	assert_int_equal(u.port, 0);
	assert_int_equal(bs_nfs_url_parse_server("nfs://host/x", &u, NULL), VS_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_urls),
	    cmocka_unit_test(test_doubt),
	    cmocka_unit_test(test_use),
	    cmocka_unit_test(test_kerberos),
	    cmocka_unit_test(test_written_to),
	    cmocka_unit_test(test_halves),
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_commit_refused),
	    cmocka_unit_test(test_exchanged),
	    cmocka_unit_test(test_away_and_back),
	    cmocka_unit_test(test_cancel),
	    cmocka_unit_test(test_silence),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
