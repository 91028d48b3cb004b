/*
 * Origins inside the engine: its thread. origin_page.c: pages that are expanded; origin_wait.c:
 * reads that wait; origin.c: the calls of whoever fetches.
 */
#ifndef BS_ORIGIN_INT_H
#define BS_ORIGIN_INT_H

#include "blockstore/op.h"
#include "blockstore/origin.h"
#include "blockstore/page.h"
#include "blockstore/port.h"

struct bs_origin {
	struct bs_volume as_volume; /* of requests that bring bytes: vol is the origin's entry */
	void (*wake)(void *arg);
	void *arg;
};

/* ---- origin_page.c ---- */
/* Prepares that the origin's counts change. VS_E_CORRUPT: there is none of this id. */
int bs_origin_ready(struct bs_engine *e, uint32_t id) vs_must_check;
/* (step) More, or fewer, contents and pages are there. */
void bs_origin_count(struct bs_engine *e, uint32_t id, int64_t contents, int64_t pages);
/* The origin that has the content or, of a map page, all below it; NULL: the entry cannot be. */
struct bs_vol *bs_origin_of(struct bs_engine *e, const struct bs_place *p);
struct bs_vol *bs_origin_of_page(struct bs_engine *e, const struct bs_mapent *ent);
/* Blocks of the origin below a page. */
uint64_t bs_origin_below(const struct bs_vol *o, uint64_t block, unsigned level);
/*
 * In a fiber: page cid, which is at an origin, is here. Counts as a wait for whoever is preparing
 * something. VS_E_NOENT: it is not at an origin (any more).
 */
int bs_origin_page(struct bs_engine *e, uint64_t cid,
		   const uint8_t zeros[BS_ORIGIN_FAN / 8]) vs_must_check;
int bs_origin_page_replay(struct bs_engine *e, const struct bs_rec *r) vs_must_check;
/* (step) The top page of a new volume; its entry is ready. */
void bs_origin_root(struct bs_engine *e, const struct bs_vol *o, uint64_t cid, unsigned level);
/* In replay: a content is zeros. */
int bs_origin_zeros_replay(struct bs_engine *e, const struct bs_rec *r) vs_must_check;

/* ---- origin_wait.c ---- */
/* A read some of whose pieces are at an origin; it goes on, or ends, by itself. */
int bs_origin_park(struct bs_engine *e, struct bs_iop *op) vs_must_check;
/* (step) cid is not at an origin any more. */
void bs_origin_left(struct bs_engine *e, uint64_t cid);
void bs_origin_expire(struct bs_engine *e); /* reads that have waited too long */
void bs_origin_expire_all(struct bs_engine *e);
uint64_t bs_origin_wake(const struct bs_engine *e); /* when the first of them has */
/* Some of what reads wait for and nobody was asked for yet. */
size_t bs_origin_ask(struct bs_engine *e, uint32_t id, struct bs_want *out, size_t max);
void bs_origin_forget_asked(struct bs_engine *e, uint32_t id);
/* Reads that wait for it fail. */
void bs_origin_lost(struct bs_engine *e, uint64_t cid);

#endif
