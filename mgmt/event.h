/*
 * Events: what operators should know, in the history and for whoever follows.
 *
 * mg_event never blocks: it puts the event into a bounded queue that a thread of its own writes to
 * the history; what does not fit is counted and said in one event later. Threads: any, the
 * engine's too. Ownership: open and close in pairs; close writes what is queued.
 */
#ifndef MG_EVENT_H
#define MG_EVENT_H

#include "mgmt/history.h"

#define MG_EVENTS_KEPT 10000u
#define MG_EVENT_QUEUE 256u

enum mg_severity { MG_INFO, MG_WARNING, MG_ERROR };

struct mg_events;

int mg_events_open(struct mg_history *h, struct mg_events **out,
		   struct vs_error *err) vs_must_check;
void mg_events_close(struct mg_events *e);
/* Wakes all who wait, for good: called before the HTTP server is stopped. */
void mg_events_wake(struct mg_events *e);

/* kind: "volume.created"; subject: the name that it is about; also logged. */
void mg_event(struct mg_events *e, enum mg_severity severity, const char *kind, const char *subject,
	      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Returns when an event with id > after has been written, or seconds have passed. */
void mg_events_wait(struct mg_events *e, int64_t after, unsigned seconds);

#endif
