#include "mgmt/dedup.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/volume.h"

#include <stdlib.h>
#include <time.h>

/* After a step it rests so many times as long as that took, while others use the store or not. */
#define REST_BUSY 9u
#define REST_IDLE 1u
#define REST_MAX_NS UINT64_C(500000000)

enum state { NEVER, RUNNING, STOPPED, DONE };
static const char *const state_names[] = {
    [NEVER] = "never", [RUNNING] = "running", [STOPPED] = "stopped", [DONE] = "done"};

/* lock guards all but node. */
struct mg_dedup {
	struct mg_node *node;
	pthread_mutex_t lock;
	enum state state;
	int64_t task, started_ns, finished_ns; /* 0: none */
	struct bs_merge_info info;
};

static void rest(uint64_t ns)
{
	const struct timespec ts = {.tv_nsec = (long)VS_MIN(ns, REST_MAX_NS)};

	(void)nanosleep(&ts, NULL);
}

static int pass(struct mg_dedup *d, struct mg_task *t, struct vs_error *err)
{
	struct bs_merge_info info = {0};
	int rc = 0;

	while (!info.finished && !mg_task_cancelled(t)) {
		uint64_t began = vs_now_ns();

		rc = bs_store_merge_step(d->node->store, &info, err);
		if (rc)
			return rc;
		pthread_mutex_lock(&d->lock);
		d->info = info;
		pthread_mutex_unlock(&d->lock);
		mg_task_progress(t, info.done, info.total);
		if (!info.finished)
			rest((vs_now_ns() - began) * (info.busy ? REST_BUSY : REST_IDLE));
	}
	return info.finished ? 0 : vs_fail(err, VS_E_CANCELED, "stopped");
}

static void ended(struct mg_dedup *d, enum state state)
{
	pthread_mutex_lock(&d->lock);
	if (d->task) {
		d->task = 0;
		d->state = state;
		d->finished_ns = vs_unix_ns();
	}
	pthread_mutex_unlock(&d->lock);
}

static int run(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct mg_dedup *d = arg;
	char size[16];
	int rc = bs_store_merge_begin(d->node->store, err);

	if (rc == 0) {
		rc = pass(d, t, err);
		bs_store_merge_end(d->node->store);
	}
	ended(d, rc ? STOPPED : DONE);
	if (rc)
		return rc;
	*result = mg_dedup_json(d);
	(void)vs_format_size(d->info.bytes, size, sizeof(size));
	mg_event(d->node->events, MG_INFO, "dedup", "store", "%llu duplicates merged, %s given up",
		 (unsigned long long)d->info.merged, size);
	return 0;
}

/* Also of a task that never ran. */
static void gone(void *arg)
{
	ended(arg, STOPPED);
}

int mg_dedup_start(struct mg_dedup *d, json_t **task, struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "dedup", .subject = "store", .run = run, .free = gone, .arg = d};
	int rc = 0;

	pthread_mutex_lock(&d->lock);
	if (d->task) {
		rc = vs_fail(err, VS_E_BUSY, "duplicates are being merged already");
	} else {
		d->state = RUNNING;
		d->task = -1;
		d->started_ns = vs_unix_ns();
		d->finished_ns = 0;
		d->info = (struct bs_merge_info){0};
	}
	pthread_mutex_unlock(&d->lock);
	if (rc)
		return rc;
	rc = mg_task_start(d->node->tasks, &ts, task, err);
	pthread_mutex_lock(&d->lock);
	if (rc == 0 && d->task == -1)
		d->task = (int64_t)json_integer_value(json_object_get(*task, "id"));
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int mg_dedup_stop(struct mg_dedup *d, struct vs_error *err)
{
	json_t *task = NULL;
	int64_t id;
	int rc;

	pthread_mutex_lock(&d->lock);
	id = d->task;
	pthread_mutex_unlock(&d->lock);
	if (id <= 0)
		return vs_fail(err, VS_E_NOENT,
			       "no duplicates are being merged: vstore dedup start begins");
	rc = mg_task_cancel(d->node->tasks, id, &task, err);
	json_decref(task);
	task = NULL;
	if (rc == 0)
		rc = mg_task_wait(d->node->tasks, id, MG_TASK_WAIT_MAX, &task, err);
	json_decref(task);
	return rc;
}

static json_t *time_or_null(int64_t ns)
{
	return ns ? mg_time_json(ns) : json_null();
}

json_t *mg_dedup_json(struct mg_dedup *d)
{
	json_t *out;

	pthread_mutex_lock(&d->lock);
	out = json_pack(
	    "{s:s, s:I, s:I, s:f, s:o, s:o, s:o}", "state", state_names[d->state], "merged_blocks",
	    (json_int_t)d->info.merged, "freed_bytes", (json_int_t)d->info.bytes, "progress",
	    d->info.total ? (double)d->info.done / (double)d->info.total : 0.0, "started",
	    time_or_null(d->started_ns), "finished", time_or_null(d->finished_ns), "task",
	    d->task > 0 ? json_integer(d->task) : json_null());
	pthread_mutex_unlock(&d->lock);
	return out;
}

int mg_dedup_open(struct mg_node *n, struct mg_dedup **out, struct vs_error *err)
{
	struct mg_dedup *d = calloc(1, sizeof(*d));

	if (!d)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	d->node = n;
	pthread_mutex_init(&d->lock, NULL);
	*out = d;
	return 0;
}

void mg_dedup_close(struct mg_dedup *d)
{
	if (!d)
		return;
	pthread_mutex_destroy(&d->lock);
	free(d);
}
