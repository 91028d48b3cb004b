/*
 * Merging: what deduplication missed when it was written.
 *
 * Goes through the digest table, once for each share of the digests that fits its memory, and where
 * two contents have the same digest makes one an *alias* of the other: it keeps its CID, its
 * references and its digest, and what it stored is given up (content.h). No map is touched.
 *
 * Engine's thread, in fibers; one at a time. What was merged stays merged, whenever it ends.
 */
#ifndef BS_MERGE_H
#define BS_MERGE_H

#include "blockstore/engine.h"

/* VS_E_BUSY: one runs; VS_E_NOMEM; VS_E_ROFS, VS_E_FAILED. */
int bs_merge_begin(struct bs_engine *e) vs_must_check;
/* Some of the table. VS_E_NOSPC: the log has no room. */
int bs_merge_step(struct bs_engine *e, struct bs_merge_info *out) vs_must_check;
void bs_merge_end(struct bs_engine *e);

/* Replay of one record, in a fiber. */
int bs_merge_replay(struct bs_engine *e, const struct bs_rec *r) vs_must_check;

#endif
