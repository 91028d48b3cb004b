/* CRC32C (RFC 7143, 13.1) as digests use it; with the CPU's instruction where there is one. */
#ifndef ISCSI_CRC32C_H
#define ISCSI_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc: 0 to begin, else what the call for the bytes before returned. Any thread. */
uint32_t iscsi_crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the instruction, for machines that lack it. */
uint32_t iscsi_crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
