/*
 * iSCSI targets that the catalogue remembers, on the node's iSCSI server. Threads: any; whoever
 * changes targets holds node->config.
 *
 * A target is kept as {iqn, alias, portal_group, read_only, initiators[], luns[{lun, volume (UUID),
 * read_only, removable, initiator?}], chap{user, secret}|null, mutual{user, secret}|null,
 * redirect{address, permanent?}|null}; secrets never leave this module but for the server.
 */
#ifndef MG_ISCSI_H
#define MG_ISCSI_H

#include "mgmt/node.h"
#include "targets/iscsi/server.h"

int mg_iscsi_open(struct mg_node *n, struct mg_iscsi **out, struct vs_error *err) vs_must_check;
void mg_iscsi_close(struct mg_iscsi *s);
/* doc as above; checked by the server. */
int mg_iscsi_create(struct mg_node *n, const json_t *doc, struct vs_error *err) vs_must_check;
int mg_iscsi_update(struct mg_node *n, const json_t *doc, struct vs_error *err) vs_must_check;
int mg_iscsi_delete(struct mg_node *n, const char *iqn, struct vs_error *err) vs_must_check;
int mg_iscsi_doc(struct mg_node *n, const char *iqn, json_t **doc,
		 struct vs_error *err) vs_must_check;
/* As the API shows it. */
int mg_iscsi_show(struct mg_node *n, const char *iqn, json_t **out,
		  struct vs_error *err) vs_must_check;
int mg_iscsi_list(struct mg_node *n, json_t **out, struct vs_error *err) vs_must_check;
/* iqn NULL: of all targets. */
json_t *mg_iscsi_sessions(struct mg_node *n, const char *iqn);
/* The volume was renamed: targets that map it or its snapshots follow. */
void mg_iscsi_volume_renamed(struct mg_node *n, const char *name);
/* iscsi_keep.c: keeps what initiators want kept of volumes, until these are deleted. */
struct iscsi_keeper mg_iscsi_keeper(struct mg_node *n);
void mg_iscsi_volume_deleted(struct mg_node *n, const struct vs_uuid *volume);
void mg_iscsi_addresses(struct mg_node *n, json_t *front_ends);

#endif
