/*
 * Contents known to be damaged: reads of them fail without looking, and nothing is deduplicated
 * against them, so that what is written again is stored again. Engine's thread.
 *
 * In memory only: whoever scrubs remembers them beyond a restart. A content id is never given to
 * other content before its generation has come round, so one that is stale does no harm.
 */
#ifndef BS_MARKS_H
#define BS_MARKS_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

#define BS_MARKS_MAX 4096u /* of a device with more damage all is suspect */

struct bs_marks {
	uint64_t *slots; /* twice as many, 0: free */
	uint32_t n;
};

int bs_marks_init(struct bs_marks *m) vs_must_check;
void bs_marks_destroy(struct bs_marks *m);
bool bs_marks_has(const struct bs_marks *m, uint64_t cid);
bool bs_marks_add(struct bs_marks *m, uint64_t cid); /* false: there are BS_MARKS_MAX */
void bs_marks_remove(struct bs_marks *m, uint64_t cid);

#endif
