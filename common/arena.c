#include "common/arena.h"

#include "common/bytes.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

int vs_arena_init(struct vs_arena *a, unsigned units)
{
	void *p = mmap(NULL, (size_t)units * VS_ARENA_UNIT, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	VS_ASSERT(units <= VS_ARENA_UNITS && units % 64 == 0);
	memset(a, 0, sizeof(*a));
	if (p == MAP_FAILED)
		return VS_E_NOMEM;
	a->base = p;
	a->units = units;
	return 0;
}

void vs_arena_destroy(struct vs_arena *a)
{
	if (a->base)
		(void)munmap(a->base, (size_t)a->units * VS_ARENA_UNIT);
	a->base = NULL;
}

static bool used(const struct vs_arena *a, unsigned unit)
{
	return a->used[unit / 64] >> unit % 64 & 1;
}

static void set(struct vs_arena *a, unsigned unit, unsigned n, bool on)
{
	for (; n; n--, unit++) {
		VS_ASSERT(used(a, unit) != on);
		a->used[unit / 64] ^= UINT64_C(1) << unit % 64;
	}
}

void *vs_arena_take(struct vs_arena *a, size_t len)
{
	unsigned n = (unsigned)VS_DIV_UP(len, VS_ARENA_UNIT), run = 0;

	VS_ASSERT(n >= 1 && n <= a->units);
	/* The lowest run that fits: an idle connection touches few pages, and those stay warm. */
	for (unsigned i = 0; i < a->units; i++) {
		if (i % 64 == 0 && a->used[i / 64] == UINT64_MAX) {
			run = 0;
			i += 63;
			continue;
		}
		run = used(a, i) ? 0 : run + 1;
		if (run == n) {
			set(a, i + 1 - n, n, true);
			return a->base + (size_t)(i + 1 - n) * VS_ARENA_UNIT;
		}
	}
	return NULL;
}

void vs_arena_give(struct vs_arena *a, void *p, size_t len)
{
	size_t unit = (size_t)((uint8_t *)p - a->base) / VS_ARENA_UNIT;

	set(a, (unsigned)unit, (unsigned)VS_DIV_UP(len, VS_ARENA_UNIT), false);
}
