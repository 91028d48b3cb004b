/* Entries of a directory on their way from the names to a READDIR's caller. */
#ifndef DS_BATCH_H
#define DS_BATCH_H

#include "datastore/task.h"

#define DS_BATCH_MAX 64u
#define DS_BATCH_REQS (DS_BATCH_MAX / BS_CHANGES_MAX)

struct ds_batch {
	unsigned n;
	bool last; /* nothing comes behind them */
	struct {
		struct ds_name name;
		uint16_t at, len;
	} entry[DS_BATCH_MAX];
	char names[DS_BATCH_MAX * DS_NAME_MAX];
	/* records, where they are asked for */
	struct bs_object_change change[DS_BATCH_MAX];
	struct bs_req io[DS_BATCH_REQS];
	unsigned pending;
	int status;
};

#endif
