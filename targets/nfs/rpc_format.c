#include "targets/nfs/rpc_format.h"

#define RPC_VERSION 2u
#define MACHINE_MAX 255u /* machinename of AUTH_SYS */

enum { CALL, REPLY };
enum { ACCEPTED, DENIED };
enum { REJECT_MISMATCH, REJECT_AUTH };

/* Appendix A. The name of the machine and the stamp say nothing that could be trusted. */
static bool decode_sys(struct nfs_bytes body, struct nfs_rpc_cred *cred)
{
	struct nfs_dec d = {body.p, body.p + body.len, false};

	(void)nfs_dec_u32(&d);
	(void)nfs_dec_bytes(&d, MACHINE_MAX);
	cred->uid = nfs_dec_u32(&d);
	cred->gid = nfs_dec_u32(&d);
	cred->ngroups = nfs_dec_enum(&d, NFS_RPC_GROUPS_MAX);
	for (uint32_t i = 0; i < cred->ngroups; i++)
		cred->group[i] = nfs_dec_u32(&d);
	return nfs_dec_ok(&d);
}

static enum nfs_rpc_auth decode_auth(struct nfs_dec *d, struct nfs_rpc_cred *cred)
{
	struct nfs_bytes body;

	cred->flavor = nfs_dec_u32(d);
	cred->ngroups = 0;
	body = nfs_dec_bytes(d, NFS_RPC_AUTH_MAX);
	if (d->bad)
		return NFS_RPC_AUTH_BADCRED;
	/* The verifier of these flavors is AUTH_NONE (section 8.2, appendix A). */
	(void)nfs_dec_u32(d);
	(void)nfs_dec_bytes(d, NFS_RPC_AUTH_MAX);
	if (d->bad)
		return NFS_RPC_AUTH_BADVERF;
	if (cred->flavor == NFS_RPC_AUTH_NONE)
		return NFS_RPC_AUTH_OK;
	if (cred->flavor != NFS_RPC_AUTH_SYS)
		return NFS_RPC_AUTH_TOOWEAK;
	return decode_sys(body, cred) ? NFS_RPC_AUTH_OK : NFS_RPC_AUTH_BADCRED;
}

enum nfs_rpc_verdict nfs_rpc_decode(struct nfs_dec *d, struct nfs_rpc_call *call,
				    enum nfs_rpc_auth *auth)
{
	uint32_t type, version;

	call->xid = nfs_dec_u32(d);
	type = nfs_dec_u32(d);
	version = nfs_dec_u32(d);
	if (d->bad || type != CALL)
		return NFS_RPC_BAD;
	if (version != RPC_VERSION)
		return NFS_RPC_MISMATCH;
	call->prog = nfs_dec_u32(d);
	call->vers = nfs_dec_u32(d);
	call->proc = nfs_dec_u32(d);
	*auth = decode_auth(d, &call->cred);
	return *auth ? NFS_RPC_DENIED : NFS_RPC_CALL;
}

static void reply(struct nfs_enc *e, uint32_t xid, uint32_t stat)
{
	nfs_enc_u32(e, 0); /* the mark */
	nfs_enc_u32(e, xid);
	nfs_enc_u32(e, REPLY);
	nfs_enc_u32(e, stat);
}

void nfs_rpc_accepted(struct nfs_enc *e, uint32_t xid, enum nfs_rpc_accept stat)
{
	reply(e, xid, ACCEPTED);
	nfs_enc_u32(e, NFS_RPC_AUTH_NONE);
	nfs_enc_u32(e, 0);
	nfs_enc_u32(e, stat);
}

void nfs_rpc_prog_mismatch(struct nfs_enc *e, uint32_t xid, uint32_t low, uint32_t high)
{
	nfs_rpc_accepted(e, xid, NFS_RPC_PROG_MISMATCH);
	nfs_enc_u32(e, low);
	nfs_enc_u32(e, high);
}

void nfs_rpc_mismatch(struct nfs_enc *e, uint32_t xid)
{
	reply(e, xid, DENIED);
	nfs_enc_u32(e, REJECT_MISMATCH);
	nfs_enc_u32(e, RPC_VERSION);
	nfs_enc_u32(e, RPC_VERSION);
}

void nfs_rpc_denied(struct nfs_enc *e, uint32_t xid, enum nfs_rpc_auth why)
{
	reply(e, xid, DENIED);
	nfs_enc_u32(e, REJECT_AUTH);
	nfs_enc_u32(e, why);
}

void nfs_rpc_mark(uint8_t to[NFS_RPC_MARK_BYTES], uint32_t length)
{
	vs_put_be32(to, NFS_RPC_LAST | length);
}

void nfs_rpc_call_encode(struct nfs_enc *e, const struct nfs_rpc_call *call)
{
	const uint32_t words[] = {call->xid,	     CALL,	 RPC_VERSION,	    call->prog,
				  call->vers,	     call->proc, NFS_RPC_AUTH_NONE, 0,
				  NFS_RPC_AUTH_NONE, 0};

	for (size_t i = 0; i < VS_ARRAY_LEN(words); i++)
		nfs_enc_u32(e, words[i]);
}

bool nfs_rpc_reply_decode(struct nfs_dec *d, uint32_t xid)
{
	bool ours = nfs_dec_u32(d) == xid;

	ours = nfs_dec_u32(d) == REPLY && ours;
	ours = nfs_dec_u32(d) == ACCEPTED && ours;
	(void)nfs_dec_u32(d);
	(void)nfs_dec_bytes(d, NFS_RPC_AUTH_MAX);
	return nfs_dec_u32(d) == NFS_RPC_SUCCESS && ours && !d->bad;
}
