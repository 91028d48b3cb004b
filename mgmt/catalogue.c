#include "mgmt/catalogue_impl.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x3130474356535400) /* of the base record: no datastore's */
#define CACHE (UINT64_C(2) << 20)	   /* all of an ordinary catalogue: lists read no device */

static const char *const statement_text[MG_ST_COUNT] = {
#define MG_STATEMENT_TEXT(name, text) [MG_ST_##name] = (text),
    MG_STATEMENTS(MG_STATEMENT_TEXT)
#undef MG_STATEMENT_TEXT
};

/* One that was released is never changed (mgmt/sql.h). */
static const char *const migrations[MG_CATALOGUE_VERSION] = {
    "CREATE TABLE object(kind TEXT NOT NULL, name TEXT NOT NULL, doc TEXT NOT NULL,"
    " PRIMARY KEY(kind,name)) WITHOUT ROWID;"
    "CREATE TABLE object_volume(kind TEXT NOT NULL, name TEXT NOT NULL, volume BLOB NOT NULL,"
    " PRIMARY KEY(volume,kind,name)) WITHOUT ROWID;"
    "CREATE INDEX object_volume_by_name ON object_volume(kind,name);",
};

void mg_catalogue_enter(struct mg_catalogue *c)
{
	pthread_mutex_lock(&c->lock);
}

void mg_catalogue_leave(struct mg_catalogue *c)
{
	if (c->database)
		ds_database_rest(c->database);
	pthread_mutex_unlock(&c->lock);
}

static int damaged(const char *what, struct vs_error *err)
{
	return vs_fail(err, VS_E_CORRUPT,
		       "the node's catalogue in the store (volume %s) is damaged: %s; check the "
		       "store offline with vstore check",
		       MG_CATALOGUE_VOLUME, what);
}

/* All of it is small, and comes into the cache that way. quick_check of SQLite 3.40 takes columns
 * of a key whose order is not the table's for NULL. */
static int is_sound(struct mg_catalogue *c, struct vs_error *err)
{
	sqlite3_stmt *st = NULL;
	const char *said;
	int rc = 0;

	if (sqlite3_prepare_v2(c->sql.db, "PRAGMA integrity_check(1)", -1, &st, NULL) !=
		SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		rc = mg_sql_fail(&c->sql, "cannot be checked", err);
	if (rc == 0) {
		said = (const char *)sqlite3_column_text(st, 0);
		if (!said || strcmp(said, "ok") != 0)
			rc = damaged(said ? said : "its check says nothing", err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* A read-only store's catalogue is as it is; one that is not there is empty. */
static int open_database(struct mg_catalogue *c, struct bs_store *s, struct vs_error *err)
{
	int rc =
	    ds_database_open(s, MG_CATALOGUE_VOLUME, MAGIC, CACHE, c->read_only, &c->database, err);

	if (rc == VS_E_NOENT && c->read_only)
		return sqlite3_open(":memory:", &c->sql.db) == SQLITE_OK
			   ? 0
			   : vs_fail(err, VS_E_NOMEM, "out of memory");
	if (rc == VS_E_NOTSUP)
		return damaged("it holds something else, or is of another version", err);
	if (rc == VS_E_CORRUPT)
		return damaged(vs_err_text(rc), err);
	if (rc != 0)
		return rc;
	c->sql.db = ds_database_sqlite(c->database);
	c->sql.status = ds_database_status(c->database);
	return 0;
}

static int start(struct mg_catalogue *c, struct bs_store *s, struct vs_error *err)
{
	struct bs_store_info info;
	int rc;

	bs_store_info(s, &info);
	c->read_only = info.read_only || info.failed;
	rc = open_database(c, s, err);
	if (rc == 0)
		rc = is_sound(c, err);
	if (rc == 0)
		rc = mg_sql_do(&c->sql, "PRAGMA secure_delete=ON", err);
	if (rc == 0)
		rc = mg_sql_migrate(&c->sql, migrations, MG_CATALOGUE_VERSION, err);
	return rc == 0 ? mg_sql_prepare(&c->sql, statement_text, MG_ST_COUNT, err) : rc;
}

int mg_catalogue_open(struct bs_store *s, struct mg_catalogue **out, struct vs_error *err)
{
	struct mg_catalogue *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_init(&c->lock, NULL);
	c->sql.name = "catalogue";
	rc = start(c, s, err);
	if (rc != 0)
		mg_catalogue_close(c);
	else
		*out = c;
	return rc;
}

void mg_catalogue_close(struct mg_catalogue *c)
{
	if (!c)
		return;
	mg_sql_finalize(&c->sql);
	if (c->database)
		ds_database_close(c->database);
	else
		sqlite3_close(c->sql.db);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
