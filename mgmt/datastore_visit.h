/*
 * Visits: the node itself as one user of a datastore, on the caller's thread, which may wait.
 * Without node->config. Ownership: mg_visit_open gives what mg_visit_close takes back; meanwhile
 * the datastore stays open. Errors: one line that names the path.
 */
#ifndef MG_DATASTORE_VISIT_H
#define MG_DATASTORE_VISIT_H

#include "mgmt/datastore.h"

#include "common/loop.h"

#define MG_VISIT_DEPTH 4u /* requests at once */

struct mg_visit {
	struct mg_node *node;
	struct ds_store *store;
	struct ds_client *client;
	struct vs_loop *loop;
};

int mg_visit_open(struct mg_node *n, const char *name, struct mg_visit *v,
		  struct vs_error *err) vs_must_check;
void mg_visit_close(struct mg_visit *v);
/* One request to its end. what: a verb, for the error. */
int mg_visit_ask(struct mg_visit *v, struct ds_req *req, const char *what, const char *path,
		 struct vs_error *err) vs_must_check;
/* Why a request failed, as people say it. */
const char *mg_visit_why(const struct ds_req *req);
/*
 * What path names below the root, or, with leaf, the directory that its last part is in; leaf then
 * begins with that part, which slashes may follow.
 */
int mg_visit_walk(struct mg_visit *v, const char *path, const char **leaf, struct ds_attr *out,
		  struct vs_error *err) vs_must_check;

#endif
