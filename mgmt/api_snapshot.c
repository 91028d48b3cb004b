#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/draft.h"
#include "mgmt/volume.h"

#include <stdlib.h>
#include <string.h>

#define DIFF_LIMIT 4096
#define DIFF_LIMIT_MAX 65536

static int find_snapshot(struct mg_node *n, const char *full, struct bs_volume_info *info,
			 struct vs_error *err)
{
	int rc = mg_draft_find(n, full, info, err);

	if (rc == 0 && !info->snapshot)
		rc = vs_fail(err, VS_E_INVAL, "%s is a volume; say %s@SNAP", full, full);
	return rc;
}

static int create(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	const char *names[BS_SNAPSHOT_GROUP_MAX];
	json_t *list, *item, *out = json_array();
	struct bs_volume_info info;
	size_t i, count;
	int rc = mg_body(req, err, "{s:o}", "names", &list);

	count = rc == 0 ? json_array_size(list) : 0;
	if (rc == 0 && (count == 0 || count > BS_SNAPSHOT_GROUP_MAX))
		rc = vs_fail(err, VS_E_INVAL, "names must list 1 to %d snapshots",
			     BS_SNAPSHOT_GROUP_MAX);
	for (i = 0; rc == 0 && i < count; i++) {
		char volume[64], snap[64];

		item = json_array_get(list, i);
		names[i] = json_string_value(item);
		if (!names[i] || vs_split_snapshot(names[i], volume, snap) != 0 || !snap[0])
			rc = vs_fail(err, VS_E_INVAL, "'%s' is not VOLUME@SNAP",
				     names[i] ? names[i] : "");
		else
			rc = mg_draft_find(n, volume, &info, err);
	}
	if (rc == 0)
		rc = bs_snapshot_create(n->store, names, count, err);
	for (i = 0; rc == 0 && i < count; i++) {
		mg_event(n->events, MG_INFO, "snapshot.created", names[i],
			 "one of %zu at this instant", count);
		if (bs_volume_find(n->store, names[i], &info, NULL) == 0)
			json_array_append_new(out, mg_snapshot_json(n, &info, 0));
	}
	if (rc == 0)
		return mg_reply_json(reply, 201, out, err);
	json_decref(out);
	return rc;
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	uint64_t wait;
	int rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, 0, &wait, err);

	if (rc != 0)
		return rc;
	req->patience(req, (unsigned)wait);
	rc = mg_snapshot_list(n, mg_query(req, "volume"), (unsigned)wait * 1000, &json, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	struct bs_volume_info info;
	uint64_t wait;
	int rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, MG_EXACT_WAIT, &wait, err);

	if (rc == 0)
		rc = bs_volume_find(n->store, req->param[0], &info, err);
	if (rc == 0 && !info.snapshot)
		rc = vs_fail(err, VS_E_NOENT, "%s is no snapshot", req->param[0]);
	if (rc != 0)
		return rc;
	req->patience(req, (unsigned)wait);
	return mg_reply_json(reply, 200, mg_snapshot_json(n, &info, (unsigned)wait * 1000), err);
}

static int delete_snapshot(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
			   struct vs_error *err)
{
	struct bs_volume_info info;
	int rc;

	pthread_mutex_lock(&n->config);
	rc = find_snapshot(n, req->param[0], &info, err);
	if (rc == 0)
		rc = mg_volume_unused(n, &info.uuid, req->param[0], "delete", err);
	if (rc == 0)
		rc = bs_snapshot_delete(n->store, req->param[0], err);
	pthread_mutex_unlock(&n->config);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "snapshot.deleted", req->param[0], "by request");
	return mg_reply_json(reply, 200, json_object(), err);
}

static int rollback(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	struct bs_volume_info info;
	json_t *json = NULL;
	int rc;

	pthread_mutex_lock(&n->config);
	rc = find_snapshot(n, req->param[0], &info, err);
	if (rc == 0 && info.kept)
		rc = vs_fail(err, VS_E_NOENT, "volume %s was deleted; clone %s instead", info.name,
			     req->param[0]);
	if (rc == 0)
		rc = mg_volume_idle(n, info.name, "roll back", err);
	if (rc == 0)
		rc = bs_snapshot_rollback(n->store, req->param[0], err);
	pthread_mutex_unlock(&n->config);
	if (rc == 0) {
		mg_event(n->events, MG_INFO, "volume.rolledback", info.name, "to %s",
			 req->param[0]);
		rc = mg_volume_show(n, info.name, 0, &json, err);
	}
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

/* Entries of one kind that touch become one. */
static int append_entry(json_t *entries, const struct bs_diff_entry *e)
{
	const char *kind = e->kind == BS_DIFF_ZERO ? "zero" : "data";
	json_t *last = json_array_get(entries, json_array_size(entries) - 1);
	uint64_t offset = e->block * BS_BLOCK, length = e->count * BS_BLOCK;

	if (last && strcmp(json_string_value(json_object_get(last, "kind")), kind) == 0) {
		uint64_t at = (uint64_t)json_integer_value(json_object_get(last, "offset"));
		json_t *have = json_object_get(last, "length");

		if (at + (uint64_t)json_integer_value(have) == offset)
			return json_integer_set(have,
						json_integer_value(have) + (json_int_t)length);
	}
	return json_array_append_new(entries,
				     json_pack("{s:I, s:I, s:s}", "offset", (json_int_t)offset,
					       "length", (json_int_t)length, "kind", kind));
}

/* One page: up to limit entries of the store from *cursor on. */
static int diff_page(struct bs_volume *a, struct bs_volume *b, uint64_t *cursor, size_t limit,
		     json_t *entries, struct vs_error *err)
{
	struct bs_diff_entry *page = calloc(limit, sizeof(*page));
	size_t got;
	int rc;

	if (!page)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = bs_volume_diff(a, b, cursor, page, limit, &got, err);
	for (size_t i = 0; rc == 0 && i < got; i++)
		if (append_entry(entries, &page[i]) != 0)
			rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	free(page);
	return rc;
}

static int diff(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	const char *from = mg_query(req, "from"), *to = mg_query(req, "to");
	struct bs_volume *a = NULL, *b = NULL;
	uint64_t cursor, limit;
	json_t *entries;
	int rc;

	if (!to)
		return vs_fail(err, VS_E_INVAL, "to is missing: say what to compare");
	rc = mg_query_u64(req, "cursor", UINT64_MAX - 1, 0, &cursor, err);
	if (rc == 0)
		rc = mg_query_u64(req, "limit", DIFF_LIMIT_MAX, DIFF_LIMIT, &limit, err);
	if (rc != 0)
		return rc;
	entries = json_array();
	if (from)
		rc = bs_volume_open(n->store, from, &a, err);
	if (rc == 0)
		rc = bs_volume_open(n->store, to, &b, err);
	if (rc == 0)
		rc = diff_page(a, b, &cursor, limit ? limit : DIFF_LIMIT, entries, err);
	if (a)
		bs_volume_close(a);
	if (b)
		bs_volume_close(b);
	if (rc != 0) {
		json_decref(entries);
		return rc;
	}
	return mg_reply_json(
	    reply, 200,
	    json_pack("{s:o, s:o}", "entries", entries, "next",
		      cursor == UINT64_MAX ? json_null() : json_integer((json_int_t)cursor)),
	    err);
}

const struct mg_route mg_api_snapshot[] = {
    {"POST", "snapshots", NULL, create},
    {"GET", "snapshots", " volume wait ", list},
    {"GET", "snapshots/?", " wait ", show},
    {"DELETE", "snapshots/?", NULL, delete_snapshot},
    {"POST", "snapshots/?/rollback", NULL, rollback},
    {"GET", "diff", " from to cursor limit ", diff},
    {NULL, NULL, NULL, NULL},
};
