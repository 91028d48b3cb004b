/* dedup: start, status, stop. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

static const struct cli_field fields[] = {
    {"state", "state", CLI_AS_STATE},
    {"progress", "progress", CLI_AS_PERCENT},
    {"merged_blocks", "blocks merged", CLI_AS_COUNT},
    {"freed_bytes", "given up", CLI_AS_SIZE},
    {"started", "started", CLI_AS_TIME},
    {"finished", "finished", CLI_AS_TIME},
    {"task", "task", CLI_AS_TEXT},
    {0},
};

static int start(struct cli *c)
{
	json_t *result;
	int rc = cli_task_run(c, cli_call(c, "POST", json_object(), "/v1/dedup/start"), "dedup",
			      &result);

	return rc != CLI_DONE || !result ? rc : cli_fields_object(c, result, fields);
}

static int status(struct cli *c)
{
	return cli_fields_object(c, cli_call(c, "GET", NULL, "/v1/dedup"), fields);
}

static int stop(struct cli *c)
{
	json_t *dedup = cli_call(c, "POST", json_object(), "/v1/dedup/stop");

	return dedup ? cli_done(c, dedup, "stopped; what was merged stays merged") : CLI_FAILED;
}

const struct cli_command cli_dedup_commands[] = {
    {"start", "", "merge blocks that the store has more than once",
     (const struct cli_option[]){
	 {"detach", CLI_FLAG, NULL, "print the task's number and return at once", 0},
	 {0},
     },
     start},
    {"status", "", "how far it is, and what it found", NULL, status},
    {"stop", "", "stop it; what was merged stays merged", NULL, stop},
    {0},
};
