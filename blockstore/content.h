/*
 * Contents: the place and digest tables. Functions marked (step) run in an engine step after their
 * leaves were prepared and cannot fail.
 */
#ifndef BS_CONTENT_H
#define BS_CONTENT_H

#include "blockstore/engine.h"

/*
 * VS_E_NOENT when cid is not (any longer) alive; VS_E_AGAIN as in tree.h. Of an alias the place is
 * that of what stores it, references and generation are its own, and `alias` says so.
 */
int bs_content_look(struct bs_engine *e, uint64_t cid, struct bs_place *out) vs_must_check;
/* cid, whose entry is in leaf, will be looked at soon. */
void bs_content_warm(const struct bs_frame *leaf, uint64_t cid);
/* What is stored under this slot: VS_E_NOENT also for an alias. */
int bs_content_look_slot(struct bs_engine *e, uint64_t slot, struct bs_place *out) vs_must_check;
/* The entry as it is. */
int bs_content_raw(struct bs_engine *e, uint64_t slot, struct bs_place *out) vs_must_check;
int bs_content_digest(struct bs_engine *e, uint64_t cid, struct dd_digest *out) vs_must_check;
/* Prepares that cid's references may change. VS_E_CORRUPT: its slot does not exist. */
int bs_content_ready(struct bs_engine *e, uint64_t cid) vs_must_check;

/* (step) Enters new content, with no reference yet. */
void bs_content_put(struct bs_engine *e, uint64_t cid, const struct bs_place *where,
		    const struct dd_digest *digest);
void bs_content_ref(struct bs_engine *e, uint64_t cid); /* (step) */
/* (step) Nothing holds this reference any more: it becomes a drop (drop.h). */
void bs_content_unref(struct bs_engine *e, uint64_t cid);
/* (step) Takes n drops off its count; frees at zero. */
void bs_content_drop(struct bs_engine *e, uint64_t cid, uint32_t n);
/* (step) cid now lies elsewhere, in another stored form. */
void bs_content_replace(struct bs_engine *e, uint64_t cid, const struct bs_place *to);
/*
 * What is at an origin (origin.h). Its digest is zeros, nobody finds it, and it counts as no
 * content of the store's until it is filled.
 */
/* Prepares that cid, whose place is `now`, leaves its origin. VS_E_CORRUPT: there is none. */
int bs_content_ready_fill(struct bs_engine *e, uint64_t cid,
			  const struct bs_place *now) vs_must_check;
/* (step) New content with one reference, where `at` says. The origin's count is not touched. */
void bs_content_absent(struct bs_engine *e, uint64_t cid, const struct bs_place *at);
/* (step) It has its bytes, at where. */
void bs_content_fill(struct bs_engine *e, uint64_t cid, const struct bs_place *where,
		     const struct dd_digest *digest);
void bs_content_zeros(struct bs_engine *e, uint64_t cid); /* (step) It is zeros. */
/* (step) cid now lies at seg, off. */
void bs_content_move(struct bs_engine *e, uint64_t cid, uint32_t seg, uint32_t off);
/*
 * (step) cid, which has no aliases, becomes an alias of `to`, which is none: the same bytes. It
 * keeps its references; `to` counts them as well, so it lives as long as its aliases. One that was
 * at an origin (bs_content_ready_fill) gets the other's digest.
 */
void bs_content_alias(struct bs_engine *e, uint64_t cid, uint64_t to);

#endif
