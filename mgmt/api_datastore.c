#include "mgmt/api.h"
#include "mgmt/datastore.h"

#include <string.h>

static int answer(struct mg_node *n, const char *name, unsigned status, struct mg_reply *reply,
		  struct vs_error *err)
{
	json_t *json = NULL;
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_datastore_show(n, name, &json, err);
	pthread_mutex_unlock(&n->config);
	return rc != 0 ? rc : mg_reply_json(reply, status, json, err);
}

static int quota_ok(json_int_t quota, struct vs_error *err)
{
	return quota >= 0 ? 0 : vs_fail(err, VS_E_INVAL, "a quota is a size; 0 means none");
}

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	const char *name;
	json_int_t quota = 0;
	int rc = mg_body(req, err, "{s:s, s?I}", "name", &name, "quota", &quota);

	if (rc == 0)
		rc = quota_ok(quota, err);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_create(n, name, (uint64_t)quota, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.created", name, "by request");
	return answer(n, name, 201, reply, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc;

	(void)req;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_list(n, &json, err);
	pthread_mutex_unlock(&n->config);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	return answer(n, req->param[0], 200, reply, err);
}

static int set(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	json_int_t quota;
	int rc = mg_body(req, err, "{s:I}", "quota", &quota);

	if (rc == 0)
		rc = quota_ok(quota, err);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_set_quota(n, req->param[0], (uint64_t)quota, err);
	pthread_mutex_unlock(&n->config);
	return rc != 0 ? rc : answer(n, req->param[0], 200, reply, err);
}

static int delete_datastore(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			    struct vs_error *err)
{
	const char *how = mg_query(req, "snapshots");
	int rc;

	if (how && strcmp(how, "refuse") != 0 && strcmp(how, "delete") != 0)
		return vs_fail(err, VS_E_INVAL, "snapshots must be refuse or delete");
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_delete(n, req->param[0], how && strcmp(how, "delete") == 0, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.deleted", req->param[0], "by request");
	return mg_reply_json(reply, 200, json_object(), err);
}

static int share(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	const char *client, *squash = "root";
	int read_only = 0;
	int rc = mg_body(req, err, "{s:s, s?b, s?s}", "client", &client, "read_only", &read_only,
			 "squash", &squash);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_share(n, req->param[0], client, read_only != 0, squash, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.shared", req->param[0], "with %s", client);
	return answer(n, req->param[0], 201, reply, err);
}

static int end_share(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		     struct vs_error *err)
{
	const char *client = mg_query(req, "client");
	int rc;

	if (!client)
		return vs_fail(err, VS_E_INVAL, "client is missing: say whose share ends");
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_unshare(n, req->param[0], client, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.unshared", req->param[0], "no longer with %s",
		 client);
	return answer(n, req->param[0], 200, reply, err);
}

/* The tasks that copy a file of the node in or out. */
static int transfer(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    int (*begin)(struct mg_node *n, const char *name, const char *path,
				 const char *file, json_t **task, struct vs_error *err),
		    struct vs_error *err)
{
	const char *path, *file;
	json_t *task = NULL;
	int rc = mg_body(req, err, "{s:s, s:s}", "path", &path, "file", &file);

	if (rc != 0)
		return rc;
	rc = begin(n, req->param[0], path, file, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

static int put_file(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	return transfer(n, req, reply, mg_datastore_file_put, err);
}

static int get_file(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	return transfer(n, req, reply, mg_datastore_file_get, err);
}

static int list_files(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		      struct vs_error *err)
{
	const char *path = mg_query(req, "path");
	json_t *json = NULL;
	int rc = mg_datastore_file_list(n, req->param[0], path ? path : "", &json, err);

	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int remove_file(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		       struct vs_error *err)
{
	const char *path = mg_query(req, "path");
	int rc;

	if (!path)
		return vs_fail(err, VS_E_INVAL, "path is missing: say which file");
	rc = mg_datastore_file_remove(n, req->param[0], path, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json_object(), err);
}

static int snapshot(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	const char *snap;
	int rc = mg_body(req, err, "{s:s}", "name", &snap);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_snapshot(n, req->param[0], snap, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.snapshot", req->param[0], "%s", snap);
	return answer(n, req->param[0], 201, reply, err);
}

static int snapshot_delete(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			   struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_datastore_snapshot_delete(n, req->param[0], req->param[1], err);
	pthread_mutex_unlock(&n->config);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json_object(), err);
}

static int rollback(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_datastore_rollback(n, req->param[0], req->param[1], err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.rolledback", req->param[0], "to %s", req->param[1]);
	return answer(n, req->param[0], 200, reply, err);
}

static int clone_snapshot(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			  struct vs_error *err)
{
	const char *to;
	int rc = mg_body(req, err, "{s:s}", "name", &to);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_datastore_clone(n, req->param[0], req->param[1], to, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "datastore.cloned", to, "from %s@%s", req->param[0],
		 req->param[1]);
	return answer(n, to, 201, reply, err);
}

const struct mg_route mg_api_datastore[] = {
    {"POST", "datastores", NULL, create},
    {"GET", "datastores", NULL, list},
    {"GET", "datastores/?", NULL, show},
    {"PATCH", "datastores/?", NULL, set},
    {"DELETE", "datastores/?", " snapshots ", delete_datastore},
    {"POST", "datastores/?/shares", NULL, share},
    {"DELETE", "datastores/?/shares", " client ", end_share},
    {"GET", "datastores/?/files", " path ", list_files},
    {"DELETE", "datastores/?/files", " path ", remove_file},
    {"POST", "datastores/?/put", NULL, put_file},
    {"POST", "datastores/?/get", NULL, get_file},
    {"POST", "datastores/?/snapshots", NULL, snapshot},
    {"DELETE", "datastores/?/snapshots/?", NULL, snapshot_delete},
    {"POST", "datastores/?/snapshots/?/rollback", NULL, rollback},
    {"POST", "datastores/?/snapshots/?/clone", NULL, clone_snapshot},
    {NULL, NULL, NULL, NULL},
};
