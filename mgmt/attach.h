/*
 * Attachments: private NBD servers that clients of the API use for a while. One that nobody has
 * been connected to for MG_ATTACH_IDLE seconds ends by itself; a draft's volume goes with it.
 *
 * Ownership: open and close in pairs; close ends them all. Threads: any; a thread of its own looks
 * for idle ones.
 */
#ifndef MG_ATTACH_H
#define MG_ATTACH_H

#include "mgmt/node.h"

#define MG_ATTACH_MAX 64u
#define MG_ATTACH_IDLE 60u /* seconds */

int mg_attachments_open(struct mg_node *n, struct mg_attachments **out,
			struct vs_error *err) vs_must_check;
void mg_attachments_close(struct mg_attachments *a);

/* full: NAME or NAME@SNAP; draft: its volume is deleted at the end unless kept. */
int mg_attach(struct mg_attachments *a, const char *full, bool read_only, bool draft, json_t **out,
	      struct vs_error *err) vs_must_check;
int mg_detach(struct mg_attachments *a, uint64_t id, bool keep, struct vs_error *err) vs_must_check;
json_t *mg_attach_list(struct mg_attachments *a);
/* Appends {kind: "attach", name: id} for each attachment of the volume. */
void mg_attach_users(struct mg_attachments *a, const struct vs_uuid *uuid, json_t *users);

#endif
