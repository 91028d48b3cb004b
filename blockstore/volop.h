/*
 * Changes of the volume table as log records: the same two functions make them live and in replay.
 */
#ifndef BS_VOLOP_H
#define BS_VOLOP_H

#include "blockstore/map.h"

struct bs_volop {
	struct bs_rec rec;
	struct bs_vol *fresh;	     /* memory of a volume to be created; freed if it never is */
	struct bs_vol *fresh_origin; /* the same of an origin */
	unsigned pages;		     /* new map pages at most */
};

/* VOL_PUT, VOL_DELETE, VOL_SHARE, VOL_ROLLBACK, ORIGIN. VS_E_CORRUPT when it refers to nothing. */
int bs_volop_prepare(struct bs_engine *e, struct bs_volop *op) vs_must_check;
void bs_volop_apply(struct bs_engine *e, struct bs_volop *op); /* (step) */
uint32_t bs_volop_size(const struct bs_volop *op);	       /* bytes of its record */
void bs_volop_free(struct bs_volop *op);		       /* memory that was not used */

/*
 * In a fiber: prepares, records and applies n of them in one step and one unit. need: whose
 * reserve they may use.
 */
int bs_volops_run(struct bs_engine *e, struct bs_volop *ops, size_t n,
		  enum bs_need need) vs_must_check;
/* How many deletions one such step may hold. */
size_t bs_volops_most(const struct bs_engine *e);
/* The same for v's new entry, with a smaller size, and all that is mapped behind its end. */
int bs_volops_shrink(struct bs_engine *e, struct bs_vol *v,
		     const struct bs_volent *ent) vs_must_check;

#endif
