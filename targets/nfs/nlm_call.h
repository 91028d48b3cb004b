/*
 * One call of a client's lock manager or status monitor over TCP: its port is asked of the port
 * mapper on its machine (RFC 1833), then it is called. On the loop's thread, which never waits; the
 * whole takes NFS_NLM_CALL_NS at most. IPv4 and IPv6.
 *
 * The structure and args are the caller's and stay until done is called, or nfs_nlm_call_drop.
 */
#ifndef NFS_NLM_CALL_H
#define NFS_NLM_CALL_H

#include "common/loop.h"
#include "targets/nfs/nlm_format.h"
#include "targets/nfs/rule.h"

#define NFS_NLM_CALL_NS (UINT64_C(5) * 1000000000)
#define NFS_NLM_CALL_OUT 2560u
#define NFS_NLM_CALL_IN 512u /* a port, or nlm4_res with a cookie of ours */

enum nfs_nlm_called {
	NFS_NLM_CALL_ANSWERED, /* d stands at the results */
	NFS_NLM_CALL_NOT_MADE, /* it was not carried out: nobody is there, or knows the procedure */
	NFS_NLM_CALL_SILENT,   /* it was sent; there was no answer */
};

struct nfs_nlm_call {
	/* The caller's */
	struct vs_loop *loop;
	struct nfs_address client, server; /* server: where it comes from, as the client expects */
	uint16_t portmapper;		   /* the port; 111 is usual */
	uint32_t prog, vers, proc;
	const uint8_t *args;
	uint32_t args_len;
	void (*done)(struct nfs_nlm_call *c, enum nfs_nlm_called how, struct nfs_dec *d);
	void *arg;
	/* Private */
	bool asking; /* for the port */
	bool sent;
	uint32_t xid;
	struct vs_watch watch; /* fd -1: no connection */
	struct vs_timer timer;
	uint32_t out_len, out_done, in_len;
	uint8_t out[NFS_NLM_CALL_OUT], in[NFS_NLM_CALL_IN];
};

/* done is always called later. */
void nfs_nlm_call_start(struct nfs_nlm_call *c);
/* Gives up: done is not called. */
void nfs_nlm_call_drop(struct nfs_nlm_call *c);

#endif
