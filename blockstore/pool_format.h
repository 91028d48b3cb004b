/*
 * On-disk bytes of the device table in the superblock (FORMAT.md, "Device table").
 *
 * A store's segments lie in groups; a group is one device, or up to four that hold the same bytes.
 * Ranges give segment numbers to groups. Pure functions, any thread.
 */
#ifndef BS_POOL_FORMAT_H
#define BS_POOL_FORMAT_H

#include "common/err.h"
#include "common/uuid.h"

#define BS_POOL_DEVICES 16u
#define BS_POOL_RANGES 29u
#define BS_POOL_MEMBERS 4u	/* devices of one group */
#define BS_POOL_NOWHERE 0xfffeu /* group of ranges whose devices are gone */
#define BS_DEVTAB_SIZE 1016u

enum bs_member_state {
	BS_MEMBER_NONE,	    /* in memory only: the entry is not used */
	BS_MEMBER_SYNC,	    /* holds everything of its group */
	BS_MEMBER_RESILVER, /* gets all that is written; older segments are being copied to it */
	BS_MEMBER_MISSING,  /* was absent, or failed, while others were written */
	BS_MEMBER_LEAVING,  /* as SYNC; goes when another one of its group is in sync */
};

struct bs_devent {
	struct vs_uuid uuid;
	uint64_t size;	   /* bytes of it that the store uses */
	uint16_t group;	   /* smaller than BS_POOL_DEVICES */
	uint8_t member;	   /* order within its group */
	uint8_t state;	   /* enum bs_member_state */
	uint32_t resilver; /* RESILVER: the segments before this one have been copied */
};

/* Segments [first, first + count) are slots [slot, slot + count) of the group's devices. */
struct bs_range {
	uint32_t first, count, slot;
	uint16_t group;
};

struct bs_devtab {
	uint64_t generation;	 /* grows with each change; the highest of all copies counts */
	struct vs_uuid self;	 /* the device that this copy was written to */
	unsigned ndevs, nranges; /* 0: the store is one device without a table */
	struct bs_devent dev[BS_POOL_DEVICES];
	struct bs_range range[BS_POOL_RANGES];
};

void bs_devtab_put(uint8_t b[BS_DEVTAB_SIZE], const struct bs_devtab *t);
/* VS_E_CORRUPT: a field is outside its range, or the ranges do not give `segments` places. */
int bs_devtab_get(const uint8_t b[BS_DEVTAB_SIZE], uint32_t segments, uint32_t segment_size,
		  struct bs_devtab *t) vs_must_check;
static inline bool bs_member_whole(unsigned state)
{
	return state == BS_MEMBER_SYNC || state == BS_MEMBER_LEAVING;
}
/* Index of a device, or -1. */
int bs_devtab_find(const struct bs_devtab *t, const struct vs_uuid *uuid);

#endif
