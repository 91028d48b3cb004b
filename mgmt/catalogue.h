/*
 * What the node remembers of its configuration: targets, exports, repositories, VMs, drafts,
 * origins, datastores and what their clients rely on. It is a SQLite database inside the store, in
 * a volume of the node's own (blockstore/object.h), so that the store's disks bring all of it along
 * to another machine. The store's volume table is the truth about volumes; objects here refer to
 * them by UUID. Events and tasks are elsewhere (mgmt/history.h).
 *
 * Ownership: mg_catalogue_open gives what mg_catalogue_close takes back; the store outlives it.
 * JSON handed out is the caller's. Threads: any but the engine's and those of loops with ports;
 * calls wait for each other, changes for the store, and these are durable on return. Errors:
 * VS_E_NOENT, VS_E_EXIST, VS_E_VERSION (written by a later version), VS_E_IO, VS_E_NOSPC,
 * VS_E_CORRUPT, VS_E_ROFS and VS_E_FAILED as the store is. On a read-only store what is there can
 * be read, also if that is nothing.
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

#define MG_CATALOGUE_VOLUME ".catalogue"

struct bs_store;
struct mg_catalogue;

int mg_catalogue_open(struct bs_store *s, struct mg_catalogue **out,
		      struct vs_error *err) vs_must_check;
void mg_catalogue_close(struct mg_catalogue *c);

/*
 * Objects: a JSON document by kind and name, and the volumes that it refers to. insert fails with
 * VS_E_EXIST when the name is taken, update with VS_E_NOENT when there is none. In a full store
 * updates and deletions go on, and so does what clients were promised (MG_UNIT, MG_NFS); new
 * objects are VS_E_NOSPC, or they would use up what deletions need. take is insert without that,
 * for what the node had already.
 */
int mg_catalogue_insert(struct mg_catalogue *c, enum mg_kind kind, const char *name,
			const json_t *doc, const struct vs_uuid *volumes, size_t n,
			struct vs_error *err) vs_must_check;
int mg_catalogue_take(struct mg_catalogue *c, enum mg_kind kind, const char *name,
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

/* Objects of all kinds. */
int mg_catalogue_count(struct mg_catalogue *c, uint64_t *n, struct vs_error *err) vs_must_check;

#endif
