/*
 * Runs a program without a shell and waits for it, for tasks. Threads: any that may wait.
 */
#ifndef MG_PROCESS_H
#define MG_PROCESS_H

#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define MG_PROCESS_STDERR 512

struct mg_process {
	const char *const *argv; /* argv[0] is looked up in PATH; NULL at the end */
	/* Pieces of stdout as they come; NULL: dropped. Not 0 ends the program. */
	int (*output)(void *arg, const char *data, size_t len);
	void *arg;
	const atomic_bool *cancel;     /* NULL: never. Set: the program is ended, VS_E_CANCELED */
	int status;		       /* out: exit status, 128 + signal when killed */
	char words[MG_PROCESS_STDERR]; /* out: the first line of stderr */
};

/* 0 when the program ran to its end, whatever its status; VS_E_NOENT when it is not installed. */
int mg_process_run(struct mg_process *p, struct vs_error *err) vs_must_check;

#endif
