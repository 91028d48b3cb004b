/* The inside of the scrub: scrub.c (state and task), scrub_damage.c (naming and healing). */
#ifndef MG_SCRUB_IMPL_H
#define MG_SCRUB_IMPL_H

#include "blockstore/scrub.h"
#include "mgmt/scrub.h"

#define MG_SCRUB_ERRORS 1000u  /* entries kept of each, healed and not */
#define MG_SCRUB_PENDING 1024u /* contents that are named and healed together */
#define MG_SCRUB_DAMAGED 4096u /* contents remembered for the next start */

enum mg_scrub_state { MG_SCRUB_NEVER, MG_SCRUB_RUNNING, MG_SCRUB_STOPPED, MG_SCRUB_DONE };

/* lock guards all; the task alone changes what stands behind it. */
struct mg_scrub {
	struct mg_node *node;
	pthread_mutex_t lock;
	bool leaving; /* the daemon stops */
	enum mg_scrub_state state;
	int64_t task, started_ns, finished_ns; /* 0: none */
	struct bs_scrub_position at;
	uint64_t checked, pages, total;
	enum bs_scrub_counts counts;
	bool lost;	  /* a page is lost without which contents cannot be found */
	json_t *healed;	  /* entries of errors[], for good; also counts that differ */
	json_t *unhealed; /* those of the last naming */
	json_t *damaged;  /* contents, 16 hex digits each */
};

/* Contents found damaged since the last batch; the task's own. */
struct mg_scrub_batch {
	struct bs_scrub_found found[MG_SCRUB_PENDING];
	unsigned n;
	uint64_t since_ns; /* of the first */
	bool map;	   /* also a page without which maps are cut off */
};

/* Notes what a step has found: says it, and fills the batch. */
void mg_scrub_note(struct mg_scrub *s, struct mg_scrub_batch *b, const struct bs_scrub_result *r,
		   uint64_t now_ns);
/* Names what is damaged, heals what a repository holds, and empties the batch. */
void mg_scrub_settle(struct mg_scrub *s, struct bs_scrub *sc, struct mg_scrub_batch *b);
/* A copy of damaged as numbers, at most max; how many. */
size_t mg_scrub_damaged(const json_t *damaged, uint64_t *cids, size_t max);

#endif
