/* Datastores as the API shows them. */
#include "mgmt/datastore_impl.h"

#include "mgmt/volume_impl.h"

#include <string.h>

struct snapshots {
	const struct vs_uuid *of;
	json_t *list;
};

static int add_snapshot(void *arg, const struct bs_volume_info *v)
{
	struct snapshots *s = arg;

	if (!v->snapshot || !vs_uuid_equal(&v->origin, s->of))
		return 0;
	return json_array_append_new(s->list, json_pack("{s:s, s:o}", "name", v->snap, "created",
							mg_time_json(v->created_ns)));
}

/* Asked of the datastore as any client asks. */
static int figures(struct ds_store *s, json_t *json, struct vs_error *err)
{
	struct ds_req req = {.op = DS_STATFS, .file = ds_root};
	struct ds_client *client = NULL;
	struct vs_loop *loop = NULL;
	int rc = vs_loop_new(&loop, err);

	if (rc == 0)
		rc = ds_client_open(s, loop, 1, &client, err);
	if (rc == 0)
		rc = ds_wait(client, &req);
	if (rc == 0) {
		json_object_set_new(json, "free_bytes", json_integer((json_int_t)req.fs_free));
		json_object_set_new(json, "files",
				    json_integer((json_int_t)(req.fs_files - req.fs_files_free)));
	}
	if (client)
		ds_client_close(client);
	if (loop)
		vs_loop_free(loop);
	return rc ? vs_fail(err, rc, "cannot ask the datastore: %s", vs_err_text(rc)) : 0;
}

static int show(struct mg_node *n, const struct mg_datastore *s, json_t **out, struct vs_error *err)
{
	struct snapshots list = {.of = ds_uuid(s->store), .list = json_array()};
	json_t *doc = NULL, *json;
	char uuid[VS_UUID_TEXT];
	struct bs_volume_info info;
	int rc = bs_volume_find(n->store, s->name, &info, err);

	if (rc == 0 && info.snapshots)
		rc = mg_objects_walk(n, add_snapshot, &list, err);
	if (rc == 0 && mg_datastore_doc(n, s, &doc, NULL) != 0)
		doc = json_pack("{s:i, s:[]}", "quota", 0, "shares");
	vs_uuid_format(list.of, uuid);
	json = rc == 0 ? json_pack("{s:s, s:s, s:I, s:O, s:O, s:O}", "name", s->name, "uuid", uuid,
				   "used_bytes", (json_int_t)info.logical_bytes, "quota",
				   json_object_get(doc, "quota"), "shares",
				   json_object_get(doc, "shares"), "snapshots", list.list)
		       : NULL;
	json_decref(doc);
	json_decref(list.list);
	if (rc == 0 && !json)
		rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	if (rc == 0)
		rc = figures(s->store, json, err);
	if (rc != 0)
		json_decref(json);
	else
		*out = json;
	return rc;
}

int mg_datastore_show(struct mg_node *n, const char *name, json_t **out, struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);

	return s ? show(n, s, out, err) : VS_E_NOENT;
}

int mg_datastore_list(struct mg_node *n, json_t **out, struct vs_error *err)
{
	json_t *list = json_array();
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < MG_DATASTORES_MAX; i++) {
		json_t *one = NULL;

		if (!n->datastores->at[i].store)
			continue;
		rc = show(n, &n->datastores->at[i], &one, err);
		if (rc == 0)
			json_array_append_new(list, one);
	}
	if (rc != 0)
		json_decref(list);
	else
		*out = list;
	return rc;
}
