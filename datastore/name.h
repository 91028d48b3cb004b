/*
 * Names, and where they stand in their directory. Pure functions, any thread.
 */
#ifndef DS_NAME_H
#define DS_NAME_H

#include "datastore/datastore.h"

#define DS_COOKIE_DOT 1u
#define DS_COOKIE_DOTDOT 2u
#define DS_COOKIE_FIRST 3u
/* Names whose cookies would be the same get one of the next; so many places are looked at. */
#define DS_COOKIE_PROBES 8u

/* Whether a file can be made under this name: 0, or VS_E_INVAL with *why. */
int ds_name_check(const char *name, size_t len, enum ds_status *why) vs_must_check;
bool ds_name_is_dot(const char *name, size_t len);
bool ds_name_is_dotdot(const char *name, size_t len);
/*
 * First cookie that the name may have: keyed, so that nobody can choose names that meet. bits: how
 * many of the hash count, at most 62.
 */
uint64_t ds_name_cookie(uint64_t seed, unsigned bits, const char *name, size_t len);

#endif
