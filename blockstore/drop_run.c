#include "blockstore/drop_run.h"

#include "blockstore/super_format.h"

#include <stdlib.h>

int bs_droprun_grow(struct bs_droprun *r, uint64_t room)
{
	uint64_t *cid;

	if (room <= r->room)
		return 0;
	if (room > BS_DROPS_MAX)
		return VS_E_NOMEM;
	room = VS_MAX(room, r->room + r->room / 2);
	cid = realloc(r->cid, room * sizeof(*cid));
	if (!cid)
		return VS_E_NOMEM;
	r->cid = cid;
	r->room = room;
	return 0;
}

void bs_droprun_push(struct bs_droprun *r, uint64_t cid)
{
	uint64_t i = r->left;

	VS_ASSERT(r->heap == r->left && r->left < r->room);
	while (i && bs_cid_slot(r->cid[(i - 1) / 2]) > bs_cid_slot(cid)) {
		r->cid[i] = r->cid[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->cid[i] = cid;
	r->heap = ++r->left;
}

/* The lowest goes to the heap's end, which becomes shorter by one. */
static void pop(struct bs_droprun *r)
{
	uint64_t lowest = r->cid[0], last = r->cid[--r->heap], i = 0;

	for (uint64_t k = 1; k < r->heap; k = 2 * i + 1) {
		if (k + 1 < r->heap && bs_cid_slot(r->cid[k + 1]) < bs_cid_slot(r->cid[k]))
			k++;
		if (bs_cid_slot(r->cid[k]) >= bs_cid_slot(last))
			break;
		r->cid[i] = r->cid[k];
		i = k;
	}
	r->cid[i] = last;
	r->cid[r->heap] = lowest;
}

bool bs_droprun_collect(struct bs_droprun *r, uint64_t most)
{
	while (r->heap && (r->heap == r->left ||
			   bs_drop_leaf(r->cid[0]) == bs_drop_leaf(r->cid[r->left - 1]))) {
		if (!most--)
			return false;
		pop(r);
	}
	return true;
}

uint32_t bs_droprun_same(const struct bs_droprun *r, uint64_t at)
{
	uint32_t n = 1;

	while (at + n < r->left && r->cid[at + n] == r->cid[at])
		n++;
	return n;
}
