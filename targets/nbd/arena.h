/*
 * The memory that one connection may use for data: fixed when the connection opens, given out in
 * runs of 4 KiB units. Belongs to the connection's thread. Pages are touched only when used.
 */
#ifndef NBD_ARENA_H
#define NBD_ARENA_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

#define NBD_ARENA_UNIT 4096u
#define NBD_ARENA_UNITS 256u
#define NBD_ARENA_BYTES (NBD_ARENA_UNIT * NBD_ARENA_UNITS)

struct nbd_arena {
	uint8_t *base;
	uint64_t used[NBD_ARENA_UNITS / 64]; /* a bit for each unit */
};

int nbd_arena_init(struct nbd_arena *a) vs_must_check; /* VS_E_NOMEM */
void nbd_arena_destroy(struct nbd_arena *a);
/* A run of at least len bytes, 1 to NBD_ARENA_BYTES; NULL when no run is free now. */
void *nbd_arena_take(struct nbd_arena *a, size_t len);
void nbd_arena_give(struct nbd_arena *a, void *p, size_t len); /* len as taken */

#endif
