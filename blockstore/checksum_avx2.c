/*
 * The library computes with SSE2. Its own choice of wider code (xxh_x86dispatch.h) leaves the upper
 * halves of vector registers in use, and then SHA-256 and all that is made for SSE runs slower; the
 * compiler clears them at the end of what it translates for AVX2.
 */
#include "blockstore/checksum.h"

#ifdef BS_CHECKSUM_AVX2
#pragma GCC target("avx2")
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t bs_checksum_avx2(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
#endif
