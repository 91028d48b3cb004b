/*
 * Reading blocks and pages back: by digest, or frame by frame. Every item is hashed before it is
 * handed out. Threads: one at a time. Memory: the given number of decoded frames (256 KiB each).
 */
#ifndef BK_FETCH_H
#define BK_FETCH_H

#include "backup/repo_impl.h"

struct bk_fetch;

#define BK_FETCH_FRAMES_MAX 256u

/* frames: how many decoded ones are kept, 1 to BK_FETCH_FRAMES_MAX. */
int bk_fetch_new(struct bk_repo *r, unsigned frames, struct bk_fetch **out,
		 struct vs_error *err) vs_must_check;
void bk_fetch_free(struct bk_fetch *f);

/* Item at place, whose digest must be this; *data stays valid until the next call. */
int bk_fetch_place(struct bk_fetch *f, const struct bk_place *place, const struct dd_digest *digest,
		   enum bk_kind kind, const uint8_t **data, struct vs_error *err) vs_must_check;
/* The same after looking the place up; VS_E_CORRUPT when the repository lacks it. */
int bk_fetch_item(struct bk_fetch *f, const struct dd_digest *digest, enum bk_kind kind,
		  const uint8_t **data, struct vs_error *err) vs_must_check;
uint64_t bk_fetch_bytes(const struct bk_fetch *f); /* read from the remote */

#endif
