/*
 * A LUN of another array, over iSCSI (libiscsi): read, written and asked about on an event loop.
 *
 * Ownership: bs_lun_open makes a LUN, bs_lun_close ends it. Requests, threads, errors, what is held
 * and what a flush means: far.h. Names are looked up in bs_lun_open only, so nothing waits for a
 * name server later. What is kept to be sent again: lun_redo.h.
 */
#ifndef BS_LUN_H
#define BS_LUN_H

#include "blockstore/far.h"
#include "blockstore/lun_url.h"
#include "common/loop.h"

#include <stdatomic.h>
#include <stddef.h>

#define BS_LUN_DEPTH 32u /* most commands in flight */

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
	uint64_t hold_ns; /* 0: BS_FAR_HOLD_NS */
	uint64_t keep;	  /* bytes of unflushed writes that are kept; 0: it is only read */
	/* Gives up opening when it becomes true; NULL: never. Only bs_lun_open looks at it. */
	const atomic_bool *cancel;
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
void bs_lun_submit(struct bs_lun *l, struct bs_far_req *req);
struct bs_far *bs_lun_far(struct bs_lun *l); /* it, as what it has in common with others */
struct bs_lun_info bs_lun_info(const struct bs_lun *l);
const char *bs_lun_name(const struct bs_lun *l); /* the URL */

#endif
