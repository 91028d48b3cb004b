/*
 * Drafts: volumes and snapshots that exist only until some work has ended well. A draft is noted in
 * the catalogue as soon as it has a UUID, and one that the daemon's death left is deleted at the
 * next start. Threads: any; node->config is not needed.
 */
#ifndef MG_DRAFT_H
#define MG_DRAFT_H

#include "mgmt/node.h"

/* Creates the volume, or the snapshot full (VOLUME@SNAP), as a draft. */
int mg_draft_volume(struct mg_node *n, const struct bs_volume_spec *spec,
		    struct bs_volume_info *out, struct vs_error *err) vs_must_check;
int mg_draft_snapshot(struct mg_node *n, const char *full, struct bs_volume_info *out,
		      struct vs_error *err) vs_must_check;
/* Notes an existing volume. */
int mg_draft_note(struct mg_node *n, const struct vs_uuid *uuid,
		  struct vs_error *err) vs_must_check;
/*
 * As bs_volume_find, but VS_E_BUSY for a draft: what is still being made is not renamed, served or
 * given to a machine.
 */
int mg_draft_find(struct mg_node *n, const char *full, struct bs_volume_info *out,
		  struct vs_error *err) vs_must_check;
/* The work ended well: a draft no more. */
int mg_draft_keep(struct mg_node *n, const struct vs_uuid *uuid,
		  struct vs_error *err) vs_must_check;
/* Deletes it; one that cannot be deleted stays noted, and an event says so. */
void mg_draft_drop(struct mg_node *n, const struct vs_uuid *uuid);
/* At start: drops all that an earlier daemon left, but keeps what a machine refers to. */
int mg_draft_clean(struct mg_node *n, struct vs_error *err) vs_must_check;

#endif
