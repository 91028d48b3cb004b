#include "backup/format.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const char magic[8] = {'v', 's', 't', 'o', 'r', 'e', 'B', 'K'};

enum {
	H_MAGIC = 0,
	H_VERSION = 8,
	H_TYPE = 10,
	H_SEALING = 11,
	H_LENGTH = 12,
	H_PAYLOAD = 16,
	H_KEY_ID = 24,
	H_WRAPPED_KEY = 28, /* 60 bytes */
	H_PAYLOAD_SUM = 88,
	H_RESERVED = 96, /* 24 bytes */
	H_SUM = 120,
};

void bk_header_encode(uint8_t *obj, enum bk_obj_type type, uint64_t payload)
{
	memset(obj, 0, BK_HEADER_SIZE);
	memcpy(obj + H_MAGIC, magic, sizeof(magic));
	vs_put_le16(obj + H_VERSION, BK_FORMAT_VERSION);
	obj[H_TYPE] = (uint8_t)type;
	vs_put_le32(obj + H_LENGTH, BK_HEADER_SIZE);
	vs_put_le64(obj + H_PAYLOAD, payload);
	vs_put_le64(obj + H_PAYLOAD_SUM, XXH3_64bits(obj + BK_HEADER_SIZE, payload));
	vs_put_le64(obj + H_SUM, XXH64(obj, H_SUM, 0));
}

int bk_header_decode(const uint8_t *obj, uint64_t size, enum bk_obj_type type, bool whole,
		     const char *what, struct vs_error *err)
{
	if (size < BK_HEADER_SIZE)
		return vs_fail(err, VS_E_CORRUPT, "%s: truncated to %llu bytes", what,
			       (unsigned long long)size);
	if (memcmp(obj + H_MAGIC, magic, sizeof(magic)) != 0)
		return vs_fail(err, VS_E_CORRUPT, "%s: not an object of a vstore repository", what);
	if (vs_get_le64(obj + H_SUM) != XXH64(obj, H_SUM, 0))
		return vs_fail(err, VS_E_CORRUPT, "%s: its header is damaged", what);
	if (vs_get_le16(obj + H_VERSION) > BK_FORMAT_VERSION)
		return vs_fail(err, VS_E_VERSION,
			       "%s: format version %u was made by a later vstore (this one knows "
			       "%u): use that version",
			       what, vs_get_le16(obj + H_VERSION), BK_FORMAT_VERSION);
	if (obj[H_SEALING] != 0)
		return vs_fail(err, VS_E_FEATURE, "%s: sealed in a way (%u) not known here", what,
			       obj[H_SEALING]);
	if (vs_get_le16(obj + H_VERSION) == 0 || obj[H_TYPE] != type ||
	    vs_get_le32(obj + H_LENGTH) != BK_HEADER_SIZE)
		return vs_fail(err, VS_E_CORRUPT, "%s: an object of another type", what);
	if (vs_get_le64(obj + H_PAYLOAD) != size - BK_HEADER_SIZE)
		return vs_fail(err, VS_E_CORRUPT, "%s: has %llu bytes where %llu were written",
			       what, (unsigned long long)(size - BK_HEADER_SIZE),
			       (unsigned long long)vs_get_le64(obj + H_PAYLOAD));
	if (whole && vs_get_le64(obj + H_PAYLOAD_SUM) !=
			 XXH3_64bits(obj + BK_HEADER_SIZE, size - BK_HEADER_SIZE))
		return vs_fail(err, VS_E_CORRUPT, "%s: its content is damaged (checksum)", what);
	return 0;
}

void bk_pack_name(const struct dd_digest *d, char name[BK_NAME_MAX])
{
	char hex[65];

	vs_format_hex(d->b, sizeof(d->b), hex);
	snprintf(name, BK_NAME_MAX, "packs/%.2s/%s", hex, hex);
}

void bk_index_name(const struct dd_digest *d, char name[BK_NAME_MAX])
{
	char hex[65];

	vs_format_hex(d->b, sizeof(d->b), hex);
	snprintf(name, BK_NAME_MAX, "index/%s", hex);
}

int bk_index_name_parse(const char *name, struct dd_digest *d)
{
	if (strncmp(name, "index/", 6) != 0)
		return VS_E_INVAL;
	return vs_parse_hex(name + 6, d->b, sizeof(d->b));
}

int bk_pack_name_parse(const char *name, struct dd_digest *d)
{
	char expect[BK_NAME_MAX];
	int rc;

	if (strncmp(name, "packs/", 6) != 0 || strlen(name) < 9)
		return VS_E_INVAL;
	rc = vs_parse_hex(name + 9, d->b, sizeof(d->b));
	if (rc)
		return rc;
	bk_pack_name(d, expect);
	return strcmp(name, expect) == 0 ? 0 : VS_E_INVAL;
}
