#include "datastore/db.h"

#include "datastore/connect.h"
#include "datastore/name.h"

#include <string.h>
#include <sys/random.h>

#define SCHEMA_VERSION 1

static const char schema[] =
    "CREATE TABLE dirent(dir INTEGER NOT NULL,cookie INTEGER NOT NULL,name BLOB NOT NULL,"
    "object INTEGER NOT NULL,generation INTEGER NOT NULL,type INTEGER NOT NULL,"
    "PRIMARY KEY(dir,cookie)) WITHOUT ROWID;"
    "CREATE TABLE symlink(object INTEGER PRIMARY KEY,target BLOB NOT NULL);"
    "CREATE TABLE orphan(object INTEGER PRIMARY KEY);"
    "CREATE TABLE secret(seed INTEGER NOT NULL);";

static const char *const text[DS_ST_COUNT] = {
#define DS_STATEMENT_TEXT(name, sql) sql,
    DS_STATEMENTS(DS_STATEMENT_TEXT)
#undef DS_STATEMENT_TEXT
};

static int failed(const struct ds_db *db, int rc)
{
	return ds_connect_failed(db->vfs, rc);
}

/* Runs a statement that has no rows. */
static int run(struct ds_db *db, enum ds_statement which)
{
	sqlite3_stmt *st = db->st[which];
	int rc = sqlite3_step(st);

	rc = rc == SQLITE_DONE ? 0 : failed(db, rc);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc;
}

static sqlite3_stmt *bound(struct ds_db *db, enum ds_statement which, uint64_t a, uint64_t b)
{
	sqlite3_stmt *st = db->st[which];

	sqlite3_bind_int64(st, 1, (sqlite3_int64)a);
	if (sqlite3_bind_parameter_count(st) > 1)
		sqlite3_bind_int64(st, 2, (sqlite3_int64)b);
	return st;
}

int ds_db_begin(struct ds_db *db)
{
	db->vfs->status = 0;
	return run(db, DS_ST_BEGIN);
}

void ds_db_rollback(struct ds_db *db)
{
	if (!sqlite3_get_autocommit(db->db))
		(void)run(db, DS_ST_ROLLBACK);
	ds_vfs_recovered(db->vfs);
}

int ds_db_commit(struct ds_db *db)
{
	int rc;

	db->vfs->committed = false;
	rc = run(db, DS_ST_COMMIT);
	if (rc == 0 && !db->vfs->committed)
		rc = ds_vfs_commit(db->vfs);
	if (rc)
		ds_db_rollback(db);
	return rc;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A row as the schema has its columns. */
static void column_name(sqlite3_stmt *st, struct ds_name *n)
{
	n->cookie = (uint64_t)sqlite3_column_int64(st, 1);
	n->object = (uint32_t)sqlite3_column_int64(st, 3);
	n->generation = (uint32_t)sqlite3_column_int64(st, 4);
	n->type = (enum ds_type)sqlite3_column_int(st, 5);
}

int ds_db_find(struct ds_db *db, uint32_t dir, const char *name, size_t len, struct ds_name *out)
{
	uint64_t first = ds_name_cookie(db->seed, db->hash_bits, name, len), free_at = first;
	sqlite3_stmt *st = bound(db, DS_ST_FIND, dir, first);
	int rc, ret = VS_E_NOENT;

	sqlite3_bind_int64(st, 3, (sqlite3_int64)(first + DS_COOKIE_PROBES - 1));
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		column_name(st, out);
		free_at += out->cookie == free_at;
		if ((size_t)sqlite3_column_bytes(st, 2) != len ||
		    memcmp(sqlite3_column_blob(st, 2), name, len) != 0)
			continue;
		ret = 0;
		break;
	}
	if (ret && rc != SQLITE_DONE)
		ret = failed(db, rc);
	sqlite3_reset(st);
	if (ret == VS_E_NOENT)
		*out = (struct ds_name){.cookie = free_at < first + DS_COOKIE_PROBES ? free_at : 0};
	return ret;
}

int ds_db_add(struct ds_db *db, uint32_t dir, const char *name, size_t len, const struct ds_name *n)
{
	sqlite3_stmt *st = bound(db, DS_ST_ADD, dir, n->cookie);

	if (!n->cookie)
		return VS_E_LIMIT;
	sqlite3_bind_blob(st, 3, name, (int)len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, n->object);
	sqlite3_bind_int64(st, 5, n->generation);
	sqlite3_bind_int(st, 6, (int)n->type);
	return run(db, DS_ST_ADD);
}

int ds_db_replace(struct ds_db *db, uint32_t dir, const struct ds_name *n)
{
	sqlite3_stmt *st = bound(db, DS_ST_REPLACE, dir, n->cookie);

	sqlite3_bind_int64(st, 3, n->object);
	sqlite3_bind_int64(st, 4, n->generation);
	sqlite3_bind_int(st, 5, (int)n->type);
	return run(db, DS_ST_REPLACE);
}

int ds_db_remove(struct ds_db *db, uint32_t dir, uint64_t cookie)
{
	(void)bound(db, DS_ST_REMOVE, dir, cookie);
	return run(db, DS_ST_REMOVE);
}

int ds_db_list(struct ds_db *db, uint32_t dir, uint64_t after, unsigned max,
	       bool (*each)(void *arg, const struct ds_name *n, const char *name, size_t len),
	       void *arg)
{
	sqlite3_stmt *st = bound(db, DS_ST_LIST, dir, after);
	int rc;

	sqlite3_bind_int64(st, 3, max);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct ds_name n;

		column_name(st, &n);
		if (!each(arg, &n, sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2)))
			break;
	}
	rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(db, rc);
	sqlite3_reset(st);
	return rc;
}

/* ---- links and orphans ---------------------------------------------------------------------- */

int ds_db_target_add(struct ds_db *db, uint32_t object, const char *target, size_t len)
{
	sqlite3_bind_int64(db->st[DS_ST_TARGET_ADD], 1, object);
	sqlite3_bind_blob(db->st[DS_ST_TARGET_ADD], 2, target, (int)len, SQLITE_STATIC);
	return run(db, DS_ST_TARGET_ADD);
}

int ds_db_target_get(struct ds_db *db, uint32_t object, char out[DS_LINK_MAX], size_t *len)
{
	sqlite3_stmt *st = bound(db, DS_ST_TARGET_GET, object, 0);
	int rc = sqlite3_step(st), ret = 0;

	if (rc == SQLITE_ROW) {
		*len = (size_t)sqlite3_column_bytes(st, 0);
		if (*len > DS_LINK_MAX)
			ret = VS_E_CORRUPT;
		else
			memcpy(out, sqlite3_column_blob(st, 0), *len);
	} else {
		ret = rc == SQLITE_DONE ? VS_E_NOENT : failed(db, rc);
	}
	sqlite3_reset(st);
	return ret;
}

int ds_db_object(struct ds_db *db, enum ds_statement which, uint32_t object)
{
	(void)bound(db, which, object, 0);
	return run(db, which);
}

int ds_db_orphans(struct ds_db *db, uint32_t after, uint32_t *out, unsigned max, unsigned *n)
{
	sqlite3_stmt *st = bound(db, DS_ST_ORPHAN_LIST, after, max);
	int rc;

	*n = 0;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && *n < max)
		out[(*n)++] = (uint32_t)sqlite3_column_int64(st, 0);
	rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(db, rc);
	sqlite3_reset(st);
	return rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int sql(struct ds_db *db, const char *what)
{
	int rc = sqlite3_exec(db->db, what, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : failed(db, rc);
}

static int number(struct ds_db *db, const char *query, uint64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->db, query, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? VS_E_CORRUPT : failed(db, rc);
}

static int make(struct ds_db *db)
{
	char seed[80];
	uint64_t random;
	int rc;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return VS_E_IO;
	(void)sqlite3_snprintf((int)sizeof(seed), seed,
			       "PRAGMA user_version=%d;INSERT INTO secret VALUES(%lld)",
			       SCHEMA_VERSION, (long long)random);
	rc = sql(db, "BEGIN IMMEDIATE");
	if (rc == 0)
		rc = sql(db, schema);
	if (rc == 0)
		rc = sql(db, seed);
	return rc ? rc : sql(db, "COMMIT");
}

static int start(struct ds_db *db, bool fresh)
{
	uint64_t version = 0;
	int rc = fresh ? make(db) : 0;

	if (rc == 0)
		rc = number(db, "PRAGMA user_version", &version);
	if (rc == 0 && version != SCHEMA_VERSION)
		return VS_E_VERSION;
	if (rc == 0)
		rc = number(db, "SELECT seed FROM secret", &db->seed);
	for (int i = 0; rc == 0 && i < DS_ST_COUNT; i++)
		if (sqlite3_prepare_v3(db->db, text[i], -1, SQLITE_PREPARE_PERSISTENT, &db->st[i],
				       NULL) != SQLITE_OK)
			rc = failed(db, sqlite3_errcode(db->db));
	return rc;
}

int ds_db_open(struct ds_db *db, struct ds_vfs *vfs, uint64_t cache, bool fresh,
	       struct vs_error *err)
{
	int rc;

	*db = (struct ds_db){.vfs = vfs, .hash_bits = 62};
	rc = ds_connect(vfs, cache, &db->db);
	if (rc == 0)
		rc = start(db, fresh);
	return rc ? vs_fail(err, rc, "database of names: %s", vs_err_text(rc)) : 0;
}

void ds_db_close(struct ds_db *db)
{
	for (int i = 0; i < DS_ST_COUNT; i++)
		sqlite3_finalize(db->st[i]);
	sqlite3_close(db->db);
	*db = (struct ds_db){0};
}
