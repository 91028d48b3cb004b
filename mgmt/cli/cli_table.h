/*
 * Aligned columns for people. Control characters in cells are shown as '?': names may come from
 * strangers (an initiator's) and must not drive the terminal. One thread; out of memory makes the
 * table say so when printed.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CLI_TABLE_COLUMNS 16

enum cli_colour { CLI_PLAIN, CLI_GREEN, CLI_YELLOW, CLI_RED, CLI_DIM };

struct cli_table;

/* columns: 1 to CLI_TABLE_COLUMNS. NULL when out of memory; all other functions take NULL. */
struct cli_table *cli_table_new(size_t columns);
void cli_table_free(struct cli_table *t);
void cli_table_right(struct cli_table *t, size_t column); /* aligned to the right: figures */
/* Appends a cell; after the last column comes the next line's first. */
void cli_table_cell(struct cli_table *t, const char *text, enum cli_colour colour);
/* Returns 0 or VS_E_NOMEM. */
int cli_table_print(const struct cli_table *t, bool colours, FILE *out);

/* Columns that text takes on a terminal, counting UTF-8 characters as one each. */
size_t cli_table_width(const char *text);
/* Prints text with control characters replaced. */
void cli_table_safe(const char *text, FILE *out);

#endif
