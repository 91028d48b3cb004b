/*
 * Which version of each block a server has acknowledged, and which one it may have taken besides.
 * The content of a block follows from seed, block and version, so a file of versions is enough to
 * check a disk after a crash. One thread.
 */
#ifndef TESTS_LOAD_JOURNAL_H
#define TESTS_LOAD_JOURNAL_H

#include <stdint.h>

#define JOURNAL_BLOCK 4096u

struct journal {
	uint64_t seed;
	uint64_t blocks;
	/* Versions count from 1; 0 is never written: zeros. */
	uint32_t *acked;   /* what was acknowledged last */
	uint32_t *pending; /* sent and not acknowledged; 0: none */
	uint32_t *newest;  /* last version given out */
};

int journal_new(struct journal *j, uint64_t seed, uint64_t blocks);
int journal_load(struct journal *j, const char *path);
int journal_save(const struct journal *j, const char *path);
void journal_free(struct journal *j);
void journal_content(const struct journal *j, uint64_t block, uint32_t version,
		     uint8_t out[JOURNAL_BLOCK]);

#endif
