/*
 * Inside a host: shared by host.c (engine, ports) and hostadmin.c (administration).
 */
#ifndef SIM_HOSTINT_H
#define SIM_HOSTINT_H

#include "blockstore/engine.h"
#include "blockstore/fiber.h"
#include "blockstore/scrub_int.h"
#include "tests/sim/host.h"

#define SIM_ROTTEN 64u

struct sim_runner;

struct sim_host {
	struct sim_disk *disk;
	struct sim_clock *clock;
	struct bs_device *dev[2];
	unsigned ndevs;
	struct bs_call change; /* of the devices */
	bool changing;
	int changed; /* its outcome */
	struct bs_engine *engine;
	struct bs_port *ports[SIM_PORTS];
	unsigned nports, complaints;
	struct bs_scrub *scrub;		/* outlives what a cut leaves in the middle */
	uint64_t rotten[SIM_ROTTEN][2]; /* CID; where the bit is */
	unsigned nrotten;
	struct bs_fiber_pool *tasks; /* administration: threads that wait for the engine */
	struct sim_rng rng;
	uint64_t wake;
	struct sim_runner *runner; /* NULL: nothing has an origin */
};

/* Whoever fetches from origins (hostorigin.c): a task, and a port of its own. */
struct sim_runner *sim_runner_new(struct sim_host *h, const struct sim_host_config *cfg);
void sim_runner_free(struct sim_runner *r); /* after the tasks' fibers are gone */
void sim_runner_stop(struct sim_runner *r); /* it ends by itself, once it is let run */
bool sim_runner_ended(const struct sim_runner *r);
bool sim_runner_poll(struct sim_runner *r); /* lets it go on, or its port */
void sim_runner_kick(struct sim_runner *r); /* there may be something for it */

/* In a task: a->kind SIM_SCRUB (hostscrub.c). */
int sim_host_scrub(struct sim_host *h, struct sim_admin *a);

#endif
