/* The store's checksum, XXH3-64: of contents, pages, units, superblocks. */
#ifndef BS_CHECKSUM_H
#define BS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t bs_checksum(const void *data, size_t len);

#if defined(__x86_64__) && !defined(__clang__)
#define BS_CHECKSUM_AVX2
uint64_t bs_checksum_avx2(const void *data, size_t len); /* only where the CPU has AVX2 */
#endif

#endif
