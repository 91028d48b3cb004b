#include "mgmt/vdi_format.h"

#include "common/bytes.h"

#define DATA_OFFSET 0x158
#define BLOCK_SIZE 0x178
#define BLOCKS_ALLOCATED 0x184

uint64_t mg_vdi_length(const uint8_t header[MG_VDI_HEADER])
{
	return vs_get_le32(header + DATA_OFFSET) +
	       (uint64_t)vs_get_le32(header + BLOCK_SIZE) * vs_get_le32(header + BLOCKS_ALLOCATED);
}
