/*
 * The database of names: its schema, and each thing that is asked of it. One table holds all
 * directories, by directory and cookie, so that finding a name and listing a directory go through
 * the same tree, and cookies stay what they are while others come and go.
 *
 * Threads: the one of the vfs. Errors: VS_E_*; that of the store where it said one.
 */
#ifndef DS_DB_H
#define DS_DB_H

#include "datastore/vfs.h"

#define DS_STATEMENTS(X)                                                                           \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(FIND, "SELECT * FROM dirent WHERE dir=?1 AND cookie BETWEEN ?2 AND ?3")                  \
	X(LIST, "SELECT * FROM dirent WHERE dir=?1 AND cookie>?2 ORDER BY cookie LIMIT ?3")        \
	X(ADD, "INSERT INTO dirent VALUES(?1,?2,?3,?4,?5,?6)")                                     \
	X(REPLACE, "UPDATE dirent SET object=?3,generation=?4,type=?5 WHERE dir=?1 AND cookie=?2") \
	X(REMOVE, "DELETE FROM dirent WHERE dir=?1 AND cookie=?2")                                 \
	X(TARGET_ADD, "INSERT INTO symlink(object,target) VALUES(?1,?2)")                          \
	X(TARGET_GET, "SELECT target FROM symlink WHERE object=?1")                                \
	X(TARGET_REMOVE, "DELETE FROM symlink WHERE object=?1")                                    \
	X(ORPHAN_ADD, "INSERT INTO orphan(object) VALUES(?1)")                                     \
	X(ORPHAN_LIST, "SELECT object FROM orphan WHERE object>?1 ORDER BY object LIMIT ?2")       \
	X(ORPHAN_REMOVE, "DELETE FROM orphan WHERE object=?1")

enum ds_statement {
#define DS_STATEMENT_ENUM(name, sql) DS_ST_##name,
	DS_STATEMENTS(DS_STATEMENT_ENUM)
#undef DS_STATEMENT_ENUM
	    DS_ST_COUNT
};

struct ds_db {
	sqlite3 *db;
	struct ds_vfs *vfs;
	sqlite3_stmt *st[DS_ST_COUNT];
	uint64_t seed; /* of cookies */
	unsigned hash_bits;
};

struct ds_name {
	uint64_t cookie; /* where it is, or, when it is not there, would be; 0: nowhere */
	uint32_t object, generation;
	enum ds_type type;
};

/* cache: bytes that SQLite may keep of the database. fresh: makes the tables; the vfs must have the
 * changes that go along. */
int ds_db_open(struct ds_db *db, struct ds_vfs *vfs, uint64_t cache, bool fresh,
	       struct vs_error *err) vs_must_check;
void ds_db_close(struct ds_db *db);

int ds_db_begin(struct ds_db *db) vs_must_check;
int ds_db_commit(struct ds_db *db) vs_must_check; /* with what the vfs has; else rolled back */
void ds_db_rollback(struct ds_db *db);

int ds_db_find(struct ds_db *db, uint32_t dir, const char *name, size_t len,
	       struct ds_name *out) vs_must_check; /* VS_E_NOENT */
int ds_db_add(struct ds_db *db, uint32_t dir, const char *name, size_t len,
	      const struct ds_name *n) vs_must_check;
int ds_db_replace(struct ds_db *db, uint32_t dir, const struct ds_name *n) vs_must_check;
int ds_db_remove(struct ds_db *db, uint32_t dir, uint64_t cookie) vs_must_check;
/* each: false ends it. name is good until it returns. */
int ds_db_list(struct ds_db *db, uint32_t dir, uint64_t after, unsigned max,
	       bool (*each)(void *arg, const struct ds_name *n, const char *name, size_t len),
	       void *arg) vs_must_check;

int ds_db_target_add(struct ds_db *db, uint32_t object, const char *target,
		     size_t len) vs_must_check;
int ds_db_target_get(struct ds_db *db, uint32_t object, char out[DS_LINK_MAX],
		     size_t *len) vs_must_check;
/* ADD, REMOVE of one object: TARGET_REMOVE, ORPHAN_ADD, ORPHAN_REMOVE. */
int ds_db_object(struct ds_db *db, enum ds_statement st, uint32_t object) vs_must_check;
int ds_db_orphans(struct ds_db *db, uint32_t after, uint32_t *out, unsigned max,
		  unsigned *n) vs_must_check;

#endif
