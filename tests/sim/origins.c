/* Origins, as the world has them: what they hold, and volumes made with them. */
#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

#define ALPHABET 40u

static const struct world_origin *find(const struct world *w, const struct vs_uuid *uuid)
{
	for (unsigned i = 0; i < w->norigins; i++)
		if (vs_uuid_equal(&w->origins[i].uuid, uuid))
			return &w->origins[i];
	return NULL;
}

static void fetch(void *arg, const struct vs_uuid *uuid, uint64_t block, unsigned char *to)
{
	const struct world *w = arg;
	const struct world_origin *o = find(w, uuid);

	memset(to, 0, BS_BLOCK);
	if (!o) /* of a crafted store */
		return;
	if (block < w->shift || block - w->shift >= MODEL_BLOCKS)
		return;
	for (uint32_t i = 0; i < SIM_BLOCK_SECTORS; i++)
		sim_content_fill(o->tags[(block - w->shift) * SIM_BLOCK_SECTORS + i],
				 to + (size_t)i * SIM_SECTOR);
}

static bool is_hole(void *arg, const struct vs_uuid *uuid, uint64_t first, uint64_t n)
{
	const struct world *w = arg;
	const struct world_origin *o = find(w, uuid);
	uint64_t from = VS_MAX(first, (uint64_t)w->shift), end = first + n;

	for (uint64_t b = from; o && b < end && b - w->shift < MODEL_BLOCKS; b++)
		if (o->tags[(b - w->shift) * SIM_BLOCK_SECTORS])
			return false;
	return true;
}

void world_with_origins(struct world *w)
{
	w->with_origins = true;
	w->may_lose = true;
	w->cfg.fetch = fetch;
	w->cfg.is_hole = is_hole;
	w->cfg.fetch_arg = w;
	w->cfg.origin_hold_ns = UINT64_C(1000000) * sim_between(&w->rng, 1, 20);
}

/* Runs of zeros, of what comes again, and of what nobody else has. */
static void make_up(struct world *w, struct world_origin *o, uint32_t blocks)
{
	unsigned zeros = sim_between(&w->rng, 2, 12);

	o->tags = calloc(MODEL_SECTORS, sizeof(*o->tags));
	VS_ASSERT(o->tags);
	for (uint32_t b = 0, n; b < blocks; b += n) {
		bool zero = sim_below(&w->rng, 12) >= zeros;

		n = sim_between(&w->rng, 1, 40);
		n = VS_MIN(blocks - b, n);
		for (uint32_t k = b; k < b + n; k++) {
			uint64_t content = zero ? 0
					   : sim_one_in(&w->rng, 2)
					       ? 1 + sim_below(&w->rng, ALPHABET)
					       : world_new_content(w);

			for (uint32_t i = 0; i < SIM_BLOCK_SECTORS; i++)
				o->tags[k * SIM_BLOCK_SECTORS + i] = sim_tag(content, i);
		}
	}
}

const struct vs_uuid *world_new_origin(struct world *w, uint32_t blocks)
{
	struct world_origin *o = &w->origins[w->norigins];

	if (w->norigins == WORLD_ORIGINS)
		return NULL;
	vs_put_le64(o->uuid.b, ++w->norigins);
	vs_put_le64(o->uuid.b + 8, w->seed);
	make_up(w, o, blocks);
	return &o->uuid;
}

void world_origin_content(const struct world *w, const struct vs_uuid *uuid, uint64_t *tags)
{
	memcpy(tags, find(w, uuid)->tags, MODEL_SECTORS * sizeof(*tags));
}

void world_free_origins(struct world *w)
{
	for (unsigned i = 0; i < w->norigins; i++)
		free(w->origins[i].tags);
}
