/* Objects and their records under cuts. */
#include "blockstore/object.h"
#include "common/bytes.h"
#include "tests/sim/content.h"
#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS 5u
#define BLOCKS 48u
#define SECTORS (BLOCKS * SIM_BLOCK_SECTORS)
#define SNAPS 4u
#define STEPS 400u /* between two recoveries */
#define NAME "objects"
#define SIZE_WORD 2u

/* Of the last one only the record is used: its word 0 is the number of the last step. */
static const uint32_t ids[OBJECTS + 1] = {0, 3, 32, 700, BS_OBJECTS - 1, 5};

struct state {
	uint64_t tag[OBJECTS][SECTORS];
	uint64_t word[OBJECTS + 1][BS_OBJECT_WORDS];
	unsigned erases; /* 1 + the object that the step after this one erases first; 0: none */
};

/*
 * One client, one step after the other. Each step takes effect in one piece and sets the clock, so
 * the clock says which state the store must be in: no sector and no word may be of another one.
 */
struct scene {
	struct world *w;
	struct bs_volume *v;
	struct state *states; /* of step base + i */
	unsigned base, now;   /* steps: states[0]'s, and the last one that was acknowledged */
	unsigned durable;
	bool in_flight; /* of step now + 1 */
	struct {
		bool live, unsure; /* unsure: its making or deletion was cut off */
		struct state state;
	} snap[SNAPS];
	int status;
};

static struct state *state_of(struct scene *s, unsigned step)
{
	return &s->states[step - s->base];
}

static uint64_t base_of(unsigned i)
{
	return i % 2 ? BS_OBJECT_MAX - BLOCKS * BS_BLOCK : 0;
}

static struct sim_admin *side(struct scene *s, enum sim_admin_kind kind, const char *name)
{
	struct sim_admin *a = world_side_new(s->w, kind);

	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	return a;
}

static struct bs_volume *open_volume(struct scene *s, const char *name)
{
	struct sim_admin *a = side(s, SIM_OPEN, name);

	a->force = true;
	return world_side(s->w, a) == 0 ? a->volume : NULL;
}

static void close_volume(struct scene *s, struct bs_volume *v)
{
	struct sim_admin *a = side(s, SIM_CLOSE, "");

	a->volume = v;
	(void)world_side(s->w, a);
}

static void request_done(struct bs_req *req)
{
	struct scene *s = req->arg;

	s->status = req->status;
}

/* WORLD_CUT: nobody knows. */
static int ask(struct scene *s, struct bs_req *req)
{
	req->done = request_done;
	req->arg = s;
	s->status = 1;
	sim_host_submit(s->w->host, sim_below(&s->w->rng, s->w->cfg.ports), req);
	while (s->status == 1 && !world_cut(s->w))
		sim_require(world_turn(s->w) || world_cut(s->w) || s->status != 1,
			    "deadlock: a request for objects waits for nothing");
	s->w->idle_turns = 0;
	return s->status == 1 ? WORLD_CUT : s->status;
}

static void read_object(struct scene *s, struct bs_volume *v, unsigned i, struct state *out,
			bool *cut)
{
	static unsigned char buf[BLOCKS * BS_BLOCK];
	struct bs_object_change c = {.object = ids[i], .check = BS_NO_WORD, .end = BS_NO_WORD};
	struct iovec iov = {buf, sizeof(buf)};
	struct bs_req req = {.op = BS_READ,
			     .volume = v,
			     .object = ids[i],
			     .offset = base_of(i),
			     .length = sizeof(buf),
			     .iov = &iov,
			     .iovcnt = 1,
			     .changes = &c,
			     .nchanges = 1};
	int rc = ask(s, &req);

	*cut |= rc == WORLD_CUT;
	if (rc == WORLD_CUT)
		return;
	sim_require(rc == 0, "reading object %u: %s", ids[i], vs_err_name(rc));
	memcpy(out->word[i], c.now, sizeof(c.now));
	for (unsigned k = 0; i < OBJECTS && k < SECTORS; k++)
		sim_require(sim_content_read(buf + k * SIM_TAG_SECTOR, &out->tag[i][k]),
			    "sector %u of object %u is no content", k, ids[i]);
}

static bool read_all(struct scene *s, struct bs_volume *v, struct state *out)
{
	bool cut = false;

	for (unsigned i = 0; i <= OBJECTS && !cut; i++)
		read_object(s, v, i, out, &cut);
	return !cut;
}

static void compare(const struct state *have, const struct state *want, unsigned erased,
		    const char *what)
{
	static const uint64_t zeros[SECTORS];

	for (unsigned i = 0; i <= OBJECTS; i++) {
		sim_require(memcmp(have->word[i], want->word[i], sizeof(want->word[i])) == 0,
			    "%s: the record of object %u is of another step", what, ids[i]);
		if (i == OBJECTS)
			return;
		sim_require(
		    memcmp(have->tag[i], want->tag[i], sizeof(want->tag[i])) == 0 ||
			(erased == i + 1 && memcmp(have->tag[i], zeros, sizeof(zeros)) == 0),
		    "%s: object %u holds what another step wrote", what, ids[i]);
	}
}

/* The next step's state: begun as the last one's. */
static struct state *begin(struct scene *s)
{
	struct state *next = state_of(s, s->now) + 1;

	*next = next[-1];
	next[-1].erases = next->erases = 0;
	next->word[OBJECTS][0] = s->now + 1;
	return next;
}

/* The clock, and a change or two of the object's record. */
static unsigned changes(struct scene *s, struct state *next, unsigned i, uint64_t end,
			struct bs_object_change c[2])
{
	c[0] = (struct bs_object_change){.object = ids[OBJECTS],
					 .check = 0,
					 .is = s->now,
					 .end = BS_NO_WORD,
					 .set = 1,
					 .word = {s->now + 1}};
	if (sim_one_in(&s->w->rng, 3))
		return 1;
	c[1] = (struct bs_object_change){.object = ids[i],
					 .check = BS_NO_WORD,
					 .end = end ? SIZE_WORD : BS_NO_WORD,
					 .set = 1u << 5,
					 .add = 1u << 15};
	c[1].word[5] = next->word[i][5] = s->now * 3 + 1;
	c[1].word[15] = 7;
	next->word[i][15] += 7;
	next->word[i][SIZE_WORD] = VS_MAX(next->word[i][SIZE_WORD], end);
	return 2;
}

static void finish(struct scene *s, int rc, bool durable)
{
	s->in_flight = rc == WORLD_CUT;
	if (s->in_flight)
		return;
	sim_require(rc == 0, "step %u: %s", s->now + 1, vs_err_name(rc));
	s->now++;
	if (durable)
		s->durable = s->now;
}

static void fill(struct scene *s, uint64_t *tags, unsigned char *to, unsigned first, unsigned n)
{
	uint64_t content = sim_one_in(&s->w->rng, 4)   ? 0
			   : sim_one_in(&s->w->rng, 3) ? 1 + sim_below(&s->w->rng, 20)
						       : world_new_content(s->w);

	for (unsigned k = 0; k < n; k++) {
		tags[first + k] = sim_tag(content, (first + k) % SIM_BLOCK_SECTORS);
		sim_content_fill(tags[first + k], to + k * SIM_TAG_SECTOR);
	}
}

/* Part of a block, or whole blocks of one piece. */
static void step_write(struct scene *s, unsigned i)
{
	static unsigned char buf[BLOCKS * BS_BLOCK];
	struct sim_rng *r = &s->w->rng;
	struct state *next = begin(s);
	bool part = sim_one_in(r, 3);
	unsigned block = sim_below(r, BLOCKS), first = block * SIM_BLOCK_SECTORS, n;
	struct bs_object_change c[2];
	struct iovec iov = {buf, 0};
	struct bs_req req = {.op = BS_WRITE,
			     .flags = sim_one_in(r, 4) ? BS_FUA : 0,
			     .volume = s->v,
			     .object = ids[i],
			     .iov = &iov,
			     .iovcnt = 1,
			     .changes = c};

	if (part) {
		first += sim_below(r, SIM_BLOCK_SECTORS - 1);
		n = 1 + sim_below(r, SIM_BLOCK_SECTORS - first % SIM_BLOCK_SECTORS);
		fill(s, next->tag[i], buf, first, n);
	} else {
		unsigned at = (unsigned)(base_of(i) / BS_BLOCK % 32) + block;
		unsigned most = VS_MIN(32 - at % 32, BLOCKS - block);

		n = (1 + sim_below(r, most)) * SIM_BLOCK_SECTORS;
		for (unsigned k = 0; k < n; k += SIM_BLOCK_SECTORS)
			fill(s, next->tag[i], buf + k * SIM_TAG_SECTOR, first + k,
			     SIM_BLOCK_SECTORS);
	}
	req.offset = base_of(i) + first * SIM_TAG_SECTOR;
	req.length = iov.iov_len = n * SIM_TAG_SECTOR;
	req.nchanges = changes(s, next, i, req.offset + req.length, c);
	finish(s, ask(s, &req), req.flags & BS_FUA);
}

static void step_scatter(struct scene *s, unsigned i)
{
	static unsigned char buf[8 * BS_BLOCK];
	struct sim_rng *r = &s->w->rng;
	struct state *next = begin(s);
	unsigned n = 1 + sim_below(r, 8), block = sim_below(r, BLOCKS);
	uint64_t blocks[8];
	struct bs_object_change c[2];
	struct iovec iov = {buf, n * BS_BLOCK};
	struct bs_req req = {.op = BS_WRITE,
			     .flags = BS_SCATTER | (sim_one_in(r, 2) ? BS_FUA : 0),
			     .volume = s->v,
			     .object = ids[i],
			     .length = n * BS_BLOCK,
			     .iov = &iov,
			     .iovcnt = 1,
			     .blocks = blocks,
			     .changes = c};

	for (unsigned k = 0; k < n; k++) {
		blocks[k] = base_of(i) / BS_BLOCK + block;
		fill(s, next->tag[i], buf + k * BS_BLOCK, block * SIM_BLOCK_SECTORS,
		     SIM_BLOCK_SECTORS);
		block = (block + 1 + sim_below(r, 3)) % BLOCKS;
		for (unsigned m = 0; m <= k; m++) /* each once */
			if (blocks[m] == base_of(i) / BS_BLOCK + block)
				n = k + 1;
	}
	req.length = iov.iov_len = n * BS_BLOCK;
	req.nchanges = changes(s, next, i, 0, c);
	finish(s, ask(s, &req), req.flags & BS_FUA);
}

static bool erase(struct scene *s, unsigned i)
{
	struct bs_req req = {
	    .op = BS_TRIM, .volume = s->v, .object = ids[i], .length = BS_OBJECT_MAX};
	int rc;

	state_of(s, s->now)->erases = i + 1;
	rc = ask(s, &req);
	sim_require(rc == 0 || rc == WORLD_CUT, "erasing object %u: %s", ids[i], vs_err_name(rc));
	return rc == 0;
}

static void step_clone(struct scene *s, unsigned i)
{
	struct state *next = begin(s);
	unsigned from = (i + 2) % OBJECTS;
	struct bs_object_change c[2];
	struct bs_req req = {.op = BS_CLONE,
			     .volume = s->v,
			     .object = ids[i],
			     .source = s->v,
			     .source_object = ids[from],
			     .changes = c};

	if (from % 2 != i % 2) /* bytes at another place */
		from = i;
	memset(next->tag[i], 0, sizeof(next->tag[i]));
	if (from != i)
		memcpy(next->tag[i], next->tag[from], sizeof(next->tag[i]));
	if (!erase(s, i))
		return;
	req.op = from == i ? BS_RECORDS : BS_CLONE;
	req.nchanges = changes(s, next, i, 0, c);
	finish(s, ask(s, &req), false);
}

static void step_snapshot(struct scene *s, unsigned i)
{
	unsigned k = sim_below(&s->w->rng, SNAPS);
	bool live = s->snap[k].live;
	struct sim_admin *a = side(s, live ? SIM_UNSNAP : SIM_SNAPSHOT, "");
	int rc;

	(void)i;
	(void)snprintf(a->name, sizeof(a->name), NAME "@s%u", k);
	(void)snprintf(a->fulls[0], sizeof(a->fulls[0]), "%s", a->name);
	a->nfulls = 1;
	if (!live)
		s->snap[k].state = *state_of(s, s->now);
	rc = world_side(s->w, a);
	s->snap[k].unsure = rc == WORLD_CUT;
	if (rc == 0) {
		s->snap[k].live = !live;
		s->w->beside[1] += live ? -1u : 1u;
		s->durable = s->now;
	}
}

static void work(struct scene *s, unsigned n)
{
	static void (*const steps[])(struct scene *, unsigned) = {
	    step_write, step_write, step_write, step_scatter, step_scatter, step_clone};

	while (n-- && !world_cut(s->w)) {
		unsigned i = sim_below(&s->w->rng, OBJECTS);

		if (sim_one_in(&s->w->rng, 12))
			step_snapshot(s, i);
		else
			steps[sim_below(&s->w->rng, VS_ARRAY_LEN(steps))](s, i);
		if (sim_one_in(&s->w->rng, 20) && !world_cut(s->w) && world_sync(s->w) == 0)
			s->durable = s->now;
	}
}

/* Which snapshots there are, where an end came in the midst. */
static void settle_snapshots(struct scene *s)
{
	struct sim_admin *a = side(s, SIM_LIST, "");
	char snap[8];

	a->infos = s->w->infos;
	a->ninfos = VS_ARRAY_LEN(s->w->infos);
	sim_require(world_side(s->w, a) == 0, "list: %s", a->err.text);
	s->w->beside[1] = 0;
	for (unsigned k = 0; k < SNAPS; k++) {
		bool there = false;

		(void)snprintf(snap, sizeof(snap), "s%u", k);
		for (size_t i = 0; i < a->ninfos; i++)
			there |= a->infos[i].objects && strcmp(a->infos[i].snap, snap) == 0;
		sim_require(there == s->snap[k].live || s->snap[k].unsure, "snapshot %s is %s",
			    snap, there ? "there again" : "gone");
		s->snap[k].live = there;
		s->w->beside[1] += there;
		s->snap[k].unsure = false;
	}
}

static void check_snapshots(struct scene *s)
{
	static struct state have;
	char name[32];

	for (unsigned k = 0; k < SNAPS; k++) {
		struct bs_volume *v;

		if (!s->snap[k].live)
			continue;
		(void)snprintf(name, sizeof(name), NAME "@s%u", k);
		v = open_volume(s, name);
		if (!v || !read_all(s, v, &have)) {
			sim_require(world_cut(s->w), "snapshot %s cannot be read", name);
			return;
		}
		compare(&have, &s->snap[k].state, s->snap[k].state.erases, name);
		close_volume(s, v);
	}
}

/* The state after an end, which is the first of the next run. */
static void recovered(struct scene *s, bool power)
{
	static struct state have;
	unsigned last = s->now + s->in_flight, step;

	s->v = open_volume(s, NAME);
	sim_require(s->v && read_all(s, s->v, &have), "objects cannot be read");
	step = (unsigned)have.word[OBJECTS][0];
	sim_require(step >= (power ? s->durable : s->now) && step <= last,
		    "the clock is at step %u: %u was acknowledged, %u flushed", step, s->now,
		    s->durable);
	compare(&have, state_of(s, step), state_of(s, step)->erases, "recovery");
	settle_snapshots(s);
	check_snapshots(s);
	s->states[0] = have;
	s->states[0].erases = 0;
	s->base = s->now = s->durable = step;
	s->in_flight = false;
}

static void check_now(struct scene *s)
{
	static struct state have;

	if (world_cut(s->w) || !read_all(s, s->v, &have))
		return;
	compare(&have, state_of(s, s->now), 0, "reading");
	check_snapshots(s);
}

static void end(struct scene *s)
{
	struct sim_admin *a;

	close_volume(s, s->v);
	a = side(s, SIM_DELETE, NAME);
	a->mode = BS_DELETE_WITH_SNAPSHOTS;
	sim_require(world_side(s->w, a) == 0, "delete: %s", a->err.text);
	s->w->beside[0] = s->w->beside[1] = 0;
	sim_end_empty(s->w);
}

/* Ordinary volumes beside, so that pages, cleaner and checkpoints have both. */
static void rounds(struct scene *s, struct workload *l)
{
	struct world *w = s->w;

	for (unsigned round = sim_between(&w->rng, 2, 5); round--;) {
		bool power = sim_one_in(&w->rng, 2), again = sim_one_in(&w->rng, 3);

		if (sim_one_in(&w->rng, 2))
			sim_disk_silence_at(w->disk,
					    sim_disk_events(w->disk) + 1 + sim_below(&w->rng, 500));
		work(s, sim_between(&w->rng, 10, 80));
		if (!world_cut(w) && sim_one_in(&w->rng, 3)) {
			workload_run(w, l, sim_below(&w->rng, 40));
			work(s, sim_below(&w->rng, 20));
		}
		if (!world_cut(w) && sim_one_in(&w->rng, 3)) {
			check_now(s);
			if (!world_cut(w)) {
				sim_disk_silence_at(w->disk, 0);
				continue;
			}
		}
		world_crash(w, power, again);
		sim_disk_silence_at(w->disk, 0);
		recovered(s, power || again); /* recoveries end with the power */
		if (sim_one_in(&w->rng, 3))
			world_recount(w, true);
	}
}

/*
 * 27: objects: what one request does to blocks and records is there as a whole or not at all, after
 * any end and in every snapshot; clones and what they were made of go their own ways.
 */
void sim_objects(struct world *w)
{
	struct scene s = {.w = w, .states = calloc(STEPS + 2, sizeof(*s.states))};
	struct workload l;

	VS_ASSERT(s.states);
	w->cfg.frames = sim_between(&w->rng, 700, 900);
	sim_start(w);
	workload_default(w, &l);
	l.images = 3;
	sim_require(world_side(w, side(&s, SIM_OBJECTS, NAME)) == 0, "no volume of objects");
	w->beside[0] = 1;
	s.v = open_volume(&s, NAME);
	rounds(&s, &l);
	world_settle(w);
	check_now(&s);
	end(&s);
	free(s.states);
}
