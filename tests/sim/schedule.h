/*
 * Seeds spread over processes: each task, some seeds of one case, runs in a process of its own, so
 * that a crash or an endless loop is that seed's failure. Single-threaded.
 */
#ifndef SIM_SCHEDULE_H
#define SIM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* Seeds first, first + 1, ... of one case. */
struct schedule_share {
	uint64_t first, count;
};

struct schedule_result {
	uint64_t done;	 /* seeds that ran to their end */
	uint64_t failed; /* the first seed that did not, where `bad` */
	bool bad;
};

/*
 * Runs share[c] of each case c in up to `jobs` processes, cases in turn; a case ends at its first
 * failure, everything does with `stop`. What a failing seed printed comes out in one piece.
 * false when processes cannot be started.
 */
bool schedule_run(const struct schedule_share *share, unsigned jobs, bool stop,
		  struct schedule_result *result);

#endif
