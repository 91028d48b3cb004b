#include "common/bytes.h"
#include "common/err.h"
#include "common/log.h"
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
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
