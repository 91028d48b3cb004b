#include "common/bytes.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/ring.h"
#include "common/secret.h"
#include "common/text.h"
#include "common/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_byte_order(void **state)
{
	uint8_t b[8];

	(void)state;
	vs_put_be32(b, 0x01020304);
	assert_memory_equal(b, "\1\2\3\4", 4);
	assert_int_equal(vs_get_le32(b), 0x04030201);
	vs_put_le64(b, 0x0102030405060708);
	assert_memory_equal(b, "\x8\7\6\5\4\3\2\1", 8);
	assert_int_equal(vs_get_be64(b), 0x0807060504030201);
	vs_put_be24(b, 0xabcdef);
	assert_int_equal(vs_get_be24(b), 0xabcdef);
	assert_memory_equal(b, "\xab\xcd\xef", 3);
	vs_put_le16(b + 1, 0x1234); /* unaligned */
	assert_int_equal(vs_get_be16(b + 1), 0x3412);
}

static void test_ranges_do_not_overflow(void **state)
{
	(void)state;
	assert_true(vs_range_ok(0, 0, 0));
	assert_true(vs_range_ok(10, 0, 10));
	assert_true(vs_range_ok(9, 1, 10));
	assert_false(vs_range_ok(10, 1, 10));
	assert_false(vs_range_ok(11, 0, 10));
	assert_false(vs_range_ok(UINT64_MAX, 2, 10));
	assert_false(vs_range_ok(1, UINT64_MAX, 10));
	assert_true(vs_range_ok(1, UINT64_MAX - 1, UINT64_MAX));
}

static void test_errors_have_names_and_errnos(void **state)
{
	(void)state;
	for (int code = VS_E_FIRST_ + 1; code < VS_E_LAST_; code++) {
		assert_true(code < 0);
		assert_string_not_equal(vs_err_name(code), "UNKNOWN");
		assert_string_not_equal(vs_err_text(code), "unknown error");
		assert_true(vs_err_to_errno(code) > 0);
		/* Not every code comes back, as several share an errno, but the errno does. */
		assert_int_equal(vs_err_to_errno(vs_err_from_errno(vs_err_to_errno(code))),
				 vs_err_to_errno(code));
	}
	assert_string_equal(vs_err_name(0), "OK");
	assert_string_equal(vs_err_name(VS_E_FIRST_), "UNKNOWN");
	assert_string_equal(vs_err_name(VS_E_LAST_), "UNKNOWN");
	assert_string_equal(vs_err_name(12345), "UNKNOWN");
	assert_int_equal(vs_err_from_errno(0), 0);
	assert_int_equal(vs_err_from_errno(EPERM), VS_E_ACCESS);
	assert_int_equal(vs_err_from_errno(ENOTTY), VS_E_IO);
}

static void test_fail_fills_one_line(void **state)
{
	struct vs_error err = {0};
	char big[2 * VS_ERROR_TEXT_MAX];

	(void)state;
	assert_int_equal(vs_fail(&err, VS_E_NOENT, "no volume %s", "v"), VS_E_NOENT);
	assert_int_equal(err.code, VS_E_NOENT);
	assert_string_equal(err.text, "no volume v");
	assert_int_equal(vs_fail(NULL, VS_E_IO, "dropped"), VS_E_IO);

	errno = ENOENT;
	assert_int_equal(vs_fail_errno(&err, "cannot open %s", "f"), VS_E_NOENT);
	assert_string_equal(err.text, "cannot open f: No such file or directory");

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	errno = EIO;
	assert_int_equal(vs_fail_errno(&err, "%s", big), VS_E_IO);
	assert_int_equal(strlen(err.text), VS_ERROR_TEXT_MAX - 1);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} cases[] = {
	    {"0", 0, 0},
	    {"512", 0, 512},
	    {"4K", 0, 4096},
	    {"4k", 0, 4096},
	    {"4KiB", 0, 4096},
	    {"4kb", 0, 4096},
	    {"7B", 0, 7},
	    {"1.5T", 0, UINT64_C(3) << 39},
	    {"0.25M", 0, 256 << 10},
	    {"20G", 0, UINT64_C(20) << 30},
	    {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", VS_E_RANGE, 0},
	    {"16E", VS_E_RANGE, 0},
	    {"99999999999T", VS_E_RANGE, 0},
	    {"", VS_E_INVAL, 0},
	    {"K", VS_E_INVAL, 0},
	    {"-1", VS_E_INVAL, 0},
	    {"+1", VS_E_INVAL, 0},
	    {" 1", VS_E_INVAL, 0},
	    {"1 K", VS_E_INVAL, 0},
	    {"1KK", VS_E_INVAL, 0},
	    {"1.5", VS_E_INVAL, 0},
	    {"1x", VS_E_INVAL, 0},
	    {"0x10", VS_E_INVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		uint64_t bytes = 0;

		print_message("# %s\n", cases[i].text);
		assert_int_equal(vs_parse_size(cases[i].text, &bytes), cases[i].rc);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_sizes_for_people(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(vs_format_size(0, buf, sizeof(buf)), "0 B");
	assert_string_equal(vs_format_size(1023, buf, sizeof(buf)), "1023 B");
	assert_string_equal(vs_format_size(1024, buf, sizeof(buf)), "1.0 KiB");
	assert_string_equal(vs_format_size(1048575, buf, sizeof(buf)), "1.0 MiB");
	assert_string_equal(vs_format_size(UINT64_C(20) << 30, buf, sizeof(buf)), "20.0 GiB");
	assert_string_equal(vs_format_size(UINT64_MAX, buf, sizeof(buf)), "16.0 EiB");
}

static void test_names(void **state)
{
	char longest[65], volume[64], snap[64];

	(void)state;
	assert_true(vs_name_ok("a"));
	assert_true(vs_name_ok("9"));
	assert_true(vs_name_ok("vm-1.disk_0"));
	assert_false(vs_name_ok(""));
	assert_false(vs_name_ok(".a"));
	assert_false(vs_name_ok("-a"));
	assert_false(vs_name_ok("a b"));
	assert_false(vs_name_ok("a/b"));
	assert_false(vs_name_ok("a@b"));
	assert_false(vs_name_ok("\xc3\xa4"));
	memset(longest, 'x', sizeof(longest));
	longest[63] = '\0';
	assert_true(vs_name_ok(longest));
	longest[63] = 'x';
	longest[64] = '\0';
	assert_false(vs_name_ok(longest));

	assert_int_equal(vs_split_snapshot("v", volume, snap), 0);
	assert_string_equal(volume, "v");
	assert_string_equal(snap, "");
	assert_int_equal(vs_split_snapshot("v@s", volume, snap), 0);
	assert_string_equal(volume, "v");
	assert_string_equal(snap, "s");
	assert_int_equal(vs_split_snapshot("v@", volume, snap), VS_E_INVAL);
	assert_int_equal(vs_split_snapshot("@s", volume, snap), VS_E_INVAL);
	assert_int_equal(vs_split_snapshot("v@s@t", volume, snap), VS_E_INVAL);
	assert_int_equal(vs_split_snapshot(longest, volume, snap), VS_E_INVAL);
}

static void test_numbers_and_hex(void **state)
{
	uint64_t v = 7;
	uint8_t b[4];
	char hex[9];

	(void)state;
	assert_int_equal(vs_parse_u64("42", 42, &v), 0);
	assert_int_equal(v, 42);
	assert_int_equal(vs_parse_u64("43", 42, &v), VS_E_RANGE);
	assert_int_equal(vs_parse_u64("18446744073709551616", UINT64_MAX, &v), VS_E_RANGE);
	assert_int_equal(vs_parse_u64("-1", UINT64_MAX, &v), VS_E_INVAL);
	assert_int_equal(vs_parse_u64("1 ", UINT64_MAX, &v), VS_E_INVAL);
	assert_int_equal(vs_parse_u64("", UINT64_MAX, &v), VS_E_INVAL);
	assert_int_equal(v, 42);

	assert_int_equal(vs_parse_hex("00fFA5c3", b, 4), 0);
	assert_memory_equal(b, "\x00\xff\xa5\xc3", 4);
	vs_format_hex(b, 4, hex);
	assert_string_equal(hex, "00ffa5c3");
	assert_int_equal(vs_parse_hex("00ff", b, 4), VS_E_INVAL);
	assert_int_equal(vs_parse_hex("00ffa5c3a", b, 4), VS_E_INVAL);
	assert_int_equal(vs_parse_hex("00ffa5g3", b, 4), VS_E_INVAL);
}

static void test_lines_are_cleaned(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
	    {"", ""},
	    {"plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
	     "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"},
	    {"a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?"},
	    {"\xff\x80\xc3", "???"},	       /* no lead, a lone tail, cut short */
	    {"\xc0\xaf\xe0\x80\x80", "?????"}, /* longer than they need be */
	    {"\xc2\x85", "??"},		       /* U+0085, a line break to some */
	    {"\xed\xa0\x80", "???"},	       /* half of a surrogate pair */
	    {"\xf4\x90\x80\x80", "????"},      /* beyond U+10FFFF */
	};
	struct vs_error err;

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "%s", cases[i].from);
		vs_clean_line(text);
		assert_string_equal(text, cases[i].to);
	}
	assert_int_equal(vs_fail(&err, VS_E_INVAL, "bad key '%s'", "x\ny"), VS_E_INVAL);
	assert_string_equal(err.text, "bad key 'x?y'");
}

static void test_times(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(vs_format_time(0, buf, sizeof(buf)), "1970-01-01T00:00:00Z");
	assert_string_equal(vs_format_time(INT64_C(1709210096999999999), buf, sizeof(buf)),
			    "2024-02-29T12:34:56Z");
	assert_true(vs_unix_ns() > INT64_C(1700000000) * 1000000000);
}

static void test_uuids(void **state)
{
	static const char text[] = "00010203-0405-4607-8809-0a0b0c0d0e0f";
	struct vs_uuid a, b;
	char out[VS_UUID_TEXT];

	(void)state;
	assert_int_equal(vs_uuid_parse(text, &a), 0);
	vs_uuid_format(&a, out);
	assert_string_equal(out, text);
	assert_int_equal(vs_uuid_new(&a), 0);
	assert_int_equal(vs_uuid_new(&b), 0);
	assert_false(vs_uuid_equal(&a, &b));
	assert_int_equal(a.b[6] >> 4, 4);
	assert_int_equal(a.b[8] >> 6, 2);
	vs_uuid_format(&a, out);
	assert_int_equal(vs_uuid_parse(out, &b), 0);
	assert_true(vs_uuid_equal(&a, &b));

	/* Cut anywhere, it is refused. */
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		char cut[sizeof(text)] = "";

		memcpy(cut, text, n);
		assert_int_equal(vs_uuid_parse(cut, &a), VS_E_INVAL);
	}
	assert_int_equal(vs_uuid_parse("00010203-0405-4607-8809-0a0b0c0d0e0f0", &a), VS_E_INVAL);
	assert_int_equal(vs_uuid_parse("00010203x0405-4607-8809-0a0b0c0d0e0f", &a), VS_E_INVAL);
}

static void write_secret(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_secrets(void **state)
{
	char dir[] = "/tmp/vstore-test-XXXXXX", path[64], buf[9];
	struct vs_error err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/secret", dir);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), VS_E_NOENT);
	write_secret(path, "geheim\n", 0600);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), 0);
	assert_string_equal(buf, "geheim");
	write_secret(path, "a\n\n", 0400);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), 0);
	assert_string_equal(buf, "a\n");
	write_secret(path, "geheim\n", 0640);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), VS_E_ACCESS);
	write_secret(path, "\n", 0600);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), VS_E_INVAL);
	write_secret(path, "12345678", 0600);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), 0);
	write_secret(path, "123456789", 0600);
	assert_int_equal(vs_secret_read(path, buf, sizeof(buf), &err), VS_E_TOOBIG);
	assert_null(strstr(err.text, "1234567"));
	assert_memory_equal(buf, "\0\0\0\0\0\0\0\0\0", sizeof(buf));
	unlink(path);
	rmdir(dir);

	assert_true(vs_secret_equal("abc", "abc", 3));
	assert_false(vs_secret_equal("abc", "abd", 3));
	assert_true(vs_secret_equal("abc", "abd", 2));
}

static void test_log_levels(void **state)
{
	enum vs_log_level level;

	(void)state;
	assert_int_equal(vs_log_parse_level("debug", &level), 0);
	assert_int_equal(level, VS_LOG_DEBUG);
	assert_int_equal(vs_log_parse_level("error", &level), 0);
	assert_int_equal(level, VS_LOG_ERROR);
	assert_int_equal(vs_log_parse_level("loud", &level), VS_E_INVAL);
}

static void test_a_log_line_is_one_line_with_a_level(void **state)
{
	char buf[4096], big[3000];
	int p[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	(void)state;
	memset(big, 'y', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(pipe(p), 0);
	dup2(p[1], STDERR_FILENO);
	vs_debug("not shown at the default level");
	vs_warn("disk %d", 7);
	vs_info("%s", big);
	dup2(saved, STDERR_FILENO);
	close(p[1]);
	n = read(p[0], buf, sizeof(buf));
	assert_true(n > 12 && n < 1200);
	assert_memory_equal(buf, "<4>disk 7\n<6>yyy", 16);
	assert_int_equal(buf[n - 1], '\n');
	assert_null(memchr(buf + 10, '\n', (size_t)n - 11));
	close(p[0]);
	close(saved);
}

static void test_ring_is_bounded_and_in_order(void **state)
{
	struct vs_ring r;
	int items[5];

	(void)state;
	assert_int_equal(vs_ring_init(&r, 3), 0); /* becomes 4 */
	assert_true(vs_ring_empty(&r));
	assert_null(vs_ring_pop(&r));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			assert_true(vs_ring_push(&r, &items[i]));
		assert_false(vs_ring_push(&r, &items[4]));
		assert_false(vs_ring_empty(&r));
		for (int i = 0; i < 4; i++)
			assert_ptr_equal(vs_ring_pop(&r), &items[i]);
		assert_null(vs_ring_pop(&r));
	}
	vs_ring_destroy(&r);
}

#define RING_ITEMS 200000

static void *ring_producer(void *arg)
{
	struct vs_ring *r = arg;

	for (uintptr_t i = 1; i <= RING_ITEMS; i++)
		while (!vs_ring_push(r, (void *)i))
			sched_yield();
	return NULL;
}

static void test_ring_between_two_threads(void **state)
{
	struct vs_ring r;
	pthread_t producer;

	(void)state;
	assert_int_equal(vs_ring_init(&r, 64), 0);
	assert_int_equal(pthread_create(&producer, NULL, ring_producer, &r), 0);
	for (uintptr_t i = 1; i <= RING_ITEMS; i++) {
		void *item;

		while (!(item = vs_ring_pop(&r)))
			sched_yield();
		assert_int_equal((uintptr_t)item, i);
	}
	pthread_join(producer, NULL);
	assert_true(vs_ring_empty(&r));
	vs_ring_destroy(&r);
}

struct trace {
	struct vs_loop *loop;
	int order[64];
	int n;
};

struct named_timer {
	struct vs_timer timer;
	uint64_t due_ns;
	int name;
	int rearm;
};

static void timer_fired(struct vs_timer *t)
{
	struct named_timer *nt = vs_container_of(t, struct named_timer, timer);
	struct trace *trace = t->arg;

	trace->order[trace->n++] = nt->name;
	if (nt->rearm-- > 0)
		assert_int_equal(vs_loop_timer(trace->loop, t, 0), 0);
}

static void test_timers_fire_in_order(void **state)
{
	struct trace trace = {0};
	struct named_timer t[16] = {0};

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	for (int i = 0; i < 16; i++) {
		t[i].name = i;
		t[i].timer.fired = timer_fired;
		t[i].timer.arg = &trace;
		/* 7 and 16 have no common divisor: a permutation of the due times */
		assert_int_equal(
		    vs_loop_timer(trace.loop, &t[i].timer, (uint64_t)(i * 7 % 16) * 1000000), 0);
		t[i].due_ns = t[i].timer.due_ns; /* of its own now: this thread may be slow */
	}
	vs_loop_cancel(trace.loop, &t[3].timer);
	vs_loop_cancel(trace.loop, &t[3].timer); /* twice is nothing */
	while (trace.n < 15)
		vs_loop_turn(trace.loop, -1);
	for (int i = 0; i + 1 < trace.n; i++)
		assert_true(t[trace.order[i]].due_ns <= t[trace.order[i + 1]].due_ns);
	for (int i = 0; i < trace.n; i++)
		assert_int_not_equal(trace.order[i], 3);
	vs_loop_free(trace.loop);
}

static void test_a_timer_may_rearm_itself(void **state)
{
	struct trace trace = {0};
	struct named_timer t = {.timer = {.fired = timer_fired, .arg = &trace}, .rearm = 9};

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	assert_int_equal(vs_loop_timer(trace.loop, &t.timer, 0), 0);
	vs_loop_turn(trace.loop, -1);
	assert_true(trace.n < 10); /* one turn is bounded */
	while (trace.n < 10)
		vs_loop_turn(trace.loop, -1);
	vs_loop_turn(trace.loop, 0);
	assert_int_equal(trace.n, 10);
	vs_loop_free(trace.loop);
}

struct counted_post {
	struct vs_post post;
	struct trace *trace;
	int name, again;
};

static void post_called(struct vs_post *p)
{
	struct counted_post *cp = vs_container_of(p, struct counted_post, post);

	cp->trace->order[cp->trace->n++] = cp->name;
	if (cp->again-- > 0)
		vs_loop_post(cp->trace->loop, p);
	else if (cp->trace->n >= 10)
		vs_loop_stop(cp->trace->loop);
}

static void *post_all(void *arg)
{
	struct counted_post *posts = arg;

	for (int i = 0; i < 8; i++)
		vs_loop_post(posts[i].trace->loop, &posts[i].post);
	return NULL;
}

static void test_posts_from_another_thread_keep_their_order(void **state)
{
	struct trace trace = {0};
	struct counted_post posts[8];
	pthread_t thread;
	int last = -1;

	(void)state;
	assert_int_equal(vs_loop_new(&trace.loop, NULL), 0);
	for (int i = 0; i < 8; i++)
		posts[i] = (struct counted_post){
		    .post = {.call = post_called}, .trace = &trace, .name = i};
	posts[0].again = 2; /* posted again from inside the call */
	assert_int_equal(pthread_create(&thread, NULL, post_all, posts), 0);
	vs_loop_run(trace.loop);
	pthread_join(thread, NULL);
	assert_int_equal(trace.n, 10);
	for (int i = 0; i < trace.n; i++) {
		if (trace.order[i] == 0)
			continue;
		assert_int_equal(trace.order[i], last < 1 ? 1 : last + 1);
		last = trace.order[i];
	}
	vs_loop_free(trace.loop);
}

struct pair {
	struct vs_watch w[2];
	struct vs_loop *loop;
	int calls;
};

static void drop_both(struct vs_watch *w, uint32_t events)
{
	struct pair *pair = w->arg;

	assert_true(events & EPOLLIN);
	pair->calls++;
	vs_loop_remove(pair->loop, &pair->w[0]);
	vs_loop_remove(pair->loop, &pair->w[1]);
}

static void test_a_removed_watch_is_not_called(void **state)
{
	struct pair pair = {0};
	int p[2][2];

	(void)state;
	assert_int_equal(vs_loop_new(&pair.loop, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(p[i]), 0);
		assert_int_equal(write(p[i][1], "x", 1), 1);
		pair.w[i] = (struct vs_watch){.fd = p[i][0], .ready = drop_both, .arg = &pair};
		assert_int_equal(vs_loop_add(pair.loop, &pair.w[i], EPOLLIN), 0);
	}
	/* Both are ready in the same turn; the first call removes both. */
	vs_loop_turn(pair.loop, -1);
	vs_loop_turn(pair.loop, 0);
	assert_int_equal(pair.calls, 1);
	for (int i = 0; i < 2; i++) {
		close(p[i][0]);
		close(p[i][1]);
	}
	vs_loop_free(pair.loop);
}

struct idler {
	struct vs_idle idle;
	struct vs_loop *loop;
	struct vs_idle *victim;
	int calls;
};

static bool idle_called(struct vs_idle *i)
{
	struct idler *it = vs_container_of(i, struct idler, idle);

	it->calls++;
	if (it->victim) {
		vs_loop_remove_idle(it->loop, it->victim);
		it->victim = NULL;
	}
	return it->calls < 3;
}

static void test_idle_calls_run_each_turn(void **state)
{
	struct idler a = {.idle = {.idle = idle_called}}, b = a;

	(void)state;
	assert_int_equal(vs_loop_new(&a.loop, NULL), 0);
	b.loop = a.loop;
	vs_loop_add_idle(a.loop, &a.idle);
	vs_loop_add_idle(a.loop, &b.idle); /* runs first */
	b.victim = &b.idle;		   /* removes itself */
	vs_loop_turn(a.loop, -1);	   /* would sleep for ever did no idle call want more */
	vs_loop_turn(a.loop, -1);
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
	vs_loop_remove_idle(a.loop, &a.idle);
	vs_loop_turn(a.loop, 0);
	assert_int_equal(a.calls, 2);
	vs_loop_free(a.loop);
}

static void test_an_idle_call_may_remove_the_next(void **state)
{
	struct idler last = {.idle = {.idle = idle_called}}, *gone = calloc(1, sizeof(*gone)),
		     first = last;

	(void)state;
	assert_non_null(gone);
	gone->idle.idle = idle_called;
	assert_int_equal(vs_loop_new(&first.loop, NULL), 0);
	vs_loop_add_idle(first.loop, &last.idle);
	vs_loop_add_idle(first.loop, &gone->idle);
	vs_loop_add_idle(first.loop, &first.idle);
	first.victim = &gone->idle;
	vs_loop_turn(first.loop, 0);
	assert_int_equal(gone->calls, 0);
	free(gone);
	vs_loop_turn(first.loop, 0);
	assert_int_equal(first.calls, 2);
	assert_int_equal(last.calls, 2);
	vs_loop_free(first.loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_byte_order),
	    cmocka_unit_test(test_ranges_do_not_overflow),
	    cmocka_unit_test(test_errors_have_names_and_errnos),
	    cmocka_unit_test(test_fail_fills_one_line),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_sizes_for_people),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_numbers_and_hex),
	    cmocka_unit_test(test_lines_are_cleaned),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_uuids),
	    cmocka_unit_test(test_secrets),
	    cmocka_unit_test(test_log_levels),
	    cmocka_unit_test(test_a_log_line_is_one_line_with_a_level),
	    cmocka_unit_test(test_ring_is_bounded_and_in_order),
	    cmocka_unit_test(test_ring_between_two_threads),
	    cmocka_unit_test(test_timers_fire_in_order),
	    cmocka_unit_test(test_a_timer_may_rearm_itself),
	    cmocka_unit_test(test_posts_from_another_thread_keep_their_order),
	    cmocka_unit_test(test_a_removed_watch_is_not_called),
	    cmocka_unit_test(test_idle_calls_run_each_turn),
	    cmocka_unit_test(test_an_idle_call_may_remove_the_next),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
