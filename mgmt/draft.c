#include "mgmt/draft.h"

#include "mgmt/volume.h"

#include <string.h>

int mg_draft_note(struct mg_node *n, const struct vs_uuid *uuid, struct vs_error *err)
{
	char name[VS_UUID_TEXT];
	json_t *doc;
	int rc;

	vs_uuid_format(uuid, name);
	doc = json_pack("{s:s}", "uuid", name);
	rc = mg_catalogue_insert(n->catalogue, MG_DRAFT, name, doc, uuid, 1, err);
	json_decref(doc);
	return rc;
}

int mg_draft_find(struct mg_node *n, const char *full, struct bs_volume_info *out,
		  struct vs_error *err)
{
	char name[VS_UUID_TEXT];
	json_t *doc = NULL;
	int rc = bs_volume_find(n->store, full, out, err);

	if (rc == 0 && out->objects)
		rc = vs_fail(err, VS_E_NOTSUP,
			     "%s is a datastore; use the commands of \"vstore datastore\"", full);
	if (rc != 0)
		return rc;
	vs_uuid_format(&out->uuid, name);
	rc = mg_catalogue_get(n->catalogue, MG_DRAFT, name, &doc, err);
	json_decref(doc);
	if (rc == 0)
		return vs_fail(err, VS_E_BUSY,
			       "%s is still being made; wait for the task or attachment to end",
			       full);
	return rc == VS_E_NOENT ? 0 : rc;
}

/* The UUID is known only once the volume is there: a death between the two leaves a volume. */
static int note_made(struct mg_node *n, struct bs_volume_info *info, struct vs_error *err)
{
	int rc = mg_draft_note(n, &info->uuid, err);

	if (rc != 0 && info->snapshot) {
		char full[BS_FULL_NAME_MAX];

		if (bs_snapshot_delete(n->store, mg_full_name(info, full), NULL) != 0)
			mg_event(n->events, MG_WARNING, "draft.left", full, "could not be deleted");
	} else if (rc != 0 && bs_volume_delete(n->store, info->name, BS_DELETE_PLAIN, NULL) != 0) {
		mg_event(n->events, MG_WARNING, "draft.left", info->name, "could not be deleted");
	}
	return rc;
}

int mg_draft_volume(struct mg_node *n, const struct bs_volume_spec *spec,
		    struct bs_volume_info *out, struct vs_error *err)
{
	int rc = bs_volume_create(n->store, spec, out, err);

	return rc != 0 ? rc : note_made(n, out, err);
}

int mg_draft_snapshot(struct mg_node *n, const char *full, struct bs_volume_info *out,
		      struct vs_error *err)
{
	int rc = bs_snapshot_create(n->store, &full, 1, err);

	if (rc == 0)
		rc = bs_volume_find(n->store, full, out, err);
	return rc != 0 ? rc : note_made(n, out, err);
}

int mg_draft_keep(struct mg_node *n, const struct vs_uuid *uuid, struct vs_error *err)
{
	char name[VS_UUID_TEXT];

	vs_uuid_format(uuid, name);
	return mg_catalogue_delete(n->catalogue, MG_DRAFT, name, err);
}

void mg_draft_drop(struct mg_node *n, const struct vs_uuid *uuid)
{
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info info;
	struct vs_error err;
	int rc = bs_volume_find_uuid(n->store, uuid, &info, &err);

	if (rc == 0) {
		mg_full_name(&info, full);
		rc = info.snapshot ? bs_snapshot_delete(n->store, full, &err)
				   : bs_volume_delete(n->store, full, BS_DELETE_PLAIN, &err);
	}
	if (rc == 0 || rc == VS_E_NOENT)
		rc = mg_draft_keep(n, uuid, &err);
	if (rc != 0 && rc != VS_E_NOENT) {
		vs_uuid_format(uuid, full);
		mg_event(n->events, MG_WARNING, "draft.left", full,
			 "unfinished volume could not be deleted: %s", err.text);
	}
}

/*
 * The work that makes something for a machine ends with the machine's document, and the note goes
 * after that: one that a death left between the two is no draft any more. What cannot be found out
 * is taken to be so.
 */
static bool in_machine(struct mg_node *n, const struct vs_uuid *uuid)
{
	json_t *users = NULL, *user;
	bool found = mg_catalogue_users(n->catalogue, uuid, &users, NULL) != 0;
	size_t i;

	json_array_foreach(users, i, user)
	{
		const char *kind = json_string_value(json_object_get(user, "kind"));

		found |= strcmp(kind, mg_kind_name[MG_VM]) == 0;
	}
	json_decref(users);
	return found;
}

int mg_draft_clean(struct mg_node *n, struct vs_error *err)
{
	json_t *drafts, *draft;
	struct vs_uuid uuid;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_DRAFT, &drafts, err);

	if (rc != 0)
		return rc;
	json_array_foreach(drafts, i, draft)
	{
		const char *text = json_string_value(json_object_get(draft, "uuid"));

		if (!text || vs_uuid_parse(text, &uuid) != 0)
			continue;
		if (!in_machine(n, &uuid))
			mg_draft_drop(n, &uuid);
		else if (rc == 0)
			rc = mg_draft_keep(n, &uuid, err);
	}
	json_decref(drafts);
	return rc;
}
