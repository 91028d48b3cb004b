#include "tests/load/journal.h"
#include "tests/load/link.h"
#include "tests/load/load.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <stdio.h>
#include <stdlib.h>

#define WRITE_BLOCKS 32 /* blocks of one write, at most */
#define FLUSH_EVERY 40	/* requests */

struct writer {
	struct load_rng rng;
	struct link *link;
	struct journal journal;
	unsigned outstanding;
	uint64_t acked, flushes, fua, failed;
	struct slot {
		struct link_req req;
		struct writer *w;
		bool busy;
	} slots[LOAD_MAX_DEPTH];
};

static void write_done(struct link_req *req, int status)
{
	struct slot *s = req->arg;
	struct journal *j = &s->w->journal;
	uint64_t first = req->offset / JOURNAL_BLOCK;

	s->busy = false;
	s->w->outstanding--;
	if (status < 0) {
		s->w->failed++;
		return; /* the blocks stay pending: either version may be there */
	}
	if (req->op == LINK_FLUSH) {
		s->w->flushes++;
		return;
	}
	for (uint64_t b = first; b < first + req->length / JOURNAL_BLOCK; b++) {
		j->acked[b] = j->pending[b];
		j->pending[b] = 0;
	}
	s->w->fua += req->fua;
	if (s->w->acked++ == 0) {
		printf("running\n");
		fflush(stdout);
	}
}

static void write_some(struct writer *w, struct slot *s)
{
	struct journal *j = &w->journal;
	uint64_t first = load_rng_next(&w->rng) % j->blocks,
		 n = 1 + (load_rng_next(&w->rng) % 4 ? 0 : load_rng_next(&w->rng) % WRITE_BLOCKS);

	s->req.op = LINK_WRITE;
	s->req.fua = load_rng_next(&w->rng) % 32 == 0;
	if (load_rng_next(&w->rng) % FLUSH_EVERY == 0) {
		s->req.op = LINK_FLUSH;
		s->req.fua = false;
		s->req.offset = s->req.length = 0;
		n = 0;
	} else {
		s->req.offset = first * JOURNAL_BLOCK;
		s->req.length = 0;
	}
	/* One write of a block at a time, so that what may be there is one of two versions. */
	for (uint64_t b = first; n && b < j->blocks && !j->pending[b]; b++, n--) {
		j->pending[b] = ++j->newest[b];
		journal_content(j, b, j->newest[b], s->req.data + s->req.length);
		s->req.length += JOURNAL_BLOCK;
	}
	if (s->req.op == LINK_WRITE && s->req.length == 0)
		return; /* taken: another place next time */
	s->busy = true;
	w->outstanding++;
	link_submit(w->link, &s->req);
}

static int run_writer(struct writer *w, const struct load_options *o)
{
	uint64_t end = vs_now_ns() + o->seconds * 1000000000u;
	bool stopping = false;

	for (unsigned i = 0; i < o->depth; i++) {
		struct slot *s = &w->slots[i];

		s->w = w;
		s->req.done = write_done;
		s->req.arg = s;
		s->req.data = malloc(WRITE_BLOCKS * JOURNAL_BLOCK);
		if (!s->req.data)
			return -1;
	}
	while (!stopping || w->outstanding) {
		stopping = stopping || (o->seconds && vs_now_ns() >= end) || w->failed;
		for (unsigned i = 0; !stopping && i < o->depth; i++)
			if (!w->slots[i].busy)
				write_some(w, &w->slots[i]);
		if (w->outstanding && link_turn(w->link) < 0)
			return 1;
	}
	return 0;
}

int load_write(const char *url, const char *path, const struct load_options *o)
{
	static struct writer only;
	struct writer *w = &only;
	bool lost;

	if (!(w->link = link_open(url)))
		return 1;
	if (journal_load(&w->journal, path) < 0 &&
	    journal_new(&w->journal, o->seed, VS_MIN(o->span, w->link->size) / JOURNAL_BLOCK) < 0)
		return 1;
	w->rng = load_rng_seeded(o->seed);
	lost = run_writer(w, o) == 1;
	if (journal_save(&w->journal, path) < 0) {
		perror(path);
		return 1;
	}
	printf("{\"acked\": %lu, \"flushes\": %lu, \"fua\": %lu, \"outstanding\": %u, "
	       "\"failed\": %lu, \"connection_lost\": %s}\n",
	       w->acked, w->flushes, w->fua, w->outstanding, w->failed, lost ? "true" : "false");
	return w->failed ? 1 : 0;
}

struct reader {
	struct journal journal;
	uint64_t wrong, later;
	bool done;
	int status;
};

static void read_done(struct link_req *req, int status)
{
	struct reader *r = req->arg;

	r->done = true;
	r->status = status;
}

static void compare(struct reader *r, uint64_t block, const uint8_t *data)
{
	struct journal *j = &r->journal;
	uint8_t want[JOURNAL_BLOCK];

	journal_content(j, block, j->acked[block], want);
	if (memcmp(data, want, JOURNAL_BLOCK) != 0) {
		uint32_t p = j->pending[block];

		if (p)
			journal_content(j, block, p, want);
		if (!p || memcmp(data, want, JOURNAL_BLOCK) != 0) {
			if (r->wrong++ < 10)
				printf("block %lu is neither version %u (acknowledged) nor %u\n",
				       block, j->acked[block], p);
			return;
		}
		j->acked[block] = p;
		r->later++;
	}
	j->pending[block] = 0;
}

int load_verify(const char *url, const char *path)
{
	static uint8_t data[64 * JOURNAL_BLOCK];
	struct link *l = link_open(url);
	struct reader r = {.done = false};
	uint64_t blocks;

	if (!l || journal_load(&r.journal, path) < 0)
		return 1;
	blocks = r.journal.blocks;
	for (uint64_t b = 0; b < blocks; b += sizeof(data) / JOURNAL_BLOCK) {
		uint64_t n = VS_MIN(blocks - b, sizeof(data) / JOURNAL_BLOCK);
		struct link_req req = {.op = LINK_READ,
				       .offset = b * JOURNAL_BLOCK,
				       .length = (uint32_t)n * JOURNAL_BLOCK,
				       .data = data,
				       .done = read_done,
				       .arg = &r};

		r.done = false;
		link_submit(l, &req);
		while (!r.done)
			if (link_turn(l) < 0)
				return 1;
		if (r.status < 0)
			return 1;
		for (uint64_t i = 0; i < n; i++)
			compare(&r, b + i, data + i * JOURNAL_BLOCK);
	}
	link_close(l);
	printf("{\"blocks\": %lu, \"wrong\": %lu, \"unacknowledged_present\": %lu}\n", blocks,
	       r.wrong, r.later);
	return r.wrong || journal_save(&r.journal, path) < 0 ? 1 : 0;
}
