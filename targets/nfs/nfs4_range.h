/*
 * Byte-range locks of one file: which ranges who has locked, and how (RFC 8881 section 18.10).
 *
 * Pure; the caller's lock. Invariant: ranges of one owner neither overlap, nor touch with the same
 * type.
 */
#ifndef NFS_NFS4_RANGE_H
#define NFS_NFS4_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct nfs4_range {
	struct nfs4_range *next;
	const void *owner; /* who is asked for conflicts */
	void *held;	   /* the caller's */
	uint64_t first, last;
	bool write;
};

/* The first range of another owner that stands in the way; NULL: none does. */
struct nfs4_range *nfs4_range_conflict(struct nfs4_range *list, const void *owner, uint64_t first,
				       uint64_t last, bool write);

/*
 * Locks want's bytes as want says, or, with unlock, unlocks them, whatever its owner had there:
 * ranges grow, shrink, split and merge. want and spare are the caller's nodes and are taken where
 * they are needed; *unused gets all nodes that are left over or became free. Returns by how many
 * nodes the list grew.
 */
int nfs4_range_set(struct nfs4_range **list, struct nfs4_range *want, struct nfs4_range *spare,
		   bool unlock, struct nfs4_range **unused);

#endif
