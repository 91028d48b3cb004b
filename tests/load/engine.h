/*
 * Load on a store through blockstore's public headers alone, without a front end: engine.c is the
 * program, engine_load.c the threads that submit requests.
 */
#ifndef TESTS_LOAD_ENGINE_H
#define TESTS_LOAD_ENGINE_H

#include "tests/load/latency.h"

#include "blockstore/io.h"

#define ENGINE_MAX_PORTS 8u
#define ENGINE_MAX_DEPTH 256u

/*
 * Every block begins with a stamp. UNIQUE and HALF go on with noise (HALF after 2 KiB of zeros, so
 * that it compresses to half), SPARSE with zeros; SAME is noise out of a pool that has `pool`
 * blocks, so that all but their first writes are duplicates.
 */
enum engine_data { ENGINE_UNIQUE, ENGINE_HALF, ENGINE_SPARSE, ENGINE_SAME };

struct engine_load {
	bool write, sequential;
	bool sync; /* each write is followed by a flush, and both are one operation */
	enum engine_data data;
	uint64_t block, depth, ports, seconds, count, seed, pool;
	uint64_t from, span; /* bytes of the volume */
	uint64_t hot; /* percent of it that nine of ten random requests go to; 0: all alike */
};

struct engine_result {
	struct latency latency;
	uint64_t ops, elapsed_ns;
	int status; /* first error, or 0 */
};

struct engine_run;

/* Starts l->ports threads; l and v stay until engine_load_wait. NULL: out of memory. */
struct engine_run *engine_load_start(struct bs_store *s, struct bs_volume *v,
				     const struct engine_load *l);
void engine_load_stop(struct engine_run *r); /* before its seconds or count are over */
/* Until all threads have ended. Frees r. */
void engine_load_wait(struct engine_run *r, struct engine_result *out);

/*
 * What the machine itself does to threads: two that only look at the clock, and how often that
 * takes them more than 2 ms. Prints a line.
 */
int engine_stalls(uint64_t seconds) vs_must_check;

#endif
