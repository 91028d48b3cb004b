/*
 * Thick volumes: room that is kept for rewriting them, whatever others write.
 *
 * A thick volume reserves bs_thick_bytes of its size: every block in full, uncompressed, and the
 * metadata for them. What it stores itself, and nobody shares, lies within that. So with
 *   total = what all thick volumes reserve,
 *   other = live bytes that are not contents of thick volumes alone,
 * every block of every thick volume can be rewritten at any time as long as
 *   other + total <= limit.
 * Whatever makes `other` or `total` grow is checked against that: writes of thin volumes, new thick
 * volumes, and snapshots of thick ones, whose content is then theirs alone no longer. What a thick
 * volume writes changes neither. Its content is private (not deduplicated), else a thin volume's
 * write could share it, and rewriting it would free nothing.
 *
 * `other` is kept as an upper bound in memory: all that thin volumes write is added. What they free
 * is not known to be theirs; when the bound is in the way, a count of the thick volumes' own
 * contents makes it exact again, and those who need room wait for it. Engine's thread.
 */
#ifndef BS_THICK_H
#define BS_THICK_H

#include "blockstore/fiber.h"
#include "blockstore/table_format.h"

struct bs_engine;
struct bs_vol;

struct bs_thick {
	uint64_t total;	  /* reserved; with what calls in progress are about to */
	uint64_t pending; /* the latter */
	uint64_t other;	  /* upper bound, beside the number of all live bytes */
	uint64_t gain;	  /* by so much at most another count would lower `other` */
	uint64_t
	    meta[2]; /* of pages that no checkpoint may have written yet: at most so many bytes */
	uint64_t meta_checkpoint;
	uint64_t freed; /* bytes, since open */
	uint64_t epoch; /* grows when what a count has found may no longer hold */
	uint64_t counted_ns;
	bool hold; /* snapshots are about to share thick volumes' content: no count begins */
	bool counting, wanted;
	struct bs_waitq wait; /* for the end of a count */
};

/* What a volume of that size reserves. */
uint64_t bs_thick_bytes(uint64_t size);
/* Of what is reserved, what is not used so far (at most). */
uint64_t bs_thick_unused(const struct bs_engine *e);
/* After recovery. */
void bs_thick_loaded(struct bs_engine *e);
/* (step) A thick volume was made, changed or deleted, or its content shared. */
void bs_thick_changed(struct bs_engine *e, bool was_thick);

/*
 * Whether a write to v that adds `new` contents of `payload` bytes and `pages` map pages leaves the
 * others their room. VS_E_NOSPC; VS_E_AGAIN outside fibers, where it waits for a count.
 */
int bs_thick_room(struct bs_engine *e, const struct bs_vol *v, uint32_t payload, unsigned new,
		  unsigned pages) vs_must_check;
/* (step) It did. */
void bs_thick_wrote(struct bs_engine *e, const struct bs_vol *v, uint32_t payload, unsigned new,
		    unsigned pages);
/* (step) len bytes are free. */
void bs_thick_freed(struct bs_engine *e, uint32_t len);
/* (step) Contents may have become a thick volume's own: a snapshot of it has gone. */
void bs_thick_merged(struct bs_engine *e);

/*
 * In a fiber, by the one call that changes volumes: reserves bytes more, until bs_thick_settle says
 * that the volume table has them (or that nothing came of it). VS_E_NOSPC, *lacking: bytes.
 */
int bs_thick_reserve(struct bs_engine *e, uint64_t bytes, uint64_t *lacking) vs_must_check;
/* The same for the content of n thick volumes (not NULL) that snapshots are about to share. */
int bs_thick_share(struct bs_engine *e, struct bs_vol *const *vols, size_t n,
		   uint64_t *lacking) vs_must_check;
void bs_thick_settle(struct bs_engine *e);

void bs_thick_start(struct bs_engine *e); /* a count in the background, when one is wanted */

#endif
