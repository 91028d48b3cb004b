#include "tests/sim/simdisk.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_MAX 512u /* unflushed writes; beyond it the oldest are destaged */

struct sim_disk *sim_disk_new(uint64_t size, uint64_t seed)
{
	static const unsigned spreads[] = {1, 4, 50, 1000};
	struct sim_disk *d = calloc(1, sizeof(*d));

	VS_ASSERT(d && size % BS_DEV_ALIGN == 0);
	d->size = size;
	d->rng = sim_rng_from(seed);
	d->spread = spreads[sim_below(&d->rng, VS_ARRAY_LEN(spreads))];
	d->cache_tail = &d->cache;
	d->first = d;
	sim_image_init(&d->now, size);
	sim_image_init(&d->stable, size);
	return d;
}

void sim_disk_drop_first(struct sim_disk *d)
{
	struct sim_cached *c = d->cache;

	d->cache = c->next;
	if (!d->cache)
		d->cache_tail = &d->cache;
	d->cached--;
	free(c->data);
	free(c);
}

void sim_disk_free(struct sim_disk *d)
{
	if (!d)
		return;
	if (d->device)
		d->device->disk = NULL;
	while (d->cache)
		sim_disk_drop_first(d);
	sim_image_free(&d->now);
	sim_image_free(&d->stable);
	sim_disk_free(d->partner);
	free(d);
}

void sim_disk_pair(struct sim_disk *d, uint64_t seed)
{
	d->partner = sim_disk_new(d->size, seed);
	d->partner->first = d;
}

struct sim_disk *sim_disk_partner(const struct sim_disk *d)
{
	return d->partner;
}

void sim_disk_pull(struct sim_disk *d, bool pulled)
{
	d->pulled = pulled;
}

bool sim_disk_pulled(const struct sim_disk *d)
{
	return d->pulled;
}

static void cache_add(struct sim_disk *d, uint64_t offset, const void *data, unsigned char fill,
		      uint64_t length)
{
	struct sim_cached *c = calloc(1, sizeof(*c));

	VS_ASSERT(c);
	c->offset = offset;
	c->length = length;
	c->number = ++d->completed;
	c->fill = fill;
	if (data) {
		c->data = malloc(length);
		VS_ASSERT(c->data);
		memcpy(c->data, data, length);
	}
	*d->cache_tail = c;
	d->cache_tail = &c->next;
	d->cached++;
}

struct sim_disk *sim_disk_copy(const struct sim_disk *from)
{
	struct sim_disk *d = calloc(1, sizeof(*d));

	VS_ASSERT(d);
	d->size = from->size;
	d->rng = from->rng;
	d->spread = from->spread;
	d->cache_tail = &d->cache;
	sim_image_copy(&d->now, &from->now);
	sim_image_copy(&d->stable, &from->stable);
	for (const struct sim_cached *c = from->cache; c; c = c->next) {
		cache_add(d, c->offset, c->data, c->fill, c->length);
		d->completed = c->number;
	}
	d->completed = from->completed;
	d->first = d;
	d->pulled = from->pulled;
	if (from->partner) {
		d->partner = sim_disk_copy(from->partner);
		d->partner->first = d;
	}
	return d;
}

uint64_t sim_disk_sum(const struct sim_disk *d)
{
	return sim_image_sum(&d->now);
}

/* What is left of c without the bytes before `from`, behind it in the cache. */
static void split_off(struct sim_disk *d, struct sim_cached *c, uint64_t from)
{
	struct sim_cached *rest = calloc(1, sizeof(*rest));
	uint64_t skip = from - c->offset;

	VS_ASSERT(rest);
	*rest = *c;
	rest->offset = from;
	rest->length -= skip;
	if (c->data) {
		rest->data = malloc(rest->length);
		VS_ASSERT(rest->data);
		memcpy(rest->data, c->data + skip, rest->length);
	}
	c->next = rest;
	d->cached++;
	if (!rest->next)
		d->cache_tail = &rest->next;
}

/* Bytes older than write `number` must not come over newer ones that are stable. */
static void cache_forget(struct sim_disk *d, uint64_t offset, uint64_t end, uint64_t number)
{
	struct sim_cached **p = &d->cache;

	while (*p) {
		struct sim_cached *c = *p;
		uint64_t last = c->offset + c->length;

		if (c->number >= number || c->offset >= end || last <= offset) {
			p = &c->next;
			continue;
		}
		if (last > end)
			split_off(d, c, end);
		if (c->offset < offset) {
			c->length = offset - c->offset;
			p = &c->next;
			continue;
		}
		*p = c->next;
		d->cached--;
		free(c->data);
		free(c);
	}
	d->cache_tail = p;
}

void sim_cached_apply(const struct sim_cached *c, struct sim_image *to, uint64_t at,
		      uint64_t length)
{
	if (c->data)
		sim_image_write(to, c->offset + at, c->data + at, length);
	else
		sim_image_fill(to, c->offset + at, c->fill, length);
}

void sim_disk_destage_first(struct sim_disk *d)
{
	const struct sim_cached *c = d->cache;

	if (!c->lost)
		sim_cached_apply(c, &d->stable, 0, c->length);
	sim_disk_drop_first(d);
}

/*
 * Flushed up to and including write `number`. Lost ones stay: they are read until power goes, but
 * where something newer has become stable.
 */
void sim_disk_destage_to(struct sim_disk *d, uint64_t number)
{
	struct sim_cached **p = &d->cache, *done = NULL, **done_tail = &done;

	while (*p && (*p)->number <= number) {
		struct sim_cached *c = *p;

		if (c->lost) {
			p = &c->next;
			continue;
		}
		sim_cached_apply(c, &d->stable, 0, c->length);
		*p = c->next;
		d->cached--;
		c->next = NULL;
		*done_tail = c;
		done_tail = &c->next;
	}
	if (!*p)
		d->cache_tail = p;
	while (done) {
		struct sim_cached *c = done;

		done = c->next;
		cache_forget(d, c->offset, c->offset + c->length, c->number);
		free(c->data);
		free(c);
	}
}

static void keep_bounded(struct sim_disk *d)
{
	while (d->cached > CACHE_MAX)
		sim_disk_destage_first(d);
}

void sim_disk_put(struct sim_disk *d, uint64_t offset, const void *data, uint64_t length)
{
	sim_image_write(&d->now, offset, data, length);
	cache_add(d, offset, data, 0, length);
	keep_bounded(d);
}

void sim_disk_fill(struct sim_disk *d, uint64_t offset, unsigned char byte, uint64_t length)
{
	sim_image_fill(&d->now, offset, byte, length);
	cache_add(d, offset, NULL, byte, length);
	keep_bounded(d);
}

void sim_disk_put_stable(struct sim_disk *d, uint64_t offset, const void *data, uint64_t length)
{
	sim_image_write(&d->now, offset, data, length);
	cache_forget(d, offset, offset + length, UINT64_MAX);
	sim_image_write(&d->stable, offset, data, length);
}

/* The sectors of a request that reached the disk when it was interrupted. */
void sim_disk_put_torn(struct sim_disk *d, uint64_t offset, const unsigned char *data,
		       uint64_t length)
{
	uint64_t sectors = length / SIM_SECTOR, head;

	switch (sim_below(&d->rng, 5)) {
	case 0:
		return;
	case 1:
		sim_disk_put(d, offset, data, length);
		return;
	case 2:
		head = sim_below(&d->rng, (uint32_t)sectors + 1);
		if (head)
			sim_disk_put(d, offset, data, head * SIM_SECTOR);
		return;
	case 3:
		head = sim_below(&d->rng, (uint32_t)sectors);
		sim_disk_put(d, offset + head * SIM_SECTOR, data + head * SIM_SECTOR,
			     (sectors - head) * SIM_SECTOR);
		return;
	default:
		for (uint64_t i = 0; i < sectors; i++)
			if (sim_one_in(&d->rng, 2))
				sim_disk_put(d, offset + i * SIM_SECTOR, data + i * SIM_SECTOR,
					     SIM_SECTOR);
	}
}

unsigned char *sim_disk_gather(const struct bs_devio *io)
{
	unsigned char *data = malloc(io->length ? io->length : 1);
	uint64_t at = 0;

	VS_ASSERT(data);
	for (int i = 0; i < io->iovcnt; i++) {
		memcpy(data + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	return data;
}

void sim_disk_limit(struct sim_disk *d, uint64_t bytes)
{
	d->limit = bytes;
}

void sim_disk_rot(struct sim_disk *d, uint64_t offset, unsigned bit)
{
	while (d->cache)
		sim_disk_destage_first(d);
	sim_image_flip(&d->now, offset, bit);
	sim_image_flip(&d->stable, offset, bit);
}

bool sim_disk_written(const struct sim_disk *d, uint64_t offset)
{
	return sim_image_holds(&d->now, offset);
}

void sim_disk_peek(const struct sim_disk *d, uint64_t offset, void *buf, uint64_t length)
{
	sim_image_read(&d->now, offset, buf, length);
}
