#include "mgmt/cli/cli_http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct cli_http {
	CURL *curl;
	struct curl_slist *headers;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char curl_error[CURL_ERROR_SIZE];
	char *answer;
	size_t len;
	bool too_big;
};

static volatile sig_atomic_t interrupted;

void cli_http_interrupt(void)
{
	interrupted = 1;
}

bool cli_http_interrupted(void)
{
	return interrupted;
}

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct cli_http *h = arg;
	char *bigger;

	size *= n;
	if (size > CLI_HTTP_ANSWER_MAX - h->len) {
		h->too_big = true;
		return 0;
	}
	bigger = realloc(h->answer, h->len + size + 1);
	if (!bigger)
		return 0;
	h->answer = bigger;
	memcpy(h->answer + h->len, data, size);
	h->len += size;
	return size;
}

static int progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
		    curl_off_t ulnow)
{
	(void)arg;
	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	return interrupted;
}

int cli_http_open(const char *socket, struct cli_http **out, struct vs_error *err)
{
	struct cli_http *h;

	if (strlen(socket) >= sizeof(h->socket))
		return vs_fail(err, VS_E_TOOBIG,
			       "control socket %s: a socket's path has at most %zu bytes; give a "
			       "shorter one",
			       socket, sizeof(h->socket) - 1);
	h = calloc(1, sizeof(*h));
	if (!h)
		return vs_fail(err, VS_E_NOMEM, "control socket: out of memory");
	memcpy(h->socket, socket, strlen(socket) + 1);
	h->curl = curl_easy_init();
	h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!h->curl || !h->headers) {
		cli_http_close(h);
		return vs_fail(err, VS_E_NOMEM, "control socket: out of memory");
	}
	curl_easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, h->socket);
	curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(h->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(h->curl, CURLOPT_PATH_AS_IS, 1L); /* ".." is a name like others */
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->curl_error);
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, progress);
	curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
	*out = h;
	return 0;
}

void cli_http_close(struct cli_http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	free(h->answer);
	free(h);
}

/* Why nobody answers at the socket, in words that say what to do. */
static int unreachable(const struct cli_http *h, struct vs_error *err)
{
	struct stat st;

	if (stat(h->socket, &st) < 0 && errno == ENOENT)
		return vs_fail(err, VS_E_CLOSED,
			       "control socket %s: it does not exist; start vstored, or say where "
			       "its socket is with --socket",
			       h->socket);
	if (access(h->socket, R_OK | W_OK) < 0)
		return vs_fail(err, VS_E_ACCESS, "control socket %s: %s; run vstore as root",
			       h->socket, strerror(errno));
	return vs_fail(err, VS_E_CLOSED, "control socket %s: nobody answers there; start vstored",
		       h->socket);
}

static int call_failed(const struct cli_http *h, CURLcode rc, struct vs_error *err)
{
	if (interrupted)
		return vs_fail(err, VS_E_CANCELED, "interrupted");
	if (h->too_big)
		return vs_fail(err, VS_E_TOOBIG, "the daemon's answer is longer than %u MiB",
			       CLI_HTTP_ANSWER_MAX >> 20);
	if (rc == CURLE_COULDNT_CONNECT)
		return unreachable(h, err);
	if (rc == CURLE_OUT_OF_MEMORY || rc == CURLE_WRITE_ERROR)
		return vs_fail(err, VS_E_NOMEM, "the daemon's answer: out of memory");
	return vs_fail(err, VS_E_CLOSED,
		       "the daemon went away before it answered: %s; see its log whether the "
		       "command took effect",
		       h->curl_error[0] ? h->curl_error : curl_easy_strerror(rc));
}

static int code_from_name(const char *name)
{
	int code;

	for (code = VS_E_FIRST_ + 1; code < VS_E_LAST_; code++)
		if (strcmp(vs_err_name(code), name) == 0)
			return code;
	return VS_E_PROTO;
}

static int read_answer(struct cli_http *h, json_t **answer, struct vs_error *err)
{
	const char *code = NULL, *message = NULL;
	json_t *value;
	long status = 0;
	int rc;

	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	value = json_loadb(h->answer ? h->answer : "", h->len, JSON_DECODE_ANY, NULL);
	if (!value)
		return vs_fail(err, VS_E_PROTO,
			       "control socket %s: the answer (HTTP %ld) is no JSON; is this "
			       "vstored's socket?",
			       h->socket, status);
	if (status >= 200 && status < 300) {
		*answer = value;
		return 0;
	}
	if (json_unpack(value, "{s:{s:s,s:s}}", "error", "code", &code, "message", &message) < 0)
		rc =
		    vs_fail(err, VS_E_PROTO,
			    "the daemon answered HTTP %ld without saying why; see its log", status);
	else
		rc = vs_fail(err, code_from_name(code), "%s", message);
	json_decref(value);
	return rc;
}

int cli_http_call(struct cli_http *h, const char *method, const char *path, const json_t *body,
		  json_t **answer, struct vs_error *err)
{
	char url[2048];
	char *text = NULL;
	CURLcode rc;
	int n = snprintf(url, sizeof(url), "http://localhost%s", path);

	*answer = NULL;
	if (n < 0 || (size_t)n >= sizeof(url))
		return vs_fail(err, VS_E_INVAL, "the names given are too long");
	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			return vs_fail(err, VS_E_INVAL,
				       "the request: a value is no UTF-8, or memory is short");
	}
	h->len = 0;
	h->too_big = false;
	h->curl_error[0] = '\0';
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, text ? h->headers : NULL);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, text);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, text ? (long)strlen(text) : 0L);
	if (!text)
		curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
	rc = curl_easy_perform(h->curl);
	if (text) {
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, NULL);
		explicit_bzero(text, strlen(text));
		free(text);
	}
	return rc == CURLE_OK ? read_answer(h, answer, err) : call_failed(h, rc, err);
}

int cli_http_encode(const char *text, char *out, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *text; text++) {
		unsigned char b = (unsigned char)*text;

		if (n + 4 > len)
			return VS_E_TOOBIG;
		if (b < 0x80 && (isalnum(b) || strchr("-._~@:", b))) {
			out[n++] = (char)b;
		} else {
			out[n++] = '%';
			out[n++] = hex[b >> 4];
			out[n++] = hex[b & 15];
		}
	}
	if (n >= len)
		return VS_E_TOOBIG;
	out[n] = '\0';
	return 0;
}
