#include "targets/nfs/nfs4_range.h"

#include "common/bytes.h"

#include <stddef.h>

static bool overlaps(const struct nfs4_range *r, uint64_t first, uint64_t last)
{
	return r->first <= last && first <= r->last;
}

/* Overlaps, or nothing lies between. */
static bool touches(const struct nfs4_range *r, uint64_t first, uint64_t last)
{
	return overlaps(r, first, last) || (r->last != UINT64_MAX && r->last + 1 == first) ||
	       (last != UINT64_MAX && last + 1 == r->first);
}

struct nfs4_range *nfs4_range_conflict(struct nfs4_range *list, const void *owner, uint64_t first,
				       uint64_t last, bool write)
{
	for (struct nfs4_range *r = list; r; r = r->next)
		if (r->owner != owner && (write || r->write) && overlaps(r, first, last))
			return r;
	return NULL;
}

static void push(struct nfs4_range **list, struct nfs4_range *r)
{
	r->next = *list;
	*list = r;
}

/* r loses [first, last], which it overlaps. True: nothing is left of it. */
static bool cut(struct nfs4_range *r, uint64_t first, uint64_t last, struct nfs4_range **spare)
{
	bool left = r->first<first, right = r->last> last;

	if (left && right) { /* only one range can reach beyond both ends */
		struct nfs4_range *rest = *spare, *next = r->next;

		VS_ASSERT(rest);
		*spare = NULL;
		*rest = *r;
		rest->next = next;
		rest->first = last + 1;
		r->next = rest;
		r->last = first - 1;
	} else if (left) {
		r->last = first - 1;
	} else if (right) {
		r->first = last + 1;
	}
	return !left && !right;
}

int nfs4_range_set(struct nfs4_range **list, struct nfs4_range *want, struct nfs4_range *spare,
		   bool unlock, struct nfs4_range **unused)
{
	uint64_t first = want->first, last = want->last;
	struct nfs4_range **link = list, *r;
	int grown = 1; /* spare */

	*unused = NULL;
	while ((r = *link)) {
		bool merge = !unlock && r->write == want->write && touches(r, first, last);
		bool gone = false;

		if (r->owner == want->owner && merge) {
			want->first = r->first < want->first ? r->first : want->first;
			want->last = r->last > want->last ? r->last : want->last;
			gone = true;
		} else if (r->owner == want->owner && overlaps(r, first, last)) {
			gone = cut(r, first, last, &spare);
		}
		if (!gone) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		push(unused, r);
		grown--;
	}
	if (unlock)
		push(unused, want);
	else
		push(list, want);
	grown += unlock ? 0 : 1;
	if (spare) {
		push(unused, spare);
		grown--;
	}
	return grown;
}
