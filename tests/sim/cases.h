/*
 * The scenarios. Each runs a fresh world from its seed to its end; what is wrong ends the process.
 */
#ifndef SIM_CASES_H
#define SIM_CASES_H

#include "tests/sim/report.h"
#include "tests/sim/world.h"

/* Seeds of an ordinary run, shared out among the cases. */
#define SIM_TOTAL 20000u

struct sim_case {
	const char *name;
	uint64_t disk_size;
	unsigned share; /* of SIM_TOTAL: many where a seed is cheap */
	void (*run)(struct world *w);
};

extern const struct sim_case sim_cases[];
extern const unsigned sim_case_count;

#endif
