/*
 * Locality: what an index that keeps only some digests finds all the same.
 *
 * What was written together has neighbouring slots (ids.c). So when a digest is found at a slot,
 * the digests around that slot are loaded into a bounded table, which lookups consult as well. Runs
 * on the engine's thread; loading is done by the index's background fiber.
 *
 * A write that has found some of its blocks and misses others waits for the loads that its volume
 * has asked for, once, in a fiber of its own, and looks again; all other operations go on.
 * A hit alone in its operation asks for a load only when it lies near the volume's last hit: single
 * blocks written at random would load much and use little.
 */
#ifndef BS_NEAR_H
#define BS_NEAR_H

#include "blockstore/fiber.h"
#include "dedup/index.h"

struct bs_engine;
struct bs_iop;

#define BS_NEAR_QUEUE 8u

struct bs_near {
	struct dd_index *table; /* NULL: no locality */
	uint32_t pages;		/* pages of the digest table in a group */
	struct bs_near_held {
		uint64_t group; /* plus 1; 0: none */
		uint64_t at;	/* entered when it was loaded */
	} * held;		/* at group % nheld: probably still in the table */
	uint32_t nheld;
	uint64_t entered; /* entries ever */
	struct {
		uint64_t group, volume;
	} queue[BS_NEAR_QUEUE];
	uint64_t asked, loaded; /* groups ever; asked - loaded of them are in the queue */
	struct bs_waitq wait;
	uint64_t hits, loads;
};

/* bytes: of the table, 0: none; digests: loaded around a hit, rounded to pages of them. */
int bs_near_init(struct bs_near *n, uint64_t bytes, uint32_t digests) vs_must_check;
void bs_near_destroy(struct bs_near *n);
void bs_near_clear(struct bs_near *n);
/* (step) New content: guests repeat what was written lately. */
void bs_near_enter(struct bs_near *n, const struct dd_digest *d, uint64_t slot);
/* One of op's blocks was found at slot. */
void bs_near_hit(struct bs_engine *e, const struct bs_iop *op, uint64_t slot);
/*
 * op has misses. VS_E_AGAIN: loads that may turn them into hits are under way; the caller returns
 * that, and calls bs_near_wait first when it runs again. At most once for an operation.
 */
int bs_near_missed(struct bs_engine *e, struct bs_iop *op) vs_must_check;
void bs_near_wait(struct bs_engine *e, struct bs_iop *op); /* in a fiber, or nothing to wait for */
bool bs_near_busy(const struct bs_engine *e);
void bs_near_load(struct bs_engine *e); /* in a fiber: the oldest in the queue */

#endif
