#include "blockstore/stored.h"

#include <lz4.h>
#include <zstd.h>

int bs_stored_decode(const uint8_t *stored, const struct bs_place *p, uint8_t plain[BS_BLOCK])
{
	bool ok;

	if ((bs_checksum(stored, p->len) & BS_CHECK56) != p->check)
		return VS_E_CHECKSUM;
	switch (p->coding) {
	case BS_CODING_PLAIN:
		ok = p->len == BS_BLOCK;
		if (ok)
			memcpy(plain, stored, BS_BLOCK);
		break;
	case BS_CODING_LZ4:
		ok = LZ4_decompress_safe((const char *)stored, (char *)plain, (int)p->len,
					 BS_BLOCK) == BS_BLOCK;
		break;
	case BS_CODING_ZSTD:
		ok = ZSTD_decompress(plain, BS_BLOCK, stored, p->len) == BS_BLOCK;
		break;
	default:
		ok = false;
	}
	return ok ? 0 : VS_E_CORRUPT;
}

void bs_stored_encode(const uint8_t plain[BS_BLOCK], uint8_t *to, struct bs_place *p)
{
	int n = LZ4_compress_default((const char *)plain, (char *)to, BS_BLOCK, BS_BLOCK * 7 / 8);

	p->coding = n > 0 ? BS_CODING_LZ4 : BS_CODING_PLAIN;
	p->len = n > 0 ? (uint32_t)n : BS_BLOCK;
	if (n <= 0)
		memcpy(to, plain, BS_BLOCK);
	p->check = bs_checksum(to, p->len) & BS_CHECK56;
}
