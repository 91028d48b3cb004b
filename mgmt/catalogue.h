/*
 * What the node remembers beside the store: targets, exports, repositories, VMs, drafts, origins,
 * tasks and events, in one SQLite file of mode 0600 (it holds secrets). The store's volume table is
 * the truth about volumes; objects here refer to them by UUID.
 *
 * Ownership: mg_catalogue_open gives what mg_catalogue_close takes back. JSON handed out is the
 * caller's. Threads: any; calls are short, serialized by a lock inside, and durable on return.
 * Errors: VS_E_NOENT, VS_E_EXIST, VS_E_VERSION (written by a later version), VS_E_IO, VS_E_NOSPC,
 * VS_E_CORRUPT.
 */
#ifndef MG_CATALOGUE_H
#define MG_CATALOGUE_H

#include "common/err.h"
#include "common/uuid.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MG_CATALOGUE_VERSION 1
#define MG_OBJECT_VOLUMES_MAX 256 /* volumes that one object may refer to */

/* Kinds of objects; the names stand in the file. */
enum mg_kind {
	MG_TARGET,
	MG_NBD,
	MG_REPO,
	MG_BASE,
	MG_VM,
	MG_DRAFT,
	MG_SCRUB,
	MG_UNIT,
	MG_ORIGIN,
	MG_DATASTORE,
	MG_NFS,
	MG_PART,
	MG_KINDS
};
extern const char *const mg_kind_name[MG_KINDS];

struct mg_catalogue;

int mg_catalogue_open(const char *path, struct mg_catalogue **out,
		      struct vs_error *err) vs_must_check;
void mg_catalogue_close(struct mg_catalogue *c);

/*
 * Objects: a JSON document by kind and name, and the volumes that it refers to. insert fails with
 * VS_E_EXIST when the name is taken, update with VS_E_NOENT when there is none.
 */
int mg_catalogue_insert(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err) vs_must_check;
int mg_catalogue_update(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err) vs_must_check;
int mg_catalogue_delete(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			struct vs_error *err) vs_must_check;
/* *doc is a new reference. */
int mg_catalogue_get(struct mg_catalogue *c, enum mg_kind kind, const char *name, json_t **doc,
		     struct vs_error *err) vs_must_check;
/* Array of documents, by name. */
int mg_catalogue_list(struct mg_catalogue *c, enum mg_kind kind, json_t **docs,
		      struct vs_error *err) vs_must_check;
/* Array of {kind, name} of the objects that refer to volume. */
int mg_catalogue_users(struct mg_catalogue *c, const struct vs_uuid *volume, json_t **users,
		       struct vs_error *err) vs_must_check;

/* Tasks. A row is {id, kind, subject, state, progress, ...} as mgmt/API.md gives it. */
struct mg_task_row {
	int64_t id;
	const char *kind, *subject, *state;
	double progress;
	uint64_t bytes_done;
	int64_t bytes_total;			     /* -1: unknown */
	int64_t created_ns, started_ns, finished_ns; /* 0: not yet */
	const char *error, *code;		     /* NULL: none */
	const json_t *result;			     /* NULL: none */
};
json_t *mg_task_row_json(const struct mg_task_row *r);
/* Inserts with a new id (r->id is set) or replaces the row of r->id. */
int mg_catalogue_task_put(struct mg_catalogue *c, struct mg_task_row *r,
			  struct vs_error *err) vs_must_check;
int mg_catalogue_task_get(struct mg_catalogue *c, int64_t id, json_t **task,
			  struct vs_error *err) vs_must_check;
/* The newest max tasks, oldest of them first. */
int mg_catalogue_task_list(struct mg_catalogue *c, unsigned max, json_t **tasks,
			   struct vs_error *err) vs_must_check;
/* Tasks that were queued or running become failed with that text; *n counts them. */
int mg_catalogue_task_interrupt(struct mg_catalogue *c, const char *error, int64_t *n,
				struct vs_error *err) vs_must_check;

/* Events. */
struct mg_event_row {
	int64_t time_ns;
	const char *severity, *kind, *subject, *message;
};
/* *id is the new row's; rows beyond the newest `keep` are dropped. */
int mg_catalogue_event_add(struct mg_catalogue *c, const struct mg_event_row *r, unsigned keep,
			   int64_t *id, struct vs_error *err) vs_must_check;
/* Up to max events with id > after and time >= since_ns, oldest first; newest: the last max. */
int mg_catalogue_event_list(struct mg_catalogue *c, int64_t after, int64_t since_ns, unsigned max,
			    bool newest, json_t **events, struct vs_error *err) vs_must_check;

#endif
