#include "tests/load/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

int journal_new(struct journal *j, uint64_t seed, uint64_t blocks)
{
	*j = (struct journal){.seed = seed, .blocks = blocks};
	j->acked = calloc(blocks, sizeof(*j->acked));
	j->pending = calloc(blocks, sizeof(*j->pending));
	j->newest = calloc(blocks, sizeof(*j->newest));
	if (j->acked && j->pending && j->newest)
		return 0;
	journal_free(j);
	return -1;
}

void journal_free(struct journal *j)
{
	free(j->acked);
	free(j->pending);
	free(j->newest);
}

int journal_load(struct journal *j, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint64_t head[2];
	int rc = -1;

	if (!f)
		return -1;
	if (fread(head, sizeof(head), 1, f) == 1 && journal_new(j, head[0], head[1]) == 0) {
		size_t n = j->blocks;

		if (fread(j->acked, sizeof(uint32_t), n, f) == n &&
		    fread(j->pending, sizeof(uint32_t), n, f) == n &&
		    fread(j->newest, sizeof(uint32_t), n, f) == n)
			rc = 0;
		else
			journal_free(j);
	}
	fclose(f);
	return rc;
}

int journal_save(const struct journal *j, const char *path)
{
	FILE *f = fopen(path, "wb");
	uint64_t head[2] = {j->seed, j->blocks};
	size_t n = j->blocks;
	int rc = -1;

	if (!f)
		return -1;
	if (fwrite(head, sizeof(head), 1, f) == 1 &&
	    fwrite(j->acked, sizeof(uint32_t), n, f) == n &&
	    fwrite(j->pending, sizeof(uint32_t), n, f) == n &&
	    fwrite(j->newest, sizeof(uint32_t), n, f) == n)
		rc = 0;
	return fclose(f) == 0 ? rc : -1;
}

/*
 * One version in four is content that other blocks have too, one in four compresses; the rest does
 * neither.
 */
void journal_content(const struct journal *j, uint64_t block, uint32_t version,
		     uint8_t out[JOURNAL_BLOCK])
{
	uint64_t x = mix(j->seed ^ mix(block * 2654435761u + version));
	size_t fresh = JOURNAL_BLOCK;

	if (version == 0) {
		memset(out, 0, JOURNAL_BLOCK);
		return;
	}
	if (version % 4 == 1)
		x = mix(j->seed ^ (x % 64));
	else if (version % 4 == 2)
		fresh = JOURNAL_BLOCK / 4;
	for (size_t i = 0; i < JOURNAL_BLOCK; i += 8) {
		if (i < fresh)
			x = mix(x + UINT64_C(0x9e3779b97f4a7c15));
		memcpy(out + i, &x, 8);
	}
}
