/*
 * The HTTP server of the control socket (libmicrohttpd): one bounded thread a connection, bodies of
 * at most 1 MiB, connections that are idle or slow for too long are dropped.
 *
 * Ownership: open and close in pairs; close waits for the handlers, so that whatever wakes waiting
 * ones comes before it. Threads: open and close from one.
 */
#ifndef MG_HTTP_H
#define MG_HTTP_H

#include "mgmt/route.h"

#define MG_HTTP_CONNECTIONS 64u
#define MG_HTTP_BODY_MAX (1u << 20)
#define MG_HTTP_IDLE 15u /* seconds without a byte */

struct mg_http;

/* Listens on a Unix socket of mode 0600 at path; a stale one there is replaced. */
int mg_http_open(struct mg_node *node, const struct mg_route *const *tables, const char *path,
		 struct mg_http **out, struct vs_error *err) vs_must_check;
void mg_http_close(struct mg_http *h);

#endif
