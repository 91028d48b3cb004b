/*
 * One run of the command: where the daemon is, how to print, and the calls that every handler uses.
 *
 * Handlers (cli_command.run) get a struct cli and give the exit status: 0 done, 1 failed with one
 * line on stderr, 2 usage. One thread. json_t answers belong to the caller; bodies are taken over.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "mgmt/cli/cli_command.h"

#include <jansson.h>
#include <stdbool.h>

#define CLI_DONE 0
#define CLI_FAILED 1
#define CLI_USAGE 2

#define CLI_DEFAULT_SOCKET "/var/lib/vstore/vstored.sock"

struct cli_http;

struct cli {
	const struct cli_group *group;
	const struct cli_command *command;
	struct cli_args args;
	const char *socket;
	bool json, quiet, yes;
	struct cli_http *http; /* opened by the first call */
};

/* "vstore: TEXT" on stderr; returns CLI_FAILED or CLI_USAGE (with where to look). */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int cli_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * Ends a command: with --json prints answer, else the line (unless --quiet). Takes answer over.
 * Returns CLI_DONE.
 */
int cli_done(const struct cli *c, json_t *answer, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void cli_print_json(const json_t *value);
/* Asks on a terminal unless --yes; true to go on. Never asks when stdin is no terminal. */
bool cli_confirm(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Calls the daemon. fmt takes %s only; each is percent-encoded. Returns the answer, or NULL after
 * printing why. Takes body (NULL: none) over.
 */
json_t *cli_call(struct cli *c, const char *method, json_t *body, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* As cli_call, but leaves the error to the caller (VS_E_*, 0 when answered). */
int cli_try(struct cli *c, struct vs_error *err, json_t **answer, const char *method, json_t *body,
	    const char *fmt, ...) __attribute__((format(printf, 6, 7))) vs_must_check;

/* The absolute form of a path, for the daemon; NULL after printing why. free() it. */
char *cli_absolute(const char *path);
/* Members of an answer; "" or 0 when absent. */
const char *cli_text(const json_t *object, const char *key);
uint64_t cli_u64(const json_t *object, const char *key);

#endif
