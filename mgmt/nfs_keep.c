/* Which clients of NFSv4 may reclaim what they had open after a restart, in the catalogue. */
#include "mgmt/datastore_impl.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define NAME "clients"

/* An object MG_NFS: {kept: hex digits}. */
static int save(void *arg, const uint8_t *kept, size_t len, struct vs_error *err)
{
	struct mg_node *n = arg;
	char *hex = malloc(2 * len + 1);
	json_t *doc = NULL;
	int rc;

	if (hex) {
		vs_format_hex(kept, len, hex);
		doc = json_pack("{s:s}", "kept", hex);
	}
	free(hex);
	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_catalogue_update(n->catalogue, MG_NFS, NAME, doc, NULL, 0, err);
	if (rc == VS_E_NOENT)
		rc = mg_catalogue_insert(n->catalogue, MG_NFS, NAME, doc, NULL, 0, err);
	json_decref(doc);
	return rc;
}

/* A list that is damaged keeps nobody from anything but reclaiming. */
static int load(void *arg, uint8_t *kept, size_t max, size_t *len, struct vs_error *err)
{
	struct mg_node *n = arg;
	const char *hex;
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_NFS, NAME, &doc, err);

	*len = 0;
	if (rc != 0)
		return rc == VS_E_NOENT ? 0 : rc;
	hex = json_string_value(json_object_get(doc, "kept"));
	if (!hex || strlen(hex) > 2 * max || vs_parse_hex(hex, kept, strlen(hex) / 2) != 0)
		mg_event(n->events, MG_WARNING, "catalogue.failed", "",
			 "the list of NFS clients that may reclaim their locks is damaged");
	else
		*len = strlen(hex) / 2;
	json_decref(doc);
	return 0;
}

struct nfs_keeper mg_nfs_keeper(struct mg_node *n)
{
	return (struct nfs_keeper){.save = save, .load = load, .arg = n};
}
