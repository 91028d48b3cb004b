#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/draft.h"
#include "mgmt/iscsi.h"
#include "mgmt/volume.h"
#include "targets/iscsi/server.h"

#include <string.h>

static int answer_target(struct mg_node *n, const char *iqn, unsigned status,
			 struct mg_reply *reply, struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_iscsi_show(n, iqn, &json, err);

	return rc != 0 ? rc : mg_reply_json(reply, status, json, err);
}

/* Whether the entry is LUN lun of that initiator (NULL: of all). */
static bool is_lun(const json_t *entry, const char *initiator, json_int_t lun)
{
	const char *of = json_string_value(json_object_get(entry, "initiator"));

	return json_integer_value(json_object_get(entry, "lun")) == lun &&
	       (of && initiator ? strcmp(of, initiator) == 0 : of == initiator);
}

static const json_t *find_lun(const json_t *luns, const char *initiator, json_int_t lun, size_t *at)
{
	for (size_t i = 0; i < json_array_size(luns); i++) {
		const json_t *entry = json_array_get(luns, i);

		if (!is_lun(entry, initiator, lun))
			continue;
		*at = i;
		return entry;
	}
	return NULL;
}

static json_int_t free_lun(const json_t *luns, const char *initiator)
{
	json_int_t lun = 0;
	size_t at;

	while (find_lun(luns, initiator, lun, &at))
		lun++;
	return lun;
}

/* A target that names its initiators lets no other in: LUNs for one could never be seen. */
static int check_mask(const json_t *doc, const char *initiator, struct vs_error *err)
{
	const json_t *names = json_object_get(doc, "initiators"), *name;
	size_t i;

	if (!iscsi_name_ok(initiator))
		return vs_fail(err, VS_E_INVAL, "'%s' is not an iSCSI name", initiator);
	json_array_foreach(names, i,
			   name) if (strcmp(json_string_value(name), initiator) == 0) return 0;
	if (json_array_size(names) == 0)
		return 0;
	return vs_fail(err, VS_E_INVAL,
		       "initiator %s may not log in to this target; allow it first ('vstore target "
		       "set --initiator')",
		       initiator);
}

/* Appends {volume, lun?, read_only?, removable?, initiator?} of a request to the LUNs of a
 * document. */
static int add_lun(struct mg_node *n, json_t *doc, json_t *entry, struct vs_error *err)
{
	json_t *luns = json_object_get(doc, "luns");
	const char *volume, *initiator = NULL;
	struct bs_volume_info info;
	char uuid[VS_UUID_TEXT];
	int read_only = 0, removable = 0, rc;
	json_int_t lun = -1;
	json_error_t why;
	size_t at;

	if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:s, s?I, s?b, s?b, s?s}", "volume", &volume,
			   "lun", &lun, "read_only", &read_only, "removable", &removable,
			   "initiator", &initiator) != 0)
		return vs_fail(err, VS_E_INVAL, "bad LUN: %s", why.text);
	rc = initiator ? check_mask(doc, initiator, err) : 0;
	if (rc != 0)
		return rc;
	if (!json_object_get(entry, "lun"))
		lun = free_lun(luns, initiator);
	if (lun < 0 || lun >= ISCSI_LUN_LIMIT)
		return vs_fail(err, VS_E_INVAL, "a LUN must be 0 to %d", ISCSI_LUN_LIMIT - 1);
	if (find_lun(luns, initiator, lun, &at))
		return vs_fail(err, VS_E_EXIST, "LUN %lld is in use%s%s", (long long)lun,
			       initiator ? " for " : "", initiator ? initiator : "");
	rc = mg_draft_find(n, volume, &info, err);
	if (rc != 0)
		return rc;
	vs_uuid_format(&info.uuid, uuid);
	return json_array_append_new(luns,
				     json_pack("{s:I, s:s, s:b, s:b, s:s?}", "lun", lun, "volume",
					       uuid, "read_only", read_only || info.snapshot,
					       "removable", removable, "initiator", initiator));
}

static int check_redirect(json_t *value, struct vs_error *err)
{
	const char *address;
	json_error_t why;
	int permanent;

	if (json_is_null(value))
		return 0;
	if (json_unpack_ex(value, &why, JSON_STRICT, "{s:s, s?b}", "address", &address, "permanent",
			   &permanent) != 0)
		return vs_fail(err, VS_E_INVAL, "bad redirect: %s", why.text);
	return iscsi_address_ok(address)
		   ? 0
		   : vs_fail(err, VS_E_INVAL,
			     "'%s' is not ADDR:PORT or ADDR:PORT,TAG, IPv6 addresses in brackets",
			     address);
}

/* What the body may say beside iqn and volumes, checked as far as the server does not. */
static int check_part(const char *key, json_t *value, struct vs_error *err)
{
	json_error_t why;
	const char *s;
	size_t i;
	json_t *item;

	if (strcmp(key, "alias") == 0)
		return json_is_string(value) ? 0 : vs_fail(err, VS_E_INVAL, "alias must be text");
	if (strcmp(key, "portal_group") == 0)
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
			       json_integer_value(value) <= UINT16_MAX
			   ? 0
			   : vs_fail(err, VS_E_INVAL, "portal_group must be 0 to 65535");
	if (strcmp(key, "read_only") == 0)
		return json_is_boolean(value) ? 0
					      : vs_fail(err, VS_E_INVAL, "read_only is not a bool");
	if (strcmp(key, "chap") == 0 || strcmp(key, "mutual") == 0) {
		if (json_is_null(value))
			return 0;
		if (json_unpack_ex(value, &why, JSON_STRICT, "{s:s, s:s}", "user", &s, "secret",
				   &s) != 0)
			return vs_fail(err, VS_E_INVAL, "bad %s: %s", key, why.text);
		return 0;
	}
	if (strcmp(key, "redirect") == 0)
		return check_redirect(value, err);
	if (strcmp(key, "initiators") != 0)
		return vs_fail(err, VS_E_INVAL, "bad request body: unknown key '%s'", key);
	if (!json_is_array(value) || json_array_size(value) > MG_OBJECT_VOLUMES_MAX)
		return vs_fail(err, VS_E_INVAL, "initiators must list up to %d names",
			       MG_OBJECT_VOLUMES_MAX);
	json_array_foreach(
	    value, i,
	    item) if (!json_is_string(item) ||
		      !iscsi_name_ok(json_string_value(
			  item))) return vs_fail(err, VS_E_INVAL, "'%s' is not an iSCSI name",
						 json_is_string(item) ? json_string_value(item)
								      : "");
	return 0;
}

static int merge(json_t *doc, json_t *body, bool creating, struct vs_error *err)
{
	const char *key;
	json_t *value;
	int rc;

	json_object_foreach(body, key, value)
	{
		if (creating && (strcmp(key, "iqn") == 0 || strcmp(key, "volumes") == 0))
			continue;
		rc = check_part(key, value, err);
		if (rc != 0)
			return rc;
		json_object_set(doc, key, value);
	}
	return 0;
}

static int build(struct mg_node *n, const struct mg_request *req, json_t *doc, struct vs_error *err)
{
	json_t *volumes = json_object_get(req->body, "volumes"), *entry;
	const char *iqn = json_string_value(json_object_get(req->body, "iqn"));
	size_t i;
	int rc;

	if (!iqn || !iscsi_name_ok(iqn))
		return vs_fail(err, VS_E_INVAL,
			       "iqn '%s' is not an iSCSI name such as iqn.2026-11.org.example:disk",
			       iqn ? iqn : "");
	json_object_set(doc, "iqn", json_object_get(req->body, "iqn"));
	if (volumes && !json_is_array(volumes))
		return vs_fail(err, VS_E_INVAL, "volumes must be a list");
	rc = merge(doc, req->body, true, err);
	json_array_foreach(volumes, i, entry) if (rc == 0) rc = add_lun(n, doc, entry, err);
	return rc;
}

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	json_t *doc = json_pack("{s:n, s:i, s:b, s:[], s:[], s:n, s:n}", "alias", "portal_group", 0,
				"read_only", 0, "initiators", "luns", "chap", "mutual");
	const char *iqn;
	int rc;

	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_lock(&n->config);
	rc = build(n, req, doc, err);
	if (rc == 0)
		rc = mg_iscsi_create(n, doc, err);
	pthread_mutex_unlock(&n->config);
	json_decref(doc);
	if (rc != 0)
		return rc;
	iqn = json_string_value(json_object_get(req->body, "iqn"));
	mg_event(n->events, MG_INFO, "target.created", iqn, "by request");
	return answer_target(n, iqn, 201, reply, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = mg_iscsi_list(n, &json, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	return answer_target(n, req->param[0], 200, reply, err);
}

/* Reads the target's document, changes it, puts it back: all under the lock. */
static int change(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  int (*edit)(struct mg_node *n, const struct mg_request *req, json_t *doc,
			      struct vs_error *err),
		  struct vs_error *err)
{
	json_t *doc = NULL;
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_iscsi_doc(n, req->param[0], &doc, err);
	if (rc == 0)
		rc = edit(n, req, doc, err);
	if (rc == 0)
		rc = mg_iscsi_update(n, doc, err);
	pthread_mutex_unlock(&n->config);
	json_decref(doc);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "target.changed", req->param[0], "by request");
	return answer_target(n, req->param[0], 200, reply, err);
}

static int edit_parts(struct mg_node *n, const struct mg_request *req, json_t *doc,
		      struct vs_error *err)
{
	(void)n;
	return merge(doc, req->body, false, err);
}

static int edit_map(struct mg_node *n, const struct mg_request *req, json_t *doc,
		    struct vs_error *err)
{
	return add_lun(n, doc, req->body, err);
}

static int edit_unmap(struct mg_node *n, const struct mg_request *req, json_t *doc,
		      struct vs_error *err)
{
	const char *initiator = mg_query(req, "initiator");
	json_t *luns = json_object_get(doc, "luns");
	uint64_t lun;
	size_t at;

	(void)n;
	if (vs_parse_u64(req->param[1], ISCSI_LUN_LIMIT - 1, &lun) != 0)
		return vs_fail(err, VS_E_INVAL, "a LUN must be 0 to %d", ISCSI_LUN_LIMIT - 1);
	if (find_lun(luns, initiator, (json_int_t)lun, &at))
		return json_array_remove(luns, at);
	return vs_fail(err, VS_E_NOENT, "%s has no LUN %llu%s%s", req->param[0],
		       (unsigned long long)lun, initiator ? " for " : "",
		       initiator ? initiator : "");
}

static int set(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	return change(n, req, reply, edit_parts, err);
}

static int map(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	return change(n, req, reply, edit_map, err);
}

static int unmap(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	return change(n, req, reply, edit_unmap, err);
}

static int delete_target(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			 struct vs_error *err)
{
	int rc;

	pthread_mutex_lock(&n->config);
	rc = mg_iscsi_delete(n, req->param[0], err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "target.deleted", req->param[0], "by request");
	return mg_reply_json(reply, 200, json_object(), err);
}

static int sessions(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	const char *iqn = req->nsegments > 2 ? req->param[0] : NULL;
	json_t *doc = NULL;
	int rc = iqn ? mg_iscsi_doc(n, iqn, &doc, err) : 0;

	json_decref(doc);
	return rc != 0 ? rc : mg_reply_json(reply, 200, mg_iscsi_sessions(n, iqn), err);
}

const struct mg_route mg_api_target[] = {
    {"POST", "targets", NULL, create},
    {"GET", "targets", NULL, list},
    {"GET", "targets/?", NULL, show},
    {"PATCH", "targets/?", NULL, set},
    {"DELETE", "targets/?", NULL, delete_target},
    {"POST", "targets/?/luns", NULL, map},
    {"DELETE", "targets/?/luns/?", " initiator ", unmap},
    {"GET", "targets/?/sessions", NULL, sessions},
    {"GET", "sessions", NULL, sessions},
    {NULL, NULL, NULL, NULL},
};
