#include "blockstore/checksum.h"

#include <xxhash.h>

uint64_t bs_checksum(const void *data, size_t len)
{
#ifdef BS_CHECKSUM_AVX2
	if (__builtin_cpu_supports("avx2"))
		return bs_checksum_avx2(data, len);
#endif
	return XXH3_64bits(data, len);
}
