/* What volume.c (volumes as JSON), volume_users.c (who uses them) and datastores ask of each other.
 */
#ifndef MG_VOLUME_IMPL_H
#define MG_VOLUME_IMPL_H

#include "mgmt/volume.h"

/* Calls each(arg, info) for every volume and snapshot that is no datastore's, until it fails. */
int mg_volume_walk(struct mg_node *n, int (*each)(void *arg, const struct bs_volume_info *v),
		   void *arg, struct vs_error *err) vs_must_check;
/* The same for those of datastores. */
int mg_objects_walk(struct mg_node *n, int (*each)(void *arg, const struct bs_volume_info *v),
		    void *arg, struct vs_error *err) vs_must_check;
/* All that refers to it: [{kind, name}]. */
int mg_volume_users(struct mg_node *n, const struct vs_uuid *uuid, const char *full, json_t **out,
		    struct vs_error *err) vs_must_check;

#endif
