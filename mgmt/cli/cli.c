#include "mgmt/cli/cli.h"

#include "common/bytes.h"
#include "mgmt/cli/cli_http.h"
#include "mgmt/cli/cli_table.h"
#include "mgmt/far.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_TEXT_MAX 1900 /* bytes of an encoded path of the API */

/* One line whatever it quotes: names may come with newlines and worse. */
static void say(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	cli_table_safe(text ? text : "out of memory", stderr);
	free(text);
}

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("vstore: ", stderr);
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return CLI_FAILED;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	const char *group = c->group ? c->group->name : "";
	const char *verb = c->command ? c->command->verb : "";
	va_list ap;

	(void)fputs("vstore: ", stderr);
	if (c->command)
		(void)fprintf(stderr, "%s%s%s: ", group, verb[0] ? " " : "", verb);
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "; see 'vstore%s%s%s%s --help'\n", group[0] ? " " : "", group,
		      verb[0] ? " " : "", verb);
	return CLI_USAGE;
}

void cli_warn(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("vstore: warning: ", stderr);
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

void cli_print_json(const json_t *value)
{
	(void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	(void)putchar('\n');
}

int cli_done(const struct cli *c, json_t *answer, const char *fmt, ...)
{
	va_list ap;

	if (c->json) {
		cli_print_json(answer);
	} else if (!c->quiet) {
		va_start(ap, fmt);
		(void)vprintf(fmt, ap);
		va_end(ap);
		(void)putchar('\n');
	}
	json_decref(answer);
	return CLI_DONE;
}

bool cli_confirm(const struct cli *c, const char *fmt, ...)
{
	char answer[16];
	va_list ap;

	if (c->yes || !isatty(STDIN_FILENO))
		return true;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputs(" [y/N] ", stderr);
	if (fgets(answer, sizeof(answer), stdin) &&
	    (strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0))
		return true;
	(void)cli_fail("not confirmed: nothing was done");
	return false;
}

/* Puts fmt's %s, encoded, into path. */
static int build_path(char *path, size_t len, const char *fmt, va_list ap)
{
	size_t n = 0;

	for (; *fmt; fmt++) {
		if (n + 1 >= len)
			return VS_E_TOOBIG;
		if (fmt[0] != '%') {
			path[n++] = *fmt;
			continue;
		}
		fmt++;
		VS_ASSERT(*fmt == 's');
		if (cli_http_encode(va_arg(ap, const char *), path + n, len - n) < 0)
			return VS_E_TOOBIG;
		n += strlen(path + n);
	}
	path[n] = '\0';
	return 0;
}

static int try_call(struct cli *c, struct vs_error *err, json_t **answer, const char *method,
		    json_t *body, const char *fmt, va_list ap)
{
	char path[PATH_TEXT_MAX];
	int rc = build_path(path, sizeof(path), fmt, ap);

	*answer = NULL;
	if (rc < 0)
		(void)vs_fail(err, rc, "the names given are too long");
	if (rc == 0 && !c->http)
		rc = cli_http_open(c->socket, &c->http, err);
	if (rc == 0)
		rc = cli_http_call(c->http, method, path, body, answer, err);
	json_decref(body);
	return rc;
}

int cli_try(struct cli *c, struct vs_error *err, json_t **answer, const char *method, json_t *body,
	    const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = try_call(c, err, answer, method, body, fmt, ap);
	va_end(ap);
	return rc;
}

json_t *cli_call(struct cli *c, const char *method, json_t *body, const char *fmt, ...)
{
	struct vs_error err = {0};
	json_t *answer;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = try_call(c, &err, &answer, method, body, fmt, ap);
	va_end(ap);
	if (rc < 0)
		(void)cli_fail("%s", err.text);
	return rc < 0 ? NULL : answer;
}

char *cli_absolute(const char *path)
{
	char *cwd, *out = NULL;

	if (path[0] == '/' || mg_far_is(path)) {
		out = strdup(path);
	} else {
		cwd = getcwd(NULL, 0);
		if (!cwd || asprintf(&out, "%s/%s", cwd, path) < 0)
			out = NULL;
		free(cwd);
	}
	if (!out)
		(void)cli_fail("%s: the working directory cannot be told: %s; give the full path",
			       path, strerror(errno));
	return out;
}

const char *cli_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

uint64_t cli_u64(const json_t *object, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(object, key));

	return v > 0 ? (uint64_t)v : 0;
}
