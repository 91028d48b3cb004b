/*
 * Volumes as the API shows them, and who uses them. Threads: any. JSON is the caller's.
 */
#ifndef MG_VOLUME_H
#define MG_VOLUME_H

#include "mgmt/node.h"

#define MG_EXACT_WAIT 2u /* seconds, for exact space, unless said otherwise */

const char *mg_coding_name(int coding);
int mg_coding_parse(const char *name, int *coding, struct vs_error *err) vs_must_check;
/* NAME or NAME@SNAP into text of BS_FULL_NAME_MAX bytes; returns text. */
const char *mg_full_name(const struct bs_volume_info *v, char *text);
json_t *mg_time_json(int64_t unix_ns);

/*
 * One volume or snapshot. Its exact space, and that of its snapshots, is waited for at most wait_ms
 * (blockstore/exact.h); 0: what is known of it.
 */
int mg_volume_show(struct mg_node *n, const char *full, unsigned wait_ms, json_t **out,
		   struct vs_error *err) vs_must_check;
int mg_volume_list(struct mg_node *n, json_t **out, struct vs_error *err) vs_must_check;
/* Snapshots of a volume by its present or, when it was deleted, last name; NULL: of all. */
int mg_snapshot_list(struct mg_node *n, const char *volume, unsigned wait_ms, json_t **out,
		     struct vs_error *err) vs_must_check;
json_t *mg_snapshot_json(struct mg_node *n, const struct bs_volume_info *v, unsigned wait_ms);

/*
 * Fails with VS_E_BUSY, naming the user, when a target, export, VM or attachment refers to the
 * volume or snapshot. what: "delete". Called with node->config held.
 */
int mg_volume_unused(struct mg_node *n, const struct vs_uuid *uuid, const char *full,
		     const char *what, struct vs_error *err) vs_must_check;
/* The same, for what VM `vm` may do with its own disk. */
int mg_volume_unused_but(struct mg_node *n, const struct vs_uuid *uuid, const char *full,
			 const char *vm, struct vs_error *err) vs_must_check;
/* The same for all snapshots of a volume. */
int mg_snapshots_unused(struct mg_node *n, const struct vs_uuid *volume, const char *what,
			struct vs_error *err) vs_must_check;
/* VS_E_BUSY while a session, a running VM or a task has the volume open. */
int mg_volume_idle(struct mg_node *n, const char *name, const char *what,
		   struct vs_error *err) vs_must_check;
/* The name that a UUID has now; its text when there is no such volume (any more). */
void mg_volume_name(struct mg_node *n, const struct vs_uuid *uuid, char name[BS_FULL_NAME_MAX]);
/* A volume's name changed: what is served under its name follows. With node->config held. */
void mg_volume_renamed(struct mg_node *n, const char *from, const char *to);

#endif
