/*
 * Opens and closes volumes for connections, on a thread of its own: both wait for the engine, which
 * may have to read from the device or be waiting for a worker's port, so a worker must not wait.
 */
#ifndef NBD_OPENER_H
#define NBD_OPENER_H

#include "common/loop.h"
#include "targets/nbd/export.h"

struct nbd_opener;

/* Owned by the caller until post is called on the loop's thread. One is under way at a time. */
struct nbd_opening {
	struct nbd_export *export;
	struct bs_volume *volume; /* to close; NULL: open the export's, and it is put here */
	int status;		  /* out */
	struct vs_loop *loop;
	struct vs_post post;
	struct nbd_opening *next; /* private */
};

int nbd_opener_start(struct bs_store *store, struct nbd_opener **out,
		     struct vs_error *err) vs_must_check;
/* Nothing is under way any more. NULL is accepted. */
void nbd_opener_stop(struct nbd_opener *o);
/* VS_E_NOENT also when another volume has the export's name now. */
void nbd_opener_submit(struct nbd_opener *o, struct nbd_opening *job);

#endif
