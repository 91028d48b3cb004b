#include "mgmt/catalogue_impl.h"

#include "common/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const statement_text[MG_ST_COUNT] = {
#define MG_STATEMENT_TEXT(name, text) [MG_ST_##name] = (text),
    MG_STATEMENTS(MG_STATEMENT_TEXT)
#undef MG_STATEMENT_TEXT
};

/* migrations[v] leads from version v to v + 1; one that was released is never changed. */
static const char *const migrations[MG_CATALOGUE_VERSION] = {
    "CREATE TABLE object(kind TEXT NOT NULL, name TEXT NOT NULL, doc TEXT NOT NULL,"
    " PRIMARY KEY(kind,name)) WITHOUT ROWID;"
    "CREATE TABLE object_volume(kind TEXT NOT NULL, name TEXT NOT NULL, volume BLOB NOT NULL,"
    " PRIMARY KEY(volume,kind,name)) WITHOUT ROWID;"
    "CREATE INDEX object_volume_by_name ON object_volume(kind,name);"
    "CREATE TABLE task(id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL,"
    " state TEXT NOT NULL, created INTEGER NOT NULL);"
    "CREATE INDEX task_by_state ON task(state);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
    " severity TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,"
    " message TEXT NOT NULL);",
};

int mg_catalogue_fail(struct mg_catalogue *c, const char *what, struct vs_error *err)
{
	static const struct {
		int sqlite, code;
	} codes[] = {{SQLITE_FULL, VS_E_NOSPC},	     {SQLITE_CORRUPT, VS_E_CORRUPT},
		     {SQLITE_NOTADB, VS_E_CORRUPT},  {SQLITE_BUSY, VS_E_BUSY},
		     {SQLITE_LOCKED, VS_E_BUSY},     {SQLITE_READONLY, VS_E_ROFS},
		     {SQLITE_NOMEM, VS_E_NOMEM},     {SQLITE_PERM, VS_E_ACCESS},
		     {SQLITE_CANTOPEN, VS_E_ACCESS}, {SQLITE_CONSTRAINT, VS_E_EXIST}};
	int sqlite = sqlite3_errcode(c->db) & 0xff, code = VS_E_IO;

	for (size_t i = 0; i < VS_ARRAY_LEN(codes); i++)
		if (codes[i].sqlite == sqlite)
			code = codes[i].code;
	return vs_fail(err, code, "catalogue: %s: %s", what, sqlite3_errmsg(c->db));
}

int mg_catalogue_run(struct mg_catalogue *c, enum mg_statement st, struct vs_error *err)
{
	int rc = sqlite3_step(c->st[st]), ret = 0;

	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		ret = mg_catalogue_fail(c, "cannot write", err);
	sqlite3_reset(c->st[st]);
	sqlite3_clear_bindings(c->st[st]);
	return ret;
}

void mg_catalogue_bind(sqlite3_stmt *st, int at, const char *text)
{
	sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT);
}

static int user_version(struct mg_catalogue *c, int *version, struct vs_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		rc = mg_catalogue_fail(c, "cannot read", err);
	else
		*version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return rc;
}

static int migrate(struct mg_catalogue *c, const char *path, struct vs_error *err)
{
	int version = 0, rc = user_version(c, &version, err);

	if (rc != 0)
		return rc;
	if (version < 0 || version > MG_CATALOGUE_VERSION)
		return vs_fail(
		    err, VS_E_VERSION,
		    "%s is of catalogue version %d, this vstored knows up to %d; install "
		    "the later vstored",
		    path, version, MG_CATALOGUE_VERSION);
	for (; version < MG_CATALOGUE_VERSION; version++) {
		char set[64];

		(void)sqlite3_snprintf((int)sizeof(set), set, "PRAGMA user_version=%d",
				       version + 1);
		if (sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(c->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(c->db, set, NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
			rc = mg_catalogue_fail(c, "cannot migrate", err);
			sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
			return rc;
		}
	}
	return 0;
}

/* The file is made before SQLite sees it, so that it and its companions are born with mode 0600. */
static int make_private(const char *path, struct vs_error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return vs_fail_errno(err, "cannot open catalogue %s", path);
	if (fchmod(fd, 0600) != 0) {
		int rc = vs_fail_errno(err, "cannot make catalogue %s private", path);

		close(fd);
		return rc;
	}
	close(fd);
	return 0;
}

static int prepare(struct mg_catalogue *c, struct vs_error *err)
{
	for (unsigned i = 0; i < MG_ST_COUNT; i++)
		if (sqlite3_prepare_v3(c->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &c->st[i], NULL) != SQLITE_OK)
			return mg_catalogue_fail(c, "cannot prepare", err);
	return 0;
}

int mg_catalogue_open(const char *path, struct mg_catalogue **out, struct vs_error *err)
{
	struct mg_catalogue *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_init(&c->lock, NULL);
	rc = make_private(path, err);
	if (rc != 0)
		goto fail;
	if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
		SQLITE_OK ||
	    sqlite3_exec(c->db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "PRAGMA secure_delete=ON; PRAGMA trusted_schema=OFF;",
			 NULL, NULL, NULL) != SQLITE_OK) {
		rc = mg_catalogue_fail(c, path, err);
		goto fail;
	}
	sqlite3_busy_timeout(c->db, 1000);
	rc = migrate(c, path, err);
	if (rc == 0)
		rc = prepare(c, err);
	if (rc != 0)
		goto fail;
	*out = c;
	return 0;
fail:
	mg_catalogue_close(c);
	return rc;
}

void mg_catalogue_close(struct mg_catalogue *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < MG_ST_COUNT; i++)
		sqlite3_finalize(c->st[i]);
	sqlite3_close(c->db);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
