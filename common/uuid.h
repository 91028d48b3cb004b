/* RFC 9562 UUIDs, version 4. Pure but for vs_uuid_new, any thread. */
#ifndef VS_COMMON_UUID_H
#define VS_COMMON_UUID_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct vs_uuid {
	uint8_t b[16];
};

#define VS_UUID_TEXT 37

int vs_uuid_new(struct vs_uuid *u) vs_must_check;
void vs_uuid_format(const struct vs_uuid *u, char text[VS_UUID_TEXT]);
int vs_uuid_parse(const char *text, struct vs_uuid *u) vs_must_check;
bool vs_uuid_equal(const struct vs_uuid *a, const struct vs_uuid *b);

#endif
