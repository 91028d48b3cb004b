/* Backups and restores as tasks. Threads: the HTTP server's. */
#ifndef MG_BACKUP_TASK_H
#define MG_BACKUP_TASK_H

#include "mgmt/node.h"

/* source: NAME (of a snapshot made now) or NAME@SNAP. tag: NULL for none. */
int mg_backup_start(struct mg_node *n, const char *source, const char *repo, const char *tag,
		    json_t **task, struct vs_error *err) vs_must_check;
/* backup: REPO:ID. Into a new volume, or over an existing one of the same size. */
int mg_restore_start(struct mg_node *n, const char *backup, const char *name, bool overwrite,
		     json_t **task, struct vs_error *err) vs_must_check;

#endif
