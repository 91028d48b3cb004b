/* repo: add, list, show, check, gc, remove. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

#include <inttypes.h>
#include <stdio.h>

static const struct cli_field list_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},
    {"encrypted", "ENCRYPTED", CLI_AS_YES_NO},
    {"url", "URL", CLI_AS_TEXT},
    {0},
};

static const struct cli_field show_fields[] = {
    {"name", "name", CLI_AS_TEXT},
    {"url", "URL", CLI_AS_TEXT},
    {"encrypted", "encrypted", CLI_AS_YES_NO},
    {"backups", "backups", CLI_AS_COUNT},
    {"stored_bytes", "stored", CLI_AS_SIZE},
    {"unreferenced_bytes", "unreferenced", CLI_AS_SIZE},
    {0},
};

static int add(struct cli *c)
{
	json_t *body = json_pack("{s:s,s:s}", "name", c->args.pos[0], "url", c->args.pos[1]);
	json_t *answer;

	answer = cli_call(c, "POST", body, "/v1/repos");
	if (!answer)
		return CLI_FAILED;
	if (!json_is_true(json_object_get(answer, "encrypted")) && !c->quiet)
		cli_warn("repository %s is not encrypted: who can read it can read every backup",
			 c->args.pos[0]);
	return cli_done(c, answer, "added repository %s", c->args.pos[0]);
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/repos"), list_fields);
}

static int show(struct cli *c)
{
	return cli_fields_object(c, cli_call(c, "GET", NULL, "/v1/repos/%s", c->args.pos[0]),
				 show_fields);
}

/* What a check found: the lines, then a sum; 1 when there was anything. */
static int print_check(const struct cli *c, json_t *result)
{
	uint64_t problems = cli_u64(result, "problems");
	const json_t *lines = json_object_get(result, "lines");
	size_t i;

	for (i = 0; !c->json && i < json_array_size(lines); i++)
		(void)printf("%s\n", json_string_value(json_array_get(lines, i)));
	if (problems)
		(void)cli_fail("repository %s: problems found: %" PRIu64
			       "; back up again what they "
			       "name",
			       c->args.pos[0], problems);
	if (!problems || c->json)
		(void)cli_done(c, json_incref(result),
			       "repository %s: nothing wrong, %" PRIu64 " blocks", c->args.pos[0],
			       cli_u64(result, "blocks"));
	json_decref(result);
	return problems ? CLI_FAILED : CLI_DONE;
}

static int check(struct cli *c)
{
	json_t *body = json_object(), *result;
	int status;

	cli_body_flag(c, body, "read-data", "read_data");
	status = cli_task_run(c, cli_call(c, "POST", body, "/v1/repos/%s/check", c->args.pos[0]),
			      "check", &result);
	return result ? print_check(c, result) : status;
}

static int gc(struct cli *c)
{
	json_t *result;
	char text[16];
	int status;

	status = cli_task_run(c, cli_call(c, "POST", NULL, "/v1/repos/%s/gc", c->args.pos[0]), "gc",
			      &result);
	if (!result)
		return status;
	(void)vs_format_size(cli_u64(result, "freed_bytes"), text, sizeof(text));
	return cli_done(c, result, "repository %s: %s freed", c->args.pos[0], text);
}

static int remove_repo(struct cli *c)
{
	const char *name = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Forget repository %s? Its content stays where it is.", name))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/repos/%s", name);
	return answer ? cli_done(c, answer, "removed repository %s; its content is untouched", name)
		      : CLI_FAILED;
}

const struct cli_command cli_repo_commands[] = {
    {"add", "NAME URL", "create a repository, or attach one that exists (dir:///path)", NULL, add},
    {"list", "", "list repositories", NULL, list},
    {"show", "NAME", "show a repository and its size", NULL, show},
    {"check", "NAME", "check a repository; exit 1 if anything is wrong",
     (const struct cli_option[]){
	 {"read-data", CLI_FLAG, NULL, "also read and hash all data", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     check},
    {"gc", "NAME", "free what no backup needs any more",
     (const struct cli_option[]){CLI_OPTION_DETACH, {0}}, gc},
    {"remove", "NAME", "make the node forget a repository; its content stays", NULL, remove_repo},
    {0},
};
