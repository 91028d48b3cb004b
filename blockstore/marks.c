#include "blockstore/marks.h"

#include <stdlib.h>

#define SLOTS (2 * BS_MARKS_MAX)

int bs_marks_init(struct bs_marks *m)
{
	m->slots = calloc(SLOTS, sizeof(*m->slots));
	return m->slots ? 0 : VS_E_NOMEM;
}

void bs_marks_destroy(struct bs_marks *m)
{
	free(m->slots);
}

static uint32_t home(uint64_t cid)
{
	return (uint32_t)((cid * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % SLOTS;
}

/* Where cid is, or the free slot where it would be. */
static uint32_t find(const struct bs_marks *m, uint64_t cid)
{
	uint32_t i = home(cid);

	while (m->slots[i] && m->slots[i] != cid)
		i = (i + 1) % SLOTS;
	return i;
}

bool bs_marks_has(const struct bs_marks *m, uint64_t cid)
{
	return m->n && m->slots[find(m, cid)] == cid;
}

bool bs_marks_add(struct bs_marks *m, uint64_t cid)
{
	uint32_t i = find(m, cid);

	if (m->slots[i] == cid)
		return true;
	if (m->n == BS_MARKS_MAX)
		return false;
	m->slots[i] = cid;
	m->n++;
	return true;
}

void bs_marks_remove(struct bs_marks *m, uint64_t cid)
{
	uint32_t i = find(m, cid);

	if (!m->slots[i])
		return;
	m->slots[i] = 0;
	m->n--;
	for (i = (i + 1) % SLOTS; m->slots[i]; i = (i + 1) % SLOTS) { /* close the gap */
		uint64_t moved = m->slots[i];

		m->slots[i] = 0;
		m->slots[find(m, moved)] = moved;
	}
}
