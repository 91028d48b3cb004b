/*
 * Digest index: digest bits -> content slot, in a fixed budget of memory.
 *
 * A hint, never an authority: a hit counts only after the digest table agrees; an entry that is
 * missing costs space and never correctness. Eight-byte entries in buckets of eight (one cache
 * line). Owned by one thread (the engine). No I/O, no allocation after dd_index_new.
 */
#ifndef DD_INDEX_H
#define DD_INDEX_H

#include "dedup/digest.h"

struct dd_index;

#define DD_BUCKET 8u

/* What a full bucket keeps. */
enum dd_keep {
	DD_KEEP_SAMPLE, /* the digests with the lowest tags: the fuller, the fewer of all digests */
	DD_KEEP_RECENT, /* the entries inserted last */
};

/* bytes: budget for the slots, rounded down to a whole bucket of 64, at least 4 KiB. */
int dd_index_new(struct dd_index **out, uint64_t bytes, enum dd_keep keep,
		 struct vs_error *err) vs_must_check;
void dd_index_free(struct dd_index *ix);

/*
 * Candidate slots (content id without its generation, 48 bits, never 0) for a digest, most recently
 * inserted first; at most max, at most DD_BUCKET. Returns how many.
 */
unsigned dd_index_lookup(const struct dd_index *ix, const struct dd_digest *d, uint64_t *slots,
			 unsigned max);
void dd_index_warm(const struct dd_index *ix, const struct dd_digest *d); /* will be used soon */
/* Inserts; replaces an entry of equal tag and slot. A full bucket loses one, maybe this one. */
void dd_index_insert(struct dd_index *ix, const struct dd_digest *d, uint64_t slot);
void dd_index_remove(struct dd_index *ix, const struct dd_digest *d, uint64_t slot);
void dd_index_clear(struct dd_index *ix);
uint64_t dd_index_count(const struct dd_index *ix); /* entries held */
uint64_t dd_index_bytes(const struct dd_index *ix); /* memory of the buckets */
/* Nothing was left out for want of room since it was made or cleared. */
bool dd_index_complete(const struct dd_index *ix);

/*
 * For keeping an index elsewhere: bucket b's entries as they are, tag << 48 | slot, newest first;
 * returns how many. dd_index_next: the first bucket from b on that may have some, else how many
 * buckets there are; memory that was never used is not looked at. Given back to an index of as many
 * buckets they stand behind what came meanwhile; entries that cannot be (slot 0, more than a bucket
 * has) are left out. Entries mean nothing to an index of another size.
 */
uint64_t dd_index_buckets(const struct dd_index *ix);
uint64_t dd_index_next(const struct dd_index *ix, uint64_t b);
unsigned dd_index_save(const struct dd_index *ix, uint64_t b, uint64_t e[DD_BUCKET]);
void dd_index_restore(struct dd_index *ix, uint64_t b, const uint64_t *e, unsigned n);
void dd_index_restore_incomplete(struct dd_index *ix); /* it was when it was saved */

#endif
