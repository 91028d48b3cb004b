#include "mgmt/task_impl.h"

#include "common/bytes.h"
#include "common/text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const state_name[] = {"queued", "running", "done", "failed", "cancelled"};

static void fill_row(const struct mg_task *t, struct mg_task_row *r)
{
	uint64_t done = atomic_load(&t->done), total = atomic_load(&t->total);

	*r = (struct mg_task_row){.id = t->id,
				  .kind = t->spec.kind,
				  .subject = t->subject,
				  .state = state_name[t->state],
				  .bytes_done = done,
				  .bytes_total = total ? (int64_t)total : -1,
				  .created_ns = t->created_ns,
				  .started_ns = t->started_ns,
				  .finished_ns = t->finished_ns};
	if (t->state == MG_TASK_DONE)
		r->progress = 1.0;
	else if (total)
		r->progress = VS_MIN((double)done / (double)total, 1.0);
}

json_t *mg_task_json(const struct mg_task *t)
{
	struct mg_task_row r;

	fill_row(t, &r);
	return mg_task_row_json(&r);
}

static void unlink_task(struct mg_tasks *ts, struct mg_task *t)
{
	struct mg_task **p = &ts->head;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	ts->n--;
}

struct mg_task *mg_task_live(struct mg_tasks *ts, int64_t id)
{
	struct mg_task *t = ts->head;

	while (t && t->id != id)
		t = t->next;
	return t;
}

static struct mg_task *next_queued(struct mg_tasks *ts)
{
	struct mg_task *t = ts->head;

	while (t && t->state != MG_TASK_QUEUED)
		t = t->next;
	return t;
}

/* How a task that returned rc ends. Stopping the daemon is no wish of the user's: not cancelled. */
static enum mg_task_state outcome(struct mg_tasks *ts, int rc, struct vs_error *err)
{
	if (rc == 0)
		return MG_TASK_DONE;
	if (rc != VS_E_CANCELED)
		return MG_TASK_FAILED;
	if (ts->stop) {
		vs_fail(err, VS_E_CLOSED, MG_TASK_INTERRUPTED);
		return MG_TASK_FAILED;
	}
	vs_fail(err, VS_E_CANCELED, "cancelled");
	return MG_TASK_CANCELLED;
}

void mg_task_ended(struct mg_tasks *ts, struct mg_task *t, int rc, json_t *result,
		   struct vs_error *err)
{
	struct mg_task_row r;
	struct vs_error why;

	t->state = outcome(ts, rc, err);
	t->finished_ns = vs_unix_ns();
	fill_row(t, &r);
	r.result = result;
	if (t->state != MG_TASK_DONE) {
		r.error = err->text;
		r.code = vs_err_name(err->code);
	}
	if (mg_history_task_put(ts->history, &r, &why) != 0)
		mg_event(ts->events, MG_ERROR, "task.lost", t->subject,
			 "the end of %s task %lld could not be kept: %s", t->spec.kind,
			 (long long)t->id, why.text);
	if (t->state == MG_TASK_FAILED)
		mg_event(ts->events, MG_ERROR, "task.failed", t->subject, "%s task %lld: %s",
			 t->spec.kind, (long long)t->id, err->text);
	else
		mg_event(ts->events, MG_INFO,
			 t->state == MG_TASK_DONE ? "task.done" : "task.cancelled", t->subject,
			 "%s task %lld", t->spec.kind, (long long)t->id);
	unlink_task(ts, t);
	pthread_cond_broadcast(&ts->changed);
	if (t->spec.free)
		t->spec.free(t->spec.arg);
	free(t);
}

static void run_task(struct mg_tasks *ts, struct mg_task *t)
{
	struct vs_error err = {0};
	struct mg_task_row r;
	json_t *result = NULL;
	int rc;

	t->state = MG_TASK_RUNNING;
	t->started_ns = vs_unix_ns();
	fill_row(t, &r);
	rc = mg_history_task_put(ts->history, &r, &err);
	pthread_mutex_unlock(&ts->lock);
	if (rc == 0) {
		rc = t->spec.run(t, t->spec.arg, &result, &err);
		if (rc != 0 && err.code == 0)
			vs_fail(&err, rc, "%s", vs_err_text(rc));
	}
	pthread_mutex_lock(&ts->lock);
	mg_task_ended(ts, t, rc, result, &err);
	json_decref(result);
}

static void *worker(void *arg)
{
	struct mg_tasks *ts = arg;
	struct mg_task *t;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		t = next_queued(ts);
		if (t)
			run_task(ts, t);
		else
			pthread_cond_wait(&ts->work, &ts->lock);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

int mg_tasks_open(struct mg_history *h, struct mg_events *e, struct mg_tasks **out,
		  struct vs_error *err)
{
	struct mg_tasks *ts = calloc(1, sizeof(*ts));
	pthread_condattr_t attr;
	int64_t interrupted;
	int rc;

	if (!ts)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	ts->history = h;
	ts->events = e;
	pthread_mutex_init(&ts->lock, NULL);
	pthread_cond_init(&ts->work, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->changed, &attr);
	pthread_condattr_destroy(&attr);
	rc = mg_history_task_interrupt(h, MG_TASK_INTERRUPTED, &interrupted, err);
	if (rc == 0 && interrupted > 0)
		mg_event(e, MG_WARNING, "task.interrupted", "",
			 "%lld tasks ended with the daemon before this one",
			 (long long)interrupted);
	while (rc == 0 && ts->nthreads < MG_TASK_THREADS) {
		int no = pthread_create(&ts->threads[ts->nthreads], NULL, worker, ts);

		if (no != 0)
			rc = vs_fail(err, vs_err_from_errno(no), "cannot start a task thread");
		else
			ts->nthreads++;
	}
	if (rc != 0)
		mg_tasks_close(ts);
	else
		*out = ts;
	return rc;
}

void mg_tasks_stop(struct mg_tasks *ts)
{
	pthread_mutex_lock(&ts->lock);
	ts->stop = true;
	for (struct mg_task *t = ts->head; t; t = t->next)
		atomic_store(&t->cancel, true);
	pthread_cond_broadcast(&ts->work);
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
	while (ts->nthreads > 0)
		pthread_join(ts->threads[--ts->nthreads], NULL);
	pthread_mutex_lock(&ts->lock);
	while (ts->head) {
		struct vs_error err;

		mg_task_ended(ts, ts->head, VS_E_CANCELED, NULL, &err);
	}
	pthread_mutex_unlock(&ts->lock);
}

void mg_tasks_close(struct mg_tasks *ts)
{
	if (!ts)
		return;
	mg_tasks_stop(ts);
	pthread_cond_destroy(&ts->work);
	pthread_cond_destroy(&ts->changed);
	pthread_mutex_destroy(&ts->lock);
	free(ts);
}

int mg_task_enter(struct mg_tasks *ts, const struct mg_task_spec *spec, enum mg_task_state state,
		  struct mg_task **out, struct vs_error *err)
{
	struct mg_task *t, **tail;
	struct mg_task_row r;
	int rc;

	if (ts->stop)
		return vs_fail(err, VS_E_CLOSED, "the daemon is stopping");
	if (ts->n >= MG_TASK_QUEUE)
		return vs_fail(err, VS_E_LIMIT,
			       "%u tasks are waiting already; wait for some to end", ts->n);
	t = calloc(1, sizeof(*t));
	if (!t)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	t->spec = *spec;
	t->spec.subject = NULL;
	(void)snprintf(t->subject, sizeof(t->subject), "%s", spec->subject);
	t->created_ns = vs_unix_ns();
	t->started_ns = state == MG_TASK_RUNNING ? t->created_ns : 0;
	t->state = state;
	fill_row(t, &r);
	rc = mg_history_task_put(ts->history, &r, err);
	if (rc != 0) {
		free(t);
		return rc;
	}
	t->id = r.id;
	for (tail = &ts->head; *tail; tail = &(*tail)->next)
		;
	*tail = t;
	ts->n++;
	*out = t;
	return 0;
}

int mg_task_start(struct mg_tasks *ts, const struct mg_task_spec *spec, json_t **json,
		  struct vs_error *err)
{
	struct mg_task *t = NULL;
	int rc;

	pthread_mutex_lock(&ts->lock);
	rc = mg_task_enter(ts, spec, MG_TASK_QUEUED, &t, err);
	if (t) {
		*json = mg_task_json(t);
		pthread_cond_signal(&ts->work);
	}
	pthread_mutex_unlock(&ts->lock);
	if (rc != 0 && spec->free)
		spec->free(spec->arg);
	return rc;
}

int mg_task_get(struct mg_tasks *ts, int64_t id, json_t **json, struct vs_error *err)
{
	struct mg_task *t;

	pthread_mutex_lock(&ts->lock);
	t = mg_task_live(ts, id);
	if (t)
		*json = mg_task_json(t);
	pthread_mutex_unlock(&ts->lock);
	return t ? 0 : mg_history_task_get(ts->history, id, json, err);
}

int mg_task_list(struct mg_tasks *ts, json_t **json, struct vs_error *err)
{
	json_t *list = NULL, *row;
	size_t i;
	int rc;

	/* Under the lock no task can end, so a live one's row is replaced by what is true now. */
	pthread_mutex_lock(&ts->lock);
	rc = mg_history_task_list(ts->history, 1000, &list, err);
	if (rc == 0) {
		json_array_foreach(list, i, row)
		{
			int64_t id = json_integer_value(json_object_get(row, "id"));
			struct mg_task *t = mg_task_live(ts, id);

			if (t)
				json_array_set_new(list, i, mg_task_json(t));
		}
		*json = list;
	}
	pthread_mutex_unlock(&ts->lock);
	return rc;
}

int mg_task_wait(struct mg_tasks *ts, int64_t id, unsigned seconds, json_t **json,
		 struct vs_error *err)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)VS_MIN(seconds, MG_TASK_WAIT_MAX);
	pthread_mutex_lock(&ts->lock);
	while (mg_task_live(ts, id) && !ts->stop &&
	       pthread_cond_timedwait(&ts->changed, &ts->lock, &until) == 0)
		;
	pthread_mutex_unlock(&ts->lock);
	return mg_task_get(ts, id, json, err);
}

int mg_task_cancel(struct mg_tasks *ts, int64_t id, json_t **json, struct vs_error *err)
{
	struct mg_task *t;
	int rc = 0;

	pthread_mutex_lock(&ts->lock);
	t = mg_task_live(ts, id);
	if (t && !t->spec.run) {
		rc = vs_fail(err, VS_E_NOTSUP,
			     "the %s of %s cannot be cancelled: it ends when all is there, or the "
			     "volume is deleted",
			     t->spec.kind, t->subject);
	} else if (t && t->state == MG_TASK_QUEUED) {
		struct vs_error why;

		mg_task_ended(ts, t, VS_E_CANCELED, NULL, &why);
	} else if (t) {
		atomic_store(&t->cancel, true);
	}
	pthread_mutex_unlock(&ts->lock);
	return rc != 0 ? rc : mg_task_get(ts, id, json, err);
}

bool mg_task_cancelled(const struct mg_task *t)
{
	return atomic_load_explicit(&t->cancel, memory_order_relaxed);
}

const atomic_bool *mg_task_cancel_flag(const struct mg_task *t)
{
	return &t->cancel;
}

int64_t mg_task_id(const struct mg_task *t)
{
	return t->id;
}

void mg_task_progress(struct mg_task *t, uint64_t done, uint64_t total)
{
	atomic_store_explicit(&t->done, done, memory_order_relaxed);
	atomic_store_explicit(&t->total, total, memory_order_relaxed);
}
