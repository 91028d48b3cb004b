#include "tests/load/engine.h"
#include "tests/load/load.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	struct bs_req req;
	struct iovec iov;
	struct worker *worker;
	uint64_t start;
	bool flushing;
};

struct worker {
	struct engine_run *run;
	pthread_t thread;
	struct vs_loop *loop;
	struct bs_port *port;
	struct load_rng rng;
	unsigned outstanding;
	uint64_t next, end; /* blocks of a sequential load */
	uint64_t left, stamp, issued, stop_at;
	struct latency latency;
	int status;
	uint8_t *mem;
	struct slot slots[ENGINE_MAX_DEPTH];
};

struct engine_run {
	struct bs_store *store;
	struct bs_volume *volume;
	struct engine_load l;
	atomic_bool stop;
	uint64_t start;
	struct worker workers[ENGINE_MAX_PORTS];
};

static void stamp(struct worker *w, uint8_t *data)
{
	const struct engine_load *l = &w->run->l;

	for (uint64_t at = 0; at < l->block; at += BS_BLOCK) {
		uint64_t mark[2] = {w->stamp, ++w->issued};

		if (l->data == ENGINE_SAME) {
			mark[0] = ~UINT64_C(0);
			mark[1] = load_rng_next(&w->rng) % l->pool;
		}
		memcpy(data + at, mark, sizeof(mark));
	}
}

static void submit(struct worker *w, struct slot *s)
{
	const struct engine_load *l = &w->run->l;
	uint64_t blocks = l->span / l->block, at;

	if (l->sequential) {
		at = w->next++;
		if (w->next == w->end)
			w->next = blocks / l->ports * (uint64_t)(w - w->run->workers);
	} else {
		if (l->hot && load_rng_next(&w->rng) % 10)
			blocks = VS_MAX(1u, blocks * l->hot / 100);
		at = load_rng_next(&w->rng) % blocks;
	}
	s->req.op = l->write ? BS_WRITE : BS_READ;
	s->req.volume = w->run->volume;
	s->req.offset = l->from + at * l->block;
	s->req.length = l->block;
	if (l->write)
		stamp(w, s->iov.iov_base);
	s->flushing = false;
	w->left--;
	w->outstanding++;
	s->start = vs_now_ns();
	bs_submit(w->port, &s->req);
}

static bool over(const struct worker *w, uint64_t now)
{
	return !w->left || w->status || now >= w->stop_at || atomic_load(&w->run->stop);
}

static void done(struct bs_req *req)
{
	struct slot *s = req->arg;
	struct worker *w = s->worker;
	uint64_t now;

	if (req->status && !w->status)
		w->status = req->status;
	if (w->run->l.sync && !s->flushing && !req->status) {
		s->flushing = true;
		s->req.op = BS_FLUSH;
		bs_submit(w->port, &s->req);
		return;
	}
	now = vs_now_ns();
	w->outstanding--;
	latency_add(&w->latency, now - s->start);
	if (!over(w, now))
		submit(w, s);
}

static int prepare(struct worker *w)
{
	const struct engine_load *l = &w->run->l;
	struct load_rng noise = load_rng_seeded(99);
	uint8_t page[BS_BLOCK] = {0};

	if (!(w->mem = aligned_alloc(BS_BLOCK, l->depth * l->block)))
		return VS_E_NOMEM;
	for (size_t i = l->data == ENGINE_HALF ? BS_BLOCK / 2 : 0;
	     l->data != ENGINE_SPARSE && i < BS_BLOCK; i += 8) {
		uint64_t x = load_rng_next(&noise);

		memcpy(page + i, &x, 8);
	}
	for (uint64_t at = 0; at < l->depth * l->block; at += BS_BLOCK)
		memcpy(w->mem + at, page, BS_BLOCK);
	for (unsigned i = 0; i < l->depth; i++) {
		struct slot *s = &w->slots[i];

		s->worker = w;
		s->iov = (struct iovec){w->mem + i * l->block, l->block};
		s->req = (struct bs_req){.iov = &s->iov, .iovcnt = 1, .done = done, .arg = s};
	}
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct engine_load *l = &w->run->l;

	(void)pthread_setname_np(pthread_self(), "port");
	w->status = prepare(w);
	if (!w->status)
		w->status = vs_loop_new(&w->loop, NULL);
	if (!w->status)
		w->status = bs_port_open(w->run->store, w->loop,
					 (unsigned)VS_MIN(l->depth * 8, 256u), &w->port, NULL);
	if (w->loop)
		vs_loop_look_on(w->loop);
	w->stop_at = l->seconds ? vs_now_ns() + l->seconds * 1000000000u : UINT64_MAX;
	for (unsigned i = 0; i < l->depth && !over(w, vs_now_ns()); i++)
		submit(w, &w->slots[i]);
	while (w->outstanding)
		vs_loop_turn(w->loop, -1);
	if (w->port)
		bs_port_close(w->port);
	if (w->loop)
		vs_loop_free(w->loop);
	free(w->mem);
	return NULL;
}

struct engine_run *engine_load_start(struct bs_store *s, struct bs_volume *v,
				     const struct engine_load *l)
{
	struct engine_run *r = calloc(1, sizeof(*r));
	uint64_t blocks = l->span / l->block / l->ports;

	if (!r)
		return NULL;
	r->store = s;
	r->volume = v;
	r->l = *l;
	r->start = vs_now_ns();
	for (unsigned i = 0; i < l->ports; i++) {
		struct worker *w = &r->workers[i];

		w->run = r;
		w->rng = load_rng_seeded(l->seed * ENGINE_MAX_PORTS + i + 1);
		w->next = blocks * i;
		w->end = blocks * (i + 1);
		w->left = l->count ? l->count / l->ports : UINT64_MAX;
		w->stamp = r->start ^ (uint64_t)i << 60;
		if (pthread_create(&w->thread, NULL, work, w)) {
			r->l.ports = i;
			w->status = VS_E_NOMEM;
			break;
		}
	}
	return r;
}

void engine_load_stop(struct engine_run *r)
{
	atomic_store(&r->stop, true);
}

void engine_load_wait(struct engine_run *r, struct engine_result *out)
{
	*out = (struct engine_result){0};
	for (unsigned i = 0; i < r->l.ports; i++) {
		struct worker *w = &r->workers[i];

		pthread_join(w->thread, NULL);
		latency_sum(&out->latency, &w->latency);
		if (w->status && !out->status)
			out->status = w->status;
	}
	out->elapsed_ns = vs_now_ns() - r->start;
	out->ops = out->latency.n;
	free(r);
}
