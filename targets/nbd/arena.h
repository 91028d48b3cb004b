/*
 * Memory for data, given out in runs of 4 KiB units: each connection has one that is its own, those
 * of a worker share another. Of a fixed size; one thread. Pages are touched only when used.
 */
#ifndef NBD_ARENA_H
#define NBD_ARENA_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

#define NBD_ARENA_UNIT 4096u
#define NBD_ARENA_UNITS 2048u /* at most */

struct nbd_arena {
	uint8_t *base;
	unsigned units;
	uint64_t used[NBD_ARENA_UNITS / 64]; /* a bit for each unit */
};

/* units: a multiple of 64. VS_E_NOMEM. */
int nbd_arena_init(struct nbd_arena *a, unsigned units) vs_must_check;
void nbd_arena_destroy(struct nbd_arena *a);
/* A run of at least len bytes, 1 to what there is in all; NULL when no run is free now. */
void *nbd_arena_take(struct nbd_arena *a, size_t len);
void nbd_arena_give(struct nbd_arena *a, void *p, size_t len); /* len as taken */

#endif
