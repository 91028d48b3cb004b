/*
 * Following the daemon's tasks. A task belongs to the daemon: it runs on when the command ends.
 * One thread.
 */
#ifndef CLI_TASK_H
#define CLI_TASK_H

#include "mgmt/cli/cli.h"

#define CLI_OPTION_DETACH                                            \
	{                                                            \
		.name = "detach", .value = CLI_FLAG,                 \
		.help = "start the work, print its task and return", \
	}

/*
 * Waits for the task in a 202 answer (NULL: failed already; taken over), with a progress bar on a
 * terminal. Returns CLI_DONE with *result (a new reference), or with *result NULL when --detach was
 * given and the task has been printed; or the exit status, after printing why.
 */
int cli_task_run(struct cli *c, json_t *answer, const char *label, json_t **result);
/* The same for a task known by its id; gives the task object as it ended. */
int cli_task_wait(struct cli *c, const char *id, const char *label, json_t **task);

#endif
