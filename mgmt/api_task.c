#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/node.h"

static int task_id(const struct mg_request *req, int64_t *id, struct vs_error *err)
{
	uint64_t value;

	if (vs_parse_u64(req->param[0], INT64_MAX, &value) != 0)
		return vs_fail(err, VS_E_NOENT, "no task %s", req->param[0]);
	*id = (int64_t)value;
	return 0;
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_task_list(n->tasks, &json, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	uint64_t wait;
	int64_t id = 0;
	int rc = task_id(req, &id, err);

	if (rc == 0)
		rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, 0, &wait, err);
	if (rc != 0)
		return rc;
	req->patience(req, (unsigned)wait);
	rc = wait ? mg_task_wait(n->tasks, id, (unsigned)wait, &json, err)
		  : mg_task_get(n->tasks, id, &json, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int cancel(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	json_t *json = NULL;
	int64_t id = 0;
	int rc = task_id(req, &id, err);

	if (rc == 0)
		rc = mg_task_cancel(n->tasks, id, &json, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

const struct mg_route mg_api_task[] = {
    {"GET", "tasks", NULL, list},
    {"GET", "tasks/?", " wait ", show},
    {"POST", "tasks/?/cancel", NULL, cancel},
    {NULL, NULL, NULL, NULL},
};
