/* What iscsi.c asks of iscsi_config.c. */
#ifndef MG_ISCSI_IMPL_H
#define MG_ISCSI_IMPL_H

#include "mgmt/iscsi.h"

/* A document turned into what the server takes; strings point into the document and names. */
struct mg_iscsi_config {
	struct iscsi_target_config cfg;
	struct iscsi_lun_config *luns;
	char (*names)[BS_FULL_NAME_MAX];
	struct vs_uuid *uuids;
	const char **initiators;
};

/* doc: as iscsi.h says; it stays until c is freed. */
int mg_iscsi_config_read(struct mg_node *n, const json_t *doc, struct mg_iscsi_config *c,
			 struct vs_error *err) vs_must_check;
void mg_iscsi_config_free(struct mg_iscsi_config *c);

#endif
