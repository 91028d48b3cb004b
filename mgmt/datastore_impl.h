/* What datastore.c, datastore_share.c and datastore_show.c share. Whoever calls holds node->config.
 */
#ifndef MG_DATASTORE_IMPL_H
#define MG_DATASTORE_IMPL_H

#include "mgmt/datastore.h"
#include "targets/nfs/server.h"

struct mg_datastore {
	char name[BS_NAME_MAX];
	struct ds_store *store; /* NULL: the place is free */
	unsigned users;		/* under the lock below */
};

struct mg_datastores {
	struct nfs_server *server; /* NULL: off */
	unsigned naddresses;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* somebody put one back */
	struct mg_datastore at[MG_DATASTORES_MAX];
};

/* NULL: there is none, err says so. */
struct mg_datastore *mg_datastore_find(struct mg_node *n, const char *name, struct vs_error *err);
int mg_datastore_doc(struct mg_node *n, const struct mg_datastore *s, json_t **doc,
		     struct vs_error *err) vs_must_check;
int mg_datastore_keep(struct mg_node *n, const struct mg_datastore *s, const json_t *doc,
		      struct vs_error *err) vs_must_check;
/* Shares it as the document says; nothing with NFS off. */
int mg_datastore_serve(struct mg_datastores *d, struct mg_datastore *s, const json_t *doc,
		       struct vs_error *err) vs_must_check;

/* nfs_keep.c */
struct nfs_keeper mg_nfs_keeper(struct mg_node *n);

#endif
