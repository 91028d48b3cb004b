/* Private to the catalogue*.c files: the connection, its lock and its statements. */
#ifndef MG_CATALOGUE_IMPL_H
#define MG_CATALOGUE_IMPL_H

#include "mgmt/catalogue.h"

#include <pthread.h>
#include <sqlite3.h>

/* name, text */
#define MG_STATEMENTS(X)                                                                           \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(OBJECT_INSERT, "INSERT INTO object(kind,name,doc) VALUES(?1,?2,?3)")                     \
	X(OBJECT_UPDATE, "UPDATE object SET doc=?3 WHERE kind=?1 AND name=?2")                     \
	X(OBJECT_DELETE, "DELETE FROM object WHERE kind=?1 AND name=?2")                           \
	X(OBJECT_GET, "SELECT doc FROM object WHERE kind=?1 AND name=?2")                          \
	X(OBJECT_LIST, "SELECT doc FROM object WHERE kind=?1 ORDER BY name")                       \
	X(VOLUME_INSERT, "INSERT OR IGNORE INTO object_volume(kind,name,volume) VALUES(?1,?2,?3)") \
	X(VOLUME_CLEAR, "DELETE FROM object_volume WHERE kind=?1 AND name=?2")                     \
	X(VOLUME_USERS, "SELECT kind,name FROM object_volume WHERE volume=?1 ORDER BY kind,name")  \
	X(TASK_INSERT, "INSERT INTO task(doc,state,created) VALUES(?1,?2,?3)")                     \
	X(TASK_UPDATE, "UPDATE task SET doc=?2,state=?3 WHERE id=?1")                              \
	X(TASK_GET, "SELECT id,doc FROM task WHERE id=?1")                                         \
	X(TASK_LIST, "SELECT id,doc FROM (SELECT id,doc FROM task ORDER BY id DESC LIMIT ?1) "     \
		     "ORDER BY id")                                                                \
	X(TASK_INTERRUPT, "UPDATE task SET doc=json_set(doc,'$.state','failed','$.error',?1,"      \
			  "'$.code','CLOSED','$.finished',?2),state='failed' "                     \
			  "WHERE state IN ('queued','running')")                                   \
	X(TASK_TRIM, "DELETE FROM task WHERE id<=?1")                                              \
	X(EVENT_INSERT, "INSERT INTO event(time,severity,kind,subject,message) "                   \
			"VALUES(?1,?2,?3,?4,?5)")                                                  \
	X(EVENT_TRIM, "DELETE FROM event WHERE id<=?1")                                            \
	X(EVENT_AFTER, "SELECT id,time,severity,kind,subject,message FROM event "                  \
		       "WHERE id>?1 AND time>=?2 ORDER BY id LIMIT ?3")                            \
	X(EVENT_NEWEST, "SELECT * FROM (SELECT id,time,severity,kind,subject,message FROM event "  \
			"WHERE id>?1 AND time>=?2 ORDER BY id DESC LIMIT ?3) ORDER BY id")

enum mg_statement {
#define MG_STATEMENT_ENUM(name, text) MG_ST_##name,
	MG_STATEMENTS(MG_STATEMENT_ENUM)
#undef MG_STATEMENT_ENUM
	    MG_ST_COUNT
};

/* lock guards everything; statements are reset whenever it is free. */
struct mg_catalogue {
	pthread_mutex_t lock;
	sqlite3 *db;
	sqlite3_stmt *st[MG_ST_COUNT];
};

/* VS_E_* with one line, from the connection's last error. */
int mg_catalogue_fail(struct mg_catalogue *c, const char *what, struct vs_error *err);
/* Runs a statement that gives no rows and resets it. Returns 0 or VS_E_*. */
int mg_catalogue_run(struct mg_catalogue *c, enum mg_statement st,
		     struct vs_error *err) vs_must_check;
/* Text or NULL. */
void mg_catalogue_bind(sqlite3_stmt *st, int at, const char *text);

#endif
