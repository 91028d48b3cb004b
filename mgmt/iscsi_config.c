/* Targets as the catalogue keeps them, turned into what the server takes. */
#include "mgmt/iscsi_impl.h"

#include "mgmt/volume.h"

#include <stdlib.h>
#include <string.h>

void mg_iscsi_config_free(struct mg_iscsi_config *c)
{
	free(c->luns);
	free(c->names);
	free(c->uuids);
	free(c->initiators);
	memset(c, 0, sizeof(*c));
}

static const char *text(const json_t *doc, const char *outer, const char *key)
{
	return json_string_value(json_object_get(outer ? json_object_get(doc, outer) : doc, key));
}

static int decode_luns(struct mg_node *n, const json_t *luns, struct mg_iscsi_config *c,
		       struct vs_error *err)
{
	json_t *lun;
	size_t i;

	json_array_foreach(luns, i, lun)
	{
		const char *uuid = text(lun, NULL, "volume");

		if (!uuid || vs_uuid_parse(uuid, &c->uuids[i]) != 0)
			return vs_fail(err, VS_E_CORRUPT, "catalogue: a LUN has no volume");
		mg_volume_name(n, &c->uuids[i], c->names[i]);
		c->luns[i] = (struct iscsi_lun_config){
		    .lun = (unsigned)json_integer_value(json_object_get(lun, "lun")),
		    .volume = c->names[i],
		    .read_only = json_is_true(json_object_get(lun, "read_only")),
		    .removable = json_is_true(json_object_get(lun, "removable")),
		    .initiator = text(lun, NULL, "initiator")};
	}
	return 0;
}

int mg_iscsi_config_read(struct mg_node *n, const json_t *doc, struct mg_iscsi_config *c,
			 struct vs_error *err)
{
	json_t *luns = json_object_get(doc, "luns"), *names = json_object_get(doc, "initiators");
	size_t nluns = json_array_size(luns), nnames = json_array_size(names);
	int rc;

	memset(c, 0, sizeof(*c));
	c->luns = calloc(nluns + 1, sizeof(*c->luns));
	c->names = calloc(nluns + 1, sizeof(*c->names));
	c->uuids = calloc(nluns + 1, sizeof(*c->uuids));
	c->initiators = calloc(nnames + 1, sizeof(*c->initiators));
	if (!c->luns || !c->names || !c->uuids || !c->initiators) {
		mg_iscsi_config_free(c);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	rc = decode_luns(n, luns, c, err);
	if (rc != 0) {
		mg_iscsi_config_free(c);
		return rc;
	}
	for (size_t i = 0; i < nnames; i++)
		c->initiators[i] = json_string_value(json_array_get(names, i));
	c->cfg = (struct iscsi_target_config){
	    .iqn = text(doc, NULL, "iqn"),
	    .alias = text(doc, NULL, "alias"),
	    .luns = c->luns,
	    .nluns = nluns,
	    .initiators = c->initiators,
	    .ninitiators = nnames,
	    .portal_group = (uint16_t)json_integer_value(json_object_get(doc, "portal_group")),
	    .chap_user = text(doc, "chap", "user"),
	    .chap_secret = text(doc, "chap", "secret"),
	    .mutual_user = text(doc, "mutual", "user"),
	    .mutual_secret = text(doc, "mutual", "secret"),
	    .read_only = json_is_true(json_object_get(doc, "read_only")),
	    .redirect = text(doc, "redirect", "address"),
	    .redirect_permanent =
		json_is_true(json_object_get(json_object_get(doc, "redirect"), "permanent"))};
	return 0;
}
