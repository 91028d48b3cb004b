/*
 * NBD exports that the catalogue remembers, on the node's NBD server. Threads: any; whoever changes
 * exports holds node->config. With NBD off exports are kept but not served.
 */
#ifndef MG_NBD_H
#define MG_NBD_H

#include "mgmt/node.h"

int mg_nbd_open(struct mg_node *n, struct mg_nbd **out, struct vs_error *err) vs_must_check;
void mg_nbd_close(struct mg_nbd *b);
int mg_nbd_export(struct mg_node *n, const char *full, bool read_only, json_t **out,
		  struct vs_error *err) vs_must_check;
int mg_nbd_unexport(struct mg_node *n, const char *full, struct vs_error *err) vs_must_check;
int mg_nbd_list(struct mg_node *n, json_t **out, struct vs_error *err) vs_must_check;
/* Volume `from` is now called `to`: its exports and those of its snapshots follow. */
void mg_nbd_volume_renamed(struct mg_node *n, const char *from, const char *to);
/* Appends {kind, address} for each address that is listened on. */
void mg_nbd_addresses(struct mg_nbd *b, json_t *front_ends);

#endif
