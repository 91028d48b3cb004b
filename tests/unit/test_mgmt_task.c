#include "mgmt/task.h"

#include "common/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];
static struct mg_history *history;
static struct mg_events *events;
static struct mg_tasks *tasks;

/* What a test's task waits for and says; on the test's stack. */
struct work {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool started, go;
	bool until_cancel;
	int rc;
	atomic_int freed;
};

static int run(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct work *w = arg;

	mg_task_progress(t, 25, 100);
	pthread_mutex_lock(&w->lock);
	w->started = true;
	pthread_cond_broadcast(&w->cond);
	while (!w->go && !w->until_cancel)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	while (w->until_cancel)
		if (mg_task_cancelled(t))
			return VS_E_CANCELED;
	if (w->rc != 0)
		return vs_fail(err, w->rc, "it went wrong");
	*result = json_pack("{s:i}", "answer", 42);
	return 0;
}

static void freed(void *arg)
{
	struct work *w = arg;

	atomic_fetch_add(&w->freed, 1);
}

static void work_init(struct work *w)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
}

static void await_start(struct work *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->started)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void let_go(struct work *w)
{
	pthread_mutex_lock(&w->lock);
	w->go = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int64_t start(struct work *w)
{
	struct mg_task_spec spec = {
	    .kind = "import", .subject = "v", .run = run, .free = freed, .arg = w};
	struct vs_error err;
	json_t *json = NULL;
	int64_t id;

	if (mg_task_start(tasks, &spec, &json, &err) != 0)
		fail_msg("%s", err.text);
	id = json_integer_value(json_object_get(json, "id"));
	json_decref(json);
	return id;
}

static void assert_state(json_t *json, const char *state)
{
	assert_string_equal(json_string_value(json_object_get(json, "state")), state);
	json_decref(json);
}

static json_t *get(int64_t id)
{
	json_t *json = NULL;

	assert_int_equal(mg_task_get(tasks, id, &json, NULL), 0);
	return json;
}

static json_t *wait_for(int64_t id)
{
	json_t *json = NULL;

	assert_int_equal(mg_task_wait(tasks, id, MG_TASK_WAIT_MAX, &json, NULL), 0);
	return json;
}

static int open_all(void)
{
	struct vs_error err;

	if (mg_history_open(path, NULL, &history, &err) != 0 ||
	    mg_events_open(history, &events, &err) != 0 ||
	    mg_tasks_open(history, events, &tasks, &err) != 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	return 0;
}

static void close_all(void)
{
	mg_tasks_close(tasks);
	mg_events_close(events);
	mg_history_close(history);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/test_mgmt_task.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/history.db", folder);
	return open_all();
}

static int teardown(void **state)
{
	(void)state;
	close_all();
	(void)unlink(path);
	return rmdir(folder);
}

static void test_done(void **state)
{
	struct work w;
	json_t *json;
	int64_t id;

	(void)state;
	work_init(&w);
	id = start(&w);
	await_start(&w);
	json = get(id);
	assert_true(json_real_value(json_object_get(json, "progress")) == 0.25);
	assert_int_equal(json_integer_value(json_object_get(json, "bytes_total")), 100);
	assert_state(json, "running");
	let_go(&w);
	json = wait_for(id);
	assert_true(json_real_value(json_object_get(json, "progress")) == 1.0);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(json, "result"), "answer")), 42);
	assert_true(json_is_string(json_object_get(json, "finished")));
	assert_state(json, "done");
}

static void test_failed(void **state)
{
	struct work w;
	json_t *json;
	int64_t id;

	(void)state;
	work_init(&w);
	w.rc = VS_E_NOSPC;
	w.go = true;
	id = start(&w);
	json = wait_for(id);
	assert_string_equal(json_string_value(json_object_get(json, "error")), "it went wrong");
	assert_string_equal(json_string_value(json_object_get(json, "code")), "NOSPC");
	assert_true(json_is_null(json_object_get(json, "result")));
	assert_state(json, "failed");
}

static void test_cancelled(void **state)
{
	struct work w;
	json_t *json = NULL;
	int64_t id;

	(void)state;
	work_init(&w);
	w.until_cancel = true;
	id = start(&w);
	await_start(&w);
	assert_int_equal(mg_task_cancel(tasks, id, &json, NULL), 0);
	json_decref(json);
	assert_state(wait_for(id), "cancelled");
	assert_int_equal(mg_task_cancel(tasks, id, &json, NULL), 0); /* nothing more happens */
	assert_state(json, "cancelled");
	assert_int_equal(mg_task_cancel(tasks, 12345, &json, NULL), VS_E_NOENT);
}

/* More tasks than threads: those beyond wait, and a waiting one can be cancelled. */
static void test_queued(void **state)
{
	struct work w[MG_TASK_THREADS + 2];
	int64_t id[MG_TASK_THREADS + 2];
	json_t *json = NULL;

	(void)state;
	for (unsigned i = 0; i < MG_TASK_THREADS + 2; i++) {
		work_init(&w[i]);
		id[i] = start(&w[i]);
	}
	for (unsigned i = 0; i < MG_TASK_THREADS; i++)
		await_start(&w[i]);
	assert_state(get(id[MG_TASK_THREADS]), "queued");
	assert_int_equal(mg_task_cancel(tasks, id[MG_TASK_THREADS], &json, NULL), 0);
	assert_state(json, "cancelled");
	assert_int_equal(atomic_load(&w[MG_TASK_THREADS].freed), 1);
	assert_false(w[MG_TASK_THREADS].started);
	for (unsigned i = 0; i < MG_TASK_THREADS + 2; i++)
		let_go(&w[i]);
	assert_state(wait_for(id[MG_TASK_THREADS + 1]), "done");
	for (unsigned i = 0; i < MG_TASK_THREADS; i++)
		assert_state(wait_for(id[i]), "done");
	assert_int_equal(mg_task_list(tasks, &json, NULL), 0);
	assert_int_equal(json_array_size(json), MG_TASK_THREADS + 2);
	json_decref(json);
}

static void test_stopped_with_the_daemon(void **state)
{
	struct work w;
	json_t *json;
	int64_t id;

	(void)state;
	work_init(&w);
	w.until_cancel = true;
	id = start(&w);
	await_start(&w);
	close_all();
	assert_int_equal(atomic_load(&w.freed), 1);
	assert_int_equal(open_all(), 0);
	json = get(id);
	assert_string_equal(json_string_value(json_object_get(json, "error")), MG_TASK_INTERRUPTED);
	assert_state(json, "failed");
}

static void test_waiting_has_an_end(void **state)
{
	uint64_t begun = vs_now_ns();
	struct work w;
	json_t *json = NULL;
	int64_t id;

	(void)state;
	work_init(&w);
	id = start(&w);
	assert_int_equal(mg_task_wait(tasks, id, 0, &json, NULL), 0);
	json_decref(json);
	mg_events_wait(events, INT64_MAX, 0);
	assert_true(vs_now_ns() - begun < UINT64_C(60000000000));
	let_go(&w);
	assert_state(wait_for(id), "done");
}

static void test_events_reach_those_who_wait(void **state)
{
	json_t *list = NULL;

	(void)state;
	mg_event(events, MG_WARNING, "test.kind", "subject", "number %d", 7);
	mg_events_wait(events, 0, 60);
	assert_int_equal(mg_history_event_list(history, 0, 0, 10, false, &list, NULL), 0);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "message")),
			    "number 7");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "severity")),
			    "warning");
	json_decref(list);
}

/* Somebody else does the work; the threads stay free, and nobody can end it from here. */
static void test_followed(void **state)
{
	struct vs_error why, err;
	int64_t id[MG_TASK_THREADS + 2];
	struct work w;
	json_t *json;

	(void)state;
	for (size_t i = 0; i < MG_TASK_THREADS + 2; i++)
		assert_int_equal(mg_task_follow(tasks, "fetch", "v", &id[i], &err), 0);
	work_init(&w);
	let_go(&w);
	assert_state(wait_for(start(&w)), "done");
	mg_task_report(tasks, id[0], 30, 40);
	json = get(id[0]);
	assert_true(json_real_value(json_object_get(json, "progress")) == 0.75);
	assert_state(json, "running");
	assert_int_equal(mg_task_cancel(tasks, id[0], &json, &err), VS_E_NOTSUP);
	assert_state(get(id[0]), "running");
	mg_task_followed(tasks, id[0], NULL);
	assert_state(wait_for(id[0]), "done");
	mg_task_report(tasks, id[0], 1, 40); /* too late: nothing happens */
	mg_task_followed(tasks, id[0], NULL);
	(void)vs_fail(&why, VS_E_NOSPC, "no room");
	mg_task_followed(tasks, id[1], &why);
	json = get(id[1]);
	assert_string_equal(json_string_value(json_object_get(json, "error")), "no room");
	assert_state(json, "failed");
	mg_tasks_stop(tasks);
	mg_task_report(tasks, id[2], 1, 40);
	mg_task_followed(tasks, id[2], NULL);
	json = get(id[2]);
	assert_string_equal(json_string_value(json_object_get(json, "error")), MG_TASK_INTERRUPTED);
	assert_state(json, "failed");
	assert_int_equal(mg_task_follow(tasks, "fetch", "v", &id[0], &err), VS_E_CLOSED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_done),
	    TEST(test_failed),
	    TEST(test_cancelled),
	    TEST(test_queued),
	    TEST(test_stopped_with_the_daemon),
	    TEST(test_waiting_has_an_end),
	    TEST(test_followed),
	    TEST(test_events_reach_those_who_wait),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
