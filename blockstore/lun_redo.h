/*
 * What a LUN has acknowledged and not yet flushed, so that it can be sent again when its array may
 * have lost it. One thread.
 *
 * Room is reserved before a command is sent and turned into an entry when the command is done, so
 * keeping cannot fail. Entries have numbers in the order in which they were acknowledged.
 */
#ifndef BS_LUN_REDO_H
#define BS_LUN_REDO_H

#include "common/bytes.h"
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BS_REDO_CHUNK 4096u
#define BS_REDO_CHUNKS 64u /* most of one entry */

enum bs_redo_kind { BS_REDO_WRITE, BS_REDO_UNMAP, BS_REDO_ZERO };

struct bs_redo_entry {
	enum bs_redo_kind kind;
	uint64_t offset, length;
	uint32_t chunk; /* first; WRITE only */
};

/*
 * A chunk is on the free list, also when it is reserved, or an entry's; nfree counts those that are
 * not reserved, slots the entries likewise. Entries are [head, tail), each at number % cap.
 */
struct bs_redo {
	uint8_t *mem;
	uint32_t *next;
	struct bs_redo_entry *entry;
	uint32_t cap; /* chunks, and entries */
	uint32_t nfree, first_free, slots;
	uint64_t head, tail;
};

/* bytes 0: nothing can be kept. */
int bs_redo_init(struct bs_redo *r, uint64_t bytes) vs_must_check;
void bs_redo_free(struct bs_redo *r);
/* length is at most BS_REDO_CHUNKS chunks for WRITE. False: no room. */
bool bs_redo_reserve(struct bs_redo *r, enum bs_redo_kind kind, uint64_t length);
void bs_redo_unreserve(struct bs_redo *r, enum bs_redo_kind kind, uint64_t length);
/* What was reserved becomes an entry; iov holds length bytes. */
void bs_redo_keep(struct bs_redo *r, enum bs_redo_kind kind, uint64_t offset, uint64_t length,
		  const struct iovec *iov);
bool bs_redo_filling(const struct bs_redo *r); /* less than half is free */
/* All entries before number mark are durable. */
void bs_redo_forget(struct bs_redo *r, uint64_t mark);
bool bs_redo_overlaps(const struct bs_redo *r, uint64_t offset, uint64_t length); /* an entry */
const struct bs_redo_entry *bs_redo_at(const struct bs_redo *r, uint64_t number);
/* The bytes of an entry; returns how many of iov, at most BS_REDO_CHUNKS. */
int bs_redo_iov(const struct bs_redo *r, const struct bs_redo_entry *e, struct iovec *iov);

#endif
