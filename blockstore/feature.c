#include "blockstore/feature.h"

#include "blockstore/checkpoint.h"

int bs_feature_use(struct bs_engine *e, uint64_t incompat)
{
	int rc = 0;

	if ((e->sb.incompat & incompat) == incompat)
		return 0;
	e->features |= incompat;
	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = bs_checkpoint_run(e, false);
	return rc;
}

bool bs_feature_used(const struct bs_engine *e, uint64_t incompat)
{
	return ((e->sb.incompat | e->features) & incompat) != 0;
}
