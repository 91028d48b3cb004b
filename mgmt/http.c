#include "mgmt/http.h"

#include "common/log.h"
#include "common/secret.h"
#include "mgmt/copy.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STACK_BYTES (512u << 10)
#define CONNECTION_BYTES (32u << 10)

struct mg_http {
	struct mg_node *node;
	const struct mg_route *const *tables;
	struct MHD_Daemon *daemon;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* One request on one connection, from its headers to the end of its reply. */
struct exchange {
	char *body;
	size_t length, room;
};

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, char *text,
				 const char *allow)
{
	struct MHD_Response *r;
	enum MHD_Result ok;

	r = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO;
	}
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (allow)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result send_error(struct MHD_Connection *c, unsigned status, const char *code,
				  const char *message, const char *allow)
{
	json_t *json = json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text ? send_text(c, status, text, allow) : MHD_NO;
}

static enum MHD_Result send_failure(struct MHD_Connection *c, const struct vs_error *err)
{
	return send_error(c, mg_http_status(err->code), vs_err_name(err->code), err->text, NULL);
}

static void be_patient(const struct mg_request *req, unsigned seconds)
{
	(void)MHD_set_connection_option(req->connection, MHD_CONNECTION_OPTION_TIMEOUT,
					seconds + MG_HTTP_IDLE);
}

/* libmicrohttpd would decode in place and let "%2F" look like "/": each piece is decoded here. */
static size_t keep_escapes(void *arg, struct MHD_Connection *c, char *s)
{
	(void)arg;
	(void)c;
	return strlen(s);
}

static enum MHD_Result add_query(void *arg, enum MHD_ValueKind kind, const char *key,
				 const char *value)
{
	struct mg_request *req = arg;

	(void)kind;
	if (req->nqueries == MG_ROUTE_QUERIES ||
	    mg_route_decode(key, strlen(key), req->query[req->nqueries].key,
			    sizeof(req->query[0].key)) != 0 ||
	    mg_route_decode(value ? value : "", value ? strlen(value) : 0,
			    req->query[req->nqueries].value, sizeof(req->query[0].value)) != 0) {
		req->nqueries = MG_ROUTE_QUERIES + 1;
		return MHD_NO;
	}
	req->nqueries++;
	return MHD_YES;
}

static int parse_body(const struct exchange *x, struct mg_request *req, struct vs_error *err)
{
	json_error_t why;

	req->body = x->length ? json_loadb(x->body, x->length, JSON_REJECT_DUPLICATES, &why)
			      : json_object();
	if (!req->body)
		return vs_fail(err, VS_E_INVAL, "the body is not JSON: %s (line %d)",
			       x->length ? why.text : "out of memory", x->length ? why.line : 0);
	if (!json_is_object(req->body))
		return vs_fail(err, VS_E_INVAL, "the body must be a JSON object");
	return 0;
}

static int prepare(struct MHD_Connection *c, const struct exchange *x, struct mg_request *req,
		   struct vs_error *err)
{
	(void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, add_query, req);
	if (req->nqueries > MG_ROUTE_QUERIES)
		return vs_fail(err, VS_E_INVAL, "the query is too long or badly encoded");
	return parse_body(x, req, err);
}

static enum MHD_Result answer(struct mg_http *h, struct MHD_Connection *c, const char *method,
			      const char *url, const struct exchange *x, struct mg_request *req)
{
	struct mg_reply reply = {.status = MHD_HTTP_OK};
	const struct mg_route *route;
	struct vs_error err = {0};
	char allow[64], *text;
	int rc;

	req->method = method;
	req->connection = c;
	req->patience = be_patient;
	if (mg_route_split(url, req, &err) != 0)
		return send_failure(c, &err);
	route = mg_route_find(h->tables, req, allow, sizeof(allow));
	if (!route && *allow)
		return send_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "NOTALLOWED",
				  "this path takes other methods", allow);
	if (!route)
		return send_error(c, MHD_HTTP_NOT_FOUND, "NOENT", "no such path", NULL);
	rc = prepare(c, x, req, &err);
	if (rc == 0)
		rc = mg_route_check_query(route, req, &err);
	if (rc == 0)
		rc = route->handler(h->node, req, &reply, &err);
	if (rc != 0) {
		json_decref(reply.json);
		if (err.code == 0)
			vs_fail(&err, rc, "%s", vs_err_text(rc));
		return send_failure(c, &err);
	}
	text = json_dumps(reply.json, JSON_COMPACT);
	json_decref(reply.json);
	return text ? send_text(c, reply.status, text, NULL) : MHD_NO;
}

/* Takes a piece of the body; MHD_NO (the connection is dropped) past the limit. */
static enum MHD_Result take(struct exchange *x, const char *data, size_t size)
{
	if (size > MG_HTTP_BODY_MAX - x->length)
		return MHD_NO;
	if (x->length + size > x->room) {
		size_t room = x->room ? x->room : 4096;
		char *grown;

		while (room < x->length + size)
			room *= 2;
		grown = malloc(room);
		if (!grown)
			return MHD_NO;
		if (x->body) {
			memcpy(grown, x->body, x->length);
			vs_secret_wipe(x->body, x->length);
			free(x->body);
		}
		x->body = grown;
		x->room = room;
	}
	memcpy(x->body + x->length, data, size);
	x->length += size;
	return MHD_YES;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **con)
{
	struct exchange *x = *con;
	struct mg_request *req;
	enum MHD_Result ok;
	const char *length;

	(void)version;
	if (!x) {
		length =
		    MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
		if (length && strtoull(length, NULL, 10) > MG_HTTP_BODY_MAX)
			return send_error(c, MHD_HTTP_CONTENT_TOO_LARGE, "TOOBIG",
					  "the body is larger than 1 MiB", NULL);
		*con = calloc(1, sizeof(*x));
		return *con ? MHD_YES : MHD_NO;
	}
	if (*size > 0) {
		ok = take(x, data, *size);
		*size = 0;
		return ok;
	}
	req = calloc(1, sizeof(*req));
	if (!req)
		return MHD_NO;
	ok = answer(arg, c, method, url, x, req);
	json_decref(req->body);
	free(req);
	return ok;
}

static void completed(void *arg, struct MHD_Connection *c, void **con,
		      enum MHD_RequestTerminationCode how)
{
	struct exchange *x = *con;

	(void)arg;
	(void)how;
	(void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, MG_HTTP_IDLE);
	if (!x)
		return;
	if (x->body)
		vs_secret_wipe(x->body, x->length); /* it may hold secrets */
	free(x->body);
	free(x);
	*con = NULL;
}

static void mhd_log(void *arg, const char *fmt, va_list ap)
{
	char line[256];

	(void)arg;
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	vs_debug("http: %s", line);
}

/* The state folder is locked by now, so whatever is left at path belongs to nobody. */
static int listen_unix(const char *path, int *out, struct vs_error *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd = -1, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return vs_fail(err, VS_E_INVAL, "control socket path %s is too long", path);
	mg_copy(sun.sun_path, sizeof(sun.sun_path), path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vs_fail_errno(err, "cannot make the control socket");
	(void)unlink(path);
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	(void)umask(mask);
	if (rc != 0 || listen(fd, 64) != 0) {
		rc = vs_fail_errno(err, "cannot listen on control socket %s", path);
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int mg_http_open(struct mg_node *node, const struct mg_route *const *tables, const char *path,
		 struct mg_http **out, struct vs_error *err)
{
	struct mg_http *h = calloc(1, sizeof(*h));
	int fd = -1, rc;

	if (!h)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	h->node = node;
	h->tables = tables;
	rc = listen_unix(path, &fd, err);
	if (rc != 0) {
		free(h);
		return rc;
	}
	(void)snprintf(h->path, sizeof(h->path), "%s", path);
	h->daemon = MHD_start_daemon(
	    MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
		MHD_USE_ERROR_LOG,
	    0, NULL, NULL, handle, h, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
	    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, MG_HTTP_CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, MG_HTTP_IDLE, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)CONNECTION_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
	    MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED,
	    completed, NULL, MHD_OPTION_END);
	if (!h->daemon) {
		close(fd);
		(void)unlink(path);
		free(h);
		return vs_fail(err, VS_E_IO, "cannot start the HTTP server");
	}
	*out = h;
	return 0;
}

void mg_http_close(struct mg_http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon); /* closes the listening socket, too */
	(void)unlink(h->path);
	free(h);
}
