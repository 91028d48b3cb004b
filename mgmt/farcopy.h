/*
 * LUNs of other arrays and files of NFS servers from and to volumes, several pieces in flight,
 * holes skipped. Threads: those of tasks.
 */
#ifndef MG_FARCOPY_H
#define MG_FARCOPY_H

#include "blockstore/far.h"
#include "blockstore/volume.h"
#include "common/loop.h"
#include "mgmt/task.h"

struct mg_farcopy {
	struct bs_store *store;
	struct bs_volume *volume;
	struct bs_far *far;   /* closed, and NULL, when copying fails */
	bool blank;	      /* far: reads as zeros where nothing is written */
	struct vs_loop *loop; /* far's */
	uint64_t size;	      /* bytes to copy: a multiple of a LUN's sector */
	struct mg_task *task;
	uint64_t bytes; /* out: data really copied, without holes */
};

/* Into a volume of zeros of at least `size`; its last block is filled with zeros. */
int mg_farcopy_in(struct mg_farcopy *c, struct vs_error *err) vs_must_check;
/* The volume's first `size` bytes, zeros too, flushed at the end. */
int mg_farcopy_out(struct mg_farcopy *c, struct vs_error *err) vs_must_check;

#endif
