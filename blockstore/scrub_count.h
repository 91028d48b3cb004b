/*
 * Recounts, while the store is in use, what its tables say of references and space from what the
 * volumes' maps hold, as of one checkpoint (scrub_view.h).
 *
 * References are not counted one by one but as sums of random numbers, one number for each content
 * and map page: what the maps add and what the tables take away is zero in the end, or, but for one
 * chance in 2^64, not all counts are right. So the memory needed does not depend on the store's
 * size, and each page is read once. Which counts are wrong is for the offline check to say.
 *
 * Ownership and threads as of a scrub.
 */
#ifndef BS_SCRUB_COUNT_H
#define BS_SCRUB_COUNT_H

#include "blockstore/scrub.h"

struct bs_recounting;

int bs_recounting_new(struct bs_store *s, struct bs_recounting **out,
		      struct vs_error *err) vs_must_check;
void bs_recounting_free(struct bs_recounting *c);
/*
 * One step of about 64 pages; differences are added to out. VS_E_BUSY: the view was lost, start
 * anew; VS_E_CHECKSUM, VS_E_CORRUPT, VS_E_IO: a page cannot be read, so nothing can be counted.
 */
int bs_recounting_step(struct bs_recounting *c, struct bs_scrub_result *out, bool *end,
		       struct vs_error *err) vs_must_check;

#endif
