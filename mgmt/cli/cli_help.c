#include "mgmt/cli/cli_help.h"

#include <string.h>

#define USAGE_WIDTH 90

static void print_usage_option(const struct cli_option *o, size_t *column, size_t indent, FILE *out)
{
	bool required = o->flags & CLI_REQUIRED;
	char text[160];
	size_t n;

	(void)snprintf(text, sizeof(text), "%s--%s%s%s%s%s", required ? "" : "[", o->name,
		       o->arg ? " " : "", o->arg ? o->arg : "", required ? "" : "]",
		       o->flags & CLI_REPEAT ? "..." : "");
	n = strlen(text);
	if (*column + 1 + n > USAGE_WIDTH) {
		(void)fprintf(out, "\n%*s", (int)indent, "");
		*column = indent;
	}
	(void)fprintf(out, " %s", text);
	*column += 1 + n;
}

static void print_usage(const struct cli_group *g, const struct cli_command *cmd, FILE *out)
{
	const struct cli_option *o;
	size_t column;
	int n;

	n = fprintf(out, "usage: vstore %s%s%s", g->name, cmd->verb[0] ? " " : "", cmd->verb);
	column = n > 0 ? (size_t)n : 0;
	n = fprintf(out, "%s%s", cmd->args[0] ? " " : "", cmd->args);
	size_t indent = column;

	column += n > 0 ? (size_t)n : 0;
	for (o = cmd->options; o && o->name; o++)
		print_usage_option(o, &column, indent, out);
	(void)putc('\n', out);
}

static void print_options(const struct cli_option *o, FILE *out)
{
	char left[96];

	for (; o && o->name; o++) {
		(void)snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "",
			       o->arg ? o->arg : "");
		(void)fprintf(out, "  %-28s %s\n", left, o->help);
	}
}

void cli_help_command(const struct cli_group *g, const struct cli_command *cmd, FILE *out)
{
	print_usage(g, cmd, out);
	if (g->shorthand && strcmp(g->shorthand, cmd->verb) == 0)
		(void)fprintf(out, "   or: vstore %s %s ...\n", g->name, cmd->args);
	(void)fprintf(out, "\n%s\n", cmd->help);
	if (cmd->options) {
		(void)fputs("\noptions:\n", out);
		print_options(cmd->options, out);
	}
	(void)fprintf(out, "\nglobal options: see 'vstore --help'; manual: %s(1)\n", g->page);
}

static void print_commands(const struct cli_group *g, FILE *out)
{
	const struct cli_command *cmd;
	char left[96];

	for (cmd = g->commands; cmd->verb; cmd++) {
		(void)snprintf(left, sizeof(left), "%s %s", cmd->verb, cmd->args);
		(void)fprintf(out, "  %-32s %s\n", left, cmd->help);
	}
}

void cli_help_group(const struct cli_group *g, FILE *out)
{
	if (g->commands[0].verb[0] == '\0') {
		cli_help_command(g, &g->commands[0], out);
		return;
	}
	(void)fprintf(out, "usage: vstore %s COMMAND ...\n\n%s\n\ncommands:\n", g->name, g->help);
	print_commands(g, out);
	(void)fprintf(out,
		      "\n'vstore %s COMMAND --help' shows a command's options; manual: %s(1)\n",
		      g->name, g->page);
}

void cli_help_top(FILE *out)
{
	const struct cli_group *g;

	(void)fputs("usage: vstore [OPTIONS] COMMAND ...\n\ncommands:\n", out);
	for (g = cli_groups; g->name; g++)
		(void)fprintf(out, "  %-12s %s\n", g->name, g->help);
	(void)fputs("\nglobal options, before or after the command:\n", out);
	print_options(cli_globals, out);
	(void)fprintf(out, "  %-28s %s\n", "--help", "help on what stands before it");
	(void)fputs("\nsizes take K, M, G, T (powers of 1024); a snapshot is VOLUME@SNAP, a backup "
		    "REPO:ID\nexit status: 0 done, 1 failed, 2 usage; manual: vstore(1)\n",
		    out);
}

void cli_help_all(FILE *out)
{
	const struct cli_group *g;
	const struct cli_command *cmd;

	for (g = cli_groups; g->name; g++) {
		for (cmd = g->commands; cmd->verb; cmd++) {
			cli_help_command(g, cmd, out);
			(void)putc('\n', out);
		}
	}
}

static void bash_words(const struct cli_option *o, FILE *out)
{
	for (; o && o->name; o++)
		(void)fprintf(out, " --%s", o->name);
}

static void bash_verbs(const struct cli_group *g, FILE *out)
{
	const struct cli_command *cmd;

	(void)fprintf(out, "\t%s) verbs=\"", g->name);
	for (cmd = g->commands; cmd->verb; cmd++)
		(void)fprintf(out, "%s%s", cmd == g->commands ? "" : " ", cmd->verb);
	(void)fputs("\" ;;\n", out);
}

void cli_help_bash(FILE *out)
{
	const struct cli_group *g;
	const struct cli_command *cmd;

	(void)fputs("# bash completion for vstore; load it with: source <(vstore completion bash)\n"
		    "_vstore()\n{\n"
		    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=() verbs=\"\" opts=\"\" w\n"
		    "\tfor w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
		    "\t\t[[ $w == -* ]] || words+=(\"$w\")\n"
		    "\tdone\n"
		    "\tif [[ $cur != -* && ${#words[@]} -eq 0 ]]; then\n"
		    "\t\tCOMPREPLY=($(compgen -W \"",
		    out);
	for (g = cli_groups; g->name; g++)
		(void)fprintf(out, "%s%s", g == cli_groups ? "" : " ", g->name);
	(void)fputs("\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase ${words[0]} in\n", out);
	for (g = cli_groups; g->name; g++)
		bash_verbs(g, out);
	(void)fputs("\tesac\n"
		    "\tif [[ $cur != -* && ${#words[@]} -eq 1 && -n $verbs ]]; then\n"
		    "\t\tCOMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
		    "\tcase \"${words[0]} ${words[1]}\" in\n",
		    out);
	for (g = cli_groups; g->name; g++) {
		for (cmd = g->commands; cmd->verb; cmd++) {
			if (!cmd->options)
				continue;
			(void)fprintf(out, "\t\"%s %s\"%s) opts=\"", g->name, cmd->verb,
				      cmd->verb[0] ? "" : "*");
			bash_words(cmd->options, out);
			(void)fputs("\" ;;\n", out);
		}
	}
	(void)fputs("\tesac\n\tif [[ $cur == -* ]]; then\n\t\topts+=\" --help", out);
	bash_words(cli_globals, out);
	(void)fputs("\"\n\t\tCOMPREPLY=($(compgen -W \"$opts\" -- \"$cur\"))\n"
		    "\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
		    "complete -o filenames -F _vstore vstore\n",
		    out);
}
