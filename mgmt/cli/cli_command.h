/*
 * The tables that commands, help, completion and the test of the manual all come from.
 *
 * A group is the first word ("volume"), a command the words after it ("create"). The tables are
 * constant and live as long as the program; struct cli_args points into argv. One thread.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;

enum cli_value {
	CLI_FLAG, /* takes no value */
	CLI_TEXT,
	CLI_SIZE,   /* "20G", checked when parsed */
	CLI_NUMBER, /* decimal, checked when parsed */
	CLI_CHOICE, /* one of the words of arg, "a|b|c" */
};

#define CLI_REQUIRED 1u
#define CLI_REPEAT 2u

struct cli_option {
	const char *name; /* without the dashes; NULL ends a table */
	enum cli_value value;
	const char *arg; /* how help calls the value; NULL for a flag */
	const char *help;
	unsigned flags;
};

struct cli_command {
	const char *verb; /* "create"; "" when the group is the command; NULL ends a table */
	const char *args; /* "NAME NEW", "[NAME]", "NAME@SNAP..."; "" for none */
	const char *help; /* one line */
	const struct cli_option *options; /* NULL: none */
	int (*run)(struct cli *c);	  /* gives the exit status */
};

struct cli_group {
	const char *name; /* NULL ends the table */
	const char *help; /* one line */
	const char *page; /* manual page, "vstore-volume" */
	const struct cli_command *commands;
	const char *shorthand; /* verb meant when the second word is none; NULL: there is none */
};

#define CLI_ARGS_MAX 64
#define CLI_GIVEN_MAX 128

struct cli_args {
	const char *pos[CLI_ARGS_MAX]; /* arguments that are no options */
	size_t npos;
	struct {
		const struct cli_option *option;
		const char *text; /* "" for a flag */
	} given[CLI_GIVEN_MAX];
	size_t ngiven;
};

extern const struct cli_group cli_groups[];
extern const struct cli_option cli_globals[];

/*
 * Finds the command that argv[0, argc) begins with. *used is how many words name it. Returns 0, or
 * VS_E_INVAL with what is wrong; *group is set when the first word was right.
 */
int cli_command_find(int argc, char *const argv[], const struct cli_group **group,
		     const struct cli_command **command, int *used,
		     struct vs_error *err) vs_must_check;
/* How many arguments the description in cli_command.args takes. */
void cli_command_arity(const char *args, size_t *min, size_t *max);

#define CLI_HELP_ASKED 1
/*
 * Sorts argv[1, argc) into args by the options of command (NULL: none) and the global ones; argv is
 * permuted. With stop the first argument that is no option ends it, and *rest is its index.
 * Returns 0, CLI_HELP_ASKED, or VS_E_INVAL with what is wrong.
 */
int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc, char *argv[],
		   bool stop, int *rest, struct vs_error *err) vs_must_check;
/* Whether required options and the right number of arguments are there. */
int cli_args_check(const struct cli_args *args, const struct cli_command *command,
		   struct vs_error *err) vs_must_check;

bool cli_args_has(const struct cli_args *args, const char *option);
/* The last value given, or NULL; the i-th, or NULL. */
const char *cli_args_text(const struct cli_args *args, const char *option);
const char *cli_args_nth(const struct cli_args *args, const char *option, size_t i);
/* Of options of kind CLI_SIZE or CLI_NUMBER; dflt when not given. */
uint64_t cli_args_u64(const struct cli_args *args, const char *option, uint64_t dflt);

#endif
