#include "tests/sim/simdisk.h"

#include "tests/sim/report.h"

#include <stdlib.h>

/* Requests in flight land in any order, wholly, partly or not. Queued ones never started. */
static void settle(struct sim_disk *d)
{
	struct sim_device *s = d->device;
	struct bs_devio *list[1024];
	unsigned n = 0;

	if (!s)
		return;
	for (struct bs_devio *io = s->running; io && n < VS_ARRAY_LEN(list); io = io->next)
		if (io->op == BS_DEV_WRITE && sim_slot_of(io)->before &&
		    sim_slot_of(io)->fate != SIM_FATE_LIE)
			list[n++] = io;
	while (n) {
		unsigned i = sim_below(&d->rng, n);
		unsigned char *data = sim_disk_gather(list[i]);

		sim_disk_put_torn(d, list[i]->offset, data, list[i]->length);
		free(data);
		list[i] = list[--n];
	}
	s->disk = NULL;
	d->device = NULL;
}

/*
 * What a failed flush left in the cache, unable to become stable, is settled when the device is
 * opened anew: it is gone, or it is an ordinary unflushed write again.
 */
static void settle_lost(struct sim_disk *d)
{
	struct sim_cached **p = &d->cache;
	bool any = false;

	while (*p) {
		struct sim_cached *c = *p;

		any |= c->lost;
		if (!c->lost || sim_one_in(&d->rng, 2)) {
			c->lost = false;
			p = &c->next;
			continue;
		}
		*p = c->next;
		d->cached--;
		free(c->data);
		free(c);
	}
	d->cache_tail = p;
	if (!any)
		return;
	sim_image_free(&d->now);
	sim_image_copy(&d->now, &d->stable);
	for (struct sim_cached *c = d->cache; c; c = c->next)
		sim_cached_apply(c, &d->now, 0, c->length);
}

void sim_disk_kill(struct sim_disk *d)
{
	settle(d);
	settle_lost(d);
	d->silence_at = 0;
	d->refusing = false;
	sim_disk_clear_rules(d);
	if (d->partner)
		sim_disk_kill(d->partner);
}

/* How a power cut treats the cache's writes, oldest first. */
enum cut_style { CUT_NONE, CUT_ALL, CUT_PREFIX, CUT_EACH, CUT_SECTORS, CUT_BUT_ONE, CUT_STYLES };

static bool survives(struct sim_disk *d, enum cut_style style, unsigned i, unsigned pick)
{
	switch (style) {
	case CUT_ALL:
		return true;
	case CUT_PREFIX:
		return i < pick;
	case CUT_EACH:
		return sim_one_in(&d->rng, 2);
	case CUT_BUT_ONE:
		return i != pick;
	default:
		return false;
	}
}

static void survive_sectors(struct sim_disk *d, const struct sim_cached *c)
{
	for (uint64_t at = 0; at < c->length; at += SIM_SECTOR)
		if (sim_one_in(&d->rng, 2))
			sim_cached_apply(c, &d->stable, at, SIM_SECTOR);
}

void sim_disk_power_cut(struct sim_disk *d)
{
	enum cut_style style = sim_below(&d->rng, CUT_STYLES);
	unsigned i = 0, pick;

	settle(d);
	pick = sim_below(&d->rng, d->cached + 1);
	while (d->cache) {
		struct sim_cached *c = d->cache;

		if (c->lost)
			;
		else if (style == CUT_SECTORS || (style == CUT_PREFIX && i == pick))
			survive_sectors(d, c);
		else if (survives(d, style, i, pick))
			sim_cached_apply(c, &d->stable, 0, c->length);
		sim_disk_drop_first(d);
		i++;
	}
	sim_trace("power cut: style %d, %u unflushed writes, pick %u", (int)style, i, pick);
	sim_image_free(&d->now);
	sim_image_copy(&d->now, &d->stable);
	d->silence_at = 0;
	d->refusing = false;
	sim_disk_clear_rules(d);
	if (d->partner)
		sim_disk_power_cut(d->partner);
}
