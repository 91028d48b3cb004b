/* Tasks and events: what happened, bounded. */
#include "mgmt/catalogue_impl.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define TASKS_KEPT 1000

static json_t *time_json(int64_t ns)
{
	char text[32];

	return ns == 0 ? json_null() : json_string(vs_format_time(ns, text, sizeof(text)));
}

json_t *mg_task_row_json(const struct mg_task_row *r)
{
	return json_pack(
	    "{s:I, s:s, s:s, s:s, s:f, s:I, s:o, s:o, s:o, s:o, s:s?, s:s?, s:O?}", "id",
	    (json_int_t)r->id, "kind", r->kind, "subject", r->subject, "state", r->state,
	    "progress", r->progress, "bytes_done", (json_int_t)r->bytes_done, "bytes_total",
	    r->bytes_total < 0 ? json_null() : json_integer(r->bytes_total), "created",
	    time_json(r->created_ns), "started", time_json(r->started_ns), "finished",
	    time_json(r->finished_ns), "error", r->error, "code", r->code, "result", r->result);
}

int mg_catalogue_task_put(struct mg_catalogue *c, struct mg_task_row *r, struct vs_error *err)
{
	enum mg_statement what = r->id ? MG_ST_TASK_UPDATE : MG_ST_TASK_INSERT;
	sqlite3_stmt *st = c->st[what];
	json_t *doc = mg_task_row_json(r);
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	int rc;

	json_decref(doc);
	if (!text)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_lock(&c->lock);
	if (r->id) {
		sqlite3_bind_int64(st, 1, r->id);
		mg_catalogue_bind(st, 2, text);
		mg_catalogue_bind(st, 3, r->state);
	} else {
		mg_catalogue_bind(st, 1, text);
		mg_catalogue_bind(st, 2, r->state);
		sqlite3_bind_int64(st, 3, r->created_ns);
	}
	rc = mg_catalogue_run(c, what, err);
	if (rc == 0 && !r->id) {
		r->id = sqlite3_last_insert_rowid(c->db);
		sqlite3_bind_int64(c->st[MG_ST_TASK_TRIM], 1, r->id - TASKS_KEPT);
		rc = mg_catalogue_run(c, MG_ST_TASK_TRIM, err);
	}
	pthread_mutex_unlock(&c->lock);
	free(text);
	return rc;
}

/* A row (id, doc): the id of the row wins over that of the document, which may not know it yet. */
static json_t *task_row(sqlite3_stmt *st)
{
	json_t *doc = json_loadb((const char *)sqlite3_column_text(st, 1),
				 (size_t)sqlite3_column_bytes(st, 1), 0, NULL);

	if (doc)
		json_object_set_new(doc, "id", json_integer(sqlite3_column_int64(st, 0)));
	return doc;
}

static json_t *event_row(sqlite3_stmt *st)
{
	char text[32];

	return json_pack(
	    "{s:I, s:s, s:s, s:s, s:s, s:s}", "id", (json_int_t)sqlite3_column_int64(st, 0), "time",
	    vs_format_time(sqlite3_column_int64(st, 1), text, sizeof(text)), "severity",
	    sqlite3_column_text(st, 2), "kind", sqlite3_column_text(st, 3), "subject",
	    sqlite3_column_text(st, 4), "message", sqlite3_column_text(st, 5));
}

/* Steps through all rows of a bound statement into an array; with the lock held. */
static int collect(struct mg_catalogue *c, enum mg_statement what, json_t *(*row)(sqlite3_stmt *st),
		   json_t **out, struct vs_error *err)
{
	sqlite3_stmt *st = c->st[what];
	json_t *list = json_array();
	int rc = 0, step;

	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			rc = mg_catalogue_fail(c, "cannot read", err);
		else if (json_array_append_new(list, row(st)) != 0)
			rc = vs_fail(err, VS_E_CORRUPT, "catalogue: a row cannot be read");
	}
	sqlite3_reset(st);
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}

int mg_catalogue_task_get(struct mg_catalogue *c, int64_t id, json_t **task, struct vs_error *err)
{
	json_t *list = NULL;
	int rc;

	pthread_mutex_lock(&c->lock);
	sqlite3_bind_int64(c->st[MG_ST_TASK_GET], 1, id);
	rc = collect(c, MG_ST_TASK_GET, task_row, &list, err);
	pthread_mutex_unlock(&c->lock);
	if (rc != 0)
		return rc;
	if (json_array_size(list) == 0)
		rc = vs_fail(err, VS_E_NOENT, "no task %lld", (long long)id);
	else
		*task = json_incref(json_array_get(list, 0));
	json_decref(list);
	return rc;
}

int mg_catalogue_task_list(struct mg_catalogue *c, unsigned max, json_t **tasks,
			   struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	sqlite3_bind_int64(c->st[MG_ST_TASK_LIST], 1, max);
	rc = collect(c, MG_ST_TASK_LIST, task_row, tasks, err);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mg_catalogue_task_interrupt(struct mg_catalogue *c, const char *error, int64_t *n,
				struct vs_error *err)
{
	sqlite3_stmt *st = c->st[MG_ST_TASK_INTERRUPT];
	char now[32];
	int rc;

	pthread_mutex_lock(&c->lock);
	mg_catalogue_bind(st, 1, error);
	mg_catalogue_bind(st, 2, vs_format_time(vs_unix_ns(), now, sizeof(now)));
	rc = mg_catalogue_run(c, MG_ST_TASK_INTERRUPT, err);
	*n = rc == 0 ? sqlite3_changes(c->db) : 0;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mg_catalogue_event_add(struct mg_catalogue *c, const struct mg_event_row *r, unsigned keep,
			   int64_t *id, struct vs_error *err)
{
	sqlite3_stmt *st = c->st[MG_ST_EVENT_INSERT];
	int rc;

	pthread_mutex_lock(&c->lock);
	sqlite3_bind_int64(st, 1, r->time_ns);
	mg_catalogue_bind(st, 2, r->severity);
	mg_catalogue_bind(st, 3, r->kind);
	mg_catalogue_bind(st, 4, r->subject);
	mg_catalogue_bind(st, 5, r->message);
	rc = mg_catalogue_run(c, MG_ST_EVENT_INSERT, err);
	if (rc == 0) {
		*id = sqlite3_last_insert_rowid(c->db);
		sqlite3_bind_int64(c->st[MG_ST_EVENT_TRIM], 1, *id - (int64_t)keep);
		rc = mg_catalogue_run(c, MG_ST_EVENT_TRIM, err);
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mg_catalogue_event_list(struct mg_catalogue *c, int64_t after, int64_t since_ns, unsigned max,
			    bool newest, json_t **events, struct vs_error *err)
{
	enum mg_statement what = newest ? MG_ST_EVENT_NEWEST : MG_ST_EVENT_AFTER;
	sqlite3_stmt *st = c->st[what];
	int rc;

	pthread_mutex_lock(&c->lock);
	sqlite3_bind_int64(st, 1, after);
	sqlite3_bind_int64(st, 2, since_ns);
	sqlite3_bind_int64(st, 3, max);
	rc = collect(c, what, event_row, events, err);
	pthread_mutex_unlock(&c->lock);
	return rc;
}
