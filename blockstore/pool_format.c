#include "blockstore/pool_format.h"

#include "blockstore/super_format.h"

#include <string.h>

enum {
	T_GENERATION = 0,
	T_SELF = 8,
	T_NDEVS = 24,
	T_NRANGES = 25,
	T_DEVICES = 32, /* BS_POOL_DEVICES of 32 bytes */
	T_RANGES = 544, /* BS_POOL_RANGES of 16 bytes */
};

#define DEVENT_SIZE 32u
#define RANGE_SIZE 16u
_Static_assert(T_DEVICES + BS_POOL_DEVICES * DEVENT_SIZE <= T_RANGES, "devices overlap ranges");
_Static_assert(T_RANGES + BS_POOL_RANGES * RANGE_SIZE <= BS_DEVTAB_SIZE, "ranges overflow");

static void put_device(uint8_t *p, const struct bs_devent *d)
{
	memcpy(p, d->uuid.b, 16);
	vs_put_le64(p + 16, d->size);
	vs_put_le16(p + 24, d->group);
	p[26] = d->member;
	p[27] = d->state;
	vs_put_le32(p + 28, d->resilver);
}

static void get_device(const uint8_t *p, struct bs_devent *d)
{
	memcpy(d->uuid.b, p, 16);
	d->size = vs_get_le64(p + 16);
	d->group = vs_get_le16(p + 24);
	d->member = p[26];
	d->state = p[27];
	d->resilver = vs_get_le32(p + 28);
}

void bs_devtab_put(uint8_t b[BS_DEVTAB_SIZE], const struct bs_devtab *t)
{
	memset(b, 0, BS_DEVTAB_SIZE);
	vs_put_le64(b + T_GENERATION, t->generation);
	memcpy(b + T_SELF, t->self.b, 16);
	b[T_NRANGES] = (uint8_t)t->nranges;
	for (unsigned i = 0; i < t->ndevs; i++)
		if (t->dev[i].state != BS_MEMBER_NONE)
			put_device(b + T_DEVICES + b[T_NDEVS]++ * DEVENT_SIZE, &t->dev[i]);
	for (unsigned i = 0; i < t->nranges; i++) {
		uint8_t *p = b + T_RANGES + i * RANGE_SIZE;

		vs_put_le32(p, t->range[i].first);
		vs_put_le32(p + 4, t->range[i].count);
		vs_put_le32(p + 8, t->range[i].slot);
		vs_put_le16(p + 12, t->range[i].group);
	}
}

int bs_devtab_find(const struct bs_devtab *t, const struct vs_uuid *uuid)
{
	for (unsigned i = 0; i < t->ndevs; i++)
		if (t->dev[i].state != BS_MEMBER_NONE && vs_uuid_equal(&t->dev[i].uuid, uuid))
			return (int)i;
	return -1;
}

static int check_devices(const struct bs_devtab *t)
{
	for (unsigned i = 0; i < t->ndevs; i++) {
		const struct bs_devent *d = &t->dev[i];
		unsigned members = 0;

		if (d->group >= BS_POOL_DEVICES || d->state < BS_MEMBER_SYNC ||
		    d->state > BS_MEMBER_LEAVING || d->size % BS_PAGE ||
		    d->size < BS_HEAD_AREA + BS_TAIL_AREA || d->size > INT64_MAX ||
		    bs_devtab_find(t, &d->uuid) != (int)i)
			return VS_E_CORRUPT;
		for (unsigned k = 0; k < t->ndevs; k++)
			members += t->dev[k].group == d->group;
		if (members > BS_POOL_MEMBERS)
			return VS_E_CORRUPT;
	}
	return 0;
}

/* Every device of the group has room for the range's slots, and no other range has them. */
static int check_range(const struct bs_devtab *t, const struct bs_range *r, uint32_t segment_size)
{
	uint64_t end = (uint64_t)r->slot + r->count;
	unsigned devices = 0;

	if (r->group == BS_POOL_NOWHERE)
		return 0;
	for (unsigned i = 0; i < t->ndevs; i++) {
		if (t->dev[i].group != r->group)
			continue;
		devices++;
		if ((t->dev[i].size - BS_HEAD_AREA - BS_TAIL_AREA) / segment_size < end)
			return VS_E_CORRUPT;
	}
	for (const struct bs_range *o = t->range; o < r; o++)
		if (o->group == r->group && r->slot < (uint64_t)o->slot + o->count && o->slot < end)
			return VS_E_CORRUPT;
	return devices ? 0 : VS_E_CORRUPT;
}

int bs_devtab_get(const uint8_t b[BS_DEVTAB_SIZE], uint32_t segments, uint32_t segment_size,
		  struct bs_devtab *t)
{
	uint64_t next = 0;

	*t = (struct bs_devtab){.generation = vs_get_le64(b + T_GENERATION),
				.ndevs = b[T_NDEVS],
				.nranges = b[T_NRANGES]};
	memcpy(t->self.b, b + T_SELF, 16);
	if (t->ndevs == 0 || t->ndevs > BS_POOL_DEVICES || t->nranges == 0 ||
	    t->nranges > BS_POOL_RANGES)
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < t->ndevs; i++)
		get_device(b + T_DEVICES + i * DEVENT_SIZE, &t->dev[i]);
	if (check_devices(t))
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < t->nranges; i++) {
		const uint8_t *p = b + T_RANGES + i * RANGE_SIZE;
		struct bs_range *r = &t->range[i];

		*r = (struct bs_range){.first = vs_get_le32(p),
				       .count = vs_get_le32(p + 4),
				       .slot = vs_get_le32(p + 8),
				       .group = vs_get_le16(p + 12)};
		if (r->first != next || r->count == 0 || check_range(t, r, segment_size))
			return VS_E_CORRUPT;
		next += r->count;
	}
	return next >= segments && next < BS_SEG_NONE ? 0 : VS_E_CORRUPT;
}
