/*
 * What simulated guests write: 512-byte sectors made from a tag, and the tag read back from them.
 *
 * Tag 0 is zeros. Any other tag is content number * 8 + the sector's place in its block, so equal
 * numbers make equal blocks. By its number a content is noise, compressible or half of each. Pure.
 */
#ifndef SIM_CONTENT_H
#define SIM_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_TAG_SECTOR 512u
#define SIM_BLOCK_SECTORS 8u

static inline uint64_t sim_tag(uint64_t content, uint32_t sector)
{
	return content ? content * SIM_BLOCK_SECTORS + sector % SIM_BLOCK_SECTORS : 0;
}

void sim_content_fill(uint64_t tag, void *sector);
/* false when the bytes are no content at all. */
bool sim_content_read(const void *sector, uint64_t *tag);

#endif
