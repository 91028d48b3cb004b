/* The API's tables of routes, one a resource; mgmt/API.md describes them. Constant. */
#ifndef MG_API_H
#define MG_API_H

#include "mgmt/route.h"

extern const struct mg_route mg_api_node[], mg_api_devices[], mg_api_volume[], mg_api_snapshot[],
    mg_api_transfer[], mg_api_repo[], mg_api_backup[], mg_api_target[], mg_api_nbd[], mg_api_vm[],
    mg_api_task[], mg_api_event[], mg_api_scrub[], mg_api_dedup[], mg_api_discover[],
    mg_api_datastore[];
extern const struct mg_route *const mg_api[]; /* all of them, NULL at the end */

#endif
