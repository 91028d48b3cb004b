/*
 * The inside of a scrub: scrub.c (steps, contents, healing), scrub_page.c (tables and maps),
 * scrub_name.c (what damage means for volumes).
 */
#ifndef BS_SCRUB_INT_H
#define BS_SCRUB_INT_H

#include "blockstore/engine.h"
#include "blockstore/scrub.h"
#include "blockstore/scrub_count.h"

/* A content of a step: where its stored bytes lie in the buffer. */
struct bs_scrub_item {
	uint64_t cid;
	struct bs_place place;
	struct dd_digest digest;
	const uint8_t *stored; /* NULL: not to be looked at */
	int status;	       /* of the read; then of the comparison */
};

struct bs_scrub {
	struct bs_store *store;
	struct dd_hasher *hasher;
	uint8_t *buf; /* stored bytes of a step */
	struct bs_scrub_item items[BS_PLACES_PER_PAGE];
	unsigned nitems;
	struct bs_scrub_position *at;
	struct bs_scrub_result *out;
	struct bs_recounting *counting; /* NULL: none is under way */
	unsigned lost_views;
	bool differs;
	uint64_t activity; /* of others, when the step before ended */
};

void bs_scrub_add(struct bs_scrub_result *out, const struct bs_scrub_found *f);
/* On the engine, in a fiber: pages from sc->at on; true in *end at the part's end. */
int bs_scrub_tables(struct bs_engine *e, struct bs_scrub *sc, bool *end) vs_must_check;
int bs_scrub_maps(struct bs_engine *e, struct bs_scrub *sc, bool *end) vs_must_check;

#endif
