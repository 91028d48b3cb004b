/*
 * Whoever fetches from origins, as one task for all of them: with pauses anywhere, several requests
 * under way, blocks that cannot be read, and now and then it leaves one and comes back.
 */
#include "tests/sim/hostint.h"

#include "blockstore/origin.h"
#include "blockstore/port.h"
#include "common/bytes.h"
#include "tests/sim/report.h"

#include <stdlib.h>

#define FILLS 4u
#define ORIGINS 12u

struct fill {
	struct bs_req req;
	struct iovec iov;
	struct sim_runner *runner;
	bool busy;
	struct bs_want wants[BS_FILL_MAX];
	unsigned char bytes[BS_FILL_MAX * BS_BLOCK];
};

struct source {
	struct bs_origin *origin; /* attached */
	struct bs_origin_info info;
	uint64_t cursor;
};

struct sim_runner {
	struct sim_host *host;
	const struct sim_host_config cfg;
	struct bs_port *port;
	bool stop, lost, ended, kicked;
	bool pausing; /* it waits for the next poll, else for a kick */
	struct bs_waitq wait, filled;
	struct source sources[ORIGINS];
	struct bs_origin_part part;
	struct bs_want wants[BS_ORIGIN_FAN], urgent[BS_FILL_MAX];
	struct fill fills[FILLS];
};

static struct sim_rng *chance(struct sim_runner *r)
{
	return &r->host->rng;
}

static void pause_some(struct sim_runner *r, unsigned most)
{
	for (unsigned n = sim_below(chance(r), most + 1); n && !r->stop; n--) {
		r->pausing = true;
		bs_fiber_block(r->host->tasks, &r->wait);
	}
	while (r->lost && !r->stop)
		bs_fiber_block(r->host->tasks, &r->wait);
}

static void fill_done(struct bs_req *req)
{
	struct fill *f = req->arg;

	sim_trace("fill of %llu blocks from block %llu: %s",
		  (unsigned long long)req->length / BS_BLOCK, (unsigned long long)f->wants[0].block,
		  vs_err_name(req->status));
	f->busy = false;
	bs_fiber_wake_all(f->runner->host->tasks, &f->runner->filled);
}

static struct fill *free_fill(struct sim_runner *r)
{
	for (;;) {
		for (unsigned i = 0; i < FILLS; i++)
			if (!r->fills[i].busy)
				return &r->fills[i];
		bs_fiber_block(r->host->tasks, &r->filled);
	}
}

static void settle(struct sim_runner *r)
{
	for (unsigned i = 0; i < FILLS; i++)
		while (r->fills[i].busy)
			bs_fiber_block(r->host->tasks, &r->filled);
}

static void give(struct sim_runner *r, struct source *s, const struct bs_want *wants, size_t n)
{
	struct fill *f = free_fill(r);

	for (size_t i = 0; i < n; i++)
		r->cfg.fetch(r->cfg.fetch_arg, &s->info.uuid, wants[i].block,
			     f->bytes + i * BS_BLOCK);
	memcpy(f->wants, wants, n * sizeof(*wants));
	pause_some(r, sim_one_in(chance(r), 2) ? 0 : 12);
	f->runner = r;
	f->busy = true;
	f->iov = (struct iovec){f->bytes, n * BS_BLOCK};
	f->req = (struct bs_req){.op = BS_FILL,
				 .volume = bs_origin_volume(s->origin),
				 .length = n * BS_BLOCK,
				 .iov = &f->iov,
				 .iovcnt = 1,
				 .wants = f->wants,
				 .done = fill_done,
				 .arg = f};
	bs_submit(r->port, &f->req);
	if (sim_one_in(chance(r), 3))
		settle(r);
}

/* What reads wait for comes first. */
static int serve(struct sim_runner *r, struct source *s)
{
	size_t n;
	int rc =
	    bs_origin_wants(s->origin, r->urgent, sim_between(chance(r), 1, BS_FILL_MAX), &n, NULL);

	if (rc || !n)
		return rc;
	pause_some(r, 4);
	if (sim_one_in(chance(r), 40))
		return bs_origin_fail(s->origin, r->urgent, n, NULL);
	give(r, s, r->urgent, n);
	return 0;
}

static void serve_all(struct sim_runner *r)
{
	for (unsigned i = 0; i < ORIGINS && !r->stop; i++)
		if (r->sources[i].origin && serve(r, &r->sources[i]))
			sim_trace("what reads wait for is not said");
}

static void give_all(struct sim_runner *r, struct source *s, const struct bs_want *wants, size_t n)
{
	for (size_t i = 0, k; i < n && !r->stop; i += k) {
		k = sim_between(chance(r), 1, BS_FILL_MAX);
		k = VS_MIN(n - i, k);
		give(r, s, wants + i, k);
		serve_all(r);
	}
}

static bool holes(const struct sim_runner *r, const struct source *s,
		  uint8_t zeros[BS_ORIGIN_FAN / 8])
{
	const struct bs_origin_part *p = &r->part;
	bool any = false;

	memset(zeros, 0, BS_ORIGIN_FAN / 8);
	for (unsigned i = 0; i < BS_ORIGIN_FAN && i * p->each < p->blocks; i++) {
		uint64_t first = p->block + i * p->each;

		if (!r->cfg.is_hole(r->cfg.fetch_arg, &s->info.uuid, first,
				    VS_MIN(p->each, p->block + p->blocks - first)))
			continue;
		zeros[i / 8] |= (uint8_t)(1u << i % 8);
		any = true;
	}
	return any;
}

static int take_page(struct sim_runner *r, struct source *s)
{
	uint8_t zeros[BS_ORIGIN_FAN / 8];
	bool empty = r->cfg.is_hole(r->cfg.fetch_arg, &s->info.uuid, r->part.block, r->part.blocks);
	bool known =
	    holes(r, s, zeros) && (r->part.each > 1 || !sim_one_in(chance(r), empty ? 100 : 4));
	size_t n;
	int rc;

	if (!known || sim_one_in(chance(r), 8))
		pause_some(r, 6);
	rc = bs_origin_expand(s->origin, r->part.cid, known ? zeros : NULL, r->wants, &n, NULL);
	if (rc == 0 && !sim_one_in(chance(r), 6))
		give_all(r, s, r->wants, n);
	return rc;
}

static int go_on(struct sim_runner *r, struct source *s)
{
	int rc = bs_origin_next(s->origin, &s->cursor, &r->part, NULL);

	if (rc)
		return rc;
	switch (r->part.kind) {
	case BS_ORIGIN_PAGE:
		return take_page(r, s);
	case BS_ORIGIN_CONTENTS:
		give_all(r, s, r->part.wants, r->part.n);
		return 0;
	case BS_ORIGIN_LOOKED:
		return 0;
	case BS_ORIGIN_PASS:
		settle(r);
		s->cursor = 0;
		pause_some(r, 8);
		return 0;
	case BS_ORIGIN_END:
		settle(r);
		rc = bs_origin_remove(s->origin, NULL);
		if (rc == 0)
			s->origin = NULL;
		return rc == VS_E_BUSY ? 0 : rc;
	}
	return 0;
}

static void leave(struct sim_runner *r, struct source *s)
{
	settle(r);
	bs_origin_detach(s->origin);
	s->origin = NULL;
}

/* Inside the engine: reads wait for something. */
static void wake(void *arg)
{
	struct sim_runner *r = arg;

	r->kicked = true;
}

static bool is_attached(const struct sim_runner *r, const struct vs_uuid *uuid)
{
	for (unsigned i = 0; i < ORIGINS; i++)
		if (r->sources[i].origin && vs_uuid_equal(&r->sources[i].info.uuid, uuid))
			return true;
	return false;
}

static void attach(struct sim_runner *r, const struct bs_origin_info *info)
{
	for (unsigned i = 0; i < ORIGINS; i++) {
		struct source *s = &r->sources[i];

		if (s->origin)
			continue;
		s->info = *info;
		s->cursor = 0;
		if (bs_origin_attach((struct bs_store *)r->host, &info->uuid, wake, r, &s->origin,
				     NULL))
			s->origin = NULL;
		return;
	}
}

/* All that the store knows, but for those that are left alone for a moment. false: there are none.
 */
static bool attach_all(struct sim_runner *r)
{
	struct bs_origin_info infos[ORIGINS];
	bool any = false;
	size_t n;

	r->kicked = false;
	if (bs_origin_list((struct bs_store *)r->host, 0, infos, ORIGINS, &n, NULL))
		return false;
	for (size_t i = 0; i < n; i++) {
		bool alone = sim_one_in(chance(r), 4);

		if (!alone && !is_attached(r, &infos[i].uuid))
			attach(r, &infos[i]);
		any |= alone || is_attached(r, &infos[i].uuid);
	}
	return any;
}

static void step(struct sim_runner *r)
{
	struct source *s = &r->sources[sim_below(chance(r), ORIGINS)];
	int rc;

	serve_all(r);
	if (r->stop || !s->origin)
		return;
	rc = go_on(r, s);
	if (rc) {
		sim_trace("fetching: %s", vs_err_name(rc));
		pause_some(r, 20);
	}
	if (s->origin && sim_one_in(chance(r), rc ? 2 : 60))
		leave(r, s);
}

static void run(void *arg)
{
	struct sim_runner *r = arg;

	while (!r->stop) {
		if (attach_all(r)) {
			pause_some(r, 2);
			step(r);
		} else if (!r->kicked && !r->stop) {
			bs_fiber_block(r->host->tasks, &r->wait);
		}
	}
	for (unsigned i = 0; i < ORIGINS; i++)
		leave(r, &r->sources[i]);
	r->ended = true;
}

struct sim_runner *sim_runner_new(struct sim_host *h, const struct sim_host_config *cfg)
{
	struct sim_runner *r = calloc(1, sizeof(*r));

	VS_ASSERT(r);
	memcpy((void *)(uintptr_t)&r->cfg, cfg, sizeof(*cfg));
	r->host = h;
	VS_ASSERT(bs_port_new(h->engine, NULL, 8, &r->port) == 0);
	h->engine->ports[h->engine->nports++] = r->port;
	VS_ASSERT(bs_fiber_start(h->tasks, run, r));
	return r;
}

void sim_runner_free(struct sim_runner *r)
{
	if (!r)
		return;
	bs_port_free(r->port);
	for (unsigned i = 0; i < ORIGINS; i++)
		free(r->sources[i].origin);
	free(r);
}

void sim_runner_kick(struct sim_runner *r)
{
	if (!r)
		return;
	r->kicked = true;
	r->pausing = false;
	bs_fiber_wake_all(r->host->tasks, &r->wait);
}

void sim_runner_stop(struct sim_runner *r)
{
	if (!r)
		return;
	r->stop = true;
	sim_runner_kick(r);
}

bool sim_runner_ended(const struct sim_runner *r)
{
	return !r || (r->ended && !bs_port_busy(r->port));
}

bool sim_runner_poll(struct sim_runner *r)
{
	if (!r)
		return false;
	if (bs_port_poll(r->port))
		return true;
	if (!r->pausing || r->lost)
		return false;
	r->pausing = false;
	bs_fiber_wake_all(r->host->tasks, &r->wait);
	return true;
}

void sim_host_lose(struct sim_host *h, bool lost)
{
	if (!h->runner)
		return;
	h->runner->lost = lost;
	sim_runner_kick(h->runner);
}

unsigned sim_host_origins(const struct sim_host *h)
{
	const struct bs_vols *vs = &h->engine->vols;
	unsigned n = 0;

	for (size_t i = 0; i <= vs->mask; i++)
		for (const struct bs_vol *v = vs->by_id[i]; v; v = v->id_next)
			n += v->ent.kind == BS_VOL_ORIGIN;
	return n;
}
