/*
 * The scenarios. Each runs a fresh world from its seed to its end; what is wrong ends the process.
 */
#ifndef SIM_CASES_H
#define SIM_CASES_H

#include "tests/sim/world.h"

struct sim_case {
	const char *name;
	uint64_t disk_size;
	void (*run)(struct world *w);
};

extern const struct sim_case sim_cases[];
extern const unsigned sim_case_count;

#endif
