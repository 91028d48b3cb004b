/*
 * Which handler answers which method and path. Pure but for the handlers themselves.
 *
 * Handlers run on a thread of the HTTP server, several at once, and may wait (for the engine, for a
 * task). They return 0 with the reply set, or VS_E_* with err.
 */
#ifndef MG_ROUTE_H
#define MG_ROUTE_H

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MG_ROUTE_SEGMENTS 6   /* of a path, /v1 included */
#define MG_ROUTE_SEGMENT 1024 /* decoded bytes of one segment, with NUL */
#define MG_ROUTE_QUERIES 8    /* parameters of a query */

struct mg_node;

/* Owned by the HTTP server; valid during the handler's call. */
struct mg_request {
	const char *method;
	unsigned nsegments, nqueries;
	char segment[MG_ROUTE_SEGMENTS][MG_ROUTE_SEGMENT]; /* decoded */
	const char *param[MG_ROUTE_SEGMENTS];		   /* what the pattern's "?" stood for */
	struct {
		char key[32], value[MG_ROUTE_SEGMENT];
	} query[MG_ROUTE_QUERIES];
	json_t *body; /* object, {} when there was none */
	/* Lengthens the connection's time limit before a handler waits that long. */
	void (*patience)(const struct mg_request *req, unsigned seconds);
	void *connection;
};

struct mg_reply {
	unsigned status; /* 200 unless set */
	json_t *json;	 /* the server drops it */
};

struct mg_route {
	const char *method;
	const char *pattern; /* "volumes/?/clone" below /v1; "?" is one segment */
	const char *query;   /* " key key " that may stand in the query, NULL: none */
	int (*handler)(struct mg_node *node, const struct mg_request *req, struct mg_reply *reply,
		       struct vs_error *err);
};

/* Splits and decodes "/v1/a/b": VS_E_INVAL for %00, bad escapes, too many or too long segments. */
int mg_route_split(const char *path, struct mg_request *req, struct vs_error *err) vs_must_check;
/* Decodes %XX of one piece into out: VS_E_INVAL, VS_E_TOOBIG. */
int mg_route_decode(const char *text, size_t len, char *out, size_t max) vs_must_check;
/*
 * The route for req->method and the segments, req->param set. NULL with *allow "" when no pattern
 * fits, with *allow "GET, POST" when only the method does not. tables ends with NULL, each table
 * with a NULL method.
 */
const struct mg_route *mg_route_find(const struct mg_route *const *tables, struct mg_request *req,
				     char *allow, size_t allow_max);
/* Refuses parameters that the route does not name. */
int mg_route_check_query(const struct mg_route *r, const struct mg_request *req,
			 struct vs_error *err) vs_must_check;

/* NULL when it is not there. */
const char *mg_query(const struct mg_request *req, const char *key);
/* fallback when it is not there; VS_E_INVAL unless a number up to max. */
int mg_query_u64(const struct mg_request *req, const char *key, uint64_t max, uint64_t fallback,
		 uint64_t *value, struct vs_error *err) vs_must_check;
int mg_query_bool(const struct mg_request *req, const char *key, bool *value,
		  struct vs_error *err) vs_must_check;
/* json_unpack of the body in strict mode: missing, unknown and wrongly typed keys are VS_E_INVAL.
 */
int mg_body(const struct mg_request *req, struct vs_error *err, const char *fmt, ...) vs_must_check;

int mg_reply_json(struct mg_reply *reply, unsigned status, json_t *json,
		  struct vs_error *err) vs_must_check; /* takes json; NULL is VS_E_NOMEM */
/* For handlers that start a task: rc, or 202 with {"task": task}; takes task. */
int mg_reply_task(int rc, json_t *task, struct mg_reply *reply, struct vs_error *err) vs_must_check;
unsigned mg_http_status(int code); /* of a VS_E_* */

#endif
