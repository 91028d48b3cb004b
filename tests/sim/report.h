/*
 * How a simulation says that it found something: one line on stdout and the end of the process,
 * which the parent turns into the failed test and the command that replays it.
 */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include <stdbool.h>

#define SIM_EXIT_FOUND 3

extern unsigned sim_verbose; /* 1: what happens; 2: every I/O too */

_Noreturn void sim_found(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line that is printed if something is found before sim_forget_notes. */
void sim_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_forget_notes(void);
/* A line of the run's trace, with --verbose only; of its I/O, with two. */
void sim_trace_(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define sim_trace(...)                           \
	do {                                     \
		if (sim_verbose)                 \
			sim_trace_(__VA_ARGS__); \
	} while (0)

#define sim_trace_io(...)                        \
	do {                                     \
		if (sim_verbose > 1)             \
			sim_trace_(__VA_ARGS__); \
	} while (0)

#define sim_require(cond, ...)                  \
	do {                                    \
		if (!(cond))                    \
			sim_found(__VA_ARGS__); \
	} while (0)

#endif
