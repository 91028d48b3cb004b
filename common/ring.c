#include "common/ring.h"

#include <stdlib.h>

int vs_ring_init(struct vs_ring *r, size_t capacity)
{
	size_t n = 2;

	while (n < capacity)
		n *= 2;
	r->slots = calloc(n, sizeof(*r->slots));
	if (!r->slots)
		return VS_E_NOMEM;
	r->mask = n - 1;
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
	return 0;
}

void vs_ring_destroy(struct vs_ring *r)
{
	free(r->slots);
	r->slots = NULL;
}
