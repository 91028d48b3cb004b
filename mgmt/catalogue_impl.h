/* Private to the catalogue*.c files: the database, what is below it, and its statements. */
#ifndef MG_CATALOGUE_IMPL_H
#define MG_CATALOGUE_IMPL_H

#include "datastore/database.h"
#include "mgmt/catalogue.h"
#include "mgmt/sql.h"

#include <pthread.h>

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
	X(OBJECT_COUNT, "SELECT count(*) FROM object")

enum mg_statement {
#define MG_STATEMENT_ENUM(name, text) MG_ST_##name,
	MG_STATEMENTS(MG_STATEMENT_ENUM)
#undef MG_STATEMENT_ENUM
	    MG_ST_COUNT
};

/* lock guards everything; statements are reset whenever it is free. */
struct mg_catalogue {
	pthread_mutex_t lock;
	struct mg_sql sql;
	bool read_only;
	struct ds_database *database; /* NULL: a read-only store without a catalogue */
};

void mg_catalogue_enter(struct mg_catalogue *c);
void mg_catalogue_leave(struct mg_catalogue *c);

#endif
