#include "datastore/name.h"

#include <string.h>
#include <xxhash.h>

bool ds_name_is_dot(const char *name, size_t len)
{
	return len == 1 && name[0] == '.';
}

bool ds_name_is_dotdot(const char *name, size_t len)
{
	return len == 2 && name[0] == '.' && name[1] == '.';
}

int ds_name_check(const char *name, size_t len, enum ds_status *why)
{
	if (len > DS_NAME_MAX) {
		*why = DS_NAME_TOO_LONG;
		return VS_E_INVAL;
	}
	if (!len || ds_name_is_dot(name, len) || ds_name_is_dotdot(name, len) ||
	    memchr(name, '/', len) || memchr(name, 0, len)) {
		*why = DS_BAD_NAME;
		return VS_E_INVAL;
	}
	return 0;
}

uint64_t ds_name_cookie(uint64_t seed, unsigned bits, const char *name, size_t len)
{
	uint64_t hash = XXH3_64bits_withSeed(name, len, seed);

	return DS_COOKIE_FIRST + (hash >> (64 - bits));
}
