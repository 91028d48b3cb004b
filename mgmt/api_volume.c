#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/draft.h"
#include "mgmt/iscsi.h"
#include "mgmt/repo.h"
#include "mgmt/vm_cdrom.h"
#include "mgmt/vms.h"
#include "mgmt/volume.h"

#include <string.h>

static int answer_volume(struct mg_node *n, const char *full, unsigned status,
			 struct mg_reply *reply, struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_volume_show(n, full, 0, &json, err);

	return rc != 0 ? rc : mg_reply_json(reply, status, json, err);
}

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	struct bs_volume_spec spec = {.compression = -1};
	const char *compression = NULL;
	json_int_t size, sector = 512;
	int dedup = 1, thick = 0;
	int rc = mg_body(req, err, "{s:s, s:I, s?I, s?s, s?b, s?b}", "name", &spec.name, "size",
			 &size, "sector", &sector, "compression", &compression, "dedup", &dedup,
			 "thick", &thick);

	if (rc == 0 && compression)
		rc = mg_coding_parse(compression, &spec.compression, err);
	if (rc != 0)
		return rc;
	if (!vs_name_ok(spec.name))
		return vs_fail(err, VS_E_INVAL,
			       "'%s' is not a name: letters, digits, '.', '_', '-', up to 63, the "
			       "first a letter or digit",
			       spec.name);
	if (sector != 512 && sector != 4096)
		return vs_fail(err, VS_E_INVAL, "sector must be 512 or 4096");
	if (size <= 0 || size % BS_BLOCK != 0 || (uint64_t)size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL,
			       "size must be a multiple of 4096 bytes, from 4096 to 128T");
	spec.size = (uint64_t)size;
	spec.sector = (uint32_t)sector;
	spec.no_dedup = !dedup;
	spec.thick = thick != 0;
	rc = bs_volume_create(n->store, &spec, NULL, err);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "volume.created", spec.name, "%lld bytes", (long long)size);
	return answer_volume(n, spec.name, 201, reply, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_volume_list(n, &json, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	uint64_t wait;
	int rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, MG_EXACT_WAIT, &wait, err);

	if (rc != 0)
		return rc;
	req->patience(req, (unsigned)wait);
	rc = mg_volume_show(n, req->param[0], (unsigned)wait * 1000, &json, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int rename_volume(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			 struct vs_error *err)
{
	struct bs_volume_info info;
	const char *to;
	int rc = mg_body(req, err, "{s:s}", "name", &to);

	if (rc != 0)
		return rc;
	if (!vs_name_ok(to))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", to);
	pthread_mutex_lock(&n->config);
	rc = mg_draft_find(n, req->param[0], &info, err);
	if (rc == 0)
		rc = mg_cdrom_renamable(n, &info.uuid, err);
	if (rc == 0)
		rc = bs_volume_rename(n->store, req->param[0], to, err);
	if (rc == 0)
		mg_volume_renamed(n, req->param[0], to);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "volume.renamed", to, "was %s", req->param[0]);
	return answer_volume(n, to, 200, reply, err);
}

static int resize(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	struct bs_volume_info info;
	const char *name = req->param[0];
	json_int_t size;
	int force = 0, rc = mg_body(req, err, "{s:I, s?b}", "size", &size, "force", &force);

	if (rc != 0)
		return rc;
	if (size <= 0 || size % BS_BLOCK != 0 || (uint64_t)size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL,
			       "size must be a multiple of 4096 bytes, from 4096 to 128T");
	pthread_mutex_lock(&n->config);
	rc = mg_draft_find(n, name, &info, err);
	if (rc == 0 && (uint64_t)size < info.size) {
		if (!force)
			rc = vs_fail(err, VS_E_INVAL,
				     "%s is larger than that; shrinking cuts its end off and needs "
				     "force",
				     name);
		else
			rc = mg_volume_idle(n, name, "shrink", err);
	}
	if (rc == 0)
		rc = bs_volume_resize(n->store, name, (uint64_t)size, force != 0, err);
	if (rc == 0)
		mg_vms_volume_resized(n, &info.uuid);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "volume.resized", name, "%lld bytes", (long long)size);
	return answer_volume(n, name, 200, reply, err);
}

static int set(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	const char *compression = NULL;
	int dedup = -1, thick = -1, coding;
	struct bs_volume_info info;
	int rc = mg_body(req, err, "{s?s, s?b, s?b}", "compression", &compression, "dedup", &dedup,
			 "thick", &thick);

	if (rc == 0)
		rc = mg_draft_find(n, req->param[0], &info, err);

	if (rc == 0 && compression)
		rc = mg_coding_parse(compression, &coding, err);
	if (rc == 0 && compression)
		rc = bs_volume_set_compression(n->store, req->param[0], coding, err);
	if (rc == 0 && dedup >= 0)
		rc = bs_volume_set_dedup(n->store, req->param[0], dedup != 0, err);
	if (rc == 0 && thick >= 0)
		rc = bs_volume_set_thick(n->store, req->param[0], thick != 0, err);
	return rc != 0 ? rc : answer_volume(n, req->param[0], 200, reply, err);
}

static int delete_volume(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			 struct vs_error *err)
{
	static const struct {
		const char *text;
		enum bs_delete_mode mode;
	} modes[] = {{"refuse", BS_DELETE_PLAIN},
		     {"delete", BS_DELETE_WITH_SNAPSHOTS},
		     {"keep", BS_DELETE_KEEP_SNAPSHOTS}};
	const char *how = mg_query(req, "snapshots"), *name = req->param[0];
	struct bs_volume_info info;
	unsigned i = 0;
	int rc;

	while (how && i < 3 && strcmp(how, modes[i].text) != 0)
		i++;
	if (i == 3)
		return vs_fail(err, VS_E_INVAL, "snapshots must be refuse, delete or keep");
	pthread_mutex_lock(&n->config);
	rc = mg_draft_find(n, name, &info, err);
	if (rc == 0 && info.snapshot)
		rc = vs_fail(err, VS_E_INVAL, "%s is a snapshot; delete it as one", name);
	if (rc == 0)
		rc = mg_volume_unused(n, &info.uuid, name, "delete", err);
	if (rc == 0 && modes[i].mode == BS_DELETE_WITH_SNAPSHOTS)
		rc = mg_snapshots_unused(n, &info.uuid, "delete", err);
	if (rc == 0 && modes[i].mode == BS_DELETE_PLAIN && info.snapshots > 0)
		rc = mg_base_drop_all(n, &info, err);
	if (rc == 0)
		rc = bs_volume_delete(n->store, name, modes[i].mode, err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_iscsi_volume_deleted(n, &info.uuid);
	mg_event(n->events, MG_INFO, "volume.deleted", name, "%lld bytes", (long long)info.size);
	return mg_reply_json(reply, 200, json_object(), err);
}

static int clone_snapshot(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			  struct vs_error *err)
{
	const char *to;
	struct bs_volume_info info;
	int rc = mg_body(req, err, "{s:s}", "name", &to);

	if (rc == 0)
		rc = mg_draft_find(n, req->param[0], &info, err);
	if (rc != 0)
		return rc;
	if (!strchr(req->param[0], '@'))
		return vs_fail(err, VS_E_INVAL, "only snapshots can be cloned; say %s@SNAP",
			       req->param[0]);
	if (!vs_name_ok(to))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", to);
	rc = bs_volume_clone(n->store, req->param[0], to, NULL, err);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "volume.cloned", to, "from %s", req->param[0]);
	return answer_volume(n, to, 201, reply, err);
}

const struct mg_route mg_api_volume[] = {
    {"POST", "volumes", NULL, create},
    {"GET", "volumes", NULL, list},
    {"GET", "volumes/?", " wait ", show},
    {"PATCH", "volumes/?", NULL, set},
    {"DELETE", "volumes/?", " snapshots ", delete_volume},
    {"POST", "volumes/?/rename", NULL, rename_volume},
    {"POST", "volumes/?/resize", NULL, resize},
    {"POST", "volumes/?/clone", NULL, clone_snapshot},
    {NULL, NULL, NULL, NULL},
};
