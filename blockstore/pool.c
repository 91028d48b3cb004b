#include "blockstore/pool.h"

#include "blockstore/plant.h"

#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define CHILDREN 1024u

/* A device's part of a request. */
struct bs_pool_child {
	struct bs_devio io;
	struct bs_devio *parent;
	struct bs_pool *pool;
	struct bs_pool_child *next;
	unsigned side;
};

/* In the priv of a request to the pool. */
struct pool_slot {
	uint16_t ok, bad; /* devices that completed or failed it */
	uint16_t pending; /* children in flight */
	int status;	  /* the first failure's */
};
_Static_assert(sizeof(struct pool_slot) <= sizeof(((struct bs_devio *)0)->priv), "slot fits priv");

static struct bs_pool *pool_of(struct bs_device *dev)
{
	return vs_container_of(dev, struct bs_pool, dev);
}

static struct pool_slot *slot_of(struct bs_devio *io)
{
	return (struct pool_slot *)io->priv;
}

void bs_pool_say(struct bs_pool *p, enum bs_severity severity, const char *kind, const char *fmt,
		 ...)
{
	char text[256];
	va_list ap;

	if (!p->event)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->event(p->event_arg, severity, kind, text);
}

const char *bs_pool_name(const struct bs_pool *p, unsigned i)
{
	return p->side[i].dev ? p->side[i].dev->name : "a device that is not here";
}

/* ---- who holds what */

const struct bs_range *bs_pool_range(const struct bs_pool *p, uint32_t seg)
{
	for (unsigned i = 0; i < p->tab.nranges; i++) {
		const struct bs_range *r = &p->tab.range[i];

		if (seg - r->first < r->count)
			return r;
	}
	VS_ASSERT(!"a segment that no group has");
	return NULL;
}

void bs_pool_place(const struct bs_pool *p, uint32_t seg, struct bs_segent *ent)
{
	const struct bs_range *r = bs_pool_range(p, seg);

	*ent = (struct bs_segent){
	    .copies = 1, .dev = {r->group}, .slot = {r->slot + (seg - r->first)}};
}

bool bs_pool_live(const struct bs_pool *p, unsigned i)
{
	return p->side[i].dev && p->tab.dev[i].state != BS_MEMBER_MISSING &&
	       p->tab.dev[i].state != BS_MEMBER_NONE;
}

bool bs_pool_has(const struct bs_pool *p, const struct bs_device *dev)
{
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->side[i].dev == dev)
			return true;
	return false;
}

static uint16_t members(const struct bs_pool *p, uint16_t group, bool in_sync)
{
	uint16_t bits = 0;

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		const struct bs_devent *d = &p->tab.dev[i];

		if (d->group == group && p->side[i].dev &&
		    (bs_member_whole(d->state) || (!in_sync && d->state == BS_MEMBER_RESILVER)))
			bits |= (uint16_t)(1u << i);
	}
	return bits;
}

static uint16_t everyone(const struct bs_pool *p)
{
	uint16_t bits = 0;

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (bs_pool_live(p, i))
			bits |= (uint16_t)(1u << i);
	return bits;
}

uint16_t bs_pool_in_sync(const struct bs_pool *p, uint32_t seg)
{
	return members(p, bs_pool_range(p, seg)->group, true);
}

uint16_t bs_pool_written(const struct bs_pool *p, uint32_t seg)
{
	return members(p, bs_pool_range(p, seg)->group, false);
}

uint32_t bs_pool_segments(const struct bs_pool *p)
{
	const struct bs_range *last = &p->tab.range[p->tab.nranges - 1];

	return p->plain ? 0 : last->first + last->count;
}

bool bs_pool_shut(const struct bs_pool *p, uint16_t group)
{
	unsigned leaving = 0;

	if (group == BS_POOL_NOWHERE)
		return true;
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		if (p->tab.dev[i].group != group || p->tab.dev[i].state == BS_MEMBER_NONE)
			continue;
		if (p->tab.dev[i].state != BS_MEMBER_LEAVING)
			return false;
		leaving++;
	}
	return leaving > 0;
}

bool bs_pool_can_drop(const struct bs_pool *p, unsigned i)
{
	return (members(p, p->tab.dev[i].group, true) & ~(1u << i)) != 0;
}

void bs_pool_drop(struct bs_pool *p, unsigned i, const char *why)
{
	if (!bs_pool_live(p, i))
		return;
	VS_ASSERT(bs_pool_can_drop(p, i));
	p->tab.dev[i].state = BS_MEMBER_MISSING;
	p->tab.dev[i].resilver = p->side[i].resilver = 0;
	p->side[i].lost = false;
	bs_pool_say(p, BS_ERROR, "device",
		    "%s %s and is left out; its mirror goes on without it: replace it, or bring it "
		    "back with vstore store add",
		    bs_pool_name(p, i), why);
	bs_pool_settle(p);
}

/* ---- requests */

/* The segment's place on its devices; offsets in the head area stay. */
static uint64_t where(const struct bs_pool *p, uint64_t offset, uint16_t *group)
{
	const struct bs_range *r;
	uint64_t seg;

	*group = UINT16_MAX;
	if (offset < BS_HEAD_AREA)
		return offset;
	seg = (offset - BS_HEAD_AREA) / p->segment_size;
	VS_ASSERT(seg <= UINT32_MAX);
	r = bs_pool_range(p, (uint32_t)seg);
	*group = r->group;
	return offset - (uint64_t)r->first * p->segment_size + (uint64_t)r->slot * p->segment_size;
}

/* Of the devices that may serve a read the one that has the least to do. */
static uint16_t least_busy(const struct bs_pool *p, uint16_t bits)
{
	unsigned best = BS_POOL_DEVICES;

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if ((bits >> i & 1) &&
		    (best == BS_POOL_DEVICES || p->side[i].in_flight < p->side[best].in_flight))
			best = i;
	return best == BS_POOL_DEVICES ? 0 : (uint16_t)(1u << best);
}

/* Which devices a request goes to now; *offset: its place on them. */
static uint16_t route(const struct bs_pool *p, const struct bs_devio *io, uint64_t *offset)
{
	uint16_t allowed = io->sides ? io->sides : UINT16_MAX, group, bits;

	*offset = 0;
	if (io->op == BS_DEV_FLUSH)
		return everyone(p);
	*offset = where(p, io->offset, &group);
	if (group == UINT16_MAX)
		bits = everyone(p) & allowed;
	else if (io->op == BS_DEV_READ && !io->sides)
		bits = members(p, group, true);
	else
		bits = members(p, group, false) & allowed;
	return io->op == BS_DEV_READ ? least_busy(p, bits) : bits;
}

static void child_done(struct bs_devio *io);

static void send(struct bs_pool *p, struct bs_devio *parent, uint16_t bits, uint64_t offset)
{
	slot_of(parent)->pending += (uint16_t)__builtin_popcount(bits);
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		struct bs_pool_child *c = p->free_children;

		if (!(bits >> i & 1))
			continue;
		p->free_children = c->next;
		p->nfree--;
		c->parent = parent;
		c->side = i;
		c->io.op = parent->op;
		c->io.offset = offset;
		c->io.length = parent->length;
		memcpy(c->io.iov, parent->iov, sizeof(c->io.iov));
		c->io.iovcnt = parent->iovcnt;
		c->io.durable = parent->durable;
		c->io.done = child_done;
		c->io.arg = c;
		p->side[i].in_flight++;
		bs_device_submit(p->side[i].dev, &c->io);
	}
}

static void start(struct bs_pool *p, struct bs_devio *io)
{
	uint64_t offset;
	uint16_t bits = route(p, io, &offset);

	*slot_of(io) = (struct pool_slot){0};
	if (bits) {
		send(p, io, bits, offset);
		return;
	}
	io->next = p->refused;
	p->refused = io;
}

static void pool_submit(struct bs_device *dev, struct bs_devio *io)
{
	struct bs_pool *p = pool_of(dev);

	if (p->waiting.first || p->nfree < p->tab.ndevs) {
		bs_device_queue_put(&p->waiting, io);
		return;
	}
	start(p, io);
}

static void start_waiting(struct bs_pool *p)
{
	while (p->waiting.first && p->nfree >= p->tab.ndevs)
		start(p, bs_device_queue_get(&p->waiting));
}

static void answer(struct bs_pool *p, struct bs_devio *io, int status)
{
	io->status = status;
	if (io->op != BS_DEV_READ && p->settling) {
		io->next = p->held;
		p->held = io;
		return;
	}
	io->done(io);
}

static void note_bad(struct bs_pool *p, const struct bs_devio *io, uint16_t bits)
{
	if (p->nbad < BS_POOL_BAD && io->offset >= BS_HEAD_AREA)
		p->bad[p->nbad++] =
		    (struct bs_pool_bad){.offset = io->offset, .length = io->length, .side = bits};
}

/* Another device in sync may still have what one could not read. */
static void read_done(struct bs_pool *p, struct bs_devio *io)
{
	struct pool_slot *s = slot_of(io);
	uint64_t offset;
	uint16_t group, rest;

	if (s->ok) {
		io->served = s->ok;
		if (s->bad)
			note_bad(p, io, s->bad);
		answer(p, io, 0);
		return;
	}
	offset = where(p, io->offset, &group);
	rest = io->sides || group == UINT16_MAX ? 0 : members(p, group, true) & (uint16_t)~s->bad;
	if (rest && p->nfree) {
		send(p, io, least_busy(p, rest), offset);
		return;
	}
	answer(p, io, s->status);
}

/* Devices that failed it are dropped where another of their group that is in sync has it. */
static int judge(struct bs_pool *p, struct bs_devio *io)
{
	const struct pool_slot *s = slot_of(io);

	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		const struct bs_devent *d = &p->tab.dev[i];

		if (!(s->bad >> i & 1) || !bs_pool_live(p, i))
			continue;
		if (!(members(p, d->group, true) & s->ok & ~(1u << i)))
			return s->status;
	}
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (s->bad >> i & 1)
			bs_pool_drop(p, i,
				     io->op == BS_DEV_FLUSH ? "failed a flush" : "failed a write");
	return s->ok ? 0 : s->status;
}

int bs_pool_flushed(struct bs_pool *p, unsigned i, int status)
{
	struct bs_pool_side *side = &p->side[i];

	if (status && p->tab.dev[i].state != BS_MEMBER_MISSING && !bs_planted(FLUSH_AGAIN))
		side->lost = true;
	return status == 0 && side->lost ? VS_E_IO : status;
}

static void child_done(struct bs_devio *child)
{
	struct bs_pool_child *c = child->arg;
	struct bs_devio *io = c->parent;
	struct bs_pool *p = c->pool;
	struct bs_pool_side *side = &p->side[c->side];
	struct pool_slot *s = slot_of(io);
	uint16_t bit = (uint16_t)(1u << c->side);

	side->in_flight--;
	if (io->op == BS_DEV_FLUSH || (io->durable && !p->plain))
		child->status = bs_pool_flushed(p, c->side, child->status);
	if (child->status == 0)
		s->ok |= bit;
	else
		s->bad |= bit;
	if (child->status && !s->status)
		s->status = child->status;
	if (child->status)
		(*(io->op == BS_DEV_READ ? &side->read_errors : &side->write_errors))++;
	c->next = p->free_children;
	p->free_children = c;
	p->nfree++;
	if (--s->pending)
		return;
	if (io->op == BS_DEV_READ)
		read_done(p, io);
	else if (bs_devop_hint(io->op) || (io->sides && s->ok == 0))
		answer(p, io, s->status);
	else
		answer(p, io, judge(p, io));
}

static void pool_kick(struct bs_device *dev)
{
	struct bs_pool *p = pool_of(dev);

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->side[i].dev)
			bs_device_kick(p->side[i].dev);
}

bool bs_pool_pending(const struct bs_pool *p)
{
	const struct bs_pool_supers *s = &p->supers;

	return p->refused || (p->waiting.first && p->nfree >= p->tab.ndevs) ||
	       (!p->settling && p->held) || (s->busy && !s->pending) ||
	       (!s->busy && !p->failed && (p->settling || s->done));
}

static unsigned answer_list(struct bs_devio *list, int status)
{
	unsigned n = 0;

	while (list) {
		struct bs_devio *io = list;

		list = io->next;
		if (status)
			io->status = status;
		io->done(io);
		n++;
	}
	return n;
}

static unsigned pool_poll(struct bs_device *dev)
{
	struct bs_pool *p = pool_of(dev);
	struct bs_devio *list;
	unsigned n = 0;

	for (unsigned i = 0; i < p->tab.ndevs; i++)
		if (p->side[i].dev)
			n += bs_device_poll(p->side[i].dev);
	bs_pool_supers_poll(p);
	start_waiting(p);
	list = p->refused;
	p->refused = NULL;
	n += answer_list(list, VS_E_IO);
	if (!p->settling && p->held) {
		list = p->held;
		p->held = NULL;
		n += answer_list(list, p->failed ? VS_E_IO : 0);
	}
	pool_kick(dev); /* what was started here, for callers that only wait */
	return n;
}

/* Blocks until one of the devices may have done something. */
static void pool_wait(struct bs_device *dev)
{
	struct bs_pool *p = pool_of(dev);
	struct pollfd fds[BS_POOL_DEVICES];
	nfds_t n = 0;

	if (bs_pool_pending(p))
		return;
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		const struct bs_pool_side *s = &p->side[i];

		if (!s->dev || !s->in_flight)
			continue;
		if (s->dev->event_fd < 0) { /* simulated: time moves on */
			s->dev->ops->wait(s->dev);
			return;
		}
		fds[n++] = (struct pollfd){.fd = s->dev->event_fd, .events = POLLIN};
	}
	if (n)
		(void)poll(fds, n, -1);
	else if (p->tab.ndevs == 1)
		p->side[0].dev->ops->wait(p->side[0].dev);
}

/* The devices are their owner's. */
static void pool_close(struct bs_device *dev)
{
	(void)dev;
}

static const struct bs_device_ops pool_ops = {
    .submit = pool_submit,
    .kick = pool_kick,
    .poll = pool_poll,
    .wait = pool_wait,
    .close = pool_close,
};

static int alloc_children(struct bs_pool *p)
{
	p->children = calloc(CHILDREN, sizeof(*p->children));
	if (!p->children)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < CHILDREN; i++) {
		p->children[i].pool = p;
		p->children[i].next = p->free_children;
		p->free_children = &p->children[i];
	}
	p->nfree = CHILDREN;
	return 0;
}

int bs_pool_new(const struct bs_devtab *tab, struct bs_device *const devs[BS_POOL_DEVICES],
		uint32_t segment_size, struct bs_pool **out)
{
	struct bs_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return VS_E_NOMEM;
	p->dev.ops = &pool_ops;
	p->dev.event_fd = -1;
	p->tab = *tab;
	p->plain = tab->ndevs == 0;
	p->segment_size = segment_size;
	bs_device_queue_init(&p->waiting);
	if (p->plain) {
		p->tab.ndevs = p->tab.nranges = 1;
		p->tab.range[0] = (struct bs_range){.count = UINT32_MAX};
		p->tab.dev[0] = (struct bs_devent){.size = devs[0]->size, .state = BS_MEMBER_SYNC};
	}
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		p->side[i].dev = devs[i];
		p->side[i].resilver = p->tab.dev[i].resilver;
		if (devs[i] && !p->dev.name[0])
			memcpy(p->dev.name, devs[i]->name, sizeof(p->dev.name));
		p->dev.read_only |= devs[i] && devs[i]->read_only;
	}
	p->supers.buf = aligned_alloc(BS_PAGE, (size_t)BS_POOL_DEVICES * BS_PAGE);
	if (!p->supers.buf || alloc_children(p)) {
		bs_pool_free(p);
		return VS_E_NOMEM;
	}
	*out = p;
	return 0;
}

void bs_pool_free(struct bs_pool *p)
{
	if (!p)
		return;
	free(p->children);
	free(p->supers.buf);
	free(p);
}
