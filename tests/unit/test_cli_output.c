/* What people see: tables, values, progress; and names on their way into a URL. */
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_http.h"
#include "mgmt/cli/cli_progress.h"
#include "mgmt/cli/cli_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static char *printed(const struct cli_table *t, bool colours)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(cli_table_print(t, colours, f), 0);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void columns_are_aligned(void **state)
{
	struct cli_table *t = cli_table_new(3);
	char *text;

	(void)state;
	cli_table_right(t, 1);
	cli_table_cell(t, "NAME", CLI_PLAIN);
	cli_table_cell(t, "SIZE", CLI_PLAIN);
	cli_table_cell(t, "STATE", CLI_PLAIN);
	cli_table_cell(t,
		       "gr\xc3\xbc\xc3\x9f"
		       "e",
		       CLI_PLAIN); /* 5 characters, 7 bytes */
	cli_table_cell(t, "20.0 GiB", CLI_PLAIN);
	cli_table_cell(t, "ok", CLI_GREEN);
	text = printed(t, false);
	assert_string_equal(text, "NAME       SIZE  STATE\n"
				  "gr\xc3\xbc\xc3\x9f"
				  "e  20.0 GiB  ok\n");
	free(text);
	text = printed(t, true);
	assert_non_null(strstr(text, "\033[32mok\033[0m\n"));
	free(text);
	cli_table_free(t);
}

static void strangers_do_not_drive_the_terminal(void **state)
{
	struct cli_table *t = cli_table_new(1);
	char *text;

	(void)state;
	cli_table_cell(t,
		       "a\033[2Jb\nc\x7f"
		       "d\xc2\x9b"
		       "e",
		       CLI_PLAIN);
	text = printed(t, false);
	assert_string_equal(text, "a?[2Jb?c?d?e\n");
	free(text);
	cli_table_free(t);
	assert_int_equal(cli_table_print(NULL, false, stdout), VS_E_NOMEM);
}

static void values_are_formatted(void **state)
{
	static const struct {
		const char *json;
		enum cli_kind kind;
		const char *text;
	} cases[] = {
	    {"{\"v\": 21474836480}", CLI_AS_SIZE, "20.0 GiB"},
	    {"{\"v\": -1}", CLI_AS_SIZE, "0 B"},
	    {"{\"v\": null}", CLI_AS_SIZE, "-"},
	    {"{}", CLI_AS_TEXT, "-"},
	    {"{\"v\": \"\"}", CLI_AS_TEXT, "-"},
	    {"{\"v\": 42}", CLI_AS_TEXT, "42"},
	    {"{\"v\": {}}", CLI_AS_TEXT, "?"},
	    {"{\"v\": 1.5}", CLI_AS_RATIO, "1.50x"},
	    {"{\"v\": 0.256}", CLI_AS_PERCENT, "26%"},
	    {"{\"v\": true}", CLI_AS_YES_NO, "yes"},
	    {"{\"v\": 7.25}", CLI_AS_SECONDS, "7.2s"},
	    {"{\"v\": 3723}", CLI_AS_SECONDS, "1h 02m"},
	    {"{\"v\": 90000}", CLI_AS_SECONDS, "1d 01h"},
	    {"{\"v\": \"2026-11-20T08:43:01Z\"}", CLI_AS_TIME, "2026-11-20 08:43:01"},
	    {"{\"v\": \"soon\"}", CLI_AS_TIME, "soon"},
	    {"{\"v\": []}", CLI_AS_LIST, "-"},
	    {"{\"v\": [\"a\", {\"name\": \"b\"}]}", CLI_AS_LIST, "a, b"},
	    {"{\"v\": [{\"volume\": \"w\", \"read_only\": true}]}", CLI_AS_LIST, "w (ro)"},
	    {"{\"v\": [1, 2, 3]}", CLI_AS_LENGTH, "3"},
	    {"{\"v\": [{\"lun\": 1, \"volume\": \"w\", \"read_only\": true}]}", CLI_AS_LUNS,
	     "1:w (ro)"},
	    {"{\"v\": [{\"kind\": \"nbd\", \"name\": \"w\"}]}", CLI_AS_KINDS, "nbd w"},
	};
	const struct cli_field field = {"v", "v", CLI_AS_TEXT};
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *object = json_loads(cases[i].json, 0, NULL);
		struct cli_field f = field;

		assert_non_null(object);
		f.kind = cases[i].kind;
		cli_fields_format(object, &f, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		json_decref(object);
	}
}

static void dotted_keys_reach_inside(void **state)
{
	const struct cli_field field = {"memory.limit_bytes", "", CLI_AS_SIZE};
	json_t *object = json_pack("{s:{s:i}}", "memory", "limit_bytes", 4096);
	char text[32];

	(void)state;
	cli_fields_format(object, &field, text, sizeof(text));
	assert_string_equal(text, "4.0 KiB");
	json_decref(object);
}

static void long_lists_are_cut(void **state)
{
	const struct cli_field field = {"v", "", CLI_AS_LIST};
	json_t *list = json_array(), *object = json_pack("{s:o}", "v", list);
	char text[32];
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		json_array_append_new(list, json_string("volume"));
	cli_fields_format(object, &field, text, sizeof(text));
	assert_in_range(strlen(text), 20, sizeof(text) - 1);
	json_decref(object);
}

static void progress_shows_rate_and_time_left(void **state)
{
	struct cli_progress p;
	char line[256];

	(void)state;
	cli_progress_start(&p, "web1", true);
	(void)cli_progress_line(&p, 0, 1000, 80, line, sizeof(line));
	assert_string_equal(line, "web1  [........................................]   0%  0 B");
	cli_progress_update(&p, 0, 1 << 30, UINT64_C(1000000000));
	cli_progress_update(&p, 256 << 20, 1 << 30, UINT64_C(3000000000));
	assert_true(cli_progress_rate(&p) == 128 * 1048576.0);
	(void)cli_progress_line(&p, 256 << 20, 1 << 30, 80, line, sizeof(line));
	assert_string_equal(line, "web1  [#########...........................]  25%  "
				  "256.0 MiB  128.0 MiB/s  0:06");
	assert_true(strlen(line) < 80);
	(void)cli_progress_line(&p, 256 << 20, 0, 80, line, sizeof(line));
	assert_string_equal(line, "web1  256.0 MiB  128.0 MiB/s");
	(void)cli_progress_line(&p, 2 << 20, 1 << 20, 20, line, sizeof(line));
	assert_non_null(strstr(line, "100%"));
}

/* Only the last updates count, so the rate follows a change of speed. */
static void progress_follows_the_speed(void **state)
{
	struct cli_progress p;
	uint64_t done = 0, ns = 0;
	int i;

	(void)state;
	cli_progress_start(&p, "x", true);
	for (i = 0; i < 100; i++)
		cli_progress_update(&p, done += 1000000, 1 << 30, ns += 1000000000);
	assert_true(cli_progress_rate(&p) == 1e6);
	for (i = 0; i < CLI_PROGRESS_SAMPLES; i++)
		cli_progress_update(&p, done += 10, 1 << 30, ns += 1000000000);
	assert_true(cli_progress_rate(&p) == 10);
	cli_progress_update(&p, 0, 1 << 30, ns);
	assert_true(cli_progress_rate(&p) == 0);
}

static void names_are_encoded(void **state)
{
	char out[32];

	(void)state;
	assert_int_equal(cli_http_encode("web1@a.b-c_d:e~", out, sizeof(out)), 0);
	assert_string_equal(out, "web1@a.b-c_d:e~");
	assert_int_equal(cli_http_encode("a/b?c&d %\xc3\xbc", out, sizeof(out)), 0);
	assert_string_equal(out, "a%2Fb%3Fc%26d%20%25%C3%BC");
	assert_int_equal(cli_http_encode("0123456789012345678901234567890", out, sizeof(out)),
			 VS_E_TOOBIG);
	assert_int_equal(cli_http_encode("", out, 1), 0);
}

static int use_utc(void **state)
{
	(void)state;
	(void)setenv("TZ", "UTC", 1);
	tzset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_aligned),
	    cmocka_unit_test(strangers_do_not_drive_the_terminal),
	    cmocka_unit_test(values_are_formatted),
	    cmocka_unit_test(dotted_keys_reach_inside),
	    cmocka_unit_test(long_lists_are_cut),
	    cmocka_unit_test(progress_shows_rate_and_time_left),
	    cmocka_unit_test(progress_follows_the_speed),
	    cmocka_unit_test(names_are_encoded),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, use_utc, NULL);
}
