#include "mgmt/takeover.h"

#include "common/bytes.h"
#include "mgmt/event.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* An object of the file; doc is the caller's. */
struct found {
	enum mg_kind kind;
	const char *name;
	json_t *doc;
	struct vs_uuid volumes[MG_OBJECT_VOLUMES_MAX];
	size_t n;
};

static int unreadable(sqlite3 *db, const char *path, struct vs_error *err)
{
	return vs_fail(
	    err, VS_E_CORRUPT,
	    "%s, which is to move into the store, cannot be read: %s; put back a copy of "
	    "it, or take it away to begin without",
	    path, db ? sqlite3_errmsg(db) : "out of memory");
}

static int read_volumes(sqlite3 *db, const char *path, const char *kind, struct found *f,
			struct vs_error *err)
{
	sqlite3_stmt *st = NULL;
	int step = SQLITE_ERROR;

	f->n = 0;
	if (sqlite3_prepare_v2(db, "SELECT volume FROM object_volume WHERE kind=?1 AND name=?2", -1,
			       &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, kind, -1, SQLITE_TRANSIENT);
		sqlite3_bind_text(st, 2, f->name, -1, SQLITE_TRANSIENT);
		while ((step = sqlite3_step(st)) == SQLITE_ROW && f->n < MG_OBJECT_VOLUMES_MAX &&
		       sqlite3_column_bytes(st, 0) == (int)sizeof(f->volumes[0].b))
			memcpy(f->volumes[f->n++].b, sqlite3_column_blob(st, 0),
			       sizeof(f->volumes[0].b));
	}
	sqlite3_finalize(st);
	return step == SQLITE_DONE ? 0 : unreadable(db, path, err);
}

static int read_object(sqlite3_stmt *st, const char *path, struct found *f, struct vs_error *err)
{
	const char *kind = (const char *)sqlite3_column_text(st, 0);
	sqlite3 *db = sqlite3_db_handle(st);

	for (f->kind = 0; f->kind < MG_KINDS; f->kind++)
		if (kind && strcmp(kind, mg_kind_name[f->kind]) == 0)
			break;
	f->name = (const char *)sqlite3_column_text(st, 1);
	f->doc = json_loadb((const char *)sqlite3_column_text(st, 2),
			    (size_t)sqlite3_column_bytes(st, 2), 0, NULL);
	if (f->kind == MG_KINDS || !f->name || !f->doc)
		return unreadable(db, path, err);
	return read_volumes(db, path, kind, f, err);
}

/* For each object of the file. */
static int visit(sqlite3 *db, const char *path,
		 int (*each)(struct mg_catalogue *c, const struct found *f, void *arg,
			     struct vs_error *err),
		 struct mg_catalogue *c, void *arg, struct vs_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0, step = SQLITE_ERROR;

	if (sqlite3_prepare_v2(db, "SELECT kind,name,doc FROM object", -1, &st, NULL) != SQLITE_OK)
		return unreadable(db, path, err);
	while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		struct found f = {0};

		rc = read_object(st, path, &f, err);
		if (rc == 0)
			rc = each(c, &f, arg, err);
		json_decref(f.doc);
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = unreadable(db, path, err);
	sqlite3_finalize(st);
	return rc;
}

/* Counts those that the store has as they are. */
static int compare(struct mg_catalogue *c, const struct found *f, void *arg, struct vs_error *err)
{
	uint64_t *same = arg;
	json_t *doc = NULL;
	int rc = mg_catalogue_get(c, f->kind, f->name, &doc, err);

	if (rc == 0)
		*same += json_equal(doc, f->doc) != 0;
	json_decref(doc);
	return rc == VS_E_NOENT ? 0 : rc;
}

static int move(struct mg_catalogue *c, const struct found *f, void *arg, struct vs_error *err)
{
	int rc = mg_catalogue_take(c, f->kind, f->name, f->doc, f->volumes, f->n, err);

	(void)arg;
	return rc == VS_E_EXIST ? 0 : rc; /* by a start that was killed */
}

static int take(struct mg_node *n, sqlite3 *db, const char *path, bool *foreign,
		struct vs_error *err)
{
	uint64_t same = 0, there = 0;
	int rc = visit(db, path, compare, n->catalogue, &same, err);

	if (rc == 0)
		rc = mg_catalogue_count(n->catalogue, &there, err);
	*foreign = rc == 0 && there != same;
	return rc == 0 && !*foreign ? visit(db, path, move, n->catalogue, NULL, err) : rc;
}

static int forget(struct mg_node *n, const char *path, struct vs_error *err)
{
	int fd;

	if (unlink(path) != 0)
		return vs_fail_errno(err, "cannot take away %s, which is in the store now", path);
	fd = open(n->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0) {
		int rc = vs_fail_errno(err, "cannot sync %s", n->state);

		if (fd >= 0)
			close(fd);
		return rc;
	}
	close(fd);
	mg_event(n->events, MG_INFO, "catalogue.moved", "",
		 "the node's configuration is in the store from now on");
	return 0;
}

static int keep_aside(struct mg_node *n, const char *path, struct vs_error *err)
{
	char aside[PATH_MAX];
	int len = snprintf(aside, sizeof(aside), "%s.%lld", path, (long long)time(NULL));

	if (len <= 0 || (size_t)len >= sizeof(aside) || rename(path, aside) != 0)
		return vs_fail_errno(err, "cannot put %s aside", path);
	mg_event(n->events, MG_WARNING, "catalogue.kept_aside", "",
		 "the store has a configuration of its own, which counts; that of the state folder "
		 "is kept in %s",
		 aside);
	return 0;
}

int mg_take_over(struct mg_node *n, struct vs_error *err)
{
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/%s", n->state, MG_BEFORE), rc;
	bool foreign = false;
	sqlite3 *db = NULL;

	if (len <= 0 || (size_t)len >= sizeof(path))
		return vs_fail(err, VS_E_INVAL, "state folder %s: its path is too long", n->state);
	if (access(path, F_OK) != 0)
		return 0;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		rc = unreadable(db, path, err);
	else
		rc = take(n, db, path, &foreign, err);
	if (sqlite3_close(db) != SQLITE_OK && rc == 0) /* takes its companions away */
		rc = unreadable(db, path, err);
	if (rc != 0)
		return rc;
	return foreign ? keep_aside(n, path, err) : forget(n, path, err);
}
