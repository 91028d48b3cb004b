/*
 * ONC RPC version 2 (RFC 5531): record marks, calls, replies, AUTH_SYS.
 *
 * Pure functions, any thread. What is decoded points into the input.
 */
#ifndef NFS_RPC_FORMAT_H
#define NFS_RPC_FORMAT_H

#include "common/err.h"
#include "targets/nfs/xdr_format.h"

#define NFS_RPC_MARK_BYTES 4
#define NFS_RPC_LAST UINT32_C(0x80000000) /* in a mark: the record's last fragment */
#define NFS_RPC_AUTH_MAX 400u		  /* bytes of a credential's or verifier's body */
#define NFS_RPC_GROUPS_MAX 16u		  /* of AUTH_SYS */
#define NFS_RPC_HEAD_MAX 40u		  /* bytes of a mark and any reply's header */

enum nfs_rpc_flavor { NFS_RPC_AUTH_NONE = 0, NFS_RPC_AUTH_SYS = 1 };

/* accept_stat, section 9 */
enum nfs_rpc_accept {
	NFS_RPC_SUCCESS,
	NFS_RPC_PROG_UNAVAIL,
	NFS_RPC_PROG_MISMATCH,
	NFS_RPC_PROC_UNAVAIL,
	NFS_RPC_GARBAGE_ARGS,
	NFS_RPC_SYSTEM_ERR,
};

/* auth_stat, section 9 */
enum nfs_rpc_auth {
	NFS_RPC_AUTH_OK = 0,
	NFS_RPC_AUTH_BADCRED = 1,
	NFS_RPC_AUTH_BADVERF = 3,
	NFS_RPC_AUTH_TOOWEAK = 5,
};

/* Who calls, by AUTH_SYS or AUTH_NONE. */
struct nfs_rpc_cred {
	uint32_t flavor;
	uint32_t uid, gid, ngroups;
	uint32_t group[NFS_RPC_GROUPS_MAX];
};

struct nfs_rpc_call {
	uint32_t xid, prog, vers, proc;
	struct nfs_rpc_cred cred;
};

enum nfs_rpc_verdict {
	NFS_RPC_CALL,	  /* arguments follow */
	NFS_RPC_BAD,	  /* no call, or none that could be answered */
	NFS_RPC_MISMATCH, /* another version of RPC */
	NFS_RPC_DENIED,	  /* *auth says why */
};

/* Decodes the header of a call; d stands at the arguments then. */
enum nfs_rpc_verdict nfs_rpc_decode(struct nfs_dec *d, struct nfs_rpc_call *call,
				    enum nfs_rpc_auth *auth);

/* The other side: a call by AUTH_NONE, without its mark, and the header of a reply to it. */
void nfs_rpc_call_encode(struct nfs_enc *e, const struct nfs_rpc_call *call);
/* False: another one's, or it says that the call failed. d stands at the results then. */
bool nfs_rpc_reply_decode(struct nfs_dec *d, uint32_t xid);

/*
 * Replies begin with room for the record mark, which nfs_rpc_mark fills at the end. AUTH_NONE is
 * the verifier of all of them.
 */
void nfs_rpc_accepted(struct nfs_enc *e, uint32_t xid, enum nfs_rpc_accept stat);
/* PROG_MISMATCH, and the versions that there are. */
void nfs_rpc_prog_mismatch(struct nfs_enc *e, uint32_t xid, uint32_t low, uint32_t high);
void nfs_rpc_mismatch(struct nfs_enc *e, uint32_t xid);
void nfs_rpc_denied(struct nfs_enc *e, uint32_t xid, enum nfs_rpc_auth why);
/* A record of one fragment: length counts what follows the mark. */
void nfs_rpc_mark(uint8_t to[NFS_RPC_MARK_BYTES], uint32_t length);

#endif
