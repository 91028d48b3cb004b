#include "tests/sim/content.h"

#include "common/bytes.h"
#include "tests/sim/rng.h"

void sim_content_fill(uint64_t tag, void *sector)
{
	uint64_t content = tag / SIM_BLOCK_SECTORS, words[SIM_TAG_SECTOR / 8];
	unsigned noise = content % 3 == 0 ? 64 : content % 3 == 1 ? 1 : 32;

	memset(words, 0, sizeof(words));
	words[0] = tag;
	for (unsigned i = 1; tag && i < 64; i++)
		words[i] = i < noise ? sim_mix(tag * 64 + i) : content;
	memcpy(sector, words, sizeof(words));
}

bool sim_content_read(const void *sector, uint64_t *tag)
{
	unsigned char want[SIM_TAG_SECTOR];

	memcpy(tag, sector, sizeof(*tag));
	sim_content_fill(*tag, want);
	return memcmp(sector, want, sizeof(want)) == 0;
}
