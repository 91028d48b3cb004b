/*
 * A line with a bar, rate and time left, drawn over itself on a terminal. One thread.
 *
 * The rate is that of the last CLI_PROGRESS_SAMPLES updates, so that it follows a change of speed
 * and a task that began before the command did is not taken for a fast one.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_PROGRESS_SAMPLES 16

struct cli_progress {
	const char *label;
	bool shown; /* stderr is a terminal */
	bool drawn;
	struct {
		uint64_t ns, done;
	} samples[CLI_PROGRESS_SAMPLES];
	unsigned n; /* updates so far */
};

/* label must stay as long as p. quiet: draw nothing. */
void cli_progress_start(struct cli_progress *p, const char *label, bool quiet);
/* done and total in bytes; total 0: unknown. now_ns: CLOCK_MONOTONIC. */
void cli_progress_update(struct cli_progress *p, uint64_t done, uint64_t total, uint64_t now_ns);
void cli_progress_end(struct cli_progress *p); /* wipes the line */

/* Bytes a second over the samples; 0 when not known yet. */
double cli_progress_rate(const struct cli_progress *p);
/* The line for a terminal of width columns, at most len - 1 bytes; returns buf. */
const char *cli_progress_line(const struct cli_progress *p, uint64_t done, uint64_t total,
			      size_t width, char *buf, size_t len);

#endif
