/*
 * An NBD server for one volume on a Unix socket in STATE/run, for qemu-img and attachments.
 * Ownership: open and close in pairs. Threads: any that may wait.
 */
#ifndef MG_PRIVATE_NBD_H
#define MG_PRIVATE_NBD_H

#include "mgmt/node.h"
#include "targets/nbd/server.h"

struct mg_private_nbd {
	struct nbd_server *server;
	char socket[MG_STATE_MAX + 48];
};

/* name: of the socket, "import-12". full: NAME or NAME@SNAP, also the export's name. */
int mg_private_nbd_open(struct mg_node *n, const char *name, const char *full, bool read_only,
			struct mg_private_nbd *out, struct vs_error *err) vs_must_check;
void mg_private_nbd_close(struct mg_private_nbd *p);

#endif
