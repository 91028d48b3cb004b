/* READ, WRITE and COMMIT (RFC 8881 sections 18.22, 18.32, 18.3). */
#include "targets/nfs/nfs4.h"

/* stable_how4 */
enum { UNSTABLE4, DATA_SYNC4, FILE_SYNC4 };

#define READ_HEAD 8u /* eof, length */

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

uint32_t nfs4_read_room(const struct nfs4_args *a)
{
	uint32_t n = VS_MIN(a->count, NFS4_DATA_MAX);

	return n + NFS_XDR_PAD(n);
}

static bool is_open(struct nfs_call *call)
{
	struct nfs4_stateid id = of(call)->a.stateid;

	return nfs4_stateid_of(call, &id) == NFS4_ERR_NONE &&
	       nfs4_special(&id) == NFS4_STATEID_REAL;
}

/* The bytes are read to where they are sent from. */
int nfs4_read_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	uint64_t offset = VS_MIN(a->offset, DS_FILE_MAX);
	uint64_t length = VS_MIN(VS_MIN(a->count, NFS4_DATA_MAX), DS_FILE_MAX - offset);
	enum nfs4_status status = nfs4_use(call, a->stateid, NFS4_SHARE_READ);

	if (status)
		return status;
	call->iov = (struct iovec){of(call)->e.p + READ_HEAD, length};
	call->req.op = DS_READ;
	call->req.offset = offset;
	call->req.length = length;
	call->req.owner_may = is_open(call);
	return nfs4_submit(call);
}

int nfs4_read_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);
	struct nfs_enc *e = &of(call)->e;

	if (status)
		return status;
	nfs_enc_u32(e, call->req.eof);
	nfs_enc_u32(e, (uint32_t)call->req.count);
	nfs_enc_skip(e, (uint32_t)call->req.count);
	return NFS4_ERR_NONE;
}

int nfs4_write_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	uint32_t length = VS_MIN(a->data.len, NFS4_DATA_MAX);
	enum nfs4_status status = nfs4_use(call, a->stateid, NFS4_SHARE_WRITE);

	if (status)
		return status;
	if (!vs_range_ok(a->offset, length, DS_FILE_MAX))
		return NFS4_ERR_FBIG;
	call->iov = (struct iovec){(void *)(uintptr_t)a->data.p, length};
	call->req.op = DS_WRITE;
	call->req.offset = a->offset;
	call->req.length = length;
	call->req.stable = a->stable != UNSTABLE4;
	call->req.owner_may = is_open(call);
	return nfs4_submit(call);
}

static void put_verifier(struct nfs_call *call)
{
	nfs_enc_fixed(&of(call)->e, call->conn->worker->common->verifier, NFS4_VERIFIER_BYTES);
}

int nfs4_write_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status)
		return status;
	nfs_enc_u32(&of(call)->e, (uint32_t)call->req.count);
	nfs_enc_u32(&of(call)->e, call->req.stable ? FILE_SYNC4 : UNSTABLE4);
	put_verifier(call);
	return NFS4_ERR_NONE;
}

int nfs4_commit_start(struct nfs_call *call)
{
	call->req.op = DS_COMMIT;
	call->req.offset = of(call)->a.offset;
	call->req.length = of(call)->a.count;
	return nfs4_submit(call);
}

int nfs4_commit_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status == NFS4_ERR_NONE)
		put_verifier(call);
	return status;
}
