#include "blockstore/merge.h"
#include "blockstore/store_int.h"
#include "common/log.h"

static int merge_begin(struct bs_engine *e, struct bs_call *c)
{
	int rc = bs_merge_begin(e);

	return rc == VS_E_BUSY ? vs_fail(c->err, rc, "duplicates are being merged already") : rc;
}

int bs_store_merge_begin(struct bs_store *s, struct vs_error *err)
{
	return bs_store_call(s, false, merge_begin, NULL, err);
}

static int merge_step(struct bs_engine *e, struct bs_call *c)
{
	return bs_merge_step(e, c->arg);
}

int bs_store_merge_step(struct bs_store *s, struct bs_merge_info *out, struct vs_error *err)
{
	return bs_store_call(s, false, merge_step, out, err);
}

static int merge_end(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	bs_merge_end(e);
	return 0;
}

void bs_store_merge_end(struct bs_store *s)
{
	if (bs_store_call(s, false, merge_end, NULL, NULL))
		vs_err("cannot end merging");
}
