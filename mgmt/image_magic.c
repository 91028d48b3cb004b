#include "mgmt/image_magic.h"

#include "common/bytes.h"

#include <string.h>

const char *mg_image_magic(const uint8_t *p, size_t len)
{
	static const struct {
		const char *name, *magic;
		size_t offset, len;
	} formats[] = {
	    {"qcow2", "QFI\xfb", 0, 4},
	    {"vmdk", "KDMV", 0, 4},
	    {"vhdx", "vhdxfile", 0, 8},
	    {"vdi", "\x7f\x10\xda\xbe", 64, 4},
	};

	for (size_t i = 0; i < VS_ARRAY_LEN(formats); i++)
		if (vs_range_ok(formats[i].offset, formats[i].len, len) &&
		    memcmp(p + formats[i].offset, formats[i].magic, formats[i].len) == 0)
			return formats[i].name;
	return NULL;
}
