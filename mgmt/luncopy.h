/*
 * LUNs of other arrays from and to volumes, several pieces in flight, holes skipped.
 * Threads: those of tasks.
 */
#ifndef MG_LUNCOPY_H
#define MG_LUNCOPY_H

#include "blockstore/lun.h"
#include "blockstore/volume.h"
#include "mgmt/task.h"

#define MG_SECRET_MAX 256

/* A LUN and who may use it, as a request named them. Wiped by its owner. */
struct mg_lun_access {
	struct bs_lun_url url;
	char user[128], secret[MG_SECRET_MAX];
};

/* user, secret: of the request, NULL: none; the user may stand in the URL too. */
int mg_lun_access(struct mg_lun_access *a, const char *url, const char *user, const char *secret,
		  struct vs_error *err) vs_must_check;
/* writable: what is not flushed is kept. cancel: gives up when it becomes true. */
int mg_lun_open(const struct mg_lun_access *a, struct vs_loop *loop, bool writable,
		const atomic_bool *cancel, struct bs_lun **out, struct vs_error *err) vs_must_check;

struct mg_luncopy {
	struct bs_store *store;
	struct bs_volume *volume;
	struct bs_lun *lun;   /* closed, and NULL, when copying fails */
	struct vs_loop *loop; /* the LUN's */
	uint64_t size;	      /* bytes to copy: a multiple of the LUN's sector */
	struct mg_task *task;
	uint64_t bytes; /* out: data really copied, without holes */
};

/* Into a volume of zeros of at least `size`; its last block is filled with zeros. */
int mg_luncopy_in(struct mg_luncopy *c, struct vs_error *err) vs_must_check;
/* The volume's first `size` bytes, zeros too, flushed at the end. */
int mg_luncopy_out(struct mg_luncopy *c, struct vs_error *err) vs_must_check;

#endif
