/*
 * Which devices make up a store, and which of them can be relied on (DESIGN.md, "Devices").
 *
 * Threads and ownership as in pool.h. Errors: VS_E_NOTSTORE, VS_E_VERSION, VS_E_CORRUPT, VS_E_IO,
 * VS_E_INVAL (devices of different stores), VS_E_NOENT (a device is missing that nothing replaces),
 * VS_E_MISMATCH (mirrors that were both used without the other), each with what to do.
 */
#ifndef BS_POOL_OPEN_H
#define BS_POOL_OPEN_H

#include "blockstore/pool.h"

#define BS_POOL_NOTES 8u

struct bs_pool_found {
	struct bs_super sb; /* of the checkpoint that counts */
	bool changed;	    /* the table says more than what is on the devices: settle it */
	/* What the node should hear about once it listens. */
	struct {
		enum bs_severity severity;
		char text[256];
	} note[BS_POOL_NOTES];
	unsigned nnotes;
};

/*
 * Reads the superblocks of all devices given, in any order. A mirror's missing side is marked in
 * the table, a returned one becomes one to be resilvered. Writes nothing.
 */
int bs_pool_open(struct bs_device *const *devs, unsigned n, struct bs_pool **out,
		 struct bs_pool_found *found, struct vs_error *err) vs_must_check;
/* The newest valid superblock of one device. */
int bs_pool_read_super(struct bs_device *dev, struct bs_super *out,
		       struct vs_error *err) vs_must_check;

#endif
