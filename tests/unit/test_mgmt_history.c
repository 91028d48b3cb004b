#include "mgmt/history.h"

#include "common/text.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s", "/tmp/test_mgmt_history.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/history.db", folder);
	return 0;
}

static int teardown(void **state)
{
	char file[128];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(file, sizeof(file), "%s%s", path,
			       (const char *[]){"", "-wal", "-shm"}[i]);
		(void)unlink(file);
	}
	return rmdir(folder);
}

static struct mg_history *reopen(struct mg_history *h)
{
	struct vs_error err;
	struct mg_history *out = NULL;

	mg_history_close(h);
	if (mg_history_open(path, NULL, &out, &err) != 0)
		fail_msg("%s", err.text);
	return out;
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_is_private(void **state)
{
	struct mg_history *h = reopen(NULL);
	char file[128];
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(file, sizeof(file), "%s%s", path,
			       (const char *[]){"", "-wal", "-shm"}[i]);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	mg_history_close(h);
	assert_int_equal(chmod(path, 0644), 0);
	h = reopen(NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	mg_history_close(h);
}

static void test_tasks(void **state)
{
	struct mg_task_row r = {.kind = "import",
				.subject = "v",
				.state = "running",
				.bytes_total = -1,
				.created_ns = vs_unix_ns()};
	struct mg_history *h = reopen(NULL);
	json_t *got = NULL;
	struct vs_error err;
	int64_t first, n;

	(void)state;
	assert_int_equal(mg_history_task_put(h, &r, &err), 0);
	first = r.id;
	assert_true(first > 0);
	r.state = "done";
	r.progress = 1;
	assert_int_equal(mg_history_task_put(h, &r, &err), 0);
	assert_int_equal(r.id, first);
	r.id = 0;
	r.state = "queued";
	r.progress = 0;
	assert_int_equal(mg_history_task_put(h, &r, &err), 0);
	assert_int_equal(mg_history_task_interrupt(h, "daemon restarted", &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(mg_history_task_get(h, first, &got, &err), 0);
	assert_string_equal(json_string_value(json_object_get(got, "state")), "done");
	json_decref(got);
	assert_int_equal(mg_history_task_get(h, r.id, &got, &err), 0);
	assert_string_equal(json_string_value(json_object_get(got, "state")), "failed");
	assert_string_equal(json_string_value(json_object_get(got, "error")), "daemon restarted");
	assert_int_equal(json_integer_value(json_object_get(got, "id")), r.id);
	assert_true(json_is_null(json_object_get(got, "bytes_total")));
	json_decref(got);
	assert_int_equal(mg_history_task_get(h, 999, &got, &err), VS_E_NOENT);
	assert_int_equal(mg_history_task_list(h, 1, &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	mg_history_close(h);
}

static void test_events_are_bounded(void **state)
{
	struct mg_event_row r = {.severity = "info", .kind = "k", .subject = "s", .message = "m"};
	struct mg_history *h = reopen(NULL);
	json_t *got = NULL;
	struct vs_error err;
	int64_t id = 0;

	(void)state;
	for (int i = 1; i <= 8; i++) {
		r.time_ns = i;
		assert_int_equal(mg_history_event_add(h, &r, 5, &id, &err), 0);
	}
	assert_int_equal(mg_history_event_list(h, 0, 0, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 5);
	json_decref(got);
	assert_int_equal(mg_history_event_list(h, 0, 0, 2, true, &got, &err), 0);
	assert_int_equal(json_array_size(got), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(got, 1), "id")), id);
	json_decref(got);
	assert_int_equal(mg_history_event_list(h, id - 1, 0, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	assert_int_equal(mg_history_event_list(h, 0, 7, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 2);
	json_decref(got);
	mg_history_close(h);
}

static void test_migrates_from_nothing(void **state)
{
	struct mg_history *h;
	json_t *got = NULL;
	struct vs_error err;

	(void)state;
	sql("PRAGMA user_version=0"); /* an empty database, as a crash before the first version left
				       */
	h = reopen(NULL);
	assert_int_equal(mg_history_task_list(h, 1, &got, &err), 0);
	json_decref(got);
	mg_history_close(h);
}

static void test_refuses_later_versions(void **state)
{
	struct mg_history *h = NULL;
	struct vs_error err;

	(void)state;
	sql("PRAGMA user_version=2");
	assert_int_equal(mg_history_open(path, NULL, &h, &err), VS_E_VERSION);
	assert_non_null(strstr(err.text, "version 2"));
}

static void test_refuses_garbage(void **state)
{
	struct mg_history *h = NULL;
	struct vs_error err;
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 2000; i++)
		(void)fputs("not a database ", f);
	(void)fclose(f);
	assert_int_equal(mg_history_open(path, NULL, &h, &err), VS_E_CORRUPT);
	assert_null(strchr(err.text, '\n'));
}

/* The file that had objects, tasks and events together; taken in as often as starts are killed. */
static void test_takes_in_what_was_before(void **state)
{
	struct mg_event_row r = {.severity = "info", .kind = "k", .subject = "s", .message = "m"};
	char before[128];
	struct mg_history *h = NULL;
	json_t *got = NULL;
	struct vs_error err;
	int64_t id = 0;

	(void)state;
	sql("CREATE TABLE task(id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL,"
	    " state TEXT NOT NULL, created INTEGER NOT NULL);"
	    "CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
	    " severity TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,"
	    " message TEXT NOT NULL);"
	    "INSERT INTO task VALUES(7,'{\"kind\":\"import\"}','done',1);"
	    "INSERT INTO event VALUES(41,1,'info','a','','b');");
	(void)snprintf(before, sizeof(before), "%s.before", path);
	assert_int_equal(rename(path, before), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(mg_history_open(path, before, &h, &err), 0);
		assert_int_equal(mg_history_event_list(h, 0, 0, 100, false, &got, &err), 0);
		assert_int_equal(json_array_size(got), 1 + round);
		assert_int_equal(json_integer_value(json_object_get(json_array_get(got, 0), "id")),
				 41);
		json_decref(got);
		assert_int_equal(mg_history_task_get(h, 7, &got, &err), 0);
		json_decref(got);
		assert_int_equal(mg_history_event_add(h, &r, 5, &id, &err), 0);
		assert_int_equal(id, 42 + round);
		mg_history_close(h);
	}
	assert_int_equal(unlink(before), 0);
	h = NULL;
	assert_int_not_equal(mg_history_open(path, "/nowhere/at.all", &h, &err), 0);
	assert_null(h);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_is_private),
	    TEST(test_tasks),
	    TEST(test_events_are_bounded),
	    TEST(test_migrates_from_nothing),
	    TEST(test_refuses_later_versions),
	    TEST(test_refuses_garbage),
	    TEST(test_takes_in_what_was_before),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
