/*
 * Drops: references that nothing holds any more but that are still counted.
 *
 * Letting go of a content appends its CID to the *gathering* run, so that an overwrite need not
 * have the old content's entry in memory. A turn makes the gathering run the *draining* one, and a
 * background fiber takes that off the contents' counts, all of one place leaf in one step, leaf by
 * leaf. See DESIGN.md, "Drops".
 *
 * Invariants: the references counted of a content are the map entries that own it and its drops.
 * Of the draining run only leaves from `cursor` on are left. Engine's thread.
 */
#ifndef BS_DROP_H
#define BS_DROP_H

#include "blockstore/drop_run.h"
#include "blockstore/fiber.h"
#include "blockstore/log_format.h"

struct bs_engine;

/* Room that a run keeps beyond its limit: what one step may let go. */
#define BS_DROP_STEP (2 * BS_MAP_FAN)

struct bs_drops {
	struct bs_droprun run[2];
	unsigned side;	  /* of the run that gathers */
	uint64_t cursor;  /* draining run: leaves below it are done */
	uint64_t limit;	  /* changes wait while so many are gathered */
	uint64_t kept;	  /* gathered ones whose leaf could not be read */
	bool busy;	  /* the fiber runs */
	bool asked;	  /* turn at once */
	bool starved;	  /* the log has no room for draining */
	uint64_t drained; /* runs, and ends of the fiber */
	uint64_t seen, changed_ns, since_ns, due_ns;
	struct bs_waitq wait; /* until a run is drained */
};

int bs_drops_init(struct bs_engine *e) vs_must_check; /* memory only */
void bs_drops_destroy(struct bs_drops *d);
/* Blocking: what the last checkpoint holds. */
int bs_drops_load(struct bs_engine *e) vs_must_check;

/*
 * Prepares that the coming step may let n contents go, n at most BS_DROP_STEP. In a fiber it waits
 * for room in the gathering run. VS_E_AGAIN, VS_E_FAILED, VS_E_IO (nothing can be drained).
 */
int bs_drop_ready(struct bs_engine *e, unsigned n) vs_must_check;
void bs_drop_push(struct bs_engine *e, uint64_t cid); /* (step) */

bool bs_drops_pending(const struct bs_engine *e); /* draining would let something go */
void bs_drops_ask(struct bs_engine *e);		  /* drain what is there now, at once */
/*
 * What to do about VS_E_NOSPC: 0 after a wait in which something was drained, so try again;
 * VS_E_AGAIN outside fibers; VS_E_NOSPC when no drop is pending.
 */
int bs_drops_relieve(struct bs_engine *e) vs_must_check;
void bs_drops_start(struct bs_engine *e); /* the background fiber, when it is due */

/* Replay of one record, in a fiber. */
int bs_drop_replay(struct bs_engine *e, const struct bs_rec *r) vs_must_check;
/* In replay of a log from before there were drops: nothing stays pending between its records. */
int bs_drops_settle(struct bs_engine *e) vs_must_check;

#endif
