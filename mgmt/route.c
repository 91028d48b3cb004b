#include "mgmt/route.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

int mg_route_decode(const char *text, size_t len, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '%') {
			char hex[3] = "";

			if (len - i < 3)
				return VS_E_INVAL;
			memcpy(hex, text + i + 1, 2);
			if (vs_parse_hex(hex, &c, 1) != 0)
				return VS_E_INVAL;
			i += 2;
		}
		if (c == 0)
			return VS_E_INVAL;
		if (n + 1 >= max)
			return VS_E_TOOBIG;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return 0;
}

int mg_route_split(const char *path, struct mg_request *req, struct vs_error *err)
{
	req->nsegments = 0;
	if (*path != '/')
		return vs_fail(err, VS_E_INVAL, "the path does not start with /");
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		if (req->nsegments == MG_ROUTE_SEGMENTS)
			return vs_fail(err, VS_E_INVAL, "the path has too many parts");
		if (mg_route_decode(path, len, req->segment[req->nsegments], MG_ROUTE_SEGMENT) != 0)
			return vs_fail(err, VS_E_INVAL,
				       "the path has a part that is too long or badly encoded");
		req->nsegments++;
		path += len;
	}
	return 0;
}

static bool match(const struct mg_route *r, struct mg_request *req)
{
	const char *p = r->pattern;
	unsigned nparams = 0;

	if (req->nsegments < 2 || strcmp(req->segment[0], "v1") != 0)
		return false;
	for (unsigned i = 1; i < req->nsegments; i++) {
		size_t len = strcspn(p, "/");

		if (len == 1 && *p == '?') {
			if (req->segment[i][0] == '\0')
				return false;
			req->param[nparams++] = req->segment[i];
		} else if (strlen(req->segment[i]) != len || memcmp(req->segment[i], p, len) != 0) {
			return false;
		}
		p += len;
		if (*p == '/')
			p++;
		else if (i + 1 < req->nsegments)
			return false;
	}
	return *p == '\0';
}

const struct mg_route *mg_route_find(const struct mg_route *const *tables, struct mg_request *req,
				     char *allow, size_t allow_max)
{
	size_t n = 0;

	*allow = '\0';
	for (; *tables; tables++) {
		for (const struct mg_route *r = *tables; r->method; r++) {
			if (!match(r, req))
				continue;
			if (strcmp(r->method, req->method) == 0)
				return r;
			if (n < allow_max)
				n += (size_t)snprintf(allow + n, allow_max - n, "%s%s",
						      n ? ", " : "", r->method);
		}
	}
	return NULL;
}

int mg_route_check_query(const struct mg_route *r, const struct mg_request *req,
			 struct vs_error *err)
{
	for (unsigned i = 0; i < req->nqueries; i++) {
		char key[40];

		(void)snprintf(key, sizeof(key), " %s ", req->query[i].key);
		if (!r->query || strchr(req->query[i].key, ' ') || !strstr(r->query, key))
			return vs_fail(err, VS_E_INVAL, "unknown query parameter '%s'",
				       req->query[i].key);
	}
	return 0;
}

const char *mg_query(const struct mg_request *req, const char *key)
{
	for (unsigned i = 0; i < req->nqueries; i++)
		if (strcmp(req->query[i].key, key) == 0)
			return req->query[i].value;
	return NULL;
}

int mg_query_u64(const struct mg_request *req, const char *key, uint64_t max, uint64_t fallback,
		 uint64_t *value, struct vs_error *err)
{
	const char *text = mg_query(req, key);

	*value = fallback;
	if (text && vs_parse_u64(text, max, value) != 0)
		return vs_fail(err, VS_E_INVAL, "%s must be a number from 0 to %llu", key,
			       (unsigned long long)max);
	return 0;
}

int mg_query_bool(const struct mg_request *req, const char *key, bool *value, struct vs_error *err)
{
	const char *text = mg_query(req, key);

	*value = text && strcmp(text, "true") == 0;
	if (text && !*value && strcmp(text, "false") != 0)
		return vs_fail(err, VS_E_INVAL, "%s must be true or false", key);
	return 0;
}

int mg_body(const struct mg_request *req, struct vs_error *err, const char *fmt, ...)
{
	json_error_t why;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = json_vunpack_ex(req->body, &why, JSON_STRICT, fmt, ap);
	va_end(ap);
	return rc == 0 ? 0 : vs_fail(err, VS_E_INVAL, "bad request body: %s", why.text);
}

int mg_reply_json(struct mg_reply *reply, unsigned status, json_t *json, struct vs_error *err)
{
	if (!json)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	reply->status = status;
	reply->json = json;
	return 0;
}

int mg_reply_task(int rc, json_t *task, struct mg_reply *reply, struct vs_error *err)
{
	return rc != 0 ? rc : mg_reply_json(reply, 202, json_pack("{s:o}", "task", task), err);
}

unsigned mg_http_status(int code)
{
	static const struct {
		int code;
		unsigned status;
	} map[] = {
	    {VS_E_NOENT, 404},	  {VS_E_EXIST, 409},	{VS_E_INVAL, 400},    {VS_E_RANGE, 400},
	    {VS_E_NOSPC, 507},	  {VS_E_NOMEM, 503},	{VS_E_BUSY, 409},     {VS_E_ROFS, 403},
	    {VS_E_VERSION, 422},  {VS_E_FEATURE, 422},	{VS_E_NOTSTORE, 422}, {VS_E_LIMIT, 409},
	    {VS_E_TIMEDOUT, 502}, {VS_E_CANCELED, 409}, {VS_E_PROTO, 502},    {VS_E_ACCESS, 403},
	    {VS_E_MISMATCH, 409}, {VS_E_FAILED, 503},	{VS_E_AGAIN, 503},    {VS_E_NOTSUP, 422},
	    {VS_E_TOOBIG, 413},	  {VS_E_CLOSED, 503},	{VS_E_STALE, 404},
	};

	for (size_t i = 0; i < VS_ARRAY_LEN(map); i++)
		if (map[i].code == code)
			return map[i].status;
	return 500;
}
