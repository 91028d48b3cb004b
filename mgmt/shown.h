/*
 * Lists of catalogue objects as the API shows them. Any of the API's threads.
 */
#ifndef MG_SHOWN_H
#define MG_SHOWN_H

#include "mgmt/catalogue.h"
#include "mgmt/node.h"

/* What the API shows of one object; *out is the caller's. */
typedef int (*mg_show)(struct mg_node *n, const json_t *doc, json_t **out, struct vs_error *err);

/* All objects of a kind, in the catalogue's order; *out is the caller's. */
int mg_shown_list(struct mg_node *n, enum mg_kind kind, mg_show show, json_t **out,
		  struct vs_error *err) vs_must_check;

#endif
