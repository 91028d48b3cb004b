#include "targets/nfs/nfs3.h"

int nfs3_prepare_setattr(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;

	call->req.set = a->set;
	call->req.guarded = a->guarded;
	call->req.guard_ctime = a->guard_ctime;
	return NFS3_ERR_NONE;
}

int nfs3_prepare_access(struct nfs_call *call)
{
	uint32_t all = DS_MAY_READ | DS_MAY_LOOKUP | DS_MAY_EXECUTE;

	if (!call->rule->read_only)
		all |= DS_MAY_MODIFY | DS_MAY_EXTEND | DS_MAY_DELETE;
	call->req.access = call->args.v3.access & all;
	return NFS3_ERR_NONE;
}

int nfs3_prepare_readlink(struct nfs_call *call)
{
	if (!nfs_call_memory(call, &call->data, DS_LINK_MAX))
		return NFS3_NO_MEMORY;
	call->iov = (struct iovec){call->data.p, DS_LINK_MAX};
	call->req.length = DS_LINK_MAX;
	return NFS3_ERR_NONE;
}

int nfs3_prepare_read(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;
	uint64_t offset = VS_MIN(a->offset, DS_FILE_MAX);
	uint64_t length = VS_MIN(VS_MIN(a->count, NFS3_DATA_MAX), DS_FILE_MAX - offset);

	if (length && !nfs_call_memory(call, &call->data, length))
		return NFS3_NO_MEMORY;
	call->iov = (struct iovec){call->data.p, length};
	call->req.offset = offset;
	call->req.length = length;
	call->req.owner_may = true;
	return NFS3_ERR_NONE;
}

int nfs3_prepare_write(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;
	uint32_t length = VS_MIN(a->count, NFS3_DATA_MAX);

	if (a->count != a->data.len)
		return NFS3_ERR_INVAL;
	if (!vs_range_ok(a->offset, length, DS_FILE_MAX))
		return NFS3_ERR_FBIG;
	call->iov = (struct iovec){(void *)(uintptr_t)a->data.p, length};
	call->req.offset = a->offset;
	call->req.length = length;
	call->req.stable = a->stable != NFS3_UNSTABLE;
	call->req.owner_may = true;
	return NFS3_ERR_NONE;
}

int nfs3_prepare_commit(struct nfs_call *call)
{
	call->req.offset = call->args.v3.offset;
	call->req.length = call->args.v3.count;
	return NFS3_ERR_NONE;
}

void nfs3_encode_access(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_post_encode(e, &call->req.attr, call->fsid);
	nfs_enc_u32(e, call->req.access);
}

/* The bytes themselves are sent from where they were read to. */
static void encode_data(struct nfs_enc *e, struct nfs_call *call)
{
	call->data_len = (uint32_t)call->req.count;
	nfs_enc_u32(e, call->data_len);
}

void nfs3_encode_readlink(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_post_encode(e, &call->req.attr, call->fsid);
	encode_data(e, call);
}

void nfs3_encode_read(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_post_encode(e, &call->req.attr, call->fsid);
	nfs_enc_u32(e, (uint32_t)call->req.count);
	nfs_enc_u32(e, call->req.eof);
	encode_data(e, call);
}

void nfs3_encode_write(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_wcc_encode(e, &call->req.before, &call->req.after, call->fsid);
	nfs_enc_u32(e, (uint32_t)call->req.count);
	nfs_enc_u32(e, call->req.stable ? NFS3_FILE_SYNC : NFS3_UNSTABLE);
	nfs_enc_fixed(e, call->conn->worker->common->verifier, NFS3_VERIFIER_BYTES);
}

void nfs3_encode_commit(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_wcc_encode(e, &call->req.before, &call->req.after, call->fsid);
	nfs_enc_fixed(e, call->conn->worker->common->verifier, NFS3_VERIFIER_BYTES);
}
