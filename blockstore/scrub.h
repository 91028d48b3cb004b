/*
 * Scrub: reads back, while the store is in use, everything that lives on the device and compares
 * it: table pages (both copies) and map pages with their checksums, contents with their checksum
 * and, decoded, with their SHA-256. At the end references and space are counted again from the
 * maps, as of one checkpoint (scrub_count.h).
 *
 * The caller goes through the store in small steps, as fast as it wants to, and keeps the position:
 * it holds across restarts, but counting begins anew. What changes meanwhile is not damage: what is
 * read has its place looked up first and its segment held until it has been read, and what is found
 * is looked at again before it is said. Damaged content is marked: reads of it fail and nothing is
 * deduplicated against it.
 *
 * Ownership: bs_scrub_new and bs_scrub_free in pairs, before the store is closed. Threads: a scrub
 * is used by one thread at a time, which hashes; the functions wait for the engine.
 */
#ifndef BS_SCRUB_H
#define BS_SCRUB_H

#include "blockstore/store.h"
#include "dedup/digest.h"

struct bs_scrub;

enum bs_scrub_part {
	BS_SCRUB_TABLES,
	BS_SCRUB_MAPS,
	BS_SCRUB_CONTENTS,
	BS_SCRUB_COUNTS,
	BS_SCRUB_END
};

/* What came of counting. */
enum bs_scrub_counts {
	BS_COUNTS_OPEN,	   /* not yet done */
	BS_COUNTS_RIGHT,   /* references and space are as the maps say */
	BS_COUNTS_WRONG,   /* what differs has been found: the offline check names and repairs it */
	BS_COUNTS_PUT_OFF, /* three times the store needed the space that was kept for it */
	BS_COUNTS_LOST,	   /* a page cannot be read */
};

/* Zeros: the beginning. */
struct bs_scrub_position {
	uint32_t part; /* enum bs_scrub_part */
	uint64_t at;
};

struct bs_scrub_found {
	enum bs_scrub_part part;
	uint64_t id;		 /* contents and map pages: CID */
	struct dd_digest digest; /* of a content */
	bool healed;		 /* from a second copy or from memory */
	char what[96];		 /* for people */
};
#define BS_SCRUB_FOUND_MAX 256u

struct bs_scrub_result {
	uint64_t contents; /* looked at in this step */
	uint64_t pages;
	uint64_t total;		     /* live contents of the store now */
	bool busy;		     /* others used the store meanwhile */
	enum bs_scrub_counts counts; /* at the end of that part */
	unsigned nfound;
	struct bs_scrub_found found[BS_SCRUB_FOUND_MAX];
};

int bs_scrub_new(struct bs_store *s, struct bs_scrub **out) vs_must_check;
void bs_scrub_free(struct bs_scrub *sc);
/* One step of at most 170 contents or 64 pages from *at on, which moves. */
int bs_scrub_step(struct bs_scrub *sc, struct bs_scrub_position *at, struct bs_scrub_result *out,
		  struct vs_error *err) vs_must_check;

struct bs_scrub_range {
	uint64_t offset, length; /* bytes; UINT64_MAX: all the objects from there on */
	uint32_t object;	 /* of a volume of objects, else 0 */
};
/*
 * What of a volume or snapshot (by id) cannot be read: its marked content and what lies below map
 * pages that cannot be read; with tables also what cannot be found any more. *cursor begins at 0
 * and ends at UINT64_MAX.
 */
int bs_scrub_name(struct bs_scrub *sc, uint64_t volume, bool tables, uint64_t *cursor,
		  struct bs_scrub_range *out, size_t max, size_t *n,
		  struct vs_error *err) vs_must_check;

/*
 * Gives a damaged content bytes again, which must have its digest (VS_E_CHECKSUM). VS_E_NOENT: it
 * is not alive any more.
 */
int bs_scrub_heal(struct bs_scrub *sc, uint64_t cid, const uint8_t plain[BS_BLOCK],
		  struct vs_error *err) vs_must_check;
/* Marks contents that an earlier scrub found. */
int bs_scrub_mark(struct bs_store *s, const uint64_t *cids, size_t n,
		  struct vs_error *err) vs_must_check;

#endif
