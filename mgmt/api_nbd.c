#include "mgmt/api.h"
#include "mgmt/nbd.h"

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	json_t *json = NULL;
	const char *name;
	int read_only = 0;
	int rc = mg_body(req, err, "{s:s, s?b}", "name", &name, "read_only", &read_only);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_nbd_export(n, name, read_only != 0, &json, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "nbd.exported", name, read_only ? "read-only" : "writable");
	return mg_reply_json(reply, 201, json, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_nbd_list(n, &json, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int unexport(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_nbd_unexport(n, req->param[0], err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "nbd.unexported", req->param[0], "by request");
	return mg_reply_json(reply, 200, json_object(), err);
}

const struct mg_route mg_api_nbd[] = {
    {"POST", "nbd", NULL, create},
    {"GET", "nbd", NULL, list},
    {"DELETE", "nbd/?", NULL, unexport},
    {NULL, NULL, NULL, NULL},
};
