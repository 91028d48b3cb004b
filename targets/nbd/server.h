/*
 * An NBD server (fixed newstyle): serves volumes and snapshots of a store to NBD clients.
 *
 * Only what nbd_server_export named is served. A client that names no export gets the only one when
 * there is exactly one. A server has its own threads and listeners and is cheap, so a private one
 * with a single Unix socket may be started for one transfer.
 *
 * Ownership: nbd_server_start gives a server that nbd_server_stop takes back, before the store is
 * closed. Threads: any but the engine's and the server's own; the functions may wait for the
 * engine. Errors: VS_E_*, with one line for people in err.
 *
 * An export without clients holds no handle of its volume: the volume can be deleted, rolled back
 * or renamed, and is then no longer found by clients. A volume made later under the same name is
 * not served until it is exported itself.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "blockstore/store.h"
#include "blockstore/volume.h"

#include <stdbool.h>
#include <stddef.h>

struct nbd_server;

#define NBD_LISTEN_MAX 16 /* addresses and Unix paths together */
#define NBD_EXPORTS_MAX 4096
#define NBD_ADDRESS_MAX 112 /* with NUL */

struct nbd_server_options {
	struct bs_store *store;
	const char *const *listen; /* "127.0.0.1:10809", "[::1]:10809"; numeric; port 0: any */
	size_t nlisten;
	const char *const *unix_paths; /* made with mode 0600; a stale socket is replaced */
	size_t nunix;
	unsigned max_connections; /* 1 to 4096, each up to 1.1 MiB of memory; 0: 32 */
	unsigned threads;	  /* 1 to 16, each up to 8 MiB of memory; 0: 2 */
};

/*
 * Listens and serves when it returns. VS_E_INVAL (address), VS_E_EXIST (address or path in use),
 * VS_E_ACCESS, VS_E_NOMEM.
 */
int nbd_server_start(const struct nbd_server_options *opts, struct nbd_server **out,
		     struct vs_error *err) vs_must_check;
/* Answers what is being worked on (up to 5 s for clients that do not read), then disconnects. */
void nbd_server_stop(struct nbd_server *srv);

/*
 * full: NAME or NAME@SNAP, which is also the export's name. Snapshots are read-only anyway.
 * VS_E_NOENT, VS_E_EXIST (exported already), VS_E_LIMIT.
 */
int nbd_server_export(struct nbd_server *srv, const char *full, bool read_only,
		      struct vs_error *err) vs_must_check;
/* Disconnects the export's clients as nbd_server_stop does; no handle of it is left on return. */
int nbd_server_unexport(struct nbd_server *srv, const char *full,
			struct vs_error *err) vs_must_check;

struct nbd_server_entry {
	char name[BS_FULL_NAME_MAX];
	bool read_only;
	unsigned connections;
};

/* Fills up to max entries in the order of their exporting; returns how many exports there are. */
size_t nbd_server_list(struct nbd_server *srv, struct nbd_server_entry *out, size_t max);
/* The i-th TCP address with the port in use, as a client names it. VS_E_NOENT beyond the last. */
int nbd_server_address(struct nbd_server *srv, size_t i, char text[NBD_ADDRESS_MAX]) vs_must_check;

#endif
