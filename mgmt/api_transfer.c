#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/attach.h"
#include "mgmt/transfer.h"
#include "mgmt/volume.h"

#define LIVE_SECONDS 60 /* that looking at the source may take */

static int import(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	struct mg_import_spec spec = {.compression = -1};
	const char *compression = NULL;
	json_int_t sector = 0;
	json_t *task = NULL, *volume = NULL;
	int live = 0, rc;

	rc = mg_body(req, err, "{s:s, s:s, s?s, s?I, s?s, s?{s?s, s:s}, s?b}", "source",
		     &spec.source, "name", &spec.name, "format", &spec.format, "sector", &sector,
		     "compression", &compression, "chap", "user", &spec.chap_user, "secret",
		     &spec.chap_secret, "live", &live);
	if (rc == 0 && compression)
		rc = mg_coding_parse(compression, &spec.compression, err);
	if (rc == 0 && sector != 0 && sector != 512 && sector != 4096)
		rc = vs_fail(err, VS_E_INVAL, "sector must be 512 or 4096");
	if (rc != 0)
		return rc;
	spec.sector = (uint32_t)sector;
	if (live) {
		req->patience(req, LIVE_SECONDS);
		rc = mg_import_live(n, &spec, &volume, err);
		return rc != 0 ? rc : mg_reply_json(reply, 201, volume, err);
	}
	rc = mg_import_start(n, &spec, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

static int export(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	struct mg_export_spec spec = {.format = "raw"};
	json_t *task = NULL;
	int force = 0;
	int rc = mg_body(req, err, "{s:s, s:s, s?s, s?b, s?{s?s, s:s}}", "volume", &spec.volume,
			 "dest", &spec.dest, "format", &spec.format, "force", &force, "chap",
			 "user", &spec.chap_user, "secret", &spec.chap_secret);

	if (rc != 0)
		return rc;
	spec.force = force != 0;
	rc = mg_export_start(n, &spec, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

static int attach(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	int read_only = 0, draft = 0;
	json_t *json = NULL;
	int rc = mg_body(req, err, "{s?b, s?b}", "read_only", &read_only, "draft", &draft);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = mg_attach(n->attachments, req->param[0], read_only != 0, draft != 0, &json, err);
	pthread_mutex_unlock(&n->config);
	return rc != 0 ? rc : mg_reply_json(reply, 201, json, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	(void)req;
	return mg_reply_json(reply, 200, mg_attach_list(n->attachments), err);
}

static int detach(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	uint64_t id;
	bool keep;
	int rc = mg_query_bool(req, "keep", &keep, err);

	if (rc == 0 && vs_parse_u64(req->param[0], UINT64_MAX, &id) != 0)
		rc = vs_fail(err, VS_E_NOENT, "no attachment %s", req->param[0]);
	if (rc == 0)
		rc = mg_detach(n->attachments, id, keep, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json_object(), err);
}

const struct mg_route mg_api_transfer[] = {
    {"POST", "imports", NULL, import},
    {"POST", "exports", NULL, export},
    {"POST", "volumes/?/attach", NULL, attach},
    {"GET", "attachments", NULL, list},
    {"DELETE", "attachments/?", " keep ", detach},
    {NULL, NULL, NULL, NULL},
};
