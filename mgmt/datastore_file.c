/* Files of datastores: looking, listing, removing. */
#include "mgmt/datastore_visit.h"

#include "common/bytes.h"
#include "mgmt/volume.h"

#include <string.h>

#define LIST_MAX 100000u /* entries that a listing holds */

static json_t *attr_json(const char *name, size_t len, const struct ds_attr *a)
{
	static const char *const types[] = {
	    [DS_NONE] = "unknown", [DS_REG] = "file",	[DS_DIR] = "directory",
	    [DS_LNK] = "link",	   [DS_FIFO] = "fifo",	[DS_SOCK] = "socket",
	    [DS_CHR] = "device",   [DS_BLK] = "device",
	};

	return json_pack("{s:s%, s:s, s:I, s:I, s:i, s:i, s:i, s:o}", "name", name, len, "type",
			 types[a->type], "size", (json_int_t)a->size, "used_bytes",
			 (json_int_t)a->used, "mode", (int)a->mode, "uid", (int)a->uid, "gid",
			 (int)a->gid, "modified", mg_time_json(a->mtime));
}

struct listing {
	struct ds_req req;
	json_t *list;
	uint64_t cookie;
	bool failed;
};

static bool add_entry(struct ds_req *req, const struct ds_entry *e)
{
	static const struct ds_attr unknown;
	struct listing *l = vs_container_of(req, struct listing, req);
	json_t *one;

	l->cookie = e->cookie;
	if (e->name_len <= 2 && memcmp(e->name, "..", e->name_len) == 0)
		return true;
	one = attr_json(e->name, e->name_len, e->attr ? e->attr : &unknown);
	if (!one) /* names are bytes; what is no UTF-8 cannot be shown */
		one = attr_json("?", 1, e->attr ? e->attr : &unknown);
	l->failed |= json_array_append_new(l->list, one) != 0;
	return json_array_size(l->list) < LIST_MAX;
}

static int list_directory(struct mg_visit *v, const char *path, const struct ds_attr *dir,
			  json_t *list, struct vs_error *err)
{
	struct listing l = {.list = list};
	int rc = 0;

	do {
		l.req = (struct ds_req){.op = DS_READDIR,
					.file = dir->handle,
					.plus = true,
					.cookie = l.cookie,
					.entry = add_entry};
		rc = mg_visit_ask(v, &l.req, "list", path, err);
	} while (rc == 0 && !l.req.eof && json_array_size(list) < LIST_MAX);
	return rc == 0 && l.failed ? vs_fail(err, VS_E_NOMEM, "out of memory") : rc;
}

int mg_datastore_file_list(struct mg_node *n, const char *name, const char *path, json_t **out,
			   struct vs_error *err)
{
	json_t *list = json_array();
	struct ds_attr at;
	struct mg_visit v;
	int rc = mg_visit_open(n, name, &v, err);

	if (rc == 0) {
		rc = mg_visit_walk(&v, path, NULL, &at, err);
		if (rc == 0 && at.type == DS_DIR)
			rc = list_directory(&v, path, &at, list, err);
		else if (rc == 0)
			json_array_append_new(list, attr_json(path, strlen(path), &at));
		mg_visit_close(&v);
	}
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}

int mg_datastore_file_remove(struct mg_node *n, const char *name, const char *path,
			     struct vs_error *err)
{
	struct ds_attr dir, at;
	const char *leaf;
	struct mg_visit v;
	int rc = mg_visit_open(n, name, &v, err);

	if (rc != 0)
		return rc;
	rc = mg_visit_walk(&v, path, &leaf, &dir, err);
	if (rc == 0)
		rc = mg_visit_walk(&v, path, NULL, &at, err);
	if (rc == 0) {
		struct ds_req req = {.op = at.type == DS_DIR ? DS_RMDIR : DS_REMOVE,
				     .file = dir.handle,
				     .name = leaf,
				     .name_len = strcspn(leaf, "/")};

		rc = mg_visit_ask(&v, &req, "remove", path, err);
	}
	mg_visit_close(&v);
	return rc;
}
