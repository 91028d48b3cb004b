#include "targets/iscsi/scsi_format.h"

#include "common/bytes.h"

void scsi_sense_encode(uint8_t sense[SCSI_SENSE_LEN], uint8_t key, uint16_t asc)
{
	memset(sense, 0, SCSI_SENSE_LEN);
	sense[0] = 0x70;
	sense[2] = key;
	sense[7] = SCSI_SENSE_LEN - 8;
	vs_put_be16(sense + 12, asc);
}

void scsi_sense_information(uint8_t sense[SCSI_SENSE_LEN], uint64_t value)
{
	if (value > UINT32_MAX)
		return;
	sense[0] |= 0x80;
	vs_put_be32(sense + 3, (uint32_t)value);
}

void scsi_sense_encode_descriptor(uint8_t sense[8], uint8_t key, uint16_t asc)
{
	memset(sense, 0, 8);
	sense[0] = 0x72;
	sense[1] = key;
	vs_put_be16(sense + 2, asc);
}

void scsi_cdb_range(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks)
{
	switch (cdb[0] >> 5) {
	case 0:
		*lba = vs_get_be24(cdb + 1) & 0x1fffff;
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 4:
		*lba = vs_get_be64(cdb + 2);
		*blocks = vs_get_be32(cdb + 10);
		break;
	case 5:
		*lba = vs_get_be32(cdb + 2);
		*blocks = vs_get_be32(cdb + 6);
		break;
	default:
		*lba = vs_get_be32(cdb + 2);
		*blocks = vs_get_be16(cdb + 7);
	}
}

unsigned scsi_cdb_len(uint8_t opcode)
{
	static const uint8_t by_group[8] = {6, 10, 10, 0, 16, 12, 0, 0};

	return by_group[opcode >> 5];
}

int scsi_unmap_count(const uint8_t *list, size_t len)
{
	size_t descriptors;

	if (len < 8)
		return -1;
	descriptors = vs_get_be16(list + 2);
	if (descriptors > len - 8)
		return -1;
	return (int)(descriptors / 16);
}

void scsi_unmap_descriptor(const uint8_t *list, int i, uint64_t *lba, uint64_t *blocks)
{
	const uint8_t *d = list + 8 + (size_t)i * 16;

	*lba = vs_get_be64(d);
	*blocks = vs_get_be32(d + 8);
}

void scsi_put_text(uint8_t *field, size_t n, const char *text)
{
	size_t len = strnlen(text, n);

	memset(field, ' ', n);
	memcpy(field, text, len);
}
