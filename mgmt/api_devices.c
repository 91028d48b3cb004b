/* The store's devices: add, remove, grow; a resilver is followed as a task. */
#include "blockstore/devices.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "mgmt/api.h"
#include "mgmt/copy.h"
#include "mgmt/devices.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_US 200000u

struct follow {
	struct mg_node *node;
	char device[256];
	bool leaves;
	uint32_t first; /* segments that it held at first */
};

static void progress(struct follow *f, struct mg_task *t, const struct bs_device_info *info)
{
	f->first = VS_MAX(f->first, info->segments);
	if (f->leaves)
		mg_task_progress(t, f->first - info->segments, f->first);
	else
		mg_task_progress(t, info->segments - info->left, info->segments);
}

/* Whether the device is in sync, or gone, by now; VS_E_IO when it was left out meanwhile. */
static int look(struct follow *f, struct mg_task *t, bool *done, struct vs_error *err)
{
	struct bs_device_info info[MG_STORES_MAX];
	size_t count;
	int rc = bs_devices_list(f->node->store, info, MG_STORES_MAX, &count, err);

	*done = true;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		*done &= info[i].state != BS_DEVICE_LEAVING;
		if (strcmp(info[i].name, f->device) != 0)
			continue;
		*done &= info[i].state != BS_DEVICE_RESILVERING;
		progress(f, t, &info[i]);
		if (info[i].state == BS_DEVICE_MISSING && !f->leaves)
			rc = vs_fail(err, VS_E_IO, "%s has failed and was left out", f->device);
	}
	return rc;
}

/* The store goes on by itself, also when the task is cancelled or the daemon ends. */
static int run_follow(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct follow *f = arg;
	bool done = false;
	int rc = look(f, t, &done, err);

	while (rc == 0 && !done) {
		if (mg_task_cancelled(t))
			return vs_fail(err, VS_E_CANCELED, "no longer followed; it goes on");
		(void)usleep(LOOK_US);
		rc = look(f, t, &done, err);
	}
	if (rc == 0 && f->leaves)
		rc = mg_devices_remember(f->node, err);
	if (rc == 0)
		*result = json_pack("{s:s}", "device", f->device);
	return rc;
}

static int follow(struct mg_node *n, const char *kind, const char *device, bool leaves,
		  struct mg_reply *reply, struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = kind, .run = run_follow, .free = free, .subject = "store"};
	struct follow *f = calloc(1, sizeof(*f));
	json_t *task = NULL;
	int rc;

	if (!f)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	f->node = n;
	f->leaves = leaves;
	mg_copy(f->device, sizeof(f->device), device);
	ts.arg = f;
	rc = mg_task_start(n->tasks, &ts, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

static int add(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	const char *path, *mirror_of = NULL, *replaces = NULL;
	struct bs_device_add how = {0};
	struct bs_device *dev;
	int force = 0;
	int rc = mg_body(req, err, "{s:s, s?s, s?s, s?b}", "device", &path, "mirror_of", &mirror_of,
			 "replaces", &replaces, "force", &force);

	if (rc)
		return rc;
	how = (struct bs_device_add){mirror_of, replaces, force != 0};
	bs_devices_let_go(n->store, path);
	rc = mg_device_open(n, path, &dev, err);
	if (rc == 0)
		rc = bs_devices_add(n->store, dev, &how, err);
	if (rc == 0)
		rc = mg_devices_remember(n, err);
	return rc ? rc : follow(n, "resilver", path, false, reply, err);
}

static int remove_device(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			 struct vs_error *err)
{
	const char *name;
	int rc = mg_body(req, err, "{s:s}", "device", &name);

	if (rc == 0)
		rc = bs_devices_remove(n->store, name, err);
	if (rc == 0)
		rc = mg_devices_remember(n, err);
	return rc ? rc : follow(n, "evacuate", name, true, reply, err);
}

static int grow(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	uint64_t bytes = 0;
	int rc = mg_body(req, err, "{}");

	if (rc == 0)
		rc = bs_devices_grow(n->store, &bytes, err);
	return rc ? rc
		  : mg_reply_json(reply, 200, json_pack("{s:I}", "grown_bytes", (json_int_t)bytes),
				  err);
}

const struct mg_route mg_api_devices[] = {
    {"POST", "store/devices", NULL, add},
    {"POST", "store/remove", NULL, remove_device},
    {"POST", "store/grow", NULL, grow},
    {NULL, NULL, NULL, NULL},
};
