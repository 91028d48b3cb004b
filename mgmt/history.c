#include "mgmt/history.h"

#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/sql.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TASKS_KEPT 1000

/* name, text */
#define STATEMENTS(X)                                                                             \
	X(TASK_INSERT, "INSERT INTO task(doc,state,created) VALUES(?1,?2,?3)")                    \
	X(TASK_UPDATE, "UPDATE task SET doc=?2,state=?3 WHERE id=?1")                             \
	X(TASK_GET, "SELECT id,doc FROM task WHERE id=?1")                                        \
	X(TASK_LIST, "SELECT id,doc FROM (SELECT id,doc FROM task ORDER BY id DESC LIMIT ?1) "    \
		     "ORDER BY id")                                                               \
	X(TASK_INTERRUPT, "UPDATE task SET doc=json_set(doc,'$.state','failed','$.error',?1,"     \
			  "'$.code','CLOSED','$.finished',?2),state='failed' "                    \
			  "WHERE state IN ('queued','running')")                                  \
	X(TASK_TRIM, "DELETE FROM task WHERE id<=?1")                                             \
	X(EVENT_INSERT, "INSERT INTO event(time,severity,kind,subject,message) "                  \
			"VALUES(?1,?2,?3,?4,?5)")                                                 \
	X(EVENT_TRIM, "DELETE FROM event WHERE id<=?1")                                           \
	X(EVENT_AFTER, "SELECT id,time,severity,kind,subject,message FROM event "                 \
		       "WHERE id>?1 AND time>=?2 ORDER BY id LIMIT ?3")                           \
	X(EVENT_NEWEST, "SELECT * FROM (SELECT id,time,severity,kind,subject,message FROM event " \
			"WHERE id>?1 AND time>=?2 ORDER BY id DESC LIMIT ?3) ORDER BY id")

enum statement {
#define STATEMENT_ENUM(name, text) ST_##name,
	STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
	    ST_COUNT
};

static const char *const statement_text[ST_COUNT] = {
#define STATEMENT_TEXT(name, text) [ST_##name] = (text),
    STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

/* One that was released is never changed (mgmt/sql.h). */
static const char *const migrations[] = {
    "CREATE TABLE task(id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL,"
    " state TEXT NOT NULL, created INTEGER NOT NULL);"
    "CREATE INDEX task_by_state ON task(state);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
    " severity TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,"
    " message TEXT NOT NULL);",
};

/* lock guards everything; statements are reset whenever it is free. */
struct mg_history {
	pthread_mutex_t lock;
	struct mg_sql sql;
};

/* Tasks and events of a file that had them together with the catalogue. */
static int take_in(struct mg_history *h, const char *before, struct vs_error *err)
{
	static const char copy[] =
	    "BEGIN IMMEDIATE;"
	    "INSERT OR IGNORE INTO main.task SELECT id,doc,state,created FROM before.task;"
	    "INSERT OR IGNORE INTO main.event"
	    " SELECT id,time,severity,kind,subject,message FROM before.event;"
	    "COMMIT";
	char *attach = sqlite3_mprintf("ATTACH %Q AS before", before);
	struct vs_error why = {0};
	int rc =
	    attach ? mg_sql_do(&h->sql, attach, &why) : vs_fail(&why, VS_E_NOMEM, "out of memory");

	sqlite3_free(attach);
	if (rc == 0)
		rc = mg_sql_do(&h->sql, copy, &why);
	if (rc != 0 && !sqlite3_get_autocommit(h->sql.db))
		(void)sqlite3_exec(h->sql.db, "ROLLBACK", NULL, NULL, NULL);
	(void)sqlite3_exec(h->sql.db, "DETACH before", NULL, NULL, NULL);
	if (rc != 0)
		(void)vs_fail(err, rc,
			      "%s, which is to be taken in: %s; put back a copy of it, or "
			      "take it away to begin without",
			      before, why.text);
	return rc;
}

/* The file is made before SQLite sees it, so that it and its companions are born with mode 0600. */
static int make_private(const char *path, struct vs_error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;

	if (fd < 0)
		return vs_fail_errno(err, "cannot open %s", path);
	if (fchmod(fd, 0600) != 0)
		rc = vs_fail_errno(err, "cannot make %s private", path);
	close(fd);
	return rc;
}

static int start(struct mg_history *h, const char *path, const char *before, struct vs_error *err)
{
	int rc = make_private(path, err);

	if (rc != 0)
		return rc;
	if (sqlite3_open_v2(path, &h->sql.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return mg_sql_fail(&h->sql, path, err);
	sqlite3_busy_timeout(h->sql.db, 1000);
	rc = mg_sql_do(&h->sql,
		       "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
		       "PRAGMA trusted_schema=OFF;",
		       err);
	if (rc == 0)
		rc = mg_sql_migrate(&h->sql, migrations, (int)VS_ARRAY_LEN(migrations), err);
	if (rc == 0)
		rc = mg_sql_prepare(&h->sql, statement_text, ST_COUNT, err);
	return rc == 0 && before ? take_in(h, before, err) : rc;
}

int mg_history_open(const char *path, const char *before, struct mg_history **out,
		    struct vs_error *err)
{
	struct mg_history *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->sql.name = "history";
	rc = start(h, path, before, err);
	if (rc != 0)
		mg_history_close(h);
	else
		*out = h;
	return rc;
}

void mg_history_close(struct mg_history *h)
{
	if (!h)
		return;
	mg_sql_finalize(&h->sql);
	sqlite3_close(h->sql.db);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

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

int mg_history_task_put(struct mg_history *h, struct mg_task_row *r, struct vs_error *err)
{
	enum statement what = r->id ? ST_TASK_UPDATE : ST_TASK_INSERT;
	sqlite3_stmt *st = h->sql.st[what];
	json_t *doc = mg_task_row_json(r);
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	int rc;

	json_decref(doc);
	if (!text)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_lock(&h->lock);
	if (r->id) {
		sqlite3_bind_int64(st, 1, r->id);
		mg_sql_bind(st, 2, text);
		mg_sql_bind(st, 3, r->state);
	} else {
		mg_sql_bind(st, 1, text);
		mg_sql_bind(st, 2, r->state);
		sqlite3_bind_int64(st, 3, r->created_ns);
	}
	rc = mg_sql_run(&h->sql, what, err);
	if (rc == 0 && !r->id) {
		r->id = sqlite3_last_insert_rowid(h->sql.db);
		sqlite3_bind_int64(h->sql.st[ST_TASK_TRIM], 1, r->id - TASKS_KEPT);
		rc = mg_sql_run(&h->sql, ST_TASK_TRIM, err);
	}
	pthread_mutex_unlock(&h->lock);
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

int mg_history_task_get(struct mg_history *h, int64_t id, json_t **task, struct vs_error *err)
{
	json_t *list = NULL;
	int rc;

	pthread_mutex_lock(&h->lock);
	sqlite3_bind_int64(h->sql.st[ST_TASK_GET], 1, id);
	rc = mg_sql_collect(&h->sql, ST_TASK_GET, task_row, &list, err);
	pthread_mutex_unlock(&h->lock);
	if (rc != 0)
		return rc;
	if (json_array_size(list) == 0)
		rc = vs_fail(err, VS_E_NOENT, "no task %lld", (long long)id);
	else
		*task = json_incref(json_array_get(list, 0));
	json_decref(list);
	return rc;
}

int mg_history_task_list(struct mg_history *h, unsigned max, json_t **tasks, struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&h->lock);
	sqlite3_bind_int64(h->sql.st[ST_TASK_LIST], 1, max);
	rc = mg_sql_collect(&h->sql, ST_TASK_LIST, task_row, tasks, err);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int mg_history_task_interrupt(struct mg_history *h, const char *error, int64_t *n,
			      struct vs_error *err)
{
	sqlite3_stmt *st = h->sql.st[ST_TASK_INTERRUPT];
	char now[32];
	int rc;

	pthread_mutex_lock(&h->lock);
	mg_sql_bind(st, 1, error);
	mg_sql_bind(st, 2, vs_format_time(vs_unix_ns(), now, sizeof(now)));
	rc = mg_sql_run(&h->sql, ST_TASK_INTERRUPT, err);
	*n = rc == 0 ? sqlite3_changes(h->sql.db) : 0;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* ---- events --------------------------------------------------------------------------------- */

int mg_history_event_add(struct mg_history *h, const struct mg_event_row *r, unsigned keep,
			 int64_t *id, struct vs_error *err)
{
	sqlite3_stmt *st = h->sql.st[ST_EVENT_INSERT];
	int rc;

	pthread_mutex_lock(&h->lock);
	sqlite3_bind_int64(st, 1, r->time_ns);
	mg_sql_bind(st, 2, r->severity);
	mg_sql_bind(st, 3, r->kind);
	mg_sql_bind(st, 4, r->subject);
	mg_sql_bind(st, 5, r->message);
	rc = mg_sql_run(&h->sql, ST_EVENT_INSERT, err);
	if (rc == 0) {
		*id = sqlite3_last_insert_rowid(h->sql.db);
		sqlite3_bind_int64(h->sql.st[ST_EVENT_TRIM], 1, *id - (int64_t)keep);
		rc = mg_sql_run(&h->sql, ST_EVENT_TRIM, err);
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int mg_history_event_list(struct mg_history *h, int64_t after, int64_t since_ns, unsigned max,
			  bool newest, json_t **events, struct vs_error *err)
{
	enum statement what = newest ? ST_EVENT_NEWEST : ST_EVENT_AFTER;
	sqlite3_stmt *st = h->sql.st[what];
	int rc;

	pthread_mutex_lock(&h->lock);
	sqlite3_bind_int64(st, 1, after);
	sqlite3_bind_int64(st, 2, since_ns);
	sqlite3_bind_int64(st, 3, max);
	rc = mg_sql_collect(&h->sql, what, event_row, events, err);
	pthread_mutex_unlock(&h->lock);
	return rc;
}
