/*
 * Datagrams: what Linux says when it has restarted. Its sm-notify knows no other transport, neither
 * for SM_NOTIFY nor to ask the port mapper where to send it. So of NSM NULL and NOTIFY are served
 * by UDP on each address that NFS listens on, and of the port mapper's versions NULL, GETPORT and
 * GETADDR where it is served; nothing else. No reply is longer than its call by more than the few
 * bytes of an address: nothing to be gained for who sends with other people's addresses.
 *
 * On the loop's thread.
 */
#ifndef NFS_NSM_UDP_H
#define NFS_NSM_UDP_H

#include "targets/nfs/conn.h"

struct nsm_udp;

/* Marks the places that have got it; one whose port somebody else has is left out, with a warning.
 */
int nsm_udp_open(struct vs_loop *loop, struct nfs_common *common, struct nsm_udp **out,
		 struct vs_error *err) vs_must_check;
/* NULL: nothing. */
void nsm_udp_close(struct nsm_udp *u);

/*
 * The reply to a datagram, without a record mark; 0: none. to is its length at most.
 */
#define NSM_UDP_MAX 512u
size_t nsm_udp_answer(const struct nfs_common *common, const struct nfs_address *from,
		      const struct nfs_local *at, bool portmap, const uint8_t *datagram, size_t len,
		      uint8_t to[NSM_UDP_MAX]);

#endif
