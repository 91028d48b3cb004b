/* What initiators want kept of volumes across power loss, as objects of the catalogue. */
#include "mgmt/iscsi.h"

#include "common/text.h"
#include "targets/iscsi/server.h"

#include <stdlib.h>
#include <string.h>

/* An object MG_UNIT, named by the volume's UUID: {kept: hex digits}. */
static int save(void *arg, const struct vs_uuid *volume, const uint8_t *kept, size_t len,
		struct vs_error *err)
{
	struct mg_node *n = arg;
	char name[VS_UUID_TEXT], *hex = malloc(2 * len + 1);
	json_t *doc;
	int rc;

	vs_uuid_format(volume, name);
	if (!hex)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	vs_format_hex(kept, len, hex);
	doc = json_pack("{s:s}", "kept", hex);
	free(hex);
	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = len ? mg_catalogue_update(n->catalogue, MG_UNIT, name, doc, NULL, 0, err)
		 : mg_catalogue_delete(n->catalogue, MG_UNIT, name, err);
	if (rc == VS_E_NOENT)
		rc = len ? mg_catalogue_insert(n->catalogue, MG_UNIT, name, doc, NULL, 0, err) : 0;
	json_decref(doc);
	return rc;
}

static int load(void *arg, const struct vs_uuid *volume, uint8_t *kept, size_t max, size_t *len,
		struct vs_error *err)
{
	struct mg_node *n = arg;
	char name[VS_UUID_TEXT];
	const char *hex;
	json_t *doc = NULL;
	int rc;

	*len = 0;
	vs_uuid_format(volume, name);
	rc = mg_catalogue_get(n->catalogue, MG_UNIT, name, &doc, err);
	if (rc != 0)
		return rc == VS_E_NOENT ? 0 : rc;
	hex = json_string_value(json_object_get(doc, "kept"));
	if (!hex || strlen(hex) > 2 * max || vs_parse_hex(hex, kept, strlen(hex) / 2) != 0)
		rc = vs_fail(err, VS_E_CORRUPT, "catalogue: what was kept of volume %s is damaged",
			     name);
	else
		*len = strlen(hex) / 2;
	json_decref(doc);
	return rc;
}

struct iscsi_keeper mg_iscsi_keeper(struct mg_node *n)
{
	return (struct iscsi_keeper){.save = save, .load = load, .arg = n};
}

void mg_iscsi_volume_deleted(struct mg_node *n, const struct vs_uuid *volume)
{
	struct vs_error err;

	if (save(n, volume, NULL, 0, &err) != 0)
		mg_event(n->events, MG_WARNING, "catalogue.failed", "",
			 "what was kept of a deleted volume stays: %s", err.text);
}
