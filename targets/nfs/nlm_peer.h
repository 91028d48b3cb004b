/*
 * A thread that speaks to the clients' side of locks of NFSv3: it tells those that waited that they
 * have their lock (NLM_GRANTED), and after a restart those that had locks that the server has
 * restarted (SM_NOTIFY). It also hears what clients say by datagram (nsm_udp.h).
 *
 * It never waits for a client: NFS_NLM_PEER_CALLS calls are under way at most, a few of them of one
 * client, each for some seconds. Errors: VS_E_*.
 */
#ifndef NFS_NLM_PEER_H
#define NFS_NLM_PEER_H

#include "targets/nfs/conn.h"

struct nfs_nlm_peers;

#define NFS_NLM_PEER_CALLS 64u
#define NFS_PORTMAP_PORT 111u

/* portmapper: the port of clients' port mappers; 0: NFS_PORTMAP_PORT. */
int nfs_nlm_peers_start(struct nfs_common *common, uint16_t portmapper, struct nfs_nlm_peers **out,
			struct vs_error *err) vs_must_check;
/* Clients are accepted: those that had locks are told of the restart from now on. */
void nfs_nlm_peers_begin(struct nfs_nlm_peers *p);
/* When no call of a client is under way any more. NULL: nothing. */
void nfs_nlm_peers_stop(struct nfs_nlm_peers *p);

#endif
