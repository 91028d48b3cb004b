/*
 * What happened on the node: tasks and events, bounded, in a SQLite file of the state folder, mode
 * 0600. It is not in the store as the catalogue is: a store that fails or is full must not hide the
 * events that tell of it, nor be worn by them.
 *
 * Ownership: mg_history_open gives what mg_history_close takes back. JSON handed out is the
 * caller's. Threads: any; calls are short, serialized by a lock inside, and durable on return.
 * Errors: VS_E_NOENT, VS_E_VERSION (written by a later version), VS_E_IO, VS_E_NOSPC, VS_E_CORRUPT.
 */
#ifndef MG_HISTORY_H
#define MG_HISTORY_H

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct mg_history;

/* before: a file that had tasks and events once (takeover.h), of which those not there yet are
 * taken in; NULL: none. */
int mg_history_open(const char *path, const char *before, struct mg_history **out,
		    struct vs_error *err) vs_must_check;
void mg_history_close(struct mg_history *h);

/* Tasks. A row is {id, kind, subject, state, progress, ...} as mgmt/API.md gives it. */
struct mg_task_row {
	int64_t id;
	const char *kind, *subject, *state;
	double progress;
	uint64_t bytes_done;
	int64_t bytes_total;			     /* -1: unknown */
	int64_t created_ns, started_ns, finished_ns; /* 0: not yet */
	const char *error, *code;		     /* NULL: none */
	const json_t *result;			     /* NULL: none */
};
json_t *mg_task_row_json(const struct mg_task_row *r);
/* Inserts with a new id (r->id is set) or replaces the row of r->id. */
int mg_history_task_put(struct mg_history *h, struct mg_task_row *r,
			struct vs_error *err) vs_must_check;
int mg_history_task_get(struct mg_history *h, int64_t id, json_t **task,
			struct vs_error *err) vs_must_check;
/* The newest max tasks, oldest of them first. */
int mg_history_task_list(struct mg_history *h, unsigned max, json_t **tasks,
			 struct vs_error *err) vs_must_check;
/* Tasks that were queued or running become failed with that text; *n counts them. */
int mg_history_task_interrupt(struct mg_history *h, const char *error, int64_t *n,
			      struct vs_error *err) vs_must_check;

/* Events. */
struct mg_event_row {
	int64_t time_ns;
	const char *severity, *kind, *subject, *message;
};
/* *id is the new row's; rows beyond the newest `keep` are dropped. */
int mg_history_event_add(struct mg_history *h, const struct mg_event_row *r, unsigned keep,
			 int64_t *id, struct vs_error *err) vs_must_check;
/* Up to max events with id > after and time >= since_ns, oldest first; newest: the last max. */
int mg_history_event_list(struct mg_history *h, int64_t after, int64_t since_ns, unsigned max,
			  bool newest, json_t **events, struct vs_error *err) vs_must_check;

#endif
