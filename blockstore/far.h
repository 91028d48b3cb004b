/*
 * Bytes that another machine keeps: a LUN of an array (lun.h) or a file of an NFS server
 * (nfs_file.h), read and written on an event loop.
 *
 * Ownership: its kind opens it, bs_far_close ends it; requests and their buffers belong to the
 * caller from bs_far_submit until done.
 * Threads: everything runs on the thread that owns the loop; done never runs inside bs_far_submit.
 * Errors: req.status is 0 or VS_E_*: NOSPC (the other side has no space left), ROFS, RANGE, BUSY,
 * NOTSUP, STALE (the file is no longer there), IO for all else.
 *
 * When the path breaks, requests are held while it is mended. They fail with VS_E_IO when that has
 * taken the time that was set at open; it is still tried, and what is submitted once the other side
 * is back is served. Requests are not ordered among each other.
 *
 * A flush makes durable every write whose done was called before it was submitted, also across
 * reconnects and restarts of the other side: writes that were not flushed are kept and sent again
 * before anything else. A flush that the other side reports as failed is not repeated.
 */
#ifndef BS_FAR_H
#define BS_FAR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BS_FAR_IOV_MAX 8
#define BS_FAR_HOLD_NS                                                             \
	UINT64_C(60000000000) /* how long requests are held, where nothing is said \
			       */

enum bs_far_op {
	BS_FAR_READ,
	BS_FAR_WRITE,
	BS_FAR_FLUSH,
	BS_FAR_UNMAP,  /* a hint: what is read there afterwards is not said */
	BS_FAR_ZERO,   /* zeros, given back where that can be done */
	BS_FAR_STATUS, /* which of the range holds data */
};

/* Part of the range of a STATUS request. */
struct bs_far_run {
	uint64_t length;
	bool mapped; /* false: reads as zeros */
};

/* offset and length: within its size, of a LUN multiples of its sector; both 0 for FLUSH. */
struct bs_far_req {
	enum bs_far_op op;
	bool durable; /* WRITE: survives a power cut of the other side once it is done */
	uint64_t offset, length;
	struct iovec iov[BS_FAR_IOV_MAX];
	int iovcnt;
	struct bs_far_run *runs; /* STATUS: out */
	unsigned max_runs,
	    nruns; /* nruns: out, at least 1; they begin at offset and may end early */
	void (*done)(struct bs_far_req *req);
	void *arg;
	int status;		 /* out */
	struct bs_far_req *next; /* private from submit to done */
	uint64_t issued;	 /* private: bytes given to commands */
	unsigned out;		 /* private: commands in flight */
	unsigned char step;	 /* private */
};

struct bs_far_info {
	uint64_t size; /* bytes; grows when the other side's does */
	uint32_t sector;
	bool read_only;
	uint64_t identity; /* another one has another, whatever its name; 0: not said */
};

struct bs_far;

struct bs_far_ops {
	void (*submit)(struct bs_far *f, struct bs_far_req *req);
	struct bs_far_info (*info)(const struct bs_far *f);
	const char *(*name)(const struct bs_far *f);
	void (*close)(struct bs_far *f);
};

/* What both kinds begin with. */
struct bs_far {
	const struct bs_far_ops *ops;
};

static inline void bs_far_submit(struct bs_far *f, struct bs_far_req *req)
{
	f->ops->submit(f, req);
}
static inline struct bs_far_info bs_far_info(const struct bs_far *f)
{
	return f->ops->info(f);
}
static inline const char *bs_far_name(const struct bs_far *f) /* its URL */
{
	return f->ops->name(f);
}
/* Requests that are not done are dropped without done: have none. */
static inline void bs_far_close(struct bs_far *f)
{
	f->ops->close(f);
}

#endif
