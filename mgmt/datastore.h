/*
 * Datastores: volumes of files for other hypervisors, opened while the node runs and shared over
 * NFS. Threads: any; whoever changes datastores or shares holds node->config.
 *
 * The catalogue keeps {volume (UUID), quota, shares[{client, read_only, squash}]} by the volume's
 * UUID. With NFS off shares are kept but not served. A path is that of a file in a datastore, its
 * parts divided by '/'; "" is the root.
 */
#ifndef MG_DATASTORE_H
#define MG_DATASTORE_H

#include "datastore/datastore.h"
#include "mgmt/node.h"

#define MG_DATASTORES_MAX 64
#define MG_DATASTORE_PATH 1024 /* with NUL */

int mg_datastores_open(struct mg_node *n, struct mg_datastores **out,
		       struct vs_error *err) vs_must_check;
void mg_datastores_close(struct mg_datastores *d);
/* Appends {kind, address} for each address that NFS is served on. */
void mg_datastores_addresses(struct mg_datastores *d, json_t *front_ends);

int mg_datastore_create(struct mg_node *n, const char *name, uint64_t quota,
			struct vs_error *err) vs_must_check;
/* with_snapshots: else it is refused while there are any. */
int mg_datastore_delete(struct mg_node *n, const char *name, bool with_snapshots,
			struct vs_error *err) vs_must_check;
int mg_datastore_set_quota(struct mg_node *n, const char *name, uint64_t quota,
			   struct vs_error *err) vs_must_check;
int mg_datastore_show(struct mg_node *n, const char *name, json_t **out,
		      struct vs_error *err) vs_must_check;
int mg_datastore_list(struct mg_node *n, json_t **out, struct vs_error *err) vs_must_check;

/* Adds a share, or changes the one of that client. squash: "none", "root" or "all". */
int mg_datastore_share(struct mg_node *n, const char *name, const char *client, bool read_only,
		       const char *squash, struct vs_error *err) vs_must_check;
int mg_datastore_unshare(struct mg_node *n, const char *name, const char *client,
			 struct vs_error *err) vs_must_check;

int mg_datastore_snapshot(struct mg_node *n, const char *name, const char *snap,
			  struct vs_error *err) vs_must_check;
int mg_datastore_snapshot_delete(struct mg_node *n, const char *name, const char *snap,
				 struct vs_error *err) vs_must_check;
int mg_datastore_rollback(struct mg_node *n, const char *name, const char *snap,
			  struct vs_error *err) vs_must_check;
int mg_datastore_clone(struct mg_node *n, const char *name, const char *snap, const char *to,
		       struct vs_error *err) vs_must_check;

/*
 * A datastore in use: it stays open until it is put back. Without node->config, whose holder waits
 * for users to go before it closes one.
 */
int mg_datastore_get(struct mg_node *n, const char *name, struct ds_store **out,
		     struct vs_error *err) vs_must_check;
void mg_datastore_put(struct mg_node *n, struct ds_store *s);

/* Files. put and get are tasks; file: an absolute path on the node. */
int mg_datastore_file_put(struct mg_node *n, const char *name, const char *path, const char *file,
			  json_t **task, struct vs_error *err) vs_must_check;
int mg_datastore_file_get(struct mg_node *n, const char *name, const char *path, const char *file,
			  json_t **task, struct vs_error *err) vs_must_check;
/* Entries of a directory, or a file alone: [{name, type, size, used, mode, uid, gid, modified}] */
int mg_datastore_file_list(struct mg_node *n, const char *name, const char *path, json_t **out,
			   struct vs_error *err) vs_must_check;
/* A file, or a directory that is empty. */
int mg_datastore_file_remove(struct mg_node *n, const char *name, const char *path,
			     struct vs_error *err) vs_must_check;

#endif
