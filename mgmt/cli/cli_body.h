/*
 * From options to the members of a request. What was not given stays out, so that the daemon's
 * defaults rule. Text that is no UTF-8 stays out too, and the daemon says what is missing. One
 * thread.
 */
#ifndef CLI_BODY_H
#define CLI_BODY_H

#include "mgmt/cli/cli.h"

void cli_body_text(const struct cli *c, json_t *body, const char *option, const char *key);
void cli_body_u64(const struct cli *c, json_t *body, const char *option, const char *key);
void cli_body_flag(const struct cli *c, json_t *body, const char *option, const char *key);
/* All values of an option that may be repeated. */
void cli_body_list(const struct cli *c, json_t *body, const char *option, const char *key);
/* A file's absolute path; 0, or the exit status after printing. */
int cli_body_path(const struct cli *c, json_t *body, const char *option, const char *key);
/* Sets body[key] from a secret's file; 0, or the exit status after printing. */
int cli_body_secret(const char *path, json_t *body, const char *key);
/* {user, secret} of --PREFIX-user and --PREFIX-secret-file; 0, or the exit status after printing.
 */
int cli_body_chap(const struct cli *c, const char *prefix, json_t *body);
/* For commands that log in to other arrays. */
#define CLI_OPTIONS_LUN                                                                           \
	{"chap-user", CLI_TEXT, "NAME", "who logs in to the array, unless the URL says it", 0},   \
	{                                                                                         \
		"chap-secret-file", CLI_TEXT, "FILE", "the array's secret for that user, CHAP", 0 \
	}
/* chap of --chap-user, which a URL may name instead, and --chap-secret-file. As above. */
int cli_body_lun(const struct cli *c, json_t *body);

#endif
