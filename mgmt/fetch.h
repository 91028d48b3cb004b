/*
 * Fetching from one origin (blockstore/origin.h) until nothing is left there: a thread with a loop,
 * a port and a source. What reads wait for comes first.
 *
 * Ownership: mg_fetch_start gives what mg_fetch_stop takes back. Threads: start and stop, and
 * mg_fetch_left, from any but its own. A source that cannot be reached is tried again and again,
 * with growing pauses; a store that is full likewise.
 */
#ifndef MG_FETCH_H
#define MG_FETCH_H

#include "blockstore/origin.h"
#include "mgmt/source.h"

struct mg_fetch;

struct mg_fetch_spec {
	struct bs_store *store;
	struct vs_uuid origin;
	uint64_t size, identity; /* of the source when the volume was made */
	const struct mg_source_kind *kind;
	/* The source's document; the fetch drops it. */
	int (*document)(void *arg, json_t **doc, struct vs_error *err);
	/* These are called on its thread. */
	void (*progress)(void *arg, uint64_t left);  /* bytes */
	void (*trouble)(void *arg, const char *why); /* it began; NULL: it is over */
	void (*finished)(void *arg); /* nothing was left, the origin is gone; it still has to be
					stopped */
	void *arg;
};

int mg_fetch_start(const struct mg_fetch_spec *spec, struct mg_fetch **out,
		   struct vs_error *err) vs_must_check;
void mg_fetch_stop(struct mg_fetch *f);
/* Bytes, at most; known exactly towards the end. */
uint64_t mg_fetch_left(const struct mg_fetch *f);

#endif
