/*
 * Memory for data of front ends, given out in runs of 4 KiB units: each connection has one that is
 * its own, those of a thread share another. Of a fixed size; one thread. Pages are touched only
 * when used.
 */
#ifndef VS_COMMON_ARENA_H
#define VS_COMMON_ARENA_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

#define VS_ARENA_UNIT 4096u
#define VS_ARENA_UNITS 2048u /* at most */

struct vs_arena {
	uint8_t *base;
	unsigned units;
	uint64_t used[VS_ARENA_UNITS / 64]; /* a bit for each unit */
};

/* units: a multiple of 64. VS_E_NOMEM. */
int vs_arena_init(struct vs_arena *a, unsigned units) vs_must_check;
void vs_arena_destroy(struct vs_arena *a);
/* A run of at least len bytes, 1 to what there is in all; NULL when no run is free now. */
void *vs_arena_take(struct vs_arena *a, size_t len);
void vs_arena_give(struct vs_arena *a, void *p, size_t len); /* len as taken */

#endif
