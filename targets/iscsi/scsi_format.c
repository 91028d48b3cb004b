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

void scsi_sense_progress(uint8_t sense[SCSI_SENSE_LEN], uint16_t progress)
{
	sense[15] = 0x80; /* SKSV */
	vs_put_be16(sense + 16, progress);
}

size_t scsi_sense_to_descriptor(const uint8_t fixed[SCSI_SENSE_LEN],
				uint8_t out[SCSI_SENSE_DESCRIPTOR_MAX])
{
	size_t len = 8;

	memset(out, 0, SCSI_SENSE_DESCRIPTOR_MAX);
	out[0] = 0x72;
	out[1] = fixed[2] & 0x0f;
	memcpy(out + 2, fixed + 12, 2);
	if (fixed[0] & 0x80) { /* information */
		uint8_t *d = out + len;

		d[1] = 10;
		d[2] = 0x80; /* VALID */
		memcpy(d + 8, fixed + 3, 4);
		len += 12;
	}
	if (fixed[15] & 0x80) { /* sense key specific */
		uint8_t *d = out + len;

		d[0] = 2;
		d[1] = 6;
		memcpy(d + 4, fixed + 15, 3);
		len += 8;
	}
	out[7] = (uint8_t)(len - 8);
	return len;
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
