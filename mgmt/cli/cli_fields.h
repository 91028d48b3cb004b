/*
 * Which members of the API's objects people see, and how: tables of fields drive lists ("volume
 * list") and single objects ("volume show"). One thread.
 */
#ifndef CLI_FIELDS_H
#define CLI_FIELDS_H

#include "mgmt/cli/cli.h"

enum cli_kind {
	CLI_AS_TEXT,
	CLI_AS_COUNT,
	CLI_AS_SIZE, /* bytes -> "20.0 GiB" */
	CLI_AS_TIME, /* RFC 3339 -> local time */
	CLI_AS_YES_NO,
	CLI_AS_RATIO,	/* "1.52x" */
	CLI_AS_PERCENT, /* of 0..1 */
	CLI_AS_SECONDS, /* "2h 03m" */
	CLI_AS_STATE,	/* text in the state's colour */
	CLI_AS_LIST,	/* strings, or objects by name, volume or network, joined with commas */
	CLI_AS_LENGTH,	/* how many elements */
	CLI_AS_LUNS,	/* "0:web1, 1:data (ro)" */
	CLI_AS_KINDS,	/* "iscsi iqn..., nbd web1": {kind, name or address} */
};

struct cli_field {
	const char *key;   /* "name", "memory.limit_bytes"; NULL ends a table */
	const char *title; /* "NAME" in lists, "name" in objects */
	enum cli_kind kind;
};

/*
 * Prints a list or an object and takes it over: with --json as it is, else by fields. Returns the
 * exit status.
 */
int cli_fields_list(const struct cli *c, json_t *array, const struct cli_field *fields);
int cli_fields_object(const struct cli *c, json_t *object, const struct cli_field *fields);
/* The same without --json and without taking over: a part of a larger page. */
int cli_fields_print_list(const json_t *array, const struct cli_field *fields);
int cli_fields_print_object(const json_t *object, const struct cli_field *fields);

/* One value for people, into buf ("-" for null and absent). */
void cli_fields_format(const json_t *object, const struct cli_field *field, char *buf, size_t len);
/* Whether stdout takes colours: a terminal, and no NO_COLOR. */
bool cli_fields_colours(void);

#endif
