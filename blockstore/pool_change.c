#include "blockstore/pool_change.h"

#include "blockstore/checkpoint.h"
#include "blockstore/evacuate.h"
#include "blockstore/plant.h"
#include "blockstore/resilver.h"

#include <stdio.h>
#include <stdlib.h>

static int find(const struct bs_pool *p, const char *name)
{
	struct vs_uuid uuid;
	bool is_uuid = vs_uuid_parse(name, &uuid) == 0;

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state == BS_MEMBER_NONE)
			continue;
		if (p->side[i].dev && strcmp(p->side[i].dev->name, name) == 0)
			return (int)i;
		if (is_uuid && vs_uuid_equal(&p->tab.dev[i].uuid, &uuid))
			return (int)i;
	}
	return -1;
}

static int no_device(const char *name, struct vs_error *err)
{
	return vs_fail(err, VS_E_NOENT, "%s is not a device of the store: see vstore store show",
		       name);
}

/* Slots that the ranges of a group need on each of its devices. */
static uint32_t slots_of(const struct bs_pool *p, uint16_t group)
{
	uint32_t end = 0;

	for (unsigned i = 0; i < p->tab.nranges; i++)
		if (p->tab.range[i].group == group)
			end = VS_MAX(end, p->tab.range[i].slot + p->tab.range[i].count);
	return end;
}

static uint64_t room(const struct bs_pool *p, uint64_t size)
{
	return size > BS_HEAD_AREA + BS_TAIL_AREA
		   ? (size - BS_HEAD_AREA - BS_TAIL_AREA) / p->segment_size
		   : 0;
}

static int free_entry(struct bs_pool *p, struct vs_error *err)
{
	for (unsigned i = 0; i < BS_POOL_DEVICES; i++) {
		if (i < p->tab.ndevs && (p->tab.dev[i].state != BS_MEMBER_NONE || p->side[i].dev))
			continue;
		p->tab.ndevs = VS_MAX(p->tab.ndevs, i + 1);
		p->side[i] = (struct bs_pool_side){0};
		return (int)i;
	}
	return vs_fail(err, VS_E_LIMIT, "a store has at most %u devices", BS_POOL_DEVICES);
}

/* A store of one device gets a table. */
static int make_table(struct bs_engine *e, struct vs_error *err)
{
	struct bs_pool *p = e->pool;

	if (!p->plain)
		return 0;
	if (vs_uuid_new(&p->tab.dev[0].uuid))
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	p->tab.dev[0].size = e->sb.device_size;
	p->tab.range[0].count = e->segs.count;
	p->plain = false;
	return 0;
}

/* The table is on the devices, or the pool has failed. */
static int settled(struct bs_engine *e, struct vs_error *err)
{
	bs_pool_settle(e->pool);
	while (e->pool->settling)
		bs_fiber_yield(e->fibers);
	return e->pool->failed ? vs_fail(err, VS_E_IO, "cannot write the superblocks") : 0;
}

static int come_back(struct bs_engine *e, struct bs_device *dev, const struct bs_super *label,
		     unsigned i, bool force, struct vs_error *err)
{
	struct bs_pool *p = e->pool;

	if (p->tab.dev[i].state != BS_MEMBER_MISSING)
		return vs_fail(err, VS_E_EXIST, "%s is a device of the store and in use",
			       dev->name);
	for (unsigned k = 0; k < label->tab.ndevs && !force; k++) {
		int there = bs_devtab_find(&p->tab, &label->tab.dev[k].uuid);

		if (label->tab.dev[k].state == BS_MEMBER_MISSING && there >= 0 &&
		    p->tab.dev[there].state != BS_MEMBER_MISSING)
			return vs_fail(err, VS_E_MISMATCH,
				       "%s was written while %s was absent: what is on it will be "
				       "lost; add --force if it may be",
				       dev->name, bs_pool_name(p, (unsigned)there));
	}
	if (dev->size < p->tab.dev[i].size)
		return vs_fail(err, VS_E_INVAL, "%s is smaller than it was: it needs %llu bytes",
			       dev->name, (unsigned long long)p->tab.dev[i].size);
	p->side[i] = (struct bs_pool_side){.dev = dev};
	p->tab.dev[i].state = BS_MEMBER_RESILVER;
	p->tab.dev[i].resilver = 0;
	bs_resilver_mark(e, i);
	return settled(e, err);
}

static int join_mirror(struct bs_engine *e, struct bs_device *dev, const char *other,
		       const char *replaces, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	int k = find(p, other), i;
	unsigned members = 0, number = 0;
	uint16_t group;

	if (k < 0)
		return no_device(other, err);
	group = p->tab.dev[k].group;
	for (unsigned n = 0; n < p->tab.ndevs; n++) {
		if (p->tab.dev[n].state == BS_MEMBER_NONE || p->tab.dev[n].group != group)
			continue;
		members++;
		number = VS_MAX(number, p->tab.dev[n].member + 1u);
	}
	if (members == BS_POOL_MEMBERS)
		return vs_fail(err, VS_E_LIMIT, "a mirror has at most %u devices", BS_POOL_MEMBERS);
	if (make_table(e, err))
		return VS_E_IO;
	if (room(p, dev->size) < slots_of(p, group))
		return vs_fail(
		    err, VS_E_INVAL, "%s is too small: a mirror of %s needs %llu bytes", dev->name,
		    other,
		    (unsigned long long)(BS_HEAD_AREA + BS_TAIL_AREA +
					 (uint64_t)slots_of(p, group) * p->segment_size));
	i = free_entry(p, err);
	if (i < 0)
		return i;
	p->side[i].dev = dev;
	p->tab.dev[i] = (struct bs_devent){.size = dev->size,
					   .group = group,
					   .member = (uint8_t)number,
					   .state = BS_MEMBER_RESILVER};
	if (vs_uuid_new(&p->tab.dev[i].uuid))
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	if (replaces)
		p->tab.dev[k].state =
		    p->tab.dev[k].state == BS_MEMBER_SYNC ? BS_MEMBER_LEAVING : BS_MEMBER_NONE;
	bs_resilver_mark(e, (unsigned)i);
	return settled(e, err);
}

/* Segments behind the last one, in a range of their own. */
static int add_range(struct bs_engine *e, uint16_t group, uint32_t slot, uint64_t count,
		     struct vs_error *err)
{
	struct bs_devtab *t = &e->pool->tab;
	struct bs_range *last = &t->range[t->nranges - 1];

	if (count == 0 || count >= BS_SEG_NONE - e->segs.count)
		return vs_fail(err, VS_E_INVAL, "that is no room for a segment of %u bytes",
			       e->segs.size);
	if (last->group == group && last->slot + last->count == slot) {
		last->count += (uint32_t)count;
		return 0;
	}
	if (t->nranges == BS_POOL_RANGES)
		return vs_fail(err, VS_E_LIMIT, "the store has been extended too often");
	t->range[t->nranges++] = (struct bs_range){
	    .first = e->segs.count, .count = (uint32_t)count, .slot = slot, .group = group};
	return 0;
}

/* Two checkpoints know the new segments before anything is written to them. */
static int use_segments(struct bs_engine *e, uint64_t count, struct vs_error *err)
{
	int rc = bs_segs_grow(e, e->segs.count + (uint32_t)count);

	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = bs_checkpoint_run(e, false);
	return rc ? vs_fail(err, rc, "cannot use the room that is there: %s", vs_err_text(rc)) : 0;
}

static int join_group(struct bs_engine *e, struct bs_device *dev, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	uint64_t count = room(p, dev->size);
	uint16_t group = 0;
	int i, rc;

	if (make_table(e, err))
		return VS_E_IO;
	bs_checkpoint_settle(e);
	for (unsigned k = 0; k < p->tab.ndevs; k++)
		if (p->tab.dev[k].state != BS_MEMBER_NONE)
			group = VS_MAX(group, (uint16_t)(p->tab.dev[k].group + 1));
	if (group == BS_POOL_DEVICES)
		return vs_fail(err, VS_E_LIMIT, "the store has had too many groups of devices");
	i = free_entry(p, err);
	if (i < 0)
		return i;
	rc = add_range(e, group, 0, count, err);
	if (rc)
		return rc;
	p->side[i].dev = dev;
	p->tab.dev[i] =
	    (struct bs_devent){.size = dev->size, .group = group, .state = BS_MEMBER_SYNC};
	if (vs_uuid_new(&p->tab.dev[i].uuid))
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	rc = settled(e, err);
	return rc ? rc : use_segments(e, count, err);
}

int bs_pool_join(struct bs_engine *e, struct bs_device *dev, const struct bs_super *label,
		 const struct bs_device_add *how, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	const char *other = how->replaces ? how->replaces : how->mirror_of;
	int i = -1;

	if (e->read_only || e->failed)
		return vs_fail(err, e->failed ? VS_E_FAILED : VS_E_ROFS,
			       "the store cannot be changed: %s", e->why);
	if (label && vs_uuid_equal(&label->uuid, &e->sb.uuid) && label->tab.ndevs)
		i = bs_devtab_find(&p->tab, &label->tab.self);
	if (i >= 0 && !how->replaces)
		return come_back(e, dev, label, (unsigned)i, how->force, err);
	if (label && !how->force)
		return vs_fail(err, VS_E_EXIST, "%s holds a store: add --force to overwrite it",
			       dev->name);
	return other ? join_mirror(e, dev, other, how->replaces, err) : join_group(e, dev, err);
}

static void wipe_done(struct bs_devio *io)
{
	*(bool *)io->arg = true;
}

/* On the device itself, which is no longer of the pool's; a failure leaves a label that is old. */
static void wipe(struct bs_engine *e, struct bs_device *dev, uint64_t size)
{
	uint8_t *zeros = aligned_alloc(BS_PAGE, BS_SUPER_SIZE);

	if (!zeros)
		return;
	memset(zeros, 0, BS_SUPER_SIZE);
	for (unsigned i = 0; i < 4; i++) {
		bool done = false;
		struct bs_devio io = {.op = BS_DEV_WRITE,
				      .offset = bs_super_offset(size, i & 1, i >> 1),
				      .length = BS_SUPER_SIZE,
				      .iov = {{zeros, BS_SUPER_SIZE}},
				      .iovcnt = 1,
				      .done = wipe_done,
				      .arg = &done};

		bs_device_submit(dev, &io);
		bs_device_kick(dev);
		while (!done)
			bs_fiber_yield(e->fibers);
	}
	free(zeros);
}

/* The others know that it is gone before it is wiped. */
static struct bs_device *take_out(struct bs_engine *e, unsigned i, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	struct bs_device *dev = p->side[i].dev;

	if (bs_planted(HASTY_WIPE) && dev)
		wipe(e, dev, p->tab.dev[i].size);
	p->tab.dev[i].state = BS_MEMBER_NONE;
	if (settled(e, err) || !dev)
		return dev;
	while (p->side[i].in_flight)
		bs_fiber_yield(e->fibers);
	wipe(e, dev, p->tab.dev[i].size);
	p->side[i].dev = NULL;
	return dev;
}

/* The only one of its group that is here: other groups take what it holds. */
static int begin_to_part(struct bs_engine *e, unsigned i, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	const char *name = bs_pool_name(p, i);
	bool others = false;
	int rc;

	if (e->read_only || e->failed)
		return vs_fail(err, e->failed ? VS_E_FAILED : VS_E_ROFS,
			       "the store cannot be changed: %s", e->why);
	for (unsigned k = 0; k < p->tab.ndevs; k++) {
		if (k == i || p->tab.dev[k].state == BS_MEMBER_NONE)
			continue;
		if (p->tab.dev[k].group == p->tab.dev[i].group)
			return vs_fail(err, VS_E_NOTSUP,
				       "%s has what its mirror lacks: remove that one first, or "
				       "wait until it is in sync",
				       name);
		others |= !bs_pool_shut(p, p->tab.dev[k].group);
	}
	if (!others || !p->side[i].dev)
		return vs_fail(err, VS_E_NOTSUP,
			       "%s has data that no other device has: replace it, or add a mirror "
			       "of it and wait until that is in sync",
			       name);
	e->evacuate_stuck = false;
	if (p->tab.dev[i].state == BS_MEMBER_LEAVING)
		return 0;
	rc = bs_evacuate_shut(e, p->tab.dev[i].group);
	if (rc == VS_E_NOSPC)
		return vs_fail(err, rc,
			       "the other devices have no room for what %s holds: delete "
			       "something, or add a device first",
			       name);
	if (rc)
		return vs_fail(err, rc, "%s cannot be emptied: %s", name, vs_err_text(rc));
	p->tab.dev[i].state = BS_MEMBER_LEAVING;
	return settled(e, err);
}

static bool is_empty(const struct bs_engine *e, uint16_t group)
{
	for (uint32_t seg = 0; seg < e->segs.count; seg++)
		if (bs_pool_range(e->pool, seg)->group == group &&
		    e->segs.seg[seg].ent.state != BS_SEG_FREE)
			return false;
	return true;
}

void bs_pool_part(struct bs_engine *e)
{
	struct bs_pool *p = e->pool;

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		uint16_t group = p->tab.dev[i].group;
		struct bs_device *dev;

		if (p->tab.dev[i].state != BS_MEMBER_LEAVING || !bs_pool_shut(p, group) ||
		    !is_empty(e, group))
			continue;
		for (unsigned k = 0; k < p->tab.nranges; k++)
			if (p->tab.range[k].group == group)
				p->tab.range[k].group = BS_POOL_NOWHERE;
		dev = take_out(e, i, NULL);
		if (dev && !p->failed)
			bs_engine_event(e, BS_INFO, "device", "%s is empty and can be taken away",
					dev->name);
	}
}

bool bs_pool_parting(const struct bs_pool *p)
{
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->tab.dev[i].state == BS_MEMBER_LEAVING &&
		    bs_pool_shut(p, p->tab.dev[i].group))
			return true;
	return false;
}

int bs_pool_leave(struct bs_engine *e, const char *name, struct bs_device **gone,
		  struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	int i = find(p, name);

	*gone = NULL;
	if (i < 0)
		return no_device(name, err);
	if (!bs_pool_can_drop(p, (unsigned)i))
		return begin_to_part(e, (unsigned)i, err);
	*gone = take_out(e, (unsigned)i, err);
	return p->failed ? VS_E_IO : 0;
}

static bool successor(const struct bs_pool *p, unsigned i)
{
	for (unsigned k = 0; k < p->tab.ndevs; k++)
		if (p->tab.dev[k].group == p->tab.dev[i].group &&
		    p->tab.dev[k].state == BS_MEMBER_SYNC && p->side[k].dev)
			return true;
	return false;
}

int bs_pool_let_go(struct bs_engine *e, const char *name, struct bs_device **gone)
{
	struct bs_pool *p = e->pool;
	int i = find(p, name);

	*gone = NULL;
	if (i < 0 || !p->side[i].dev || p->tab.dev[i].state != BS_MEMBER_MISSING)
		return VS_E_NOENT;
	while (p->side[i].in_flight)
		bs_fiber_yield(e->fibers);
	*gone = p->side[i].dev;
	p->side[i].dev = NULL;
	return 0;
}

void bs_pool_release(struct bs_engine *e)
{
	struct bs_pool *p = e->pool;

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state != BS_MEMBER_LEAVING || !successor(p, i))
			continue;
		bs_engine_event(e, BS_INFO, "device", "%s has been replaced and can be taken away",
				bs_pool_name(p, i));
		(void)take_out(e, i, NULL);
	}
}

/* By how many slots all devices of the group have grown. */
static uint64_t growth(const struct bs_pool *p, uint16_t group)
{
	uint64_t least = UINT64_MAX, used = slots_of(p, group);

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].state == BS_MEMBER_NONE || p->tab.dev[i].group != group)
			continue;
		if (!p->side[i].dev)
			return 0;
		least = VS_MIN(least, room(p, p->side[i].dev->size));
	}
	return least == UINT64_MAX || least <= used ? 0 : least - used;
}

static int grow_group(struct bs_engine *e, uint16_t group, uint64_t *bytes, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	uint64_t more = growth(p, group);
	int rc;

	if (!more)
		return 0;
	bs_checkpoint_settle(e);
	rc = add_range(e, group, slots_of(p, group), more, err);
	if (rc)
		return rc;
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->tab.dev[i].group == group && p->side[i].dev)
			p->tab.dev[i].size = p->side[i].dev->size;
	rc = settled(e, err);
	if (rc == 0)
		rc = use_segments(e, more, err);
	*bytes += more * e->segs.size;
	return rc;
}

int bs_pool_grow(struct bs_engine *e, uint64_t *bytes, struct vs_error *err)
{
	struct bs_pool *p = e->pool;
	int rc = 0;

	*bytes = 0;
	if (e->read_only || e->failed)
		return vs_fail(err, e->failed ? VS_E_FAILED : VS_E_ROFS,
			       "the store cannot be changed: %s", e->why);
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->side[i].dev)
			bs_device_measure(p->side[i].dev);
	if (p->plain && room(p, p->side[0].dev->size) <= e->segs.count)
		return 0;
	rc = make_table(e, err);
	for (uint16_t group = 0; group < BS_POOL_DEVICES && rc == 0; group++)
		rc = grow_group(e, group, bytes, err);
	return rc;
}

void bs_pool_list(struct bs_engine *e, struct bs_device_info *out, size_t max, size_t *n)
{
	/* without an entry, but not yet let go: the others are being told */
	static const enum bs_device_state states[] = {[BS_MEMBER_NONE] = BS_DEVICE_LEAVING,
						      [BS_MEMBER_SYNC] = BS_DEVICE_SYNC,
						      [BS_MEMBER_RESILVER] = BS_DEVICE_RESILVERING,
						      [BS_MEMBER_MISSING] = BS_DEVICE_MISSING,
						      [BS_MEMBER_LEAVING] = BS_DEVICE_LEAVING};
	const struct bs_pool *p = e->pool;

	*n = 0;
	for (unsigned i = 0; i < p->tab.ndevs && *n < max; i++) {
		const struct bs_pool_side *s = &p->side[i];
		struct bs_device_info *d = &out[*n];

		if (p->tab.dev[i].state == BS_MEMBER_NONE && !s->dev)
			continue;
		*d = (struct bs_device_info){.uuid = p->tab.dev[i].uuid,
					     .state = states[p->tab.dev[i].state],
					     .group = p->tab.dev[i].group,
					     .size = s->dev ? s->dev->size : 0,
					     .used_size = p->tab.dev[i].size,
					     .read_errors = s->read_errors,
					     .write_errors = s->write_errors,
					     .healed = s->healed};
		if (s->dev)
			(void)snprintf(d->name, sizeof(d->name), "%s", s->dev->name);
		bs_resilver_progress(e, i, &d->left, &d->segments);
		if (d->state != BS_DEVICE_RESILVERING)
			d->left = 0;
		++*n;
	}
}
