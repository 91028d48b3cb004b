#include "mgmt/catalogue_impl.h"

#include "common/secret.h"

#include <stdlib.h>
#include <string.h>

const char *const mg_kind_name[MG_KINDS] = {
    [MG_TARGET] = "target",	  [MG_NBD] = "nbd",   [MG_REPO] = "repo",
    [MG_BASE] = "base",		  [MG_VM] = "vm",     [MG_DRAFT] = "draft",
    [MG_SCRUB] = "scrub",	  [MG_UNIT] = "unit", [MG_ORIGIN] = "origin",
    [MG_DATASTORE] = "datastore", [MG_NFS] = "nfs",   [MG_PART] = "part",
};

/* Statement over (kind, name[, doc]). */
static int run_object(struct mg_catalogue *c, enum mg_statement what, enum mg_kind kind,
		      const char *name, const char *doc, struct vs_error *err)
{
	sqlite3_stmt *st = c->sql.st[what];

	mg_sql_bind(st, 1, mg_kind_name[kind]);
	mg_sql_bind(st, 2, name);
	if (doc)
		mg_sql_bind(st, 3, doc);
	return mg_sql_run(&c->sql, what, err);
}

static int put_volumes(struct mg_catalogue *c, enum mg_kind kind, const char *name,
		       const struct vs_uuid *volumes, size_t n, struct vs_error *err)
{
	int rc = run_object(c, MG_ST_VOLUME_CLEAR, kind, name, NULL, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		sqlite3_bind_blob(c->sql.st[MG_ST_VOLUME_INSERT], 3, volumes[i].b,
				  sizeof(volumes[i].b), SQLITE_TRANSIENT);
		rc = run_object(c, MG_ST_VOLUME_INSERT, kind, name, NULL, err);
	}
	return rc;
}

/* Ends the transaction: commits when rc is 0, else takes everything back. Returns the outcome. */
static int finish(struct mg_catalogue *c, int rc, struct vs_error *err)
{
	if (rc == 0)
		rc = mg_sql_run(&c->sql, MG_ST_COMMIT, err);
	if (rc == 0)
		return 0;
	if (!sqlite3_get_autocommit(c->sql.db))
		(void)!mg_sql_run(&c->sql, MG_ST_ROLLBACK, NULL);
	if (c->database)
		ds_database_recovered(c->database);
	return rc;
}

static int begin(struct mg_catalogue *c, bool spare, struct vs_error *err)
{
	if (c->read_only)
		return vs_fail(err, VS_E_ROFS,
			       "the node's catalogue is in the store, which is read-only; see "
			       "vstore event list for why");
	ds_database_begin(c->database, spare);
	return mg_sql_run(&c->sql, MG_ST_BEGIN, err);
}

static int put(struct mg_catalogue *c, enum mg_statement what, bool spare, enum mg_kind kind,
	       const char *name, const json_t *doc, const struct vs_uuid *volumes, size_t n,
	       struct vs_error *err)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int rc;

	if (doc && !text)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	mg_catalogue_enter(c);
	rc = begin(c, spare, err);
	if (rc == 0) {
		rc = run_object(c, what, kind, name, text, err);
		if (rc == VS_E_EXIST)
			rc = vs_fail(err, rc, "%s %s exists; choose another name",
				     mg_kind_name[kind], name);
		else if (rc == 0 && sqlite3_changes(c->sql.db) == 0)
			rc = vs_fail(err, VS_E_NOENT, "no %s named %s", mg_kind_name[kind], name);
		if (rc == 0)
			rc = put_volumes(c, kind, name, volumes, n, err);
		rc = finish(c, rc, err);
	}
	if (rc == VS_E_NOSPC)
		rc = vs_fail(err, rc,
			     "no space left in the store to remember a %s; delete something, or "
			     "grow the store",
			     mg_kind_name[kind]);
	mg_catalogue_leave(c);
	if (text)
		vs_secret_wipe(text, strlen(text));
	free(text);
	return rc;
}

int mg_catalogue_insert(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_INSERT, kind == MG_UNIT || kind == MG_NFS, kind, name, doc,
		   volumes, n, err);
}

int mg_catalogue_take(struct mg_catalogue *c, enum mg_kind kind, const char *name,
		      const json_t *doc, const struct vs_uuid *volumes, size_t n,
		      struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_INSERT, true, kind, name, doc, volumes, n, err);
}

int mg_catalogue_update(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_UPDATE, true, kind, name, doc, volumes, n, err);
}

int mg_catalogue_delete(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_DELETE, true, kind, name, NULL, NULL, 0, err);
}

/* The document in a column, or NULL with err. */
static json_t *column_doc(sqlite3_stmt *st, int column, struct vs_error *err)
{
	json_t *doc = json_loadb((const char *)sqlite3_column_text(st, column),
				 (size_t)sqlite3_column_bytes(st, column), 0, NULL);

	if (!doc)
		vs_fail(err, VS_E_CORRUPT, "catalogue: a document is not JSON");
	return doc;
}

int mg_catalogue_get(struct mg_catalogue *c, enum mg_kind kind, const char *name, json_t **doc,
		     struct vs_error *err)
{
	sqlite3_stmt *st = c->sql.st[MG_ST_OBJECT_GET];
	int rc = 0, step;

	mg_catalogue_enter(c);
	mg_sql_bind(st, 1, mg_kind_name[kind]);
	mg_sql_bind(st, 2, name);
	step = sqlite3_step(st);
	if (step == SQLITE_ROW) {
		*doc = column_doc(st, 0, err);
		if (!*doc)
			rc = VS_E_CORRUPT;
	} else if (step == SQLITE_DONE) {
		rc = vs_fail(err, VS_E_NOENT, "no %s named %s", mg_kind_name[kind], name);
	} else {
		rc = mg_sql_fail(&c->sql, "cannot read", err);
	}
	sqlite3_reset(st);
	mg_catalogue_leave(c);
	return rc;
}

static json_t *doc_row(sqlite3_stmt *st)
{
	return column_doc(st, 0, NULL);
}

int mg_catalogue_list(struct mg_catalogue *c, enum mg_kind kind, json_t **docs,
		      struct vs_error *err)
{
	int rc;

	mg_catalogue_enter(c);
	mg_sql_bind(c->sql.st[MG_ST_OBJECT_LIST], 1, mg_kind_name[kind]);
	rc = mg_sql_collect(&c->sql, MG_ST_OBJECT_LIST, doc_row, docs, err);
	mg_catalogue_leave(c);
	return rc;
}

static json_t *user_row(sqlite3_stmt *st)
{
	return json_pack("{s:s, s:s}", "kind", sqlite3_column_text(st, 0), "name",
			 sqlite3_column_text(st, 1));
}

int mg_catalogue_users(struct mg_catalogue *c, const struct vs_uuid *volume, json_t **users,
		       struct vs_error *err)
{
	int rc;

	mg_catalogue_enter(c);
	sqlite3_bind_blob(c->sql.st[MG_ST_VOLUME_USERS], 1, volume->b, sizeof(volume->b),
			  SQLITE_TRANSIENT);
	rc = mg_sql_collect(&c->sql, MG_ST_VOLUME_USERS, user_row, users, err);
	mg_catalogue_leave(c);
	return rc;
}

static json_t *count_row(sqlite3_stmt *st)
{
	return json_integer(sqlite3_column_int64(st, 0));
}

int mg_catalogue_count(struct mg_catalogue *c, uint64_t *n, struct vs_error *err)
{
	json_t *list = NULL;
	int rc;

	mg_catalogue_enter(c);
	rc = mg_sql_collect(&c->sql, MG_ST_OBJECT_COUNT, count_row, &list, err);
	mg_catalogue_leave(c);
	if (rc == 0)
		*n = (uint64_t)json_integer_value(json_array_get(list, 0));
	json_decref(list);
	return rc;
}
