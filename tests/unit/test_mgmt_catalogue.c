#include "mgmt/catalogue.h"

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
	(void)snprintf(folder, sizeof(folder), "%s", "/tmp/test_mgmt_catalogue.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/catalogue.db", folder);
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

static struct mg_catalogue *reopen(struct mg_catalogue *c)
{
	struct vs_error err;
	struct mg_catalogue *out = NULL;

	mg_catalogue_close(c);
	if (mg_catalogue_open(path, &out, &err) != 0)
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
	struct mg_catalogue *c = reopen(NULL);
	char file[128];
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(file, sizeof(file), "%s%s", path,
			       (const char *[]){"", "-wal", "-shm"}[i]);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	mg_catalogue_close(c);
	assert_int_equal(chmod(path, 0644), 0);
	c = reopen(NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	mg_catalogue_close(c);
}

static void test_objects(void **state)
{
	struct mg_catalogue *c = reopen(NULL);
	struct vs_uuid v[2] = {{{1}}, {{2}}};
	json_t *doc = json_pack("{s:s}", "secret", "s3cret"), *got = NULL;
	struct vs_error err;

	(void)state;
	assert_int_equal(mg_catalogue_insert(c, MG_TARGET, "a", doc, v, 2, &err), 0);
	assert_int_equal(mg_catalogue_insert(c, MG_TARGET, "a", doc, v, 2, &err), VS_E_EXIST);
	assert_int_equal(mg_catalogue_insert(c, MG_VM, "a", doc, v, 1, &err), 0);
	assert_int_equal(mg_catalogue_update(c, MG_VM, "b", doc, v, 1, &err), VS_E_NOENT);
	assert_int_equal(mg_catalogue_delete(c, MG_REPO, "a", &err), VS_E_NOENT);
	assert_int_equal(mg_catalogue_get(c, MG_REPO, "a", &got, &err), VS_E_NOENT);

	c = reopen(c);
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
	mg_catalogue_close(c);
}

static void test_tasks(void **state)
{
	struct mg_task_row r = {.kind = "import",
				.subject = "v",
				.state = "running",
				.bytes_total = -1,
				.created_ns = vs_unix_ns()};
	struct mg_catalogue *c = reopen(NULL);
	json_t *got = NULL;
	struct vs_error err;
	int64_t first, n;

	(void)state;
	assert_int_equal(mg_catalogue_task_put(c, &r, &err), 0);
	first = r.id;
	assert_true(first > 0);
	r.state = "done";
	r.progress = 1;
	assert_int_equal(mg_catalogue_task_put(c, &r, &err), 0);
	assert_int_equal(r.id, first);
	r.id = 0;
	r.state = "queued";
	r.progress = 0;
	assert_int_equal(mg_catalogue_task_put(c, &r, &err), 0);
	assert_int_equal(mg_catalogue_task_interrupt(c, "daemon restarted", &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(mg_catalogue_task_get(c, first, &got, &err), 0);
	assert_string_equal(json_string_value(json_object_get(got, "state")), "done");
	json_decref(got);
	assert_int_equal(mg_catalogue_task_get(c, r.id, &got, &err), 0);
	assert_string_equal(json_string_value(json_object_get(got, "state")), "failed");
	assert_string_equal(json_string_value(json_object_get(got, "error")), "daemon restarted");
	assert_int_equal(json_integer_value(json_object_get(got, "id")), r.id);
	assert_true(json_is_null(json_object_get(got, "bytes_total")));
	json_decref(got);
	assert_int_equal(mg_catalogue_task_get(c, 999, &got, &err), VS_E_NOENT);
	assert_int_equal(mg_catalogue_task_list(c, 1, &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	mg_catalogue_close(c);
}

static void test_events_are_bounded(void **state)
{
	struct mg_event_row r = {.severity = "info", .kind = "k", .subject = "s", .message = "m"};
	struct mg_catalogue *c = reopen(NULL);
	json_t *got = NULL;
	struct vs_error err;
	int64_t id = 0;

	(void)state;
	for (int i = 1; i <= 8; i++) {
		r.time_ns = i;
		assert_int_equal(mg_catalogue_event_add(c, &r, 5, &id, &err), 0);
	}
	assert_int_equal(mg_catalogue_event_list(c, 0, 0, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 5);
	json_decref(got);
	assert_int_equal(mg_catalogue_event_list(c, 0, 0, 2, true, &got, &err), 0);
	assert_int_equal(json_array_size(got), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(got, 1), "id")), id);
	json_decref(got);
	assert_int_equal(mg_catalogue_event_list(c, id - 1, 0, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	assert_int_equal(mg_catalogue_event_list(c, 0, 7, 100, false, &got, &err), 0);
	assert_int_equal(json_array_size(got), 2);
	json_decref(got);
	mg_catalogue_close(c);
}

static void test_migrates_from_nothing(void **state)
{
	struct mg_catalogue *c;
	json_t *got = NULL;
	struct vs_error err;

	(void)state;
	sql("PRAGMA user_version=0"); /* an empty database, as a crash before the first version left
				       */
	c = reopen(NULL);
	assert_int_equal(mg_catalogue_list(c, MG_VM, &got, &err), 0);
	json_decref(got);
	mg_catalogue_close(c);
}

static void test_refuses_later_versions(void **state)
{
	struct mg_catalogue *c = NULL;
	struct vs_error err;

	(void)state;
	sql("PRAGMA user_version=2");
	assert_int_equal(mg_catalogue_open(path, &c, &err), VS_E_VERSION);
	assert_non_null(strstr(err.text, "version 2"));
}

static void test_refuses_garbage(void **state)
{
	struct mg_catalogue *c = NULL;
	struct vs_error err;
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 2000; i++)
		(void)fputs("not a database ", f);
	(void)fclose(f);
	assert_int_equal(mg_catalogue_open(path, &c, &err), VS_E_CORRUPT);
	assert_null(strchr(err.text, '\n'));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_is_private),
	    TEST(test_objects),
	    TEST(test_tasks),
	    TEST(test_events_are_bounded),
	    TEST(test_migrates_from_nothing),
	    TEST(test_refuses_later_versions),
	    TEST(test_refuses_garbage),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
