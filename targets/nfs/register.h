/*
 * Registers a server's programs with the machine's rpcbind (RFC 1833), on a thread of its own.
 *
 * It looks every 10 s whether they are still registered. What another server has registered and
 * answers at stays that server's. Each look ends within 3 s, whatever rpcbind does.
 */
#ifndef NFS_REGISTER_H
#define NFS_REGISTER_H

#include "targets/nfs/conn.h"

struct nfs_registrar;

/* common's places must stay as they are. */
int nfs_registrar_new(const struct nfs_rpcbind *opts, const struct nfs_common *common,
		      struct nfs_registrar **out, struct vs_error *err) vs_must_check;
/* Clients are accepted: registers from now on. */
void nfs_registrar_begin(struct nfs_registrar *r);
/* Takes back what is registered. NULL: nothing. */
void nfs_registrar_free(struct nfs_registrar *r);

#endif
