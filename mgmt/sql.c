#include "mgmt/sql.h"

#include "common/bytes.h"

int mg_sql_fail(struct mg_sql *s, const char *what, struct vs_error *err)
{
	static const struct {
		int sqlite, code;
	} codes[] = {{SQLITE_FULL, VS_E_NOSPC},	     {SQLITE_CORRUPT, VS_E_CORRUPT},
		     {SQLITE_NOTADB, VS_E_CORRUPT},  {SQLITE_BUSY, VS_E_BUSY},
		     {SQLITE_LOCKED, VS_E_BUSY},     {SQLITE_READONLY, VS_E_ROFS},
		     {SQLITE_NOMEM, VS_E_NOMEM},     {SQLITE_PERM, VS_E_ACCESS},
		     {SQLITE_CANTOPEN, VS_E_ACCESS}, {SQLITE_CONSTRAINT, VS_E_EXIST}};
	int sqlite = sqlite3_errcode(s->db) & 0xff, code = VS_E_IO;

	if (s->status && *s->status)
		return vs_fail(err, *s->status, "%s: %s: %s", s->name, what,
			       vs_err_text(*s->status));
	for (size_t i = 0; i < VS_ARRAY_LEN(codes); i++)
		if (codes[i].sqlite == sqlite)
			code = codes[i].code;
	return vs_fail(err, code, "%s: %s: %s", s->name, what, sqlite3_errmsg(s->db));
}

int mg_sql_run(struct mg_sql *s, unsigned st, struct vs_error *err)
{
	int rc = sqlite3_step(s->st[st]), ret = 0;

	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		ret = mg_sql_fail(s, "cannot write", err);
	sqlite3_reset(s->st[st]);
	sqlite3_clear_bindings(s->st[st]);
	return ret;
}

int mg_sql_do(struct mg_sql *s, const char *sql, struct vs_error *err)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK
		   ? 0
		   : mg_sql_fail(s, "cannot write", err);
}

void mg_sql_bind(sqlite3_stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
}

int mg_sql_collect(struct mg_sql *s, unsigned what, json_t *(*row)(sqlite3_stmt *st), json_t **out,
		   struct vs_error *err)
{
	sqlite3_stmt *st = s->st[what];
	json_t *list = json_array();
	int rc = 0, step;

	while (rc == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			rc = mg_sql_fail(s, "cannot read", err);
		else if (json_array_append_new(list, row(st)) != 0)
			rc = vs_fail(err, VS_E_CORRUPT, "%s: a row cannot be read", s->name);
	}
	sqlite3_reset(st);
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}

static int user_version(struct mg_sql *s, int *version, struct vs_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		rc = mg_sql_fail(s, "cannot read", err);
	else
		*version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return rc;
}

static int migrate_one(struct mg_sql *s, const char *migration, int to, struct vs_error *err)
{
	char set[64];
	int rc = mg_sql_do(s, "BEGIN IMMEDIATE", err);

	(void)sqlite3_snprintf((int)sizeof(set), set, "PRAGMA user_version=%d", to);
	if (rc == 0)
		rc = mg_sql_do(s, migration, err);
	if (rc == 0)
		rc = mg_sql_do(s, set, err);
	if (rc == 0)
		rc = mg_sql_do(s, "COMMIT", err);
	if (rc != 0 && !sqlite3_get_autocommit(s->db))
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

int mg_sql_migrate(struct mg_sql *s, const char *const *migrations, int n, struct vs_error *err)
{
	int version = 0, rc = user_version(s, &version, err);

	if (rc == 0 && (version < 0 || version > n))
		rc = vs_fail(err, VS_E_VERSION,
			     "%s is of version %d, this vstored knows up to %d; install the later "
			     "vstored",
			     s->name, version, n);
	for (; rc == 0 && version < n; version++)
		rc = migrate_one(s, migrations[version], version + 1, err);
	return rc;
}

int mg_sql_prepare(struct mg_sql *s, const char *const *text, unsigned n, struct vs_error *err)
{
	VS_ASSERT(n <= MG_SQL_STATEMENTS_MAX);
	for (unsigned i = 0; i < n; i++)
		if (sqlite3_prepare_v3(s->db, text[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i],
				       NULL) != SQLITE_OK)
			return mg_sql_fail(s, "cannot prepare", err);
	return 0;
}

void mg_sql_finalize(struct mg_sql *s)
{
	for (unsigned i = 0; i < MG_SQL_STATEMENTS_MAX; i++) {
		sqlite3_finalize(s->st[i]);
		s->st[i] = NULL;
	}
}
