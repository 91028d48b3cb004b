/*
 * Ranges that a write may still reach late: it was sent on a connection that broke before the
 * answer came. NFSv3 has nothing that ends what an earlier connection has asked for, so nothing new
 * is written there until that is over. Pure functions, one thread.
 */
#ifndef BS_NFS_DOUBT_H
#define BS_NFS_DOUBT_H

#include <stdbool.h>
#include <stdint.h>

#define BS_NFS_DOUBTS 64u

/* Beyond BS_NFS_DOUBTS the last range covers what else comes. */
struct bs_nfs_doubt {
	struct {
		uint64_t from, to;
	} range[BS_NFS_DOUBTS];
	unsigned n;
};

void bs_nfs_doubt_add(struct bs_nfs_doubt *d, uint64_t offset, uint64_t length);
bool bs_nfs_doubt_hits(const struct bs_nfs_doubt *d, uint64_t offset, uint64_t length);

#endif
