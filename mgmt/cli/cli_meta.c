/* Commands about the command itself: help, completion. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli.h"
#include "mgmt/cli/cli_help.h"

#include <stdio.h>

static int help(struct cli *c)
{
	const struct cli_group *group;
	const struct cli_command *command;
	struct vs_error err = {0};
	int used, rc;

	if (cli_args_has(&c->args, "all")) {
		cli_help_all(stdout);
		return CLI_DONE;
	}
	if (c->args.npos == 0) {
		cli_help_top(stdout);
		return CLI_DONE;
	}
	rc = cli_command_find((int)c->args.npos, (char *const *)c->args.pos, &group, &command,
			      &used, &err);
	if (rc == 0)
		cli_help_command(group, command, stdout);
	else if (group && c->args.npos == 1)
		cli_help_group(group, stdout);
	else
		return cli_usage(c, "%s", err.text);
	return CLI_DONE;
}

static int completion(struct cli *c)
{
	(void)c;
	cli_help_bash(stdout);
	return CLI_DONE;
}

const struct cli_command cli_meta_help[] = {
    {"", "[COMMAND...]", "show help on a command, or the list of commands",
     (const struct cli_option[]){
	 {"all", CLI_FLAG, NULL, "show the help of every command", 0},
	 {0},
     },
     help},
    {0},
};

const struct cli_command cli_meta_completion[] = {
    {"bash", "", "print a completion script for bash", NULL, completion},
    {0},
};
