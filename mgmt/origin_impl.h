/* Private to origin*.c: places for origins. */
#ifndef MG_ORIGIN_IMPL_H
#define MG_ORIGIN_IMPL_H

#include "mgmt/origin.h"

#include "mgmt/fetch.h"

/* A place for an origin: fetch is set while it has one; over, when that has only to be stopped. */
struct mg_origin {
	struct mg_origins *origins;
	struct vs_uuid uuid;
	char name[BS_NAME_MAX];	 /* of its volume, when that was made */
	uint64_t size, identity; /* of the source */
	int64_t task;
	bool taken;
	struct mg_fetch *fetch;
	atomic_bool over;
};

/* lock guards the places but for what their fetches' threads read, which stays while those run. */
struct mg_origins {
	struct mg_node *node;
	pthread_mutex_t lock;
	struct mg_origin at[MG_ORIGINS_MAX];
	atomic_bool stopping;
};

/* A free place, to be left when the origin is not started. With the lock, or at start. */
struct mg_origin *mg_origin_take(struct mg_origins *os, struct vs_error *err);
void mg_origin_leave(struct mg_origin *o);
/* uuid, name, size and identity are set. */
int mg_origin_start(struct mg_origin *o, const struct mg_source_kind *kind,
		    struct vs_error *err) vs_must_check;
/* *doc is the caller's, who wipes it. */
int mg_origin_document(struct mg_node *n, const struct vs_uuid *uuid, json_t **doc,
		       struct vs_error *err) vs_must_check;
/* Deletes the document. of: the volume, for an event. */
void mg_origin_forget(struct mg_node *n, const struct vs_uuid *uuid, const char *of);

#endif
