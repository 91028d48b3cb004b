/* Operations on what clients hold: opens, byte-range locks, stateids (RFC 8881 section 18). */
#include "targets/nfs/nfs4.h"
#include "targets/nfs/nfs4_grace.h"

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

static int put_stateid(struct nfs_call *call, const struct nfs4_stateid *id)
{
	nfs4_place_stateid(call, id);
	nfs4_stateid_encode(&of(call)->e, id);
	return NFS4_ERR_NONE;
}

int nfs4_open_downgrade(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs4_stateid id = a->stateid;
	struct nfs4_where w = nfs4_where(call);
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	if (status == NFS4_ERR_NONE && (a->access & ~NFS4_SHARE_FLAGS || a->deny > NFS4_SHARE_BOTH))
		status = NFS4_ERR_INVAL;
	if (status == NFS4_ERR_NONE)
		status = nfs4_share_downgrade(nfs4_state_of(call), nfs4_client_of(call), &id, &w,
					      a->access & NFS4_SHARE_BOTH, a->deny);
	return status ? (int)status : put_stateid(call, &id);
}

int nfs4_close(struct nfs_call *call)
{
	/* What nobody may use (section 8.2.3). */
	static const struct nfs4_stateid closed = {.seqid = UINT32_MAX};
	struct nfs4_stateid id = of(call)->a.stateid;
	struct nfs4_where w = nfs4_where(call);
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	if (status == NFS4_ERR_NONE)
		status = nfs4_share_close(nfs4_state_of(call), nfs4_client_of(call), &id, &w);
	return status ? (int)status : put_stateid(call, &closed);
}

static int put_denied(struct nfs_call *call, const struct nfs4_denied *denied)
{
	struct nfs_enc *e = &of(call)->e;

	of(call)->keep = true;
	nfs_enc_u64(e, denied->offset);
	nfs_enc_u64(e, denied->length);
	nfs_enc_u32(e, denied->type);
	nfs_enc_u64(e, denied->clientid);
	nfs_enc_bytes(e, denied->owner, denied->owner_len);
	return NFS4_ERR_DENIED;
}

int nfs4_lock(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs4_state *s = nfs4_state_of(call);
	struct nfs4_client *c = nfs4_client_of(call);
	struct nfs4_stateid id = a->stateid;
	struct nfs4_where w = nfs4_where(call);
	struct nfs4_denied denied;
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	if (status == NFS4_ERR_NONE)
		status = nfs4_may_claim(s, c, a->reclaim);
	if (status)
		return status;
	status = nfs4_lock_set(s, c, a, &w, &id, &denied);
	if (status == NFS4_ERR_DENIED)
		return put_denied(call, &denied);
	return status ? (int)status : put_stateid(call, &id);
}

int nfs4_lockt(struct nfs_call *call)
{
	struct nfs4_state *s = nfs4_state_of(call);
	struct nfs4_client *c = nfs4_client_of(call);
	struct nfs4_where w = nfs4_where(call);
	struct nfs4_denied denied;
	enum nfs4_status status = nfs4_may_claim(s, c, false);

	if (status)
		return status;
	status = nfs4_lock_test(s, c, &of(call)->a, &w, &denied);
	return status == NFS4_ERR_DENIED ? put_denied(call, &denied) : (int)status;
}

int nfs4_locku(struct nfs_call *call)
{
	struct nfs4_stateid id = of(call)->a.stateid;
	struct nfs4_where w = nfs4_where(call);
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	if (status == NFS4_ERR_NONE)
		status = nfs4_lock_unset(nfs4_state_of(call), nfs4_client_of(call), &of(call)->a,
					 &w, &id);
	return status ? (int)status : put_stateid(call, &id);
}

int nfs4_free_stateid(struct nfs_call *call)
{
	struct nfs4_stateid id = of(call)->a.stateid;
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	return status ? status : nfs4_share_free(nfs4_state_of(call), nfs4_client_of(call), &id);
}

uint32_t nfs4_test_stateid_room(const struct nfs4_args *a)
{
	return a->ntested * 4;
}

int nfs4_test_stateid(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs_dec d = {a->tested, a->tested + a->ntested * (4 + NFS4_OTHER_BYTES), false};

	nfs_enc_u32(&of(call)->e, a->ntested);
	for (uint32_t i = 0; i < a->ntested; i++) {
		struct nfs4_stateid id = nfs4_stateid_decode(&d);

		nfs_enc_u32(&of(call)->e,
			    nfs4_share_test(nfs4_state_of(call), nfs4_client_of(call), &id));
	}
	return NFS4_ERR_NONE;
}
