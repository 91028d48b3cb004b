/*
 * Reading and writing volumes.
 *
 * A port belongs to one event loop's thread: requests are submitted and completed on it. That
 * thread also does the request's hashing, compression, decompression and verification, inside
 * bs_submit and inside the loop's callbacks; the engine's thread only handles metadata.
 *
 * Ownership: the caller owns the request, its iovec array and its buffers from bs_submit until done
 * is called, and must not change them or the bytes meanwhile (BS_UNSTABLE lifts the last, for guest
 * memory). done may submit again and may free the request.
 * Errors: status is 0 or VS_E_RANGE, VS_E_INVAL (alignment), VS_E_ROFS, VS_E_NOSPC (also of a read,
 * when what is at an origin does not fit into the store), VS_E_CHECKSUM, VS_E_IO, VS_E_FAILED,
 * VS_E_MISMATCH (compare), VS_E_CLOSED. Nothing wrong is ever returned.
 * Order: none among outstanding requests. Of a write, each aligned 128 KiB piece of its whole
 * blocks is atomic, and the parts of its first and last block each are; a COMPARE_WRITE, and a
 * WRITE with BS_ATOMIC, is atomic as a whole: snapshots and what is left after power loss hold all
 * of it or nothing. Of a COPY, each aligned 128 KiB piece of the destination's whole blocks is read
 * at one instant and written at one, and where both are whole blocks of content that may be shared
 * these are the same: nothing is moved, no space is taken. What may not be shared (deduplication is
 * off, a thick volume) or does not align (offsets that differ modulo 4096: pieces of 64 KiB; parts
 * of blocks) is read and written, by the port. Ranges that overlap in one volume are copied as by
 * memmove, unless others write to them meanwhile. Acknowledged writes survive the daemon's death;
 * flushed ones (BS_FLUSH, BS_FUA) power loss.
 */
#ifndef BS_IO_H
#define BS_IO_H

#include "blockstore/volume.h"
#include "common/loop.h"

#include <sys/uio.h>

enum bs_op {
	BS_READ,
	BS_WRITE,
	BS_FLUSH,	  /* everything acknowledged on any port before becomes durable */
	BS_TRIM,	  /* whole blocks inside the range read as zeros afterwards; may do less */
	BS_ZERO,	  /* the range reads as zeros afterwards */
	BS_COMPARE_WRITE, /* iov: length bytes to compare, then length bytes to write */
	BS_LINK,	  /* map blocks to content that the store holds, by digest */
	BS_COPY,	  /* the range gets what source has from source_offset on */
	BS_STATUS,	  /* which blocks are mapped: fills mapped[] */
	BS_FILL,	  /* bytes of blocks that are at an origin (origin.h) */
	BS_RECORDS,	  /* only the changes (object.h) */
	BS_CLONE,	  /* object gets all that source_object has, at once, whatever its size */
};

#define BS_FUA 1u
#define BS_UNSTABLE 2u /* the bytes may change while the request runs: they are copied first */
#define BS_ATOMIC \
	4u /* WRITE of up to BS_ATOMIC_MAX, whole blocks: in one piece, wherever it begins */

#define BS_SCATTER                                                                                \
	8u /* WRITE of up to BS_ATOMIC_MAX in one piece, block i of it to blocks[i] of the object \
	    */
#define BS_SPARE 16u /* WRITE: may use what is kept for deletions, as it serves one */

#define BS_COMPARE_MAX (64u << 10) /* bytes of a COMPARE_WRITE */
#define BS_ATOMIC_MAX (128u << 10) /* bytes of an atomic WRITE */
#define BS_LINK_MAX 32u		   /* blocks of a LINK */
#define BS_FILL_MAX 32u		   /* blocks of a FILL */
#define BS_STATUS_MAX 4096u	   /* blocks of a STATUS */

struct bs_want;
struct bs_object_change;

struct bs_req {
	enum bs_op op;
	unsigned flags;
	struct bs_volume *volume; /* FLUSH: may be NULL */
	uint64_t offset;	  /* bytes; multiple of 512 (LINK, STATUS: of 4096) */
	uint64_t length; /* the same; up to 64 MiB for READ, WRITE, COPY; TRIM, ZERO: any */
	const struct iovec *iov;
	int iovcnt;
	struct bs_volume *source; /* COPY: of the same store; may be volume itself */
	uint64_t source_offset;	  /* COPY: bytes; multiple of 512 */
	/* Of volumes of objects (object.h), whose requests need not be aligned; else 0. */
	uint32_t object, source_object;
	struct bs_object_change *changes; /* READ, WRITE, COPY, RECORDS, CLONE */
	unsigned nchanges;
	const uint64_t *blocks;		 /* BS_SCATTER */
	const struct dd_digest *digests; /* LINK: one per block */
	uint8_t *mapped; /* LINK, out: 1 where content was found and is now mapped, else 0;
			    STATUS, out: 1 where the block is mapped, 0 where it reads as zeros */
	/* FILL: one for each block of length bytes, which lie in one piece; offset is 0 and volume
	 * bs_origin_volume's. What has been filled or has gone meanwhile is passed over. */
	const struct bs_want *wants;
	void (*done)(struct bs_req *req);
	void *arg;

	int status;	      /* out */
	uint64_t mismatch_at; /* out, COMPARE_WRITE with VS_E_MISMATCH: first byte that differs */

	/* private from submit to done */
	struct bs_req *next_;
	uint64_t next_off_, end_;
	uint32_t pending_;
	void *port_;
};

struct bs_port;

/* depth: requests worked on at once, 1 to 256; more wait inside. */
int bs_port_open(struct bs_store *s, struct vs_loop *loop, unsigned depth, struct bs_port **out,
		 struct vs_error *err) vs_must_check;
/* Waits for what is outstanding (its done is called), then closes. On the loop's thread. */
void bs_port_close(struct bs_port *p);
void bs_submit(struct bs_port *p, struct bs_req *req);

/* For a port whose loop nobody else runs (imports, backups): submits, turns the loop until done. */
int bs_io_wait(struct bs_port *p, struct bs_req *req) vs_must_check;
/* Shorthands over bs_io_wait. */
int bs_io_read(struct bs_port *p, struct bs_volume *v, uint64_t offset, void *buf,
	       size_t len) vs_must_check;
int bs_io_write(struct bs_port *p, struct bs_volume *v, uint64_t offset, const void *buf,
		size_t len) vs_must_check;
int bs_io_flush(struct bs_port *p) vs_must_check;

#endif
