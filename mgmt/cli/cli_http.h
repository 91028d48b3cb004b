/*
 * HTTP over the daemon's control socket. One request at a time, one thread.
 */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>

#define CLI_HTTP_ANSWER_MAX (64u << 20) /* bytes */

struct cli_http;

int cli_http_open(const char *socket, struct cli_http **out, struct vs_error *err) vs_must_check;
void cli_http_close(struct cli_http *h); /* NULL is fine */

/*
 * Sends a request for path ("/v1/..." with encoded names) and waits for its answer, however long.
 * 0 with *answer, or VS_E_*: the daemon's own error, VS_E_CLOSED when it cannot be reached,
 * VS_E_CANCELED when cli_http_interrupt was called, VS_E_PROTO for what is no answer of a daemon.
 */
int cli_http_call(struct cli_http *h, const char *method, const char *path, const json_t *body,
		  json_t **answer, struct vs_error *err) vs_must_check;
/* Ends the call that runs and all later ones. Safe in a signal handler. */
void cli_http_interrupt(void);
bool cli_http_interrupted(void);

/* Percent-encodes what RFC 3986 section 2.3 does not name unreserved, but '@' and ':'. */
int cli_http_encode(const char *text, char *out, size_t len) vs_must_check;

#endif
