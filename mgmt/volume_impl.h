/* What volume.c (volumes as JSON) and volume_users.c (who uses them) ask of each other. */
#ifndef MG_VOLUME_IMPL_H
#define MG_VOLUME_IMPL_H

#include "mgmt/volume.h"

/* Calls each(arg, info) for every volume and snapshot, until it fails. */
int mg_volume_walk(struct mg_node *n, int (*each)(void *arg, const struct bs_volume_info *v),
		   void *arg, struct vs_error *err) vs_must_check;
/* All that refers to it: [{kind, name}]. */
int mg_volume_users(struct mg_node *n, const struct vs_uuid *uuid, const char *full, json_t **out,
		    struct vs_error *err) vs_must_check;

#endif
