#include "mgmt/datastore_part.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

/* An object MG_PART by the part's name: {datastore (UUID), object, generation} of the directory. */
static int note(const struct mg_part *p, struct vs_error *err)
{
	struct mg_node *n = p->visit->node;
	char uuid[VS_UUID_TEXT];
	json_t *doc;
	int rc;

	vs_uuid_format(ds_uuid(p->visit->store), uuid);
	doc = json_pack("{s:s, s:s, s:I, s:I}", "name", p->name, "datastore", uuid, "object",
			(json_int_t)p->dir.object, "generation", (json_int_t)p->dir.generation);
	rc = mg_catalogue_insert(n->catalogue, MG_PART, p->name, doc, NULL, 0, err);
	json_decref(doc);
	return rc;
}

/* What is noted and not there is forgotten at the next start. */
static void forget(struct mg_node *n, const char *name)
{
	(void)!mg_catalogue_delete(n->catalogue, MG_PART, name, NULL);
}

static int make_name(struct mg_part *p, struct vs_error *err)
{
	uint8_t random[16];
	char hex[2 * sizeof(random) + 1];

	if (vs_random(random, sizeof(random)) != 0)
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	vs_format_hex(random, sizeof(random), hex);
	(void)snprintf(p->name, sizeof(p->name), ".vstore-put-%s", hex);
	return 0;
}

int mg_part_make(struct mg_visit *v, const char *path, struct mg_part *p, struct vs_error *err)
{
	struct ds_req req = {.op = DS_CREATE,
			     .type = DS_REG,
			     .how = DS_GUARDED,
			     .set = {.what = DS_SET_MODE, .mode = 0644}};
	struct ds_attr dir;
	int rc;

	*p = (struct mg_part){.visit = v};
	rc = mg_visit_walk(v, path, &p->leaf, &dir, err);
	if (rc == 0)
		rc = make_name(p, err);
	if (rc != 0)
		return rc;
	p->dir = req.file = dir.handle;
	req.name = p->name;
	req.name_len = strlen(p->name);
	rc = note(p, err);
	if (rc != 0)
		return rc;
	rc = mg_visit_ask(v, &req, "make", path, err);
	if (rc != 0)
		forget(v->node, p->name);
	p->file = req.attr.handle;
	return rc;
}

int mg_part_name(struct mg_part *p, const char *path, struct vs_error *err)
{
	struct ds_req move = {.op = DS_RENAME,
			      .file = p->dir,
			      .name = p->name,
			      .name_len = strlen(p->name),
			      .other = p->dir,
			      .other_name = p->leaf,
			      .other_name_len = strcspn(p->leaf, "/")};
	int rc = mg_visit_ask(p->visit, &move, "make", path, err);

	if (rc == 0)
		forget(p->visit->node, p->name);
	return rc;
}

/* Gone already, or the directory with it, is as good. */
static int remove_part(struct mg_visit *v, struct ds_handle dir, const char *name)
{
	struct ds_req req = {.op = DS_REMOVE, .file = dir, .name = name, .name_len = strlen(name)};
	int rc = ds_wait(v->client, &req);

	if (rc != 0 && rc != VS_E_NOENT && rc != VS_E_STALE)
		return rc;
	forget(v->node, name);
	return 0;
}

static void say_left(struct mg_node *n, const char *datastore, const char *name, int rc)
{
	mg_event(n->events, MG_WARNING, "datastore.left", datastore, "%s could not be removed: %s",
		 name, vs_err_text(rc));
}

void mg_part_drop(struct mg_part *p, const char *datastore)
{
	int rc = remove_part(p->visit, p->dir, p->name);

	if (rc != 0)
		say_left(p->visit->node, datastore, p->name, rc);
}

static void clean(struct mg_node *n, const json_t *doc)
{
	const char *uuid = json_string_value(json_object_get(doc, "datastore"));
	const char *name = json_string_value(json_object_get(doc, "name"));
	struct ds_handle dir = {
	    .object = (uint32_t)json_integer_value(json_object_get(doc, "object")),
	    .generation = (uint32_t)json_integer_value(json_object_get(doc, "generation"))};
	struct bs_volume_info info;
	const char *of = uuid;
	struct vs_uuid id;
	struct mg_visit v;
	int rc;

	if (!uuid || !name || vs_uuid_parse(uuid, &id) != 0)
		return;
	rc = bs_volume_find_uuid(n->store, &id, &info, NULL);
	if (rc == VS_E_NOENT) { /* the datastore went with all that was in it */
		forget(n, name);
		return;
	}
	if (rc == 0) {
		of = info.name;
		rc = mg_visit_open(n, of, &v, NULL);
	}
	if (rc == 0) {
		rc = remove_part(&v, dir, name);
		mg_visit_close(&v);
	}
	if (rc != 0)
		say_left(n, of, name, rc);
}

int mg_parts_clean(struct mg_node *n, struct vs_error *err)
{
	json_t *docs = NULL, *doc;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_PART, &docs, err);

	json_array_foreach(docs, i, doc) clean(n, doc);
	json_decref(docs);
	return rc;
}
