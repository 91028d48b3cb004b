/*
 * The catalogue was a file of the state folder once, together with tasks and events. Its objects
 * move into the store at the first start, and the file goes; a start that is killed on the way is
 * followed by one that does the rest. Threads: at the node's start. Errors: as mgmt/catalogue.h.
 */
#ifndef MG_TAKEOVER_H
#define MG_TAKEOVER_H

#include "mgmt/node.h"

#define MG_BEFORE "catalogue.db"

/* A store that has objects which are not in the file was used by another node: what it has counts,
 * and the file is kept aside, which an event tells. */
int mg_take_over(struct mg_node *n, struct vs_error *err) vs_must_check;

#endif
