/* Sizes, names, numbers, hex and UUIDs as people and clients type them. */
#include "common/bytes.h"
#include "common/text.h"
#include "common/uuid.h"

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_size(const char *text)
{
	uint64_t bytes = 0;
	char shown[16];

	if (vs_parse_size(text, &bytes) == 0)
		VS_ASSERT(vs_format_size(bytes, shown, sizeof(shown))[0] != '\0');
}

static void check_names(const char *text)
{
	char volume[64], snap[64];

	if (vs_split_snapshot(text, volume, snap) == 0) {
		VS_ASSERT(vs_name_ok(volume));
		VS_ASSERT(snap[0] == '\0' || vs_name_ok(snap));
	}
	if (vs_name_ok(text))
		VS_ASSERT(strlen(text) <= 63 && !strpbrk(text, "@/ "));
}

static void check_binary(const char *text)
{
	struct vs_uuid uuid, again;
	char shown[VS_UUID_TEXT], hex[33];
	uint8_t bytes[16];
	uint64_t v = 0;

	if (vs_uuid_parse(text, &uuid) == 0) {
		vs_uuid_format(&uuid, shown);
		VS_ASSERT(vs_uuid_parse(shown, &again) == 0 && vs_uuid_equal(&uuid, &again));
	}
	if (vs_parse_hex(text, bytes, sizeof(bytes)) == 0) {
		vs_format_hex(bytes, sizeof(bytes), hex);
		VS_ASSERT(strcasecmp(hex, text) == 0);
	}
	if (vs_parse_u64(text, 1000, &v) == 0)
		VS_ASSERT(v <= 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1); /* its own allocation: reading past the end is seen */

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_size(text);
	check_names(text);
	check_binary(text);
	free(text);
	return 0;
}
