/*
 * Seeded guests and administrators: random operations on a world, by weights.
 */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "tests/sim/world.h"

enum work_kind {
	WORK_WRITE,	 /* whole blocks, one to many */
	WORK_WRITE_PART, /* any sectors */
	WORK_READ,
	WORK_FLUSH,
	WORK_TRIM,
	WORK_ZERO,
	WORK_COMPARE,
	WORK_LINK,
	WORK_COPY,
	WORK_STATUS,
	WORK_KINDS
};

struct workload {
	uint8_t weight[WORK_KINDS];
	unsigned depth;	       /* requests in flight, at most WORLD_REQS - 8 */
	unsigned admin_one_in; /* steps between administrations; 0: none */
	unsigned images;       /* as many volumes and snapshots as there should be */
	uint32_t min_blocks, max_blocks;
	uint32_t largest_write; /* sectors */
	unsigned alphabet;	/* contents that come again and again */
	uint32_t hot;		/* half of all I/O goes to this many blocks at the start; 0: none */
	bool no_delete;
	bool synced; /* most writes are waited for and flushed, one after the other */
};

void workload_default(struct world *w, struct workload *l);
/* Starts something or lets something happen. */
void workload_step(struct world *w, const struct workload *l);
/* Creates, resizes, renames, snapshots, clones, rolls back or deletes something. */
void workload_administer(struct world *w, const struct workload *l);
void workload_run(struct world *w, const struct workload *l, unsigned steps);
/* A random live image; NULL when there is none. */
struct model_image *workload_pick(struct world *w, bool snapshots);
uint64_t workload_content(struct world *w, const struct workload *l);
/* Deletes all images in random order. */
void workload_delete_all(struct world *w);

#endif
