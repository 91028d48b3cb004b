/*
 * Merging of duplicates (bs_store_merge_*) as a task: one at a time, at a pace that leaves the
 * store to others. What was merged stays merged, so one that was stopped has done what it has done.
 *
 * Ownership: open and close in pairs. Threads: any; the task runs on the tasks' threads.
 */
#ifndef MG_DEDUP_H
#define MG_DEDUP_H

#include "mgmt/node.h"

struct mg_dedup;

int mg_dedup_open(struct mg_node *n, struct mg_dedup **out, struct vs_error *err) vs_must_check;
void mg_dedup_close(struct mg_dedup *d); /* after the tasks have been closed */

/* VS_E_BUSY: one is running. */
int mg_dedup_start(struct mg_dedup *d, json_t **task, struct vs_error *err) vs_must_check;
/* VS_E_NOENT: none is running. */
int mg_dedup_stop(struct mg_dedup *d, struct vs_error *err) vs_must_check;
json_t *mg_dedup_json(struct mg_dedup *d); /* as mgmt/API.md says */

#endif
