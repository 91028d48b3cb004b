/*
 * The inside of recovery, shared by recover.c (the way along the log) and replay.c (what its
 * records do).
 */
#ifndef BS_REPLAY_INT_H
#define BS_REPLAY_INT_H

#include "blockstore/replay.h"

struct bs_logread;

struct bs_replay {
	struct bs_logread *log;
	uint8_t *buf, *other; /* other: what a mirror's other side has */
	uint32_t seg, off;
	uint32_t ahead[BS_LOG_AHEAD];
	uint64_t seq, chain; /* of the unit that comes next */
	const uint8_t *pages;
	uint64_t npages, page_at;
	bool settle; /* the log was written before there were drops */
	int error;   /* the device could not be read: where the log ends is not known */
};

/* Executes the unit in r->buf; in a fiber. VS_E_CORRUPT: a record does not fit the tables. */
int bs_replay_unit(struct bs_engine *e, struct bs_replay *r,
		   const struct bs_unit_head *h) vs_must_check;
void bs_replay_use(struct bs_engine *e, uint32_t seg); /* the log lies in it */

#endif
