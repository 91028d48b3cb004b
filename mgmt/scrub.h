/*
 * The scrub: one task that reads the whole store back (blockstore/scrub.h), says what is damaged in
 * terms of volumes, and has contents healed from the repositories that hold them.
 *
 * Its state is one document of the catalogue, written every few seconds: a daemon that starts and
 * finds it running goes on where it was, and tells the store again which contents are damaged.
 * Ownership: open and close in pairs. Threads: any; the task runs on the tasks' threads.
 */
#ifndef MG_SCRUB_H
#define MG_SCRUB_H

#include "mgmt/node.h"

struct mg_scrub;

int mg_scrub_open(struct mg_node *n, struct mg_scrub **out, struct vs_error *err) vs_must_check;
/* The daemon stops: what runs is not stopped but interrupted, and goes on with the next one. */
void mg_scrub_leave(struct mg_scrub *s);
void mg_scrub_close(struct mg_scrub *s); /* after the tasks have been closed */

/* Goes on with one that was stopped, else starts from the beginning. VS_E_BUSY: one is running. */
int mg_scrub_start(struct mg_scrub *s, json_t **task, struct vs_error *err) vs_must_check;
/* VS_E_NOENT: none is running. */
int mg_scrub_stop(struct mg_scrub *s, struct vs_error *err) vs_must_check;
json_t *mg_scrub_json(struct mg_scrub *s); /* as mgmt/API.md says */

#endif
