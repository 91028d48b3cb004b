#include "mgmt/cli/cli_task.h"

#include "common/loop.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_http.h"
#include "mgmt/cli/cli_progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_sigint(int sig)
{
	(void)sig;
	cli_http_interrupt();
}

static bool has_ended(const char *state)
{
	return strcmp(state, "done") == 0 || strcmp(state, "failed") == 0 ||
	       strcmp(state, "cancelled") == 0;
}

static int poll_task(struct cli *c, const char *id, struct cli_progress *p, json_t **task,
		     struct vs_error *err)
{
	const char *wait = p->shown ? "1" : "30";
	int rc;

	for (;;) {
		rc = cli_try(c, err, task, "GET", NULL, "/v1/tasks/%s?wait=%s", id,
			     p->n == 0 ? "0" : wait);
		if (rc < 0 || has_ended(cli_text(*task, "state")))
			return rc;
		cli_progress_update(p, cli_u64(*task, "bytes_done"), cli_u64(*task, "bytes_total"),
				    vs_now_ns());
		json_decref(*task);
	}
}

int cli_task_wait(struct cli *c, const char *id, const char *label, json_t **task)
{
	struct sigaction sa = {.sa_handler = on_sigint}, old;
	struct vs_error err = {0};
	struct cli_progress p;
	const char *state;
	int rc;

	*task = NULL;
	cli_progress_start(&p, label, c->quiet);
	(void)sigaction(SIGINT, &sa, &old);
	rc = poll_task(c, id, &p, task, &err);
	(void)sigaction(SIGINT, &old, NULL);
	cli_progress_end(&p);
	if (rc == VS_E_CANCELED && cli_http_interrupted())
		return cli_fail("interrupted: task %s goes on; 'vstore task wait %s' follows it, "
				"'vstore task cancel %s' stops it",
				id, id, id);
	if (rc < 0)
		return cli_fail("%s", err.text);
	state = cli_text(*task, "state");
	if (strcmp(state, "failed") == 0)
		rc = cli_fail("%s", cli_text(*task, "error"));
	else if (strcmp(state, "cancelled") == 0)
		rc = cli_fail("task %s was cancelled: what it had begun is undone", id);
	else
		return CLI_DONE;
	json_decref(*task);
	*task = NULL;
	return rc;
}

int cli_task_run(struct cli *c, json_t *answer, const char *label, json_t **result)
{
	json_t *started = json_object_get(answer, "task"), *task, *id;
	char text[32];
	int status;

	*result = NULL;
	if (!answer)
		return CLI_FAILED;
	id = json_object_get(started, "id");
	if (json_is_integer(id))
		(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
	else
		(void)snprintf(text, sizeof(text), "%s",
			       json_is_string(id) ? json_string_value(id) : "");
	if (text[0] == '\0') {
		json_decref(answer);
		return cli_fail("the daemon answered without a task; see its log");
	}
	if (cli_args_has(&c->args, "detach")) {
		if (c->json)
			cli_print_json(started);
		else
			(void)printf("%s\n", text);
		json_decref(answer);
		return CLI_DONE;
	}
	json_decref(answer);
	status = cli_task_wait(c, text, label, &task);
	if (status != CLI_DONE)
		return status;
	*result = json_incref(json_object_get(task, "result"));
	json_decref(task);
	return *result ? CLI_DONE
		       : cli_fail("task %s ended without a result; see 'vstore event list'", text);
}
