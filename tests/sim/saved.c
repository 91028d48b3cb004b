#include "blockstore/index_format.h"
#include "blockstore/super_format.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdlib.h>

/* Makes the disk's bytes at offset those of b. */
static void poke(struct world *w, uint64_t offset, const uint8_t *b, uint32_t len)
{
	uint8_t *now = malloc(len);

	VS_ASSERT(now);
	sim_disk_peek(w->disk, offset, now, len);
	for (uint32_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit++)
			if ((now[i] ^ b[i]) >> bit & 1)
				sim_disk_rot(w->disk, offset + i, bit);
	free(now);
}

/* Entries that lie: any bucket and tag, slots that may well be in use. All checksums fit. */
static void lie(struct world *w, uint64_t at, struct bs_ixseg *h)
{
	uint32_t size = (uint32_t)w->cfg.segment_size, most = h->words;
	uint8_t *buf = calloc(1, size);
	uint64_t e[DD_BUCKET];

	VS_ASSERT(buf);
	for (h->words = 0; h->words < most;) {
		unsigned n = sim_below(&w->rng, DD_BUCKET + 1);

		for (unsigned i = 0; i < n; i++)
			e[i] =
			    (uint64_t)sim_below(&w->rng, 1u << 16) << 48 | sim_below(&w->rng, 600);
		if (!bs_ixbucket_put(buf, size, &h->words, sim_u64(&w->rng) % h->buckets, e, n))
			break;
	}
	bs_ixseg_encode(buf, h);
	poke(w, at, buf, BS_PAGE + VS_ALIGN_UP(h->words * 8, BS_PAGE));
	free(buf);
}

static void damage(struct world *w, uint64_t at, struct bs_ixseg *h)
{
	switch (sim_below(&w->rng, 4)) {
	case 0: /* the head */
		sim_disk_rot(w->disk, at + sim_below(&w->rng, BS_PAGE), sim_below(&w->rng, 8));
		break;
	case 1: /* the entries */
		sim_disk_rot(w->disk, at + BS_PAGE + sim_below(&w->rng, h->words * 8 + 1),
			     sim_below(&w->rng, 8));
		break;
	case 2:
		lie(w, at, h);
		break;
	default:
		break;
	}
}

/* What was saved at clean stops, also earlier ones, is met at the starts of segments. */
static unsigned damage_all(struct world *w)
{
	uint8_t page[BS_PAGE];
	unsigned found = 0;

	for (uint64_t at = BS_HEAD_AREA; at + w->cfg.segment_size <= w->disk_size;
	     at += w->cfg.segment_size) {
		struct bs_ixseg h;

		sim_disk_peek(w->disk, at, page, sizeof(page));
		if (bs_ixseg_decode(page, (uint32_t)w->cfg.segment_size, &h) != 0)
			continue;
		found++;
		damage(w, at, &h);
	}
	return found;
}

/*
 * An index saved at a clean stop is damaged, or lies, or is met again after kills and power
 * cuts: it costs space at most.
 */
void sim_saved_index(struct world *w)
{
	struct workload l;
	unsigned saved = 0;

	sim_start(w);
	workload_default(w, &l);
	l.alphabet = 40;
	for (unsigned i = 0; i < 4; i++) {
		workload_run(w, &l, 60);
		world_stop(w);
		saved += damage_all(w);
		w->cfg.index_bytes = sim_one_in(&w->rng, 4) ? 65536 : 4096;
		world_open(w);
		if (sim_one_in(&w->rng, 2))
			continue;
		sim_disk_silence_at(w->disk, sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 60));
		workload_run(w, &l, 20);
		world_crash(w, sim_one_in(&w->rng, 2), false);
	}
	sim_require(saved > 0, "no stop saved an index");
	workload_run(w, &l, 40);
	sim_end_empty(w);
}
