/*
 * A backup's tree of pages: 512 digests a page, level 0 over blocks, each further level over pages.
 * A digest of zeros stands for a subtree that reads as zeros. A page's digest is the SHA-256 of its
 * 16 KiB, so equal subtrees are stored once. Threads: one at a time.
 */
#ifndef BK_TREE_H
#define BK_TREE_H

#include "backup/fetch.h"
#include "backup/sink.h"

struct bk_page {
	struct dd_digest d[BK_PAGE_ENTRIES];
};

/* Building a tree from another one and what differs, in the order of blocks. */
struct bk_tree;

/* base: the tree to start from, NULL: zeros; base_blocks its size; blocks the new one's. */
int bk_tree_new(struct bk_sink *sink, struct bk_fetch *fetch, const struct dd_digest *base,
		uint64_t base_blocks, uint64_t blocks, uint32_t frame_raw, struct bk_tree **out,
		struct vs_error *err) vs_must_check;
void bk_tree_free(struct bk_tree *t);
/* block: above those of all earlier calls. Errors of bk_sink_reserve and bk_fetch_item. */
int bk_tree_set(struct bk_tree *t, uint64_t block, const struct dd_digest *d,
		struct vs_error *err) vs_must_check;
int bk_tree_zero(struct bk_tree *t, uint64_t block, uint64_t count,
		 struct vs_error *err) vs_must_check;
/* Hands all finished pages to the sink; needed before bk_sink_commit. */
int bk_tree_flush(struct bk_tree *t, struct vs_error *err) vs_must_check;
int bk_tree_finish(struct bk_tree *t, struct dd_digest *root, struct vs_error *err) vs_must_check;

/* Reading a tree in the order of blocks. */
struct bk_walk {
	struct bk_fetch *fetch;
	struct dd_digest root;
	uint64_t blocks, pos;
	unsigned levels;
	uint64_t idx[BK_LEVELS_MAX]; /* page number loaded at a level; UINT64_MAX: none */
	struct bk_page page[BK_LEVELS_MAX];
	uint64_t pages; /* read so far */
};

void bk_walk_begin(struct bk_walk *w, struct bk_fetch *fetch, const struct dd_digest *root,
		   uint64_t blocks);
/*
 * The next run: *count blocks from *first, with *d their digests (valid until the next call), or
 * NULL where they read as zeros. *count is 0 at the end. After an error the walk goes on behind the
 * run that could not be read.
 */
int bk_walk_next(struct bk_walk *w, uint64_t *first, uint64_t *count, const struct dd_digest **d,
		 struct vs_error *err) vs_must_check;

#endif
