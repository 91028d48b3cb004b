#include "mgmt/cli/cli_command.h"

#include <string.h>

static const struct cli_group *find_group(const char *word)
{
	const struct cli_group *g;

	for (g = cli_groups; g->name; g++)
		if (strcmp(g->name, word) == 0)
			return g;
	return NULL;
}

/* How many of argv's words spell verb ("snapshot create" takes two); 0 when they do not. */
static int verb_words(const char *verb, int argc, char *const argv[])
{
	int i;

	for (i = 0; i < argc; i++) {
		size_t n = strcspn(verb, " ");

		if (strlen(argv[i]) != n || memcmp(argv[i], verb, n) != 0)
			return 0;
		if (verb[n] == '\0')
			return i + 1;
		verb += n + 1;
	}
	return 0;
}

static const struct cli_command *find_verb(const struct cli_group *g, int argc, char *const argv[],
					   int *used)
{
	const struct cli_command *cmd, *best = NULL;

	*used = 0;
	for (cmd = g->commands; cmd->verb; cmd++) {
		int n = verb_words(cmd->verb, argc, argv);

		if (n > *used) {
			*used = n;
			best = cmd;
		}
	}
	return best;
}

int cli_command_find(int argc, char *const argv[], const struct cli_group **group,
		     const struct cli_command **command, int *used, struct vs_error *err)
{
	const struct cli_group *g = argc ? find_group(argv[0]) : NULL;
	const struct cli_command *cmd;
	char *shorthand[1];
	int n;

	*group = g;
	*command = NULL;
	*used = 1;
	if (argc == 0)
		return vs_fail(err, VS_E_INVAL, "a command is missing");
	if (!g)
		return vs_fail(err, VS_E_INVAL, "'%.64s' is not a command", argv[0]);
	if (g->commands[0].verb[0] == '\0') {
		*command = &g->commands[0];
		return 0;
	}
	cmd = find_verb(g, argc - 1, argv + 1, &n);
	if (!cmd && argc > 1 && argv[1][0] != '-' && g->shorthand) {
		shorthand[0] = (char *)g->shorthand;
		cmd = find_verb(g, 1, shorthand, &n);
		n = 0;
	}
	if (!cmd && argc > 1 && argv[1][0] != '-')
		return vs_fail(err, VS_E_INVAL, "'%.64s' is not a command of %s", argv[1], g->name);
	if (!cmd)
		return vs_fail(err, VS_E_INVAL, "%s: a command is missing", g->name);
	*command = cmd;
	*used = 1 + n;
	return 0;
}

void cli_command_arity(const char *args, size_t *min, size_t *max)
{
	*min = *max = 0;
	while (*args) {
		size_t n = strcspn(args, " ");

		*min += args[0] != '[';
		*max += 1;
		if (memmem(args, n, "...", 3))
			*max = CLI_ARGS_MAX;
		args += n;
		args += strspn(args, " ");
	}
}
