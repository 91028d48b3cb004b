/*
 * Tasks: long work on a bounded number of threads, seen through the history.
 *
 * States: queued -> running -> done | failed | cancelled, and queued -> cancelled; nothing leaves
 * the last three. Each change is in the history before anyone sees it. Ownership: the spec's arg
 * belongs to the task from mg_task_start on (also when it fails) and goes back through free. In
 * run, struct mg_task may be used by its thread only, but for the counters and mg_task_cancelled,
 * which any thread may use.
 */
#ifndef MG_TASK_H
#define MG_TASK_H

#include "mgmt/event.h"

#include <stdatomic.h>

#define MG_TASK_THREADS 4u
#define MG_TASK_QUEUE 256u   /* queued and running together */
#define MG_TASK_WAIT_MAX 60u /* seconds */
#define MG_TASK_INTERRUPTED "daemon restarted"

struct mg_tasks;
struct mg_task;

struct mg_task_spec {
	const char *kind;    /* "import"; static */
	const char *subject; /* what it works on; copied */
	/*
	 * Does the work. Returns 0, with *result set (owned by the task) or left NULL, or VS_E_*
	 * with err; everything that it began is undone then. Looks at mg_task_cancelled often
	 * enough that a cancel shows within a second or so, and returns VS_E_CANCELED.
	 */
	int (*run)(struct mg_task *t, void *arg, json_t **result, struct vs_error *err);
	void (*free)(void *arg);
	void *arg;
};

/* Marks what an earlier daemon left as interrupted. */
int mg_tasks_open(struct mg_history *h, struct mg_events *e, struct mg_tasks **out,
		  struct vs_error *err) vs_must_check;
/* Cancels what runs, waits for it, and wakes all who wait. No task starts afterwards. */
void mg_tasks_stop(struct mg_tasks *ts);
void mg_tasks_close(struct mg_tasks *ts);

/* *json is the new task as JSON. VS_E_LIMIT when too many are waiting. */
int mg_task_start(struct mg_tasks *ts, const struct mg_task_spec *spec, json_t **json,
		  struct vs_error *err) vs_must_check;
int mg_task_get(struct mg_tasks *ts, int64_t id, json_t **json, struct vs_error *err) vs_must_check;
int mg_task_list(struct mg_tasks *ts, json_t **json, struct vs_error *err) vs_must_check;
/* Returns when the task has ended, or seconds have passed; then as mg_task_get. */
int mg_task_wait(struct mg_tasks *ts, int64_t id, unsigned seconds, json_t **json,
		 struct vs_error *err) vs_must_check;
int mg_task_cancel(struct mg_tasks *ts, int64_t id, json_t **json,
		   struct vs_error *err) vs_must_check;

/*
 * A task whose work somebody else does, without a thread of these: it runs from here on, cannot be
 * cancelled, and is over with mg_task_followed, or as interrupted when the daemon stops. report and
 * followed may come later than that and do nothing then.
 */
int mg_task_follow(struct mg_tasks *ts, const char *kind, const char *subject, int64_t *id,
		   struct vs_error *err) vs_must_check;
void mg_task_report(struct mg_tasks *ts, int64_t id, uint64_t done, uint64_t total);
/* why: NULL when it went well. */
void mg_task_followed(struct mg_tasks *ts, int64_t id, const struct vs_error *why);

/* For run. */
bool mg_task_cancelled(const struct mg_task *t);
const atomic_bool *mg_task_cancel_flag(const struct mg_task *t);
int64_t mg_task_id(const struct mg_task *t);
/* total 0: unknown. Progress is done / total. */
void mg_task_progress(struct mg_task *t, uint64_t done, uint64_t total);

#endif
