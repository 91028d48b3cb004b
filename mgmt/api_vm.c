#include "mgmt/api.h"
#include "mgmt/vms.h"

#include <string.h>

#define CDROM_SECONDS 600 /* that copying an image may take */

static int answer_vm(struct mg_node *n, const char *name, unsigned status, struct mg_reply *reply,
		     struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_vm_show(n, name, &json, err);

	return rc != 0 ? rc : mg_reply_json(reply, status, json, err);
}

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	const char *name = json_string_value(json_object_get(req->body, "name"));
	int rc;

	req->patience(req, CDROM_SECONDS);
	rc = mg_vm_create(n, req->body, err);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "vm.created", name, "by request");
	return answer_vm(n, name, 201, reply, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_vm_list(n, &json, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	const char *state = mg_query(req, "state");
	struct vm_status st;
	uint64_t wait;
	int rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, 0, &wait, err);

	if (rc == 0 && wait) {
		if (!state)
			return vs_fail(err, VS_E_INVAL, "wait needs a state to wait for");
		rc = mg_vm_status(n, req->param[0], &st, err);
	}
	if (rc == 0 && wait) {
		req->patience(req, (unsigned)wait);
		mg_vm_wait(n, req->param[0], state, (unsigned)wait);
	}
	return rc != 0 ? rc : answer_vm(n, req->param[0], 200, reply, err);
}

static int set(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	int rc;

	req->patience(req, CDROM_SECONDS);
	rc = mg_vm_change(n, req->param[0], req->body, err);
	return rc != 0 ? rc : answer_vm(n, req->param[0], 200, reply, err);
}

static int delete_vm(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		     struct vs_error *err)
{
	const char *disks = mg_query(req, "disks");
	bool with_disks = disks && strcmp(disks, "delete") == 0;
	int rc;

	if (disks && !with_disks && strcmp(disks, "keep") != 0)
		return vs_fail(err, VS_E_INVAL, "disks must be keep or delete");
	pthread_mutex_lock(&n->config);
	rc = mg_vm_delete(n, req->param[0], with_disks, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "vm.deleted", req->param[0],
		 with_disks ? "with its disks" : "its disks stay");
	return mg_reply_json(reply, 200, json_object(), err);
}

static int act(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	static const struct {
		const char *verb;
		int (*call)(struct vm_host *h, const char *name, struct vs_error *err);
	} verbs[] = {{"shutdown", vm_shutdown},
		     {"reset", vm_reset},
		     {"suspend", vm_suspend},
		     {"resume", vm_resume}};
	const char *verb = req->segment[3], *name = req->param[0];
	int rc = VS_E_NOENT;

	req->patience(req, MG_TASK_WAIT_MAX);
	if (strcmp(verb, "start") == 0)
		rc = mg_vm_start(n, name, err);
	else if (strcmp(verb, "stop") == 0)
		rc = mg_vm_stop(n, name, err);
	else
		for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
			if (strcmp(verb, verbs[i].verb) == 0)
				rc = mg_vm_control(n, name, verbs[i].call, err);
	return rc != 0 ? rc : answer_vm(n, name, 200, reply, err);
}

static int console(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		   struct vs_error *err)
{
	struct vm_status st;
	int rc = mg_vm_status(n, req->param[0], &st, err);

	if (rc != 0)
		return rc;
	if (st.pid == 0 || !st.console[0])
		return vs_fail(err, VS_E_BUSY, "VM %s is %s; start it first", req->param[0],
			       vm_state_name(st.state));
	return mg_reply_json(reply, 200, json_pack("{s:s}", "socket", st.console), err);
}

const struct mg_route mg_api_vm[] = {
    {"POST", "vms", NULL, create},
    {"GET", "vms", NULL, list},
    {"GET", "vms/?", " wait state ", show},
    {"PATCH", "vms/?", NULL, set},
    {"DELETE", "vms/?", " disks ", delete_vm},
    {"POST", "vms/?/start", NULL, act},
    {"POST", "vms/?/shutdown", NULL, act},
    {"POST", "vms/?/stop", NULL, act},
    {"POST", "vms/?/reset", NULL, act},
    {"POST", "vms/?/suspend", NULL, act},
    {"POST", "vms/?/resume", NULL, act},
    {"GET", "vms/?/console", NULL, console},
    {NULL, NULL, NULL, NULL},
};
