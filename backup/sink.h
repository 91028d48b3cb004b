/*
 * What one job writes: collects blocks and pages in frames, frames in packs, packs in index
 * objects.
 *
 * Threads: one at a time; packs of blocks are put by a thread of its own meanwhile. Memory: two
 * packs of the repository's pack target, a quarter of one for pages, their tables, and
 * BK_INDEX_ENTRIES_MAX entries of 40 bytes with a hash of 2 MiB; nothing grows beyond that.
 * An item is reserved by its digest first, so that a digest is stored once per job, and given its
 * bytes later; bk_sink_commit needs every reserved item to have them.
 */
#ifndef BK_SINK_H
#define BK_SINK_H

#include "backup/repo_impl.h"

struct bk_sink;

struct bk_sink_stats {
	uint64_t blocks, pages; /* stored by this job */
	uint64_t bytes;		/* of all objects written */
};

int bk_sink_new(struct bk_repo *r, struct bk_sink **out, struct vs_error *err) vs_must_check;
void bk_sink_free(struct bk_sink *s); /* what is not committed is dropped */

/*
 * 1: the digest is new; *item is its number, to be given with the bytes. 0: the repository or this
 * job has it. VS_E_AGAIN: no room before the next bk_sink_commit.
 */
int bk_sink_reserve(struct bk_sink *s, const struct dd_digest *digest, enum bk_kind kind,
		    uint32_t *item, struct vs_error *err) vs_must_check;
/* From now on the repository's own copies do not count: for moving items to new packs. */
void bk_sink_anew(struct bk_sink *s);
/* raw holds n items, as many bytes as the kind has each; at most the repository's frame_raw. */
int bk_sink_frame(struct bk_sink *s, enum bk_kind kind, const void *raw, const uint32_t *items,
		  unsigned n, struct vs_error *err) vs_must_check;
/* Writes the open packs and the index object; afterwards all is in the repository's index. */
int bk_sink_commit(struct bk_sink *s, struct vs_error *err) vs_must_check;
bool bk_sink_full(const struct bk_sink *s); /* commit soon: fewer than 1024 items fit */
void bk_sink_stats(const struct bk_sink *s, struct bk_sink_stats *out);

#endif
