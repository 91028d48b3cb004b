#include "tests/sim/simdisk.h"

#include "tests/sim/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char *const op_names[] = {"read", "write", "flush", "discard", "ready"};

static struct sim_device *sim_device(struct bs_device *dev)
{
	return vs_container_of(dev, struct sim_device, dev);
}

static uint64_t sum_of(const struct bs_devio *io)
{
	uint64_t sum = 0;

	for (int i = 0; i < io->iovcnt; i++)
		sum = XXH3_64bits_withSeed(io->iov[i].iov_base, io->iov[i].iov_len, sum);
	return sum;
}

static void check_contract(struct sim_disk *d, const struct bs_devio *io)
{
	uint64_t total = 0;

	sim_require(!io->durable || io->op == BS_DEV_WRITE, "a durable request that is no write");
	if (io->op == BS_DEV_FLUSH)
		return;
	sim_require(io->offset % BS_DEV_ALIGN == 0 && io->length % BS_DEV_ALIGN == 0 &&
			io->length > 0 && vs_range_ok(io->offset, io->length, d->size),
		    "device request op %d at %llu, %llu bytes: unaligned or out of range",
		    (int)io->op, (unsigned long long)io->offset, (unsigned long long)io->length);
	if (bs_devop_hint(io->op))
		return;
	sim_require(io->iovcnt >= 1 && io->iovcnt <= BS_DEV_IOV_MAX, "device request of %d pieces",
		    io->iovcnt);
	for (int i = 0; i < io->iovcnt; i++) {
		sim_require((uintptr_t)io->iov[i].iov_base % BS_DEV_ALIGN == 0 &&
				io->iov[i].iov_len % BS_DEV_ALIGN == 0,
			    "device request: piece %d of %zu bytes at %p is not aligned", i,
			    io->iov[i].iov_len, io->iov[i].iov_base);
		total += io->iov[i].iov_len;
	}
	sim_require(total == io->length, "device request: its pieces do not add up to its length");
}

/* A durable write is a write and a flush: it meets the rules of both. */
static bool concerns(const struct sim_rule *r, const struct bs_devio *io)
{
	return (r->op == io->op && !r->durable) || (r->op == BS_DEV_FLUSH && io->durable);
}

static int fate_of(struct sim_disk *d, struct bs_devio *io)
{
	for (unsigned i = 0; i < SIM_RULES; i++) {
		struct sim_rule *r = &d->rules[i];

		if (r->count == 0 || !concerns(r, io))
			continue;
		if (r->to && (io->offset >= r->to || io->offset + io->length <= r->from))
			continue;
		if (r->skip) {
			r->skip--;
			continue;
		}
		r->count--;
		d->hits++;
		sim_slot_of(io)->of_flush = r->op == BS_DEV_FLUSH;
		return (int)r->fate;
	}
	return -1;
}

static void count_event(struct sim_disk *d)
{
	d->first->events++;
}

bool sim_disk_silent(const struct sim_disk *d)
{
	const struct sim_disk *f = d->first;

	return f->silence_at && f->events >= f->silence_at;
}

static void dev_submit(struct bs_device *dev, struct bs_devio *io)
{
	struct sim_device *s = sim_device(dev);

	sim_require(s->disk, "I/O submitted after the end of the run");
	check_contract(s->disk, io);
	bs_device_queue_put(&s->queue, io);
	s->in_flight++;
}

static void start(struct sim_device *s, struct bs_devio *io)
{
	struct sim_disk *d = s->disk;
	struct sim_slot *slot = sim_slot_of(io);
	struct bs_devio **p = &s->running;
	uint64_t base = io->op == BS_DEV_FLUSH || io->durable ? 500000 : 20000;

	sim_trace_io("event %llu: %s at %llu, %llu bytes starts", (unsigned long long)d->events,
		     op_names[io->op], (unsigned long long)io->offset,
		     (unsigned long long)io->length);
	slot->before = !sim_disk_silent(d);
	count_event(d);
	slot->due = s->clock->ns + base + sim_below(&d->rng, 10000) * (uint64_t)d->spread;
	slot->sum = io->op == BS_DEV_WRITE ? sum_of(io) : 0;
	slot->completed = d->completed;
	slot->of_flush = false;
	slot->fate = fate_of(d, io);
	slot->stalled = slot->fate == SIM_FATE_STALL;
	if (slot->stalled)
		slot->due = UINT64_MAX;
	while (*p && sim_slot_of(*p)->due <= slot->due)
		p = &(*p)->next;
	io->next = *p;
	*p = io;
}

static void dev_kick(struct bs_device *dev)
{
	struct sim_device *s = sim_device(dev);

	while (s->disk && s->queue.first)
		start(s, bs_device_queue_get(&s->queue));
}

static int finish_read(struct sim_disk *d, struct bs_devio *io)
{
	uint64_t at = io->offset;

	if (sim_slot_of(io)->fate == SIM_FATE_ERROR) {
		for (int i = 0; i < io->iovcnt; i++)
			memset(io->iov[i].iov_base, 0xee, io->iov[i].iov_len);
		return VS_E_IO;
	}
	for (int i = 0; i < io->iovcnt; i++) {
		sim_image_read(&d->now, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (sim_slot_of(io)->fate == SIM_FATE_FLIP) {
		const struct iovec *v = &io->iov[sim_below(&d->rng, (uint32_t)io->iovcnt)];
		unsigned char *byte = v->iov_base;

		byte += sim_below(&d->rng, (uint32_t)v->iov_len);
		*byte ^= (unsigned char)(1u << sim_below(&d->rng, 8));
	}
	return 0;
}

/* A flush fails: what it was to make stable may be lost, and no later one brings it back. */
static void lose_cache(struct sim_disk *d, uint64_t number)
{
	for (struct sim_cached *c = d->cache; c; c = c->next)
		if (c->number <= number && sim_one_in(&d->rng, 2))
			c->lost = true;
}

static int finish_write(struct sim_disk *d, struct bs_devio *io)
{
	const struct sim_slot *slot = sim_slot_of(io);
	unsigned char *data;

	sim_require(slot->sum == sum_of(io),
		    "the bytes of a write at %llu, %llu bytes, changed while it was in flight",
		    (unsigned long long)io->offset, (unsigned long long)io->length);
	if (slot->fate == SIM_FATE_LIE && !slot->of_flush)
		return 0;
	if (d->limit && sim_image_would_hold(&d->now, io->offset, io->length) > d->limit)
		return VS_E_NOSPC;
	data = sim_disk_gather(io);
	if (slot->fate == SIM_FATE_ERROR)
		sim_disk_put_torn(d, io->offset, data, io->length);
	else if (io->durable && slot->fate != SIM_FATE_LIE)
		sim_disk_put_stable(d, io->offset, data, io->length);
	else
		sim_disk_put(d, io->offset, data, io->length);
	free(data);
	if (slot->fate != SIM_FATE_ERROR)
		return 0;
	if (slot->of_flush)
		lose_cache(d, d->completed);
	return VS_E_IO;
}

static int finish_flush(struct sim_disk *d, struct bs_devio *io)
{
	const struct sim_slot *slot = sim_slot_of(io);

	if (slot->fate == SIM_FATE_LIE)
		return 0;
	if (slot->fate == SIM_FATE_ERROR) {
		lose_cache(d, slot->completed);
		return VS_E_IO;
	}
	sim_disk_destage_to(d, slot->completed);
	return 0;
}

/* What was discarded reads as it was, as zeros or as anything; nobody may care. */
static int finish_discard(struct sim_disk *d, struct bs_devio *io)
{
	switch (sim_below(&d->rng, 3)) {
	case 0:
		break;
	case 1:
		sim_disk_fill(d, io->offset, 0, io->length);
		break;
	default:
		sim_disk_fill(d, io->offset, (unsigned char)sim_below(&d->rng, 256), io->length);
	}
	return 0;
}

static int finish(struct sim_disk *d, struct bs_devio *io)
{
	switch (io->op) {
	case BS_DEV_READ:
		return finish_read(d, io);
	case BS_DEV_WRITE:
		return finish_write(d, io);
	case BS_DEV_FLUSH:
		return finish_flush(d, io);
	case BS_DEV_DISCARD:
	case BS_DEV_READY:
		return finish_discard(d, io);
	}
	return VS_E_INVAL;
}

static unsigned refuse_all(struct sim_device *s)
{
	unsigned n = 0;

	dev_kick(&s->dev);
	while (s->running) {
		struct bs_devio *io = s->running;
		unsigned char *data;

		s->running = io->next;
		s->in_flight--;
		if (io->op == BS_DEV_WRITE && sim_slot_of(io)->before) {
			data = sim_disk_gather(io);
			sim_disk_put_torn(s->disk, io->offset, data, io->length);
			free(data);
		}
		io->status = VS_E_IO;
		io->done(io);
		n++;
	}
	return n;
}

static unsigned dev_poll(struct bs_device *dev)
{
	struct sim_device *s = sim_device(dev);
	unsigned n = 0, most = s->disk ? 1 + sim_below(&s->disk->rng, 8) : 0;

	if (s->disk && s->disk->first->refusing)
		return refuse_all(s);
	while (n < most && s->disk && s->running && !sim_disk_silent(s->disk)) {
		struct bs_devio *io = s->running;

		if (sim_slot_of(io)->due > s->clock->ns)
			break;
		s->running = io->next;
		s->in_flight--;
		count_event(s->disk);
		io->status = finish(s->disk, io);
		sim_trace_io("event %llu: %s at %llu, %llu bytes: %s",
			     (unsigned long long)s->disk->events, op_names[io->op],
			     (unsigned long long)io->offset, (unsigned long long)io->length,
			     vs_err_name(io->status));
		io->done(io);
		n++;
	}
	return n;
}

static void dev_wait(struct bs_device *dev)
{
	struct sim_device *s = sim_device(dev);

	sim_require(s->disk, "waiting for a device that is gone");
	if (sim_disk_silent(s->disk)) {
		s->disk->first->refusing = true;
		return;
	}
	sim_require(s->running, "waiting for a device that has nothing to do");
	if (sim_slot_of(s->running)->stalled) /* a slow device, not a dead one */
		sim_disk_release(s->disk);
	s->clock->ns = VS_MAX(s->clock->ns, sim_slot_of(s->running)->due);
}

static void dev_close(struct bs_device *dev)
{
	struct sim_device *s = sim_device(dev);

	if (s->disk) {
		sim_require(s->in_flight == 0, "device closed with %u requests in flight",
			    s->in_flight);
		s->disk->device = NULL;
	}
	free(s);
}

static const struct bs_device_ops sim_ops = {
    .submit = dev_submit,
    .kick = dev_kick,
    .poll = dev_poll,
    .wait = dev_wait,
    .close = dev_close,
};

struct bs_device *sim_disk_attach(struct sim_disk *d, struct sim_clock *clock)
{
	struct sim_device *s = calloc(1, sizeof(*s));

	VS_ASSERT(s && !d->device);
	s->dev.ops = &sim_ops;
	s->dev.size = d->size;
	s->dev.event_fd = -1;
	(void)snprintf(s->dev.name, sizeof(s->dev.name), "%s",
		       d->first == d ? "simulated disk" : "second disk");
	s->disk = d;
	s->clock = clock;
	bs_device_queue_init(&s->queue);
	d->device = s;
	return &s->dev;
}

bool sim_disk_due(const struct sim_disk *d, uint64_t *ns)
{
	const struct sim_device *s = d->device;
	uint64_t other;
	bool any = s && s->running && !sim_slot_of(s->running)->stalled && !sim_disk_silent(d);

	if (any)
		*ns = sim_slot_of(s->running)->due;
	if (!d->partner || !sim_disk_due(d->partner, &other))
		return any;
	*ns = any ? VS_MIN(*ns, other) : other;
	return true;
}

unsigned sim_disk_in_flight(const struct sim_disk *d)
{
	return (d->device ? d->device->in_flight : 0) +
	       (d->partner ? sim_disk_in_flight(d->partner) : 0);
}

uint64_t sim_disk_events(const struct sim_disk *d)
{
	return d->events;
}

void sim_disk_silence_at(struct sim_disk *d, uint64_t at)
{
	VS_ASSERT(!at || !sim_disk_silent(d)); /* what was cut off then would go on */
	d->silence_at = at;
}

bool sim_disk_add_rule(struct sim_disk *d, const struct sim_rule *rule)
{
	for (unsigned i = 0; i < SIM_RULES; i++) {
		if (d->rules[i].count == 0) {
			d->rules[i] = *rule;
			return true;
		}
	}
	return false;
}

void sim_disk_clear_rules(struct sim_disk *d)
{
	memset(d->rules, 0, sizeof(d->rules));
}

unsigned sim_disk_hits(const struct sim_disk *d)
{
	return d->hits;
}

void sim_disk_release(struct sim_disk *d)
{
	struct sim_device *s = d->device;
	struct bs_devio **p = s ? &s->running : NULL, *held = NULL;

	while (p && *p) {
		struct bs_devio *io = *p;

		if (!sim_slot_of(io)->stalled) {
			p = &io->next;
			continue;
		}
		*p = io->next;
		io->next = held;
		held = io;
	}
	while (held) {
		struct bs_devio *io = held;

		held = io->next;
		sim_slot_of(io)->stalled = false;
		sim_slot_of(io)->due = s->clock->ns;
		io->next = s->running;
		s->running = io;
	}
}
