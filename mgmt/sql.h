/*
 * What the node's two databases, the catalogue and the history, have in common: prepared
 * statements, migrations, and SQLite's failures in words.
 *
 * Ownership: the statements are mg_sql's, the connection is its owner's; JSON handed out is the
 * caller's.
 * Threads: one at a time, the owner has a lock. Errors: VS_E_* with one line that names the
 * database.
 */
#ifndef MG_SQL_H
#define MG_SQL_H

#include "common/err.h"

#include <jansson.h>
#include <sqlite3.h>

#define MG_SQL_STATEMENTS_MAX 20u

struct mg_sql {
	const char *name; /* of the database, for people */
	sqlite3 *db;
	sqlite3_stmt *st[MG_SQL_STATEMENTS_MAX];
	const int *status; /* VS_E_* of what lies below SQLite, where it said why; or NULL */
};

/* migrations[v] leads from version v to v + 1. VS_E_VERSION: written by a later version. */
int mg_sql_migrate(struct mg_sql *s, const char *const *migrations, int n,
		   struct vs_error *err) vs_must_check;
int mg_sql_prepare(struct mg_sql *s, const char *const *text, unsigned n,
		   struct vs_error *err) vs_must_check;
void mg_sql_finalize(struct mg_sql *s); /* its statements; before the connection is closed */

int mg_sql_fail(struct mg_sql *s, const char *what, struct vs_error *err);
/* Text or NULL. */
void mg_sql_bind(sqlite3_stmt *st, int at, const char *text);
/* Runs a statement that gives no rows and resets it. */
int mg_sql_run(struct mg_sql *s, unsigned st, struct vs_error *err) vs_must_check;
/* What SQL says, of no rows. */
int mg_sql_do(struct mg_sql *s, const char *sql, struct vs_error *err) vs_must_check;
/* The rows of a bound statement, each as row makes it (NULL: it cannot be read). */
int mg_sql_collect(struct mg_sql *s, unsigned st, json_t *(*row)(sqlite3_stmt *st), json_t **out,
		   struct vs_error *err) vs_must_check;

#endif
