/*
 * Puts packs while its owner goes on: a thread with one pack at a time.
 *
 * Threads: start, wait and free from one thread, the owner's. Ownership: start takes a full buffer
 * and gives an empty one of the same capacity for it. Memory: one buffer.
 */
#ifndef BK_WRITER_H
#define BK_WRITER_H

#include "backup/remote.h"
#include "dedup/digest.h"

struct bk_writer;

int bk_writer_new(struct bk_remote *r, size_t capacity, struct bk_writer **out,
		  struct vs_error *err) vs_must_check;
void bk_writer_free(struct bk_writer *w); /* waits for what is being written */
/* Only after a wait. */
void bk_writer_start(struct bk_writer *w, uint8_t **buf, size_t size);
/* The outcome of the last start, once; name is the pack's digest. 0 also when nothing was started.
 */
int bk_writer_wait(struct bk_writer *w, struct dd_digest *name, struct vs_error *err) vs_must_check;

#endif
