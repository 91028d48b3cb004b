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
	sqlite3_stmt *st = c->st[what];

	mg_catalogue_bind(st, 1, mg_kind_name[kind]);
	mg_catalogue_bind(st, 2, name);
	if (doc)
		mg_catalogue_bind(st, 3, doc);
	return mg_catalogue_run(c, what, err);
}

static int put_volumes(struct mg_catalogue *c, enum mg_kind kind, const char *name,
		       const struct vs_uuid *volumes, size_t n, struct vs_error *err)
{
	int rc = run_object(c, MG_ST_VOLUME_CLEAR, kind, name, NULL, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		sqlite3_bind_blob(c->st[MG_ST_VOLUME_INSERT], 3, volumes[i].b, sizeof(volumes[i].b),
				  SQLITE_TRANSIENT);
		rc = run_object(c, MG_ST_VOLUME_INSERT, kind, name, NULL, err);
	}
	return rc;
}

/* Ends the transaction: commits when rc is 0, else takes everything back. Returns the outcome. */
static int finish(struct mg_catalogue *c, int rc, struct vs_error *err)
{
	if (rc == 0)
		rc = mg_catalogue_run(c, MG_ST_COMMIT, err);
	if (rc != 0 && mg_catalogue_run(c, MG_ST_ROLLBACK, NULL) != 0)
		return rc; /* nothing was begun, or SQLite has rolled back by itself */
	return rc;
}

static int put(struct mg_catalogue *c, enum mg_statement what, enum mg_kind kind, const char *name,
	       const json_t *doc, const struct vs_uuid *volumes, size_t n, struct vs_error *err)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int rc;

	if (doc && !text)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_lock(&c->lock);
	rc = mg_catalogue_run(c, MG_ST_BEGIN, err);
	if (rc == 0) {
		rc = run_object(c, what, kind, name, text, err);
		if (rc == VS_E_EXIST)
			rc = vs_fail(err, rc, "%s %s exists; choose another name",
				     mg_kind_name[kind], name);
		else if (rc == 0 && sqlite3_changes(c->db) == 0)
			rc = vs_fail(err, VS_E_NOENT, "no %s named %s", mg_kind_name[kind], name);
		if (rc == 0)
			rc = put_volumes(c, kind, name, volumes, n, err);
		rc = finish(c, rc, err);
	}
	pthread_mutex_unlock(&c->lock);
	if (text)
		vs_secret_wipe(text, strlen(text));
	free(text);
	return rc;
}

int mg_catalogue_insert(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_INSERT, kind, name, doc, volumes, n, err);
}

int mg_catalogue_update(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_UPDATE, kind, name, doc, volumes, n, err);
}

int mg_catalogue_delete(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			struct vs_error *err)
{
	return put(c, MG_ST_OBJECT_DELETE, kind, name, NULL, NULL, 0, err);
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
	sqlite3_stmt *st = c->st[MG_ST_OBJECT_GET];
	int rc = 0, step;

	pthread_mutex_lock(&c->lock);
	mg_catalogue_bind(st, 1, mg_kind_name[kind]);
	mg_catalogue_bind(st, 2, name);
	step = sqlite3_step(st);
	if (step == SQLITE_ROW) {
		*doc = column_doc(st, 0, err);
		if (!*doc)
			rc = VS_E_CORRUPT;
	} else if (step == SQLITE_DONE) {
		rc = vs_fail(err, VS_E_NOENT, "no %s named %s", mg_kind_name[kind], name);
	} else {
		rc = mg_catalogue_fail(c, "cannot read", err);
	}
	sqlite3_reset(st);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int mg_catalogue_list(struct mg_catalogue *c, enum mg_kind kind, json_t **docs,
		      struct vs_error *err)
{
	sqlite3_stmt *st = c->st[MG_ST_OBJECT_LIST];
	json_t *list = json_array();
	int rc = 0, step;

	pthread_mutex_lock(&c->lock);
	mg_catalogue_bind(st, 1, mg_kind_name[kind]);
	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		json_t *doc = NULL;

		if (step != SQLITE_ROW)
			rc = mg_catalogue_fail(c, "cannot read", err);
		else if (!(doc = column_doc(st, 0, err)))
			rc = VS_E_CORRUPT;
		else if (json_array_append_new(list, doc) != 0)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	sqlite3_reset(st);
	pthread_mutex_unlock(&c->lock);
	if (rc != 0)
		json_decref(list);
	else
		*docs = list;
	return rc;
}

int mg_catalogue_users(struct mg_catalogue *c, const struct vs_uuid *volume, json_t **users,
		       struct vs_error *err)
{
	sqlite3_stmt *st = c->st[MG_ST_VOLUME_USERS];
	json_t *list = json_array();
	int rc = 0, step;

	pthread_mutex_lock(&c->lock);
	sqlite3_bind_blob(st, 1, volume->b, sizeof(volume->b), SQLITE_TRANSIENT);
	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			rc = mg_catalogue_fail(c, "cannot read", err);
		else if (json_array_append_new(list, json_pack("{s:s, s:s}", "kind",
							       sqlite3_column_text(st, 0), "name",
							       sqlite3_column_text(st, 1))) != 0)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	sqlite3_reset(st);
	pthread_mutex_unlock(&c->lock);
	if (rc != 0)
		json_decref(list);
	else
		*users = list;
	return rc;
}
