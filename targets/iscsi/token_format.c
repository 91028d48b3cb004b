#include "targets/iscsi/token_format.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi_format.h"

/* ROD types (SPC-4, table 108) */
#define POINT_IN_TIME 0x00800000u
#define POINT_IN_TIME_ANY 0x0080ffffu
#define BLOCK_DEVICE_ZERO 0xffff0001u

#define RANGE 16u
#define COUNT_BLOCKS 0xf1 /* transfer count units: logical blocks */

static bool overlap(const struct scsi_token_range *a, const struct scsi_token_range *b)
{
	return a->blocks && b->blocks && a->lba < b->lba + b->blocks && b->lba < a->lba + a->blocks;
}

/* at: of the length of the descriptors; they follow it. */
static uint16_t decode_ranges(const uint8_t *b, size_t len, size_t at, struct scsi_token_list *out)
{
	size_t bytes = vs_get_be16(b + at), first = at + 2;

	if (vs_get_be16(b) + 2u < first + bytes || bytes % RANGE || !bytes)
		return SCSI_INVALID_FIELD_IN_LIST;
	if (bytes > len - first)
		return SCSI_PARAMETER_LIST_LENGTH_ERROR;
	if (bytes / RANGE > SCSI_TOKEN_RANGES)
		return SCSI_TOO_MANY_SEGMENTS;
	out->nranges = (unsigned)(bytes / RANGE);
	out->blocks = 0;
	for (unsigned i = 0; i < out->nranges; i++) {
		const uint8_t *d = b + first + (size_t)i * RANGE;
		struct scsi_token_range *r = &out->range[i];

		*r = (struct scsi_token_range){vs_get_be64(d), vs_get_be32(d + 8)};
		if (r->lba > UINT64_MAX - r->blocks)
			return SCSI_LBA_OUT_OF_RANGE;
		for (unsigned k = 0; k < i; k++)
			if (overlap(r, &out->range[k]))
				return SCSI_INVALID_FIELD_IN_LIST;
		out->blocks += r->blocks;
	}
	return 0;
}

uint16_t scsi_token_decode_populate(const uint8_t *b, size_t len, struct scsi_token_list *out)
{
	uint32_t type;

	memset(out, 0, sizeof(*out));
	if (len < 16)
		return SCSI_PARAMETER_LIST_LENGTH_ERROR;
	type = vs_get_be32(b + 8);
	out->timeout = vs_get_be32(b + 4);
	if (out->timeout > SCSI_TOKEN_MAX_TIMEOUT ||
	    (b[2] & 0x02 && type != POINT_IN_TIME && type != POINT_IN_TIME_ANY)) /* RTV */
		return SCSI_INVALID_FIELD_IN_LIST;
	return decode_ranges(b, len, 14, out);
}

uint16_t scsi_token_decode_use(const uint8_t *b, size_t len, struct scsi_token_list *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 536)
		return SCSI_PARAMETER_LIST_LENGTH_ERROR;
	out->del_token = b[2] & 0x02;
	out->offset = vs_get_be64(b + 8);
	out->token = b + 16;
	return decode_ranges(b, len, 534, out);
}

void scsi_token_encode(uint8_t b[SCSI_TOKEN_LEN], const struct scsi_token *t)
{
	memset(b, 0, SCSI_TOKEN_LEN);
	vs_put_be32(b, POINT_IN_TIME);
	vs_put_be16(b + 6, SCSI_TOKEN_LEN - 8);
	vs_put_be64(b + 8, t->id);
	b[16] = 0xe4; /* the unit that it was made of, as a CSCD descriptor */
	b[20] = 1;
	b[21] = 3;
	b[23] = sizeof(t->naa);
	memcpy(b + 24, t->naa, sizeof(t->naa));
	vs_put_be24(b + 45, t->block_length);
	vs_put_be64(b + 56, t->bytes);
	vs_put_be32(b + 96, t->block_length);
	memcpy(b + 256, t->secret, sizeof(t->secret));
}

uint16_t scsi_token_look(const uint8_t b[SCSI_TOKEN_LEN], enum scsi_token_kind *kind, uint64_t *id)
{
	uint32_t type = vs_get_be32(b);

	if (vs_get_be16(b + 6) != SCSI_TOKEN_LEN - 8)
		return SCSI_INVALID_TOKEN_LENGTH;
	*kind = type == BLOCK_DEVICE_ZERO ? SCSI_TOKEN_ZEROS : SCSI_TOKEN_DATA;
	*id = vs_get_be64(b + 8);
	return type == POINT_IN_TIME || type == BLOCK_DEVICE_ZERO ? 0 : SCSI_UNSUPPORTED_TOKEN_TYPE;
}

/* Copy operation status (SPC-4, 6.24): done, failed, in progress in the foreground. */
static uint8_t operation_status(const struct scsi_copy_state *s)
{
	static const uint8_t by_manager_status[] = {0x11, 0x01, 0x02};

	return by_manager_status[s->manager_status];
}

size_t scsi_token_put_information(uint8_t *b, uint8_t action, const struct scsi_copy_state *s,
				  uint32_t block_length, const uint8_t *token)
{
	size_t len = 32 + s->sense_len;

	memset(b, 0, 32);
	b[4] = action;
	b[5] = operation_status(s);
	vs_put_be16(b + 6, 1);
	if (s->manager_status == 0)
		vs_put_be32(b + 8, 100); /* ms until asking again makes sense */
	b[12] = s->status;
	b[13] = b[14] = s->sense_len;
	b[15] = COUNT_BLOCKS;
	vs_put_be64(b + 16, s->bytes / block_length);
	vs_put_be16(b + 24, s->segments);
	memcpy(b + 32, s->sense, s->sense_len);
	vs_put_be32(b + len, token ? 2 + SCSI_TOKEN_LEN : 0);
	len += 4;
	if (token) {
		vs_put_be16(b + len, 0);
		memcpy(b + len + 2, token, SCSI_TOKEN_LEN);
		len += 2 + SCSI_TOKEN_LEN;
	}
	vs_put_be32(b, (uint32_t)(len - 4));
	return len;
}

static size_t put_head(uint8_t *b, uint16_t type, size_t len)
{
	vs_put_be16(b, type);
	vs_put_be16(b + 2, (uint16_t)(len - 4));
	return len;
}

size_t scsi_token_put_limits(uint8_t *b, uint32_t block_length)
{
	vs_put_be16(b + 10, SCSI_TOKEN_RANGES);
	vs_put_be32(b + 12, SCSI_TOKEN_MAX_TIMEOUT);
	vs_put_be32(b + 16, SCSI_TOKEN_TIMEOUT);
	vs_put_be64(b + 20, SCSI_TOKEN_MAX_BYTES / block_length);
	vs_put_be64(b + 28, SCSI_TOKEN_BEST_BYTES / block_length);
	return put_head(b, 0x0000, 36);
}

size_t scsi_token_put_features(uint8_t *b)
{
	uint8_t *d = b + 48;

	vs_put_be32(b + 16, SCSI_TOKEN_TIMEOUT);
	vs_put_be32(b + 20, SCSI_TOKEN_MAX_TIMEOUT);
	vs_put_be32(b + 24, SCSI_TOKEN_MAX_TIMEOUT);
	vs_put_be16(b + 46, 48);
	vs_put_be16(d + 2, 44); /* block devices */
	vs_put_be16(d + 6, 8);
	vs_put_be64(d + 8, SCSI_TOKEN_MAX_BYTES);
	vs_put_be64(d + 16, SCSI_TOKEN_BEST_BYTES);
	vs_put_be64(d + 24, SCSI_TOKEN_BEST_BYTES);
	vs_put_be64(d + 32, SCSI_TOKEN_BEST_BYTES);
	return put_head(b, 0x0106, 96);
}

size_t scsi_token_put_types(uint8_t *b)
{
	static const struct {
		uint32_t type;
		uint8_t use; /* TOKEN_IN, TOKEN_OUT */
	} types[] = {{POINT_IN_TIME, 0x03}, {BLOCK_DEVICE_ZERO, 0x02}};

	vs_put_be16(b + 6, 64 * VS_ARRAY_LEN(types));
	for (size_t i = 0; i < VS_ARRAY_LEN(types); i++) {
		vs_put_be32(b + 8 + 64 * i, types[i].type);
		b[8 + 64 * i + 4] = types[i].use;
	}
	return put_head(b, 0x0108, 8 + 64 * VS_ARRAY_LEN(types));
}
