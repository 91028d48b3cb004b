#include "blockstore/pool.h"

/*
 * A program of steps, each to all devices that are not missing, one step after the other: write
 * copy c of slot s, or flush. A slot that is rewritten in place is never without a valid copy: its
 * second copy follows a flush of the first.
 */
enum { STEP_SLOT = 1, STEP_COPY = 2, STEP_FLUSH = 4 };

void bs_pool_stamp(const struct bs_pool *p, struct bs_super *sb, unsigned i)
{
	if (p->plain)
		return;
	sb->incompat |= BS_INCOMPAT_DEVICES;
	sb->tab = p->tab;
	sb->tab.self = p->tab.dev[i].uuid;
	sb->device_size = p->tab.dev[i].size;
}

static void add_step(struct bs_pool_supers *s, unsigned step)
{
	VS_ASSERT(s->nsteps < VS_ARRAY_LEN(s->steps));
	s->steps[s->nsteps++] = (uint8_t)step;
}

/* The table into what both slots hold, the older one first. */
static void plan_table(struct bs_pool_supers *s)
{
	unsigned newest =
	    s->have[1] && (!s->have[0] || s->slot[1].checkpoint > s->slot[0].checkpoint);
	unsigned older = !newest;

	if (s->have[older])
		add_step(s, older * STEP_SLOT);
	add_step(s, STEP_FLUSH);
	if (s->have[older])
		add_step(s, older * STEP_SLOT | STEP_COPY);
	if (s->have[newest])
		add_step(s, newest * STEP_SLOT);
	add_step(s, STEP_FLUSH);
	if (s->have[newest])
		add_step(s, newest * STEP_SLOT | STEP_COPY);
	add_step(s, STEP_FLUSH);
}

static void step_done(struct bs_devio *io);

static void begin_step(struct bs_pool *p)
{
	struct bs_pool_supers *s = &p->supers;
	unsigned step = s->steps[s->step], slot = step & STEP_SLOT;

	s->pending = 0;
	for (unsigned i = 0; i < p->tab.ndevs; i++)
		s->pending += bs_pool_live(p, i);
	for (unsigned i = 0; i < p->tab.ndevs; i++) {
		uint8_t *buf = s->buf + (size_t)i * BS_PAGE;
		struct bs_devio *io = &s->io[i];
		struct bs_super sb;

		if (!bs_pool_live(p, i))
			continue;
		*io = (struct bs_devio){.op = BS_DEV_FLUSH, .done = step_done, .arg = p};
		if (!(step & STEP_FLUSH)) {
			sb = s->writing_next ? s->next : s->slot[slot];
			bs_pool_stamp(p, &sb, i);
			bs_super_encode(buf, &sb);
			io->op = BS_DEV_WRITE;
			io->offset = bs_super_offset(sb.device_size, slot, (step & STEP_COPY) != 0);
			io->length = BS_SUPER_SIZE;
			io->iov[0] = (struct iovec){buf, BS_SUPER_SIZE};
			io->iovcnt = 1;
		}
		p->side[i].in_flight++;
		bs_device_submit(p->side[i].dev, io);
		bs_device_kick(p->side[i].dev);
	}
}

static void begin(struct bs_pool *p)
{
	struct bs_pool_supers *s = &p->supers;

	s->busy = true;
	s->status = 0;
	s->step = s->nsteps = 0;
	s->generation = p->tab.generation;
	s->writing_next = !p->settling;
	if (s->writing_next) {
		unsigned slot = s->next.checkpoint % 2;

		add_step(s, slot * STEP_SLOT);
		add_step(s, slot * STEP_SLOT | STEP_COPY);
		add_step(s, STEP_FLUSH);
	} else {
		plan_table(s);
	}
	begin_step(p);
}

static void step_done(struct bs_devio *io)
{
	struct bs_pool *p = io->arg;
	struct bs_pool_supers *s = &p->supers;
	unsigned i = (unsigned)(io - s->io);

	p->side[i].in_flight--;
	s->pending--;
	if (io->op == BS_DEV_FLUSH)
		io->status = bs_pool_flushed(p, i, io->status);
	if (io->status == 0)
		return;
	p->side[i].write_errors++;
	if (!bs_pool_live(p, i))
		return;
	if (bs_pool_can_drop(p, i))
		bs_pool_drop(p, i, "failed to write its superblock");
	else if (!s->status)
		s->status = io->status;
}

static void end(struct bs_pool *p)
{
	struct bs_pool_supers *s = &p->supers;
	void (*done)(void *arg, int status) = s->done;
	void *arg = s->arg;

	s->busy = false;
	if (s->status) { /* a device that nothing replaces: what is on it is not known */
		p->failed = true;
		p->settling = false;
	} else if (s->writing_next) {
		unsigned slot = s->next.checkpoint % 2;

		s->slot[slot] = s->next;
		s->have[slot] = true;
	} else if (s->generation == p->tab.generation) {
		p->settling = false;
	}
	if (done && (s->writing_next || p->failed)) {
		s->done = NULL;
		done(arg, p->failed ? VS_E_IO : 0);
	}
}

/* Runs when the devices have been polled: goes on, ends, or begins what is wanted. */
void bs_pool_supers_poll(struct bs_pool *p)
{
	struct bs_pool_supers *s = &p->supers;

	if (s->busy) {
		if (s->pending)
			return;
		if (s->status || ++s->step == s->nsteps)
			end(p);
		else
			begin_step(p);
	}
	if (!s->busy && !p->failed && (p->settling || s->done))
		begin(p);
}

void bs_pool_super(struct bs_pool *p, const struct bs_super *sb,
		   void (*done)(void *arg, int status), void *arg)
{
	struct bs_pool_supers *s = &p->supers;

	VS_ASSERT(!s->done);
	s->next = *sb;
	s->done = done;
	s->arg = arg;
}

void bs_pool_settle(struct bs_pool *p)
{
	VS_ASSERT(!p->plain && !p->read_only);
	p->tab.generation++;
	p->settling = !p->failed; /* nothing more can be settled: what waits for it fails */
}
