/*
 * Help and completion, made from the command tables. One thread.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "mgmt/cli/cli_command.h"

#include <stdio.h>

void cli_help_top(FILE *out);				   /* vstore --help */
void cli_help_group(const struct cli_group *g, FILE *out); /* vstore volume --help */
void cli_help_command(const struct cli_group *g, const struct cli_command *cmd, FILE *out);
void cli_help_all(FILE *out);  /* every command's, after each other */
void cli_help_bash(FILE *out); /* completion script */

#endif
