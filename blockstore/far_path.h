/*
 * When the way to another machine is tried again and for how long requests are held: the rules that
 * LUNs and NFS files share. No lock: one thread.
 */
#ifndef BS_FAR_PATH_H
#define BS_FAR_PATH_H

#include "common/bytes.h"

#define BS_FAR_BACKOFF_NS UINT64_C(100000000) /* doubled by each attempt */
#define BS_FAR_BACKOFF_MAX_NS UINT64_C(5000000000)

struct bs_far_path {
	uint64_t hold_ns;
	bool opened;  /* was up before: is mended by itself */
	bool steady;  /* of use since it came up: one that breaks before has not come back */
	bool expired; /* down for longer than hold_ns */
	uint64_t down_ns, retry_ns;
	unsigned attempts; /* since it went down */
};

/* An attempt failed, or, with was_up, it broke; true: that is news. */
static inline bool bs_far_path_broke(struct bs_far_path *p, bool was_up, uint64_t now)
{
	bool news = was_up && p->steady;

	if (news) {
		p->attempts = 0;
		p->down_ns = now;
	}
	p->retry_ns =
	    now + VS_MIN(BS_FAR_BACKOFF_NS << VS_MIN(p->attempts, 10u), BS_FAR_BACKOFF_MAX_NS);
	p->attempts++;
	return news;
}

/* It is up; how many ns it was down, 0 at the first time. */
static inline uint64_t bs_far_path_up(struct bs_far_path *p, uint64_t now)
{
	uint64_t down = p->opened ? now - p->down_ns : 0;

	if (!p->opened)
		p->down_ns = now; /* one that breaks before it was of use counts from here */
	p->opened = true;
	p->expired = p->steady = false;
	return down;
}

/* Asked while it is down. True once: what is held fails. */
static inline bool bs_far_path_expires(struct bs_far_path *p, uint64_t now)
{
	bool late = p->opened && !p->expired && now - p->down_ns > p->hold_ns;

	p->expired |= late;
	return late;
}

#endif
