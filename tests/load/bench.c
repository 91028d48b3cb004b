#include "tests/load/latency.h"
#include "tests/load/link.h"
#include "tests/load/load.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench { /* one session */
	struct load_rng rng;
	struct link *link;
	const struct load_options *o;
	enum link_op op;
	uint64_t count; /* requests of this session, where they are counted */
	uint64_t blocks, next, completed, issued, stamp, busy_ns;
	struct latency latency;
	unsigned outstanding;
	bool failed;
	int status;
	pthread_barrier_t *start;
	struct bench_slot {
		struct link_req req;
		struct bench *b;
		uint64_t start;
	} slots[LOAD_MAX_DEPTH];
};

static void bench_done(struct link_req *req, int status)
{
	struct bench_slot *s = req->arg;

	s->b->outstanding--;
	s->b->completed++;
	latency_add(&s->b->latency, vs_now_ns() - s->start);
	s->b->failed |= status < 0;
	s->req.arg = NULL;
}

static void bench_submit(struct bench *b, struct bench_slot *s)
{
	uint64_t at = b->o->sequential ? b->next++ % b->blocks : load_rng_next(&b->rng) % b->blocks;

	s->req.op = b->op;
	s->req.offset = at * b->o->block;
	s->req.length = (uint32_t)b->o->block;
	s->req.arg = s;
	/* The buffer is noise; a stamp in each 4 KiB makes it differ from all others. */
	for (uint64_t i = 0; b->op == LINK_WRITE && i < b->o->block; i += 4096) {
		uint64_t stamp[2] = {b->stamp, ++b->issued};

		memcpy(s->req.data + i, stamp, sizeof(stamp));
	}
	b->outstanding++;
	s->start = vs_now_ns();
	link_submit(b->link, &s->req);
}

static int run_bench(struct bench *b)
{
	uint64_t start = vs_now_ns(), end = start + b->o->seconds * 1000000000u, submitted = 0;
	bool stopping = false;

	while (!stopping || b->outstanding) {
		stopping = stopping || b->failed || (b->o->seconds && vs_now_ns() >= end) ||
			   (b->o->count && submitted >= b->count);
		for (unsigned i = 0; !stopping && i < b->o->depth; i++) {
			if (b->slots[i].req.arg)
				continue;
			if (b->o->count && submitted >= b->count)
				break;
			submitted++;
			bench_submit(b, &b->slots[i]);
		}
		if (b->outstanding && link_turn(b->link) < 0)
			return -1;
	}
	b->busy_ns = vs_now_ns() - start;
	return b->failed ? -1 : 0;
}

static void *bench_thread(void *arg)
{
	struct bench *b = arg;

	pthread_barrier_wait(b->start);
	b->status = run_bench(b);
	return NULL;
}

/* Session number `at` of o->sessions, logged in. */
static struct bench *bench_open(const char *url, enum link_op op, const struct load_options *o,
				uint64_t at)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b || !(b->link = link_open(url)))
		return NULL;
	b->rng = load_rng_seeded(o->seed * LOAD_MAX_SESSIONS + at);
	b->o = o;
	b->op = op;
	b->count = o->count / o->sessions + (at < o->count % o->sessions);
	b->blocks = VS_MIN(o->span, b->link->size) / o->block;
	b->next = b->blocks / o->sessions * at;
	b->stamp = vs_now_ns() ^ o->seed << 32 ^ at << 56;
	for (unsigned i = 0; i < o->depth; i++) {
		struct bench_slot *s = &b->slots[i];

		s->b = b;
		s->req.done = bench_done;
		s->req.data = aligned_alloc(4096, o->block);
		if (!s->req.data)
			return NULL;
		for (uint64_t n = 0; n < o->block; n += 8) {
			uint64_t x = load_rng_next(&b->rng);

			memcpy(s->req.data + n, &x, 8);
		}
	}
	return b;
}

/* All begin when the last is ready. */
static int run_all(struct bench **all, const struct load_options *o)
{
	pthread_t threads[LOAD_MAX_SESSIONS];
	pthread_barrier_t start;
	int rc = 0;

	if (pthread_barrier_init(&start, NULL, (unsigned)o->sessions))
		return -1;
	for (uint64_t i = 0; i < o->sessions; i++) {
		all[i]->start = &start;
		if (pthread_create(&threads[i], NULL, bench_thread, all[i])) {
			perror("a thread for a session");
			exit(1);
		}
	}
	for (uint64_t i = 0; i < o->sessions; i++) {
		pthread_join(threads[i], NULL);
		rc |= all[i]->status;
	}
	pthread_barrier_destroy(&start);
	return rc;
}

int load_bench(const char *url, bool write, const struct load_options *o)
{
	static struct bench *all[LOAD_MAX_SESSIONS], sum;
	double seconds;

	for (uint64_t i = 0; i < o->sessions; i++)
		if (!(all[i] = bench_open(url, write ? LINK_WRITE : LINK_READ, o, i)))
			return 1;
	if (run_all(all, o) < 0) {
		fprintf(stderr, "%s: the load ended early\n", url);
		return 1;
	}
	for (uint64_t i = 0; i < o->sessions; i++) {
		latency_sum(&sum.latency, &all[i]->latency);
		sum.completed += all[i]->completed;
		sum.busy_ns = VS_MAX(sum.busy_ns, all[i]->busy_ns);
		link_close(all[i]->link);
	}
	seconds = (double)sum.busy_ns / 1e9;
	printf("{\"requests\": %lu, \"seconds\": %.3f, \"per_second\": %.0f, "
	       "\"bytes_per_second\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f}\n",
	       sum.completed, seconds, (double)sum.completed / seconds,
	       (double)(sum.completed * o->block) / seconds, latency_us(&sum.latency, 0.5),
	       latency_us(&sum.latency, 0.99));
	return 0;
}
