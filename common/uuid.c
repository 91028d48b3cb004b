#include "common/uuid.h"

#include "common/secret.h"
#include "common/text.h"

#include <string.h>

/* Bytes before which the text form has a hyphen. */
static bool hyphen_before(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

int vs_uuid_new(struct vs_uuid *u)
{
	int rc = vs_random(u->b, sizeof(u->b));

	u->b[6] = (uint8_t)((u->b[6] & 0x0f) | 0x40);
	u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80);
	return rc;
}

void vs_uuid_format(const struct vs_uuid *u, char text[VS_UUID_TEXT])
{
	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (hyphen_before(i))
			*text++ = '-';
		vs_format_hex(&u->b[i], 1, text);
		text += 2;
	}
}

int vs_uuid_parse(const char *text, struct vs_uuid *u)
{
	for (size_t i = 0; i < sizeof(u->b); i++) {
		char pair[3] = "";

		if (hyphen_before(i) && *text++ != '-')
			return VS_E_INVAL;
		memcpy(pair, text, strnlen(text, 2));
		if (vs_parse_hex(pair, &u->b[i], 1))
			return VS_E_INVAL;
		text += 2;
	}
	return *text == '\0' ? 0 : VS_E_INVAL;
}

bool vs_uuid_equal(const struct vs_uuid *a, const struct vs_uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
