/* vstore: the node's command line. */
#include "common/log.h"
#include "mgmt/cli/cli.h"
#include "mgmt/cli/cli_help.h"
#include "mgmt/cli/cli_http.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* The API takes UTF-8 only; the number of the first argument that is none, or 0. */
static int not_utf8(int argc, char *argv[])
{
	int i;

	for (i = 1; i < argc; i++) {
		json_t *text = json_string(argv[i]);

		if (!text)
			return i;
		json_decref(text);
	}
	return 0;
}

static void set_globals(struct cli *c)
{
	const char *socket = cli_args_text(&c->args, "socket");
	const char *env = getenv("VSTORE_SOCKET");

	c->socket = socket ? socket : env && env[0] ? env : CLI_DEFAULT_SOCKET;
	c->json = cli_args_has(&c->args, "json");
	c->quiet = cli_args_has(&c->args, "quiet");
	c->yes = cli_args_has(&c->args, "yes");
}

static int run(struct cli *c, int argc, char *argv[])
{
	struct vs_error err = {0};
	int rest, used, rc;

	rc = cli_args_parse(&c->args, NULL, argc, argv, true, &rest, &err);
	if (rc == CLI_HELP_ASKED) {
		cli_help_top(stdout);
		return CLI_DONE;
	}
	if (rc < 0)
		return cli_usage(c, "%s", err.text);
	argc -= rest;
	argv += rest;
	rc = cli_command_find(argc, argv, &c->group, &c->command, &used, &err);
	if (rc < 0 && c->group && argc > 1 && is_help(argv[1])) {
		cli_help_group(c->group, stdout);
		return CLI_DONE;
	}
	if (rc < 0)
		return cli_usage(c, "%s", err.text);
	rc = cli_args_parse(&c->args, c->command, argc - used + 1, argv + used - 1, false, &rest,
			    &err);
	if (rc == CLI_HELP_ASKED) {
		cli_help_command(c->group, c->command, stdout);
		return CLI_DONE;
	}
	if (rc == 0)
		rc = cli_args_check(&c->args, c->command, &err);
	if (rc < 0)
		return cli_usage(c, "%s", err.text);
	set_globals(c);
	return c->command->run(c);
}

int main(int argc, char *argv[])
{
	struct cli c = {0};
	int status;

	(void)signal(SIGPIPE, SIG_IGN);
	vs_log_set_program("vstore");
	if (argc == 1) {
		cli_help_top(stderr);
		return CLI_USAGE;
	}
	if (not_utf8(argc, argv))
		return cli_usage(&c, "argument %d is no UTF-8 text", not_utf8(argc, argv));
	status = run(&c, argc, argv);
	cli_http_close(c.http);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE)
		status = cli_fail("standard output: %s", strerror(errno));
	return status;
}
