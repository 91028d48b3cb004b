/* Tasks whose work is done elsewhere. */
#include "mgmt/task_impl.h"

int mg_task_follow(struct mg_tasks *ts, const char *kind, const char *subject, int64_t *id,
		   struct vs_error *err)
{
	struct mg_task_spec spec = {.kind = kind, .subject = subject};
	struct mg_task *t = NULL;
	int rc;

	pthread_mutex_lock(&ts->lock);
	rc = mg_task_enter(ts, &spec, MG_TASK_RUNNING, &t, err);
	if (t)
		*id = t->id;
	pthread_mutex_unlock(&ts->lock);
	return rc;
}

void mg_task_report(struct mg_tasks *ts, int64_t id, uint64_t done, uint64_t total)
{
	struct mg_task *t;

	pthread_mutex_lock(&ts->lock);
	t = mg_task_live(ts, id);
	if (t)
		mg_task_progress(t, done, total);
	pthread_mutex_unlock(&ts->lock);
}

void mg_task_followed(struct mg_tasks *ts, int64_t id, const struct vs_error *why)
{
	struct vs_error err = why ? *why : (struct vs_error){0};
	struct mg_task *t;

	pthread_mutex_lock(&ts->lock);
	t = mg_task_live(ts, id);
	if (t)
		mg_task_ended(ts, t, err.code, NULL, &err);
	pthread_mutex_unlock(&ts->lock);
}
