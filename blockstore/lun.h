/*
 * A LUN of another array, over iSCSI (libiscsi): read, written and asked about on an event loop.
 *
 * Ownership: bs_lun_open makes a LUN, bs_lun_close ends it; requests and their buffers belong to
 * the caller from bs_lun_submit until done.
 * Threads: everything runs on the thread that owns the loop; done never runs inside bs_lun_submit.
 * Names are looked up in bs_lun_open only, so nothing waits for a name server later.
 * Errors: req.status is 0 or VS_E_*: NOSPC (thin space of the array is exhausted), ROFS, RANGE,
 * BUSY (reserved by another initiator), NOTSUP, IO for all else.
 *
 * When the path breaks, requests are held while the LUN reconnects by itself. They fail with
 * VS_E_IO when that has taken spec.hold_ns; the LUN still tries, and what is submitted once it is
 * back is served. Requests are not ordered among each other.
 *
 * A flush makes durable every write whose done was called before it was submitted, also across
 * reconnects and restarts of the array: writes and unmaps that were not flushed are kept and sent
 * again before anything else (lun_redo.c). A flush that the LUN reports as failed is not repeated.
 */
#ifndef BS_LUN_H
#define BS_LUN_H

#include "blockstore/lun_url.h"
#include "common/loop.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define BS_LUN_IOV_MAX 8
#define BS_LUN_HOLD_NS UINT64_C(60000000000) /* default of spec.hold_ns */
#define BS_LUN_DEPTH 32u		     /* most commands in flight */

struct bs_lun;

/* CHAP (RFC 7143 section 12.1). Copied; wiped by the owner of the LUN at close. */
struct bs_lun_login {
	const char *user, *secret;		 /* NULL: none */
	const char *mutual_user, *mutual_secret; /* what the target has to prove; NULL: nothing */
};

struct bs_lun_spec {
	struct bs_lun_url url;
	struct bs_lun_login login;
	/*
	 * NULL: a session of its own. Else sessions of this host to this LUN with the same word
	 * replace each other, also across processes: what the earlier one had in flight is over
	 * when open returns (RFC 7143 section 6.3.5).
	 */
	const char *session;
	uint64_t hold_ns; /* 0: BS_LUN_HOLD_NS */
	uint64_t keep;	  /* bytes of unflushed writes that are kept; 0: it is only read */
	/* Gives up opening when it becomes true; NULL: never. Only bs_lun_open looks at it. */
	const atomic_bool *cancel;
};

enum bs_lun_op {
	BS_LUN_READ,
	BS_LUN_WRITE,
	BS_LUN_FLUSH,
	BS_LUN_UNMAP,  /* a hint: what is read there afterwards is not said */
	BS_LUN_ZERO,   /* zeros, given back where the LUN can do that */
	BS_LUN_STATUS, /* which of the range holds data: the LUN may be thin */
};

/* Part of the range of a STATUS request. */
struct bs_lun_run {
	uint64_t length;
	bool mapped; /* false: reads as zeros */
};

/* offset and length: multiples of the LUN's sector, within its size; both 0 for FLUSH. */
struct bs_lun_req {
	enum bs_lun_op op;
	bool durable; /* WRITE: survives a power cut of the array once it is done */
	uint64_t offset, length;
	struct iovec iov[BS_LUN_IOV_MAX];
	int iovcnt;
	struct bs_lun_run *runs; /* STATUS: out */
	unsigned max_runs,
	    nruns; /* nruns: out, at least 1; they begin at offset and may end early */
	void (*done)(struct bs_lun_req *req);
	void *arg;
	int status;		 /* out */
	struct bs_lun_req *next; /* private from submit to done */
	uint64_t issued;	 /* private: bytes given to commands */
	unsigned out;		 /* private: commands in flight */
	unsigned char step;	 /* private */
};

struct bs_lun_info {
	uint64_t size; /* bytes; grows when the LUN does */
	uint32_t sector;
	bool read_only;
	bool unmap;	   /* UNMAP works */
	bool sparse;	   /* STATUS may tell holes */
	bool up;	   /* false: held or failing */
	uint64_t identity; /* of the logical unit, by any path and at any time; 0: not said */
	char vendor[9], product[17];
};

/*
 * Connects, logs in and looks at the LUN; turns the loop until that is done, at most 30 s. The
 * message names portal, target and cause: refused, no such target, no such LUN, wrong secret.
 */
int bs_lun_open(struct vs_loop *loop, const struct bs_lun_spec *spec, struct bs_lun **out,
		struct vs_error *err) vs_must_check;
/* Logs out. Requests that are not done are dropped without done: have none. */
void bs_lun_close(struct bs_lun *l);
void bs_lun_submit(struct bs_lun *l, struct bs_lun_req *req);
struct bs_lun_info bs_lun_info(const struct bs_lun *l);
const char *bs_lun_name(const struct bs_lun *l); /* the URL */

#endif
