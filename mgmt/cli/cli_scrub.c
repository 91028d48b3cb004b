/* scrub: start, status, stop. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

#include <stdio.h>
#include <string.h>

static const struct cli_field scrub_fields[] = {
    {"state", "state", CLI_AS_STATE},
    {"checked_blocks", "blocks checked", CLI_AS_TEXT},
    {"total_blocks", "of", CLI_AS_TEXT},
    {"checked_pages", "pages checked", CLI_AS_TEXT},
    {"counts", "counts", CLI_AS_STATE},
    {"started", "started", CLI_AS_TIME},
    {"finished", "finished", CLI_AS_TIME},
    {"task", "task", CLI_AS_TEXT},
    {0},
};

static const struct cli_field error_fields[] = {
    {"volume", "VOLUME", CLI_AS_TEXT},
    {"snapshot", "SNAPSHOT", CLI_AS_TEXT},
    {"offset", "OFFSET", CLI_AS_TEXT},
    {"length", "LENGTH", CLI_AS_TEXT},
    {"healed", "HEALED", CLI_AS_TEXT},
    {"what", "WHAT", CLI_AS_TEXT},
    {0},
};

static size_t damaged(const json_t *errors)
{
	const json_t *e;
	size_t i, n = 0;

	json_array_foreach(errors, i, e) n += !json_is_true(json_object_get(e, "healed"));
	return n;
}

static int print(struct cli *c, json_t *scrub)
{
	json_t *errors = json_incref(json_object_get(scrub, "errors"));
	int status;

	if (!scrub)
		return CLI_FAILED;
	status = cli_fields_object(c, scrub, scrub_fields);
	if (status == CLI_DONE && !c->json && json_array_size(errors)) {
		(void)putchar('\n');
		status = cli_fields_list(c, errors, error_fields);
	} else {
		json_decref(errors);
	}
	return status;
}

static int start(struct cli *c)
{
	json_t *result;
	size_t bad;
	bool wrong;
	int status = cli_task_run(c, cli_call(c, "POST", json_object(), "/v1/scrub/start"), "scrub",
				  &result);

	if (status != CLI_DONE || !result)
		return status;
	bad = damaged(json_object_get(result, "errors"));
	wrong = strcmp(cli_text(result, "counts"), "wrong") == 0;
	status = print(c, result);
	if (wrong)
		return cli_fail("what the store counts is not what its volumes hold: stop the "
				"daemon and run vstore check --repair");
	return bad ? cli_fail("%zu ranges are damaged: write them again, or restore a backup", bad)
		   : status;
}

static int status(struct cli *c)
{
	return print(c, cli_call(c, "GET", NULL, "/v1/scrub"));
}

static int stop(struct cli *c)
{
	json_t *scrub = cli_call(c, "POST", json_object(), "/v1/scrub/stop");

	if (!scrub)
		return CLI_FAILED;
	return cli_done(c, scrub, "the scrub is stopped; the next start goes on where it was");
}

const struct cli_command cli_scrub_commands[] = {
    {"start", "", "begin a scrub, or go on with one that was stopped",
     (const struct cli_option[]){
	 {"detach", CLI_FLAG, NULL, "print the task's number and return at once", 0},
	 {0},
     },
     start},
    {"status", "", "how far it is, and what is damaged", NULL, status},
    {"stop", "", "stop it; the next start goes on where it was", NULL, stop},
    {0},
};
