#include "mgmt/cli/cli_stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

void cli_stream_catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
}

bool cli_stream_stopped(void)
{
	return stopped;
}

bool cli_stream_is_zero(const void *data, size_t len)
{
	const unsigned char *p = data;

	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

int cli_stream_close(struct cli *c, struct cli_stream *s, bool keep, struct vs_error *err)
{
	json_t *answer = NULL;
	int rc = 0;

	cli_nbd_close(s->nbd);
	s->nbd = NULL;
	if (s->id)
		rc = cli_try(c, err, &answer, "DELETE", NULL, "/v1/attachments/%s?keep=%s", s->id,
			     keep ? "true" : "false");
	json_decref(answer);
	free(s->id);
	s->id = NULL;
	return rc;
}

int cli_stream_open(struct cli *c, const char *volume, bool write, struct cli_stream *s,
		    struct vs_error *err)
{
	json_t *answer, *id;
	int rc;

	*s = (struct cli_stream){0};
	rc = cli_try(c, err, &answer, "POST",
		     write ? json_pack("{s:b}", "draft", 1) : json_pack("{s:b}", "read_only", 1),
		     "/v1/volumes/%s/attach", volume);
	if (rc < 0)
		return rc;
	id = json_object_get(answer, "id");
	if (json_is_string(id))
		s->id = strdup(json_string_value(id));
	else if (asprintf(&s->id, "%" JSON_INTEGER_FORMAT, json_integer_value(id)) < 0)
		s->id = NULL;
	rc = cli_nbd_open(cli_text(answer, "socket"), cli_text(answer, "export"), &s->nbd, err);
	json_decref(answer);
	return rc;
}
