#include "mgmt/api.h"
#include "mgmt/scrub.h"

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	(void)req;
	return mg_reply_json(reply, 200, mg_scrub_json(n->scrub), err);
}

static int start(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	json_t *task = NULL;
	int rc = mg_scrub_start(n->scrub, &task, err);

	(void)req;
	return mg_reply_task(rc, task, reply, err);
}

static int stop(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	int rc;

	req->patience(req, MG_TASK_WAIT_MAX);
	rc = mg_scrub_stop(n->scrub, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, mg_scrub_json(n->scrub), err);
}

const struct mg_route mg_api_scrub[] = {
    {"GET", "scrub", NULL, show},
    {"POST", "scrub/start", NULL, start},
    {"POST", "scrub/stop", NULL, stop},
    {NULL, NULL, NULL, NULL},
};
