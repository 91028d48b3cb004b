/* Texts that were checked to fit. Any thread. */
#ifndef MG_COPY_H
#define MG_COPY_H

#include "common/bytes.h"

#include <stddef.h>

/* to has room for max bytes, from fewer than that before its NUL. */
static inline void mg_copy(char *to, size_t max, const char *from)
{
	size_t n = strlen(from);

	VS_ASSERT(n < max);
	memcpy(to, from, n + 1);
}

#endif
