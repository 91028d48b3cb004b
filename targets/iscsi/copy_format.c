#include "targets/iscsi/copy_format.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi_format.h"
#include "targets/iscsi/token_format.h"

#define IDENTIFICATION 0xe4 /* CSCD descriptor by a designator of VPD page 83h */
#define BLOCK_TO_BLOCK 0x02
#define MAX_SEGMENT_LENGTH (65535u * 4096u) /* as many blocks as the field has room for */

static uint16_t decode_header(const uint8_t *b, size_t len, struct scsi_copy_list *out,
			      size_t *segment_bytes)
{
	size_t cscd_bytes, inline_bytes;

	if (len < SCSI_COPY_HEADER)
		return SCSI_PARAMETER_LIST_LENGTH_ERROR;
	out->id = b[0];
	out->usage = b[1] >> 3 & 3;
	cscd_bytes = vs_get_be16(b + 2);
	*segment_bytes = vs_get_be32(b + 8);
	inline_bytes = vs_get_be32(b + 12);
	len -= SCSI_COPY_HEADER;
	if (cscd_bytes > len || *segment_bytes > len - cscd_bytes ||
	    inline_bytes > len - cscd_bytes - *segment_bytes || cscd_bytes % SCSI_COPY_CSCD)
		return SCSI_PARAMETER_LIST_LENGTH_ERROR;
	if (b[1] & 0xc0 || vs_get_be32(b + 4) || out->usage == 1 ||
	    (out->usage == SCSI_COPY_NO_ID && out->id))
		return SCSI_INVALID_FIELD_IN_LIST;
	if (inline_bytes)
		return SCSI_INLINE_DATA_EXCEEDED;
	out->ncscds = (unsigned)(cscd_bytes / SCSI_COPY_CSCD);
	out->cscds = b + SCSI_COPY_HEADER;
	out->segments = out->cscds + cscd_bytes;
	return 0;
}

static uint16_t check_segments(const uint8_t *b, size_t len, unsigned *n)
{
	size_t at = 0;

	for (*n = 0; at < len; ++*n) {
		if (len - at < 4)
			return SCSI_PARAMETER_LIST_LENGTH_ERROR;
		if (*n == SCSI_COPY_MAX_SEGMENTS)
			return SCSI_TOO_MANY_SEGMENTS;
		if (b[at] != BLOCK_TO_BLOCK)
			return SCSI_UNSUPPORTED_SEGMENT;
		if (vs_get_be16(b + at + 2) != SCSI_COPY_SEGMENT - 4)
			return SCSI_INVALID_FIELD_IN_LIST;
		if (len - at < SCSI_COPY_SEGMENT)
			return SCSI_PARAMETER_LIST_LENGTH_ERROR;
		if (b[at + 1] & 0xfc || vs_get_be16(b + at + 8))
			return SCSI_INVALID_FIELD_IN_LIST;
		at += SCSI_COPY_SEGMENT;
	}
	return 0;
}

uint16_t scsi_copy_decode(const uint8_t *b, size_t len, struct scsi_copy_list *out)
{
	size_t segment_bytes;
	uint16_t asc = decode_header(b, len, out, &segment_bytes);

	if (asc)
		return asc;
	if (out->ncscds > SCSI_COPY_MAX_CSCDS)
		return SCSI_TOO_MANY_CSCDS;
	for (unsigned i = 0; i < out->ncscds; i++)
		if (out->cscds[i * SCSI_COPY_CSCD] != IDENTIFICATION)
			return SCSI_UNSUPPORTED_CSCD;
	return check_segments(out->segments, segment_bytes, &out->nsegments);
}

void scsi_copy_cscd(const struct scsi_copy_list *list, unsigned i, struct scsi_copy_cscd *out)
{
	const uint8_t *d = list->cscds + (size_t)i * SCSI_COPY_CSCD;

	/* LU ID TYPE, NUL and the initiator port's number are ignored (SPC-4, 6.4.5.1) */
	out->device_type = d[1] & 0x1f;
	out->naa = (d[4] & 0x0f) == 1 && (d[5] & 0x3f) == 3 && d[7] == sizeof(out->id);
	memcpy(out->id, d + 8, sizeof(out->id));
	out->block_length = vs_get_be24(d + 29);
}

void scsi_copy_segment(const struct scsi_copy_list *list, unsigned i, struct scsi_copy_segment *out)
{
	const uint8_t *d = list->segments + (size_t)i * SCSI_COPY_SEGMENT;

	out->dc = d[1] & 0x02;
	out->source = vs_get_be16(d + 4);
	out->destination = vs_get_be16(d + 6);
	out->blocks = vs_get_be16(d + 10);
	out->source_lba = vs_get_be64(d + 12);
	out->lba = vs_get_be64(d + 20);
}

size_t scsi_copy_put_status(uint8_t *b, const struct scsi_copy_state *s)
{
	uint64_t count = s->bytes;
	uint8_t units = 0; /* bytes, then KiB, MiB, GiB (SPC-4, 6.17) */

	while (count > UINT32_MAX) {
		count >>= 10;
		units++;
	}
	memset(b, 0, 12);
	vs_put_be32(b, 8);
	b[4] = s->manager_status;
	vs_put_be16(b + 5, s->segments);
	b[7] = units;
	vs_put_be32(b + 8, (uint32_t)count);
	return 12;
}

size_t scsi_copy_put_failed(uint8_t *b, const struct scsi_copy_state *s)
{
	size_t len = 60 + s->sense_len;

	memset(b, 0, 60);
	if (s->manager_status != 2)
		return 4; /* AVAILABLE DATA 0: nothing has failed */
	vs_put_be32(b, (uint32_t)(len - 4));
	b[56] = s->status;
	vs_put_be16(b + 58, s->sense_len);
	memcpy(b + 60, s->sense, s->sense_len);
	return len;
}

size_t scsi_copy_put_parameters(uint8_t *b)
{
	memset(b, 0, 46);
	vs_put_be32(b, 42);
	b[4] = 1; /* SNLID: copies may have no list identifier */
	vs_put_be16(b + 8, SCSI_COPY_MAX_CSCDS);
	vs_put_be16(b + 10, SCSI_COPY_MAX_SEGMENTS);
	vs_put_be32(b + 12, SCSI_COPY_MAX_LIST);
	vs_put_be32(b + 16, MAX_SEGMENT_LENGTH);
	vs_put_be16(b + 34, 255); /* total and maximum concurrent copies */
	b[36] = 255;
	b[37] = 9; /* data segment granularity: 512 bytes */
	b[43] = 2;
	b[44] = BLOCK_TO_BLOCK;
	b[45] = IDENTIFICATION;
	return 46;
}

static size_t put_descriptor(uint8_t *b, uint16_t type, size_t len)
{
	len = VS_ALIGN_UP(len, 4);
	vs_put_be16(b, type);
	vs_put_be16(b + 2, (uint16_t)(len - 4));
	return len;
}

static size_t put_commands(uint8_t *b)
{
	static const uint8_t list[] = {0x83, 3, 0x00, 0x10, 0x11, 0x84, 4, 0x00, 0x03, 0x04, 0x07};

	b[4] = sizeof(list);
	memcpy(b + 5, list, sizeof(list));
	return put_descriptor(b, 0x0001, 5 + sizeof(list));
}

static size_t put_parameter_data(uint8_t *b)
{
	vs_put_be16(b + 8, SCSI_COPY_MAX_CSCDS);
	vs_put_be16(b + 10, SCSI_COPY_MAX_SEGMENTS);
	vs_put_be32(b + 12, SCSI_COPY_MAX_LIST);
	return put_descriptor(b, 0x0004, 32);
}

static size_t put_descriptor_types(uint8_t *b)
{
	b[4] = 2;
	b[5] = BLOCK_TO_BLOCK;
	b[6] = IDENTIFICATION;
	return put_descriptor(b, 0x0008, 7);
}

static size_t put_cscd_ids(uint8_t *b)
{
	vs_put_be16(b + 4, 2);
	vs_put_be16(b + 6, SCSI_COPY_THIS_LU);
	return put_descriptor(b, 0x000c, 8);
}

static size_t put_general(uint8_t *b)
{
	vs_put_be32(b + 4, 255);
	vs_put_be32(b + 8, 255);
	vs_put_be32(b + 12, MAX_SEGMENT_LENGTH);
	b[16] = 9;
	return put_descriptor(b, 0x8001, 36);
}

size_t scsi_copy_put_page(uint8_t *b, uint32_t block_length)
{
	static size_t (*const parts[])(uint8_t * b) = {
	    put_commands, put_parameter_data,	   put_descriptor_types,
	    put_cscd_ids, scsi_token_put_features, scsi_token_put_types,
	    put_general};
	size_t len;

	memset(b, 0, 1024);
	len = scsi_token_put_limits(b, block_length);
	for (size_t i = 0; i < VS_ARRAY_LEN(parts); i++)
		len += parts[i](b + len);
	return len;
}
