#include "mgmt/api.h"
#include "mgmt/dedup.h"

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	(void)req;
	return mg_reply_json(reply, 200, mg_dedup_json(n->dedup), err);
}

static int start(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	json_t *task = NULL;
	int rc = mg_dedup_start(n->dedup, &task, err);

	(void)req;
	return mg_reply_task(rc, task, reply, err);
}

static int stop(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	int rc;

	req->patience(req, MG_TASK_WAIT_MAX);
	rc = mg_dedup_stop(n->dedup, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, mg_dedup_json(n->dedup), err);
}

const struct mg_route mg_api_dedup[] = {
    {"GET", "dedup", NULL, show},
    {"POST", "dedup/start", NULL, start},
    {"POST", "dedup/stop", NULL, stop},
    {NULL, NULL, NULL, NULL},
};
