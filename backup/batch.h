/*
 * Blocks to be fetched, taken in the order of packs so that each frame is read and decoded once a
 * batch. Threads: one at a time. Memory: BK_BATCH_MAX entries of 112 bytes.
 */
#ifndef BK_BATCH_H
#define BK_BATCH_H

#include "backup/fetch.h"

#define BK_BATCH_MAX (1u << 17) /* blocks: 512 MiB of data */

struct bk_batch;

struct bk_batch_ops {
	/* A block's verified bytes, valid during the call. */
	int (*block)(void *arg, uint64_t block, const uint8_t *data, struct vs_error *err);
	/* A block that cannot be had; 0: go on with the next. NULL: the error ends the batch. */
	int (*lost)(void *arg, uint64_t block, const struct vs_error *e);
	void *arg;
	const struct bk_watch *watch;
};

int bk_batch_new(struct bk_repo *r, struct bk_fetch *fetch, const struct bk_batch_ops *ops,
		 struct bk_batch **out, struct vs_error *err) vs_must_check;
void bk_batch_free(struct bk_batch *b);
/* Runs the batch first when it is full. */
int bk_batch_add(struct bk_batch *b, uint64_t block, const struct dd_digest *digest,
		 struct vs_error *err) vs_must_check;
int bk_batch_run(struct bk_batch *b, struct vs_error *err) vs_must_check;
uint64_t bk_batch_unique(const struct bk_batch *b); /* distinct blocks of each batch, summed */

#endif
