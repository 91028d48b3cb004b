#include "targets/nfs/nfs4_format.h"

void nfs4_stateid_encode(struct nfs_enc *e, const struct nfs4_stateid *s)
{
	nfs_enc_u32(e, s->seqid);
	nfs_enc_fixed(e, s->other, NFS4_OTHER_BYTES);
}

void nfs4_bitmap_encode(struct nfs_enc *e, const struct nfs4_bitmap *b)
{
	uint32_t n = VS_ARRAY_LEN(b->w);

	while (n && !b->w[n - 1])
		n--;
	nfs_enc_u32(e, n);
	for (uint32_t i = 0; i < n; i++)
		nfs_enc_u32(e, b->w[i]);
}

void nfs4_channel_encode(struct nfs_enc *e, const struct nfs4_channel *c)
{
	nfs_enc_u32(e, c->pad);
	nfs_enc_u32(e, c->max_request);
	nfs_enc_u32(e, c->max_reply);
	nfs_enc_u32(e, c->max_cached);
	nfs_enc_u32(e, c->max_ops);
	nfs_enc_u32(e, c->slots);
	nfs_enc_u32(e, 0); /* nothing of RDMA */
}

void nfs4_change_encode(struct nfs_enc *e, const struct ds_attr *before,
			const struct ds_attr *after)
{
	bool known = before->type != DS_NONE && after->type != DS_NONE;

	nfs_enc_u32(e, known);
	nfs_enc_u64(e, known ? before->change : 0);
	nfs_enc_u64(e, known ? after->change : 0);
}

enum nfs4_status nfs4_status_from(int status, enum ds_status why)
{
	static const struct {
		int code;
		enum nfs4_status status;
	} codes[] = {
	    {0, NFS4_ERR_NONE},
	    {VS_E_NOENT, NFS4_ERR_NOENT},
	    {VS_E_EXIST, NFS4_ERR_EXIST},
	    {VS_E_ACCESS, NFS4_ERR_ACCESS},
	    {VS_E_ROFS, NFS4_ERR_ROFS},
	    {VS_E_NOSPC, NFS4_ERR_NOSPC},
	    {VS_E_LIMIT, NFS4_ERR_NOSPC},
	    {VS_E_STALE, NFS4_ERR_STALE},
	    {VS_E_RANGE, NFS4_ERR_FBIG},
	    {VS_E_TOOBIG, NFS4_ERR_FBIG},
	    {VS_E_NOTSUP, NFS4_ERR_NOTSUPP},
	    {VS_E_BUSY, NFS4_ERR_DELAY},
	    {VS_E_AGAIN, NFS4_ERR_DELAY},
	    {VS_E_NOMEM, NFS4_ERR_DELAY},
	};
	static const enum nfs4_status invalid[] = {
	    [DS_OK] = NFS4_ERR_INVAL,
	    [DS_NOT_DIR] = NFS4_ERR_NOTDIR,
	    [DS_IS_DIR] = NFS4_ERR_ISDIR,
	    [DS_NOT_EMPTY] = NFS4_ERR_NOTEMPTY,
	    [DS_NAME_TOO_LONG] = NFS4_ERR_NAMETOOLONG,
	    [DS_BAD_NAME] = NFS4_ERR_BADNAME,
	    [DS_BAD_COOKIE] = NFS4_ERR_BAD_COOKIE,
	    [DS_CROSSES] = NFS4_ERR_XDEV,
	    [DS_WRONG_TYPE] = NFS4_ERR_WRONG_TYPE,
	    [DS_NOT_SYNC] = NFS4_ERR_DELAY,
	    [DS_TOO_MANY_LINKS] = NFS4_ERR_MLINK,
	    [DS_NOT_OWNER] = NFS4_ERR_PERM,
	};

	if (status == VS_E_INVAL)
		return why < VS_ARRAY_LEN(invalid) ? invalid[why] : NFS4_ERR_INVAL;
	for (size_t i = 0; i < VS_ARRAY_LEN(codes); i++)
		if (codes[i].code == status)
			return codes[i].status;
	return NFS4_ERR_IO;
}
