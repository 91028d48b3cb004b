#include "tests/sim/content.h"

#include "common/bytes.h"
#include "tests/sim/rng.h"

void sim_content_fill(uint64_t tag, void *sector)
{
	uint64_t content = tag / SIM_BLOCK_SECTORS, words[SIM_TAG_SECTOR / 8];
	unsigned noise = content % 3 == 0 ? 64 : content % 3 == 1 ? 1 : 32;

	if (tag == 0) {
		memset(sector, 0, sizeof(words));
		return;
	}
	words[0] = tag;
	for (unsigned i = 1; i < 64; i++)
		words[i] = content;
	for (unsigned i = 1; i < noise; i++) { /* enough to defeat LZ4, and cheap */
		uint64_t z = (tag * 64 + i) * UINT64_C(0x9e3779b97f4a7c15);

		words[i] = (z ^ z >> 32) * UINT64_C(0xbf58476d1ce4e5b9);
	}
	memcpy(sector, words, sizeof(words));
}

bool sim_content_read(const void *sector, uint64_t *tag)
{
	unsigned char want[SIM_TAG_SECTOR];

	memcpy(tag, sector, sizeof(*tag));
	sim_content_fill(*tag, want);
	return memcmp(sector, want, sizeof(want)) == 0;
}
