#include "blockstore/nfs_doubt.h"

#include "common/bytes.h"

void bs_nfs_doubt_add(struct bs_nfs_doubt *d, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	unsigned last = BS_NFS_DOUBTS - 1;

	for (unsigned i = 0; i < d->n; i++)
		if (d->range[i].from <= offset && end <= d->range[i].to)
			return;
	if (d->n < BS_NFS_DOUBTS) {
		d->range[d->n].from = offset;
		d->range[d->n++].to = end;
		return;
	}
	d->range[last].from = VS_MIN(d->range[last].from, offset);
	d->range[last].to = VS_MAX(d->range[last].to, end);
}

bool bs_nfs_doubt_hits(const struct bs_nfs_doubt *d, uint64_t offset, uint64_t length)
{
	for (unsigned i = 0; i < d->n; i++)
		if (d->range[i].from < offset + length && offset < d->range[i].to)
			return true;
	return false;
}
