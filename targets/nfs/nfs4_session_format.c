/* Arguments of the operations of clients and sessions (RFC 8881 sections 18.33 to 18.51). */
#include "targets/nfs/nfs4_format.h"

#define NS_PER_S 1000000000u
#define SECRETS_MAX 16u /* callback_sec_parms4 of one call */
#define GROUPS_MAX 16u

static void decode_fixed(struct nfs_dec *d, uint8_t *to, size_t n)
{
	const uint8_t *p = nfs_dec_take(d, n);

	if (p)
		memcpy(to, p, n);
}

static void decode_session(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_fixed(d, a->session, NFS4_SESSION_BYTES);
}

static void skip_groups(struct nfs_dec *d)
{
	uint32_t n = nfs_dec_enum(d, GROUPS_MAX);

	(void)nfs_dec_take(d, (size_t)n * 4);
}

/* callback_sec_parms4 */
static void skip_secrets(struct nfs_dec *d)
{
	uint32_t n = nfs_dec_enum(d, SECRETS_MAX);

	for (uint32_t i = 0; i < n && !d->bad; i++) {
		switch (nfs_dec_u32(d)) {
		case 0: /* AUTH_NONE */
			break;
		case 1: /* AUTH_SYS */
			(void)nfs_dec_u32(d);
			(void)nfs_dec_bytes(d, 255);
			(void)nfs_dec_take(d, 8);
			skip_groups(d);
			break;
		case 6: /* RPCSEC_GSS */
			(void)nfs_dec_u32(d);
			(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
			(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
			break;
		default:
			d->bad = true;
			break;
		}
	}
}

static void args_backchannel(struct nfs_dec *d, struct nfs4_args *a)
{
	(void)a;
	(void)nfs_dec_u32(d);
	skip_secrets(d);
}

static void args_bind_conn(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_session(d, a);
	a->what = nfs_dec_u32(d);
	(void)nfs_dec_bool(d); /* RDMA mode */
}

static void args_exchange_id(struct nfs_dec *d, struct nfs4_args *a)
{
	a->verifier = nfs_dec_u64(d);
	a->owner = nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
	a->flags = nfs_dec_u32(d);
	a->protect = nfs_dec_enum(d, 2);
	if (a->protect)
		return;
	if (nfs_dec_enum(d, 1)) { /* client_impl_id */
		(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
		(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
		(void)nfs_dec_u64(d);
		if (nfs_dec_u32(d) >= NS_PER_S)
			d->bad = true;
	}
}

static struct nfs4_channel decode_channel(struct nfs_dec *d)
{
	struct nfs4_channel c;

	c.pad = nfs_dec_u32(d);
	c.max_request = nfs_dec_u32(d);
	c.max_reply = nfs_dec_u32(d);
	c.max_cached = nfs_dec_u32(d);
	c.max_ops = nfs_dec_u32(d);
	c.slots = nfs_dec_u32(d);
	if (nfs_dec_enum(d, 1))
		(void)nfs_dec_u32(d); /* of RDMA */
	return c;
}

static void args_create_session(struct nfs_dec *d, struct nfs4_args *a)
{
	a->clientid = nfs_dec_u64(d);
	a->seqid = nfs_dec_u32(d);
	a->flags = nfs_dec_u32(d);
	a->fore = decode_channel(d);
	a->back = decode_channel(d);
	(void)nfs_dec_u32(d); /* program of callbacks */
	skip_secrets(d);
}

static void args_session(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_session(d, a);
}

static void args_what(struct nfs_dec *d, struct nfs4_args *a)
{
	a->what = nfs_dec_u32(d);
}

static void args_sequence(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_session(d, a);
	a->seqid = nfs_dec_u32(d);
	a->slot = nfs_dec_u32(d);
	a->highest_slot = nfs_dec_u32(d);
	a->cache = nfs_dec_bool(d);
}

static void args_test_stateid(struct nfs_dec *d, struct nfs4_args *a)
{
	a->ntested = nfs_dec_enum(d, NFS4_TESTED_MAX);
	a->tested = nfs_dec_take(d, (size_t)a->ntested * (4 + NFS4_OTHER_BYTES));
}

static void args_clientid(struct nfs_dec *d, struct nfs4_args *a)
{
	a->clientid = nfs_dec_u64(d);
}

static void args_reclaim(struct nfs_dec *d, struct nfs4_args *a)
{
	a->one_fs = nfs_dec_bool(d);
}

static void (*const decoders[NFS4_OPS])(struct nfs_dec *d, struct nfs4_args *a) = {
    [NFS4_OP_BACKCHANNEL_CTL] = args_backchannel, [NFS4_OP_BIND_CONN_TO_SESSION] = args_bind_conn,
    [NFS4_OP_EXCHANGE_ID] = args_exchange_id,	  [NFS4_OP_CREATE_SESSION] = args_create_session,
    [NFS4_OP_DESTROY_SESSION] = args_session,	  [NFS4_OP_SECINFO_NO_NAME] = args_what,
    [NFS4_OP_SEQUENCE] = args_sequence,		  [NFS4_OP_TEST_STATEID] = args_test_stateid,
    [NFS4_OP_DESTROY_CLIENTID] = args_clientid,	  [NFS4_OP_RECLAIM_COMPLETE] = args_reclaim,
};

void nfs4_session_args_decode(enum nfs4_op op, struct nfs_dec *d, struct nfs4_args *a)
{
	if (op < NFS4_OPS && decoders[op])
		decoders[op](d, a);
}
