#include "targets/nfs/nlm_format.h"

#define STAT_FAIL 1u   /* NSM */
#define DENY_LAST 3u   /* fsm_DRW */
#define ACCESS_LAST 3u /* fsa_RW */

static struct nfs_bytes decode_netobj(struct nfs_dec *d)
{
	return nfs_dec_bytes(d, NFS_NLM_NETOBJ_MAX);
}

static struct nfs_bytes decode_name(struct nfs_dec *d)
{
	return nfs_dec_bytes(d, NFS_NLM_NAME_MAX);
}

/* What nlm4_lock and nlm4_share begin with. */
static void decode_who(struct nfs_dec *d, struct nfs_nlm_lock *l)
{
	l->caller = decode_name(d);
	l->file = nfs_dec_bytes(d, NFS_HANDLE_MAX);
	l->owner = decode_netobj(d);
}

static void decode_lock(struct nfs_dec *d, struct nfs_nlm_lock *l)
{
	decode_who(d, l);
	l->svid = nfs_dec_u32(d);
	l->offset = nfs_dec_u64(d);
	l->length = nfs_dec_u64(d);
}

static void args_none(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	(void)d;
	(void)a;
}

/* TEST, GRANTED */
static void args_test(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	a->cookie = decode_netobj(d);
	a->exclusive = nfs_dec_bool(d);
	decode_lock(d, &a->lock);
}

static void args_cancel(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	a->cookie = decode_netobj(d);
	a->block = nfs_dec_bool(d);
	a->exclusive = nfs_dec_bool(d);
	decode_lock(d, &a->lock);
}

/* LOCK, NM_LOCK */
static void args_lock(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	args_cancel(d, a);
	a->reclaim = nfs_dec_bool(d);
	a->state = nfs_dec_u32(d);
}

static void args_unlock(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	a->cookie = decode_netobj(d);
	decode_lock(d, &a->lock);
}

/* SHARE, UNSHARE */
static void args_share(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	a->cookie = decode_netobj(d);
	decode_who(d, &a->lock);
	a->mode = nfs_dec_enum(d, DENY_LAST);
	a->access = nfs_dec_enum(d, ACCESS_LAST);
	a->reclaim = nfs_dec_bool(d);
}

/* FREE_ALL, and NSM's NOTIFY */
static void args_restarted(struct nfs_dec *d, struct nfs_nlm_args *a)
{
	a->name = decode_name(d);
	a->state = nfs_dec_u32(d);
}

bool nfs_nlm_args_decode(enum nfs_nlm_proc proc, struct nfs_dec *d, struct nfs_nlm_args *a)
{
	static void (*const decode[NFS_NLM_PROCS])(struct nfs_dec * d, struct nfs_nlm_args * a) = {
	    [NFS_NLM_NULL] = args_none,	    [NFS_NLM_TEST] = args_test,
	    [NFS_NLM_LOCK] = args_lock,	    [NFS_NLM_CANCEL] = args_cancel,
	    [NFS_NLM_UNLOCK] = args_unlock, [NFS_NLM_GRANTED] = args_test,
	    [NFS_NLM_SHARE] = args_share,   [NFS_NLM_UNSHARE] = args_share,
	    [NFS_NLM_NM_LOCK] = args_lock,  [NFS_NLM_FREE_ALL] = args_restarted,
	};

	if ((unsigned)proc >= NFS_NLM_PROCS || !decode[proc])
		return false;
	decode[proc](d, a);
	return nfs_dec_ok(d);
}

bool nfs_nsm_args_decode(enum nfs_nsm_proc proc, struct nfs_dec *d, struct nfs_nlm_args *a)
{
	if (proc == NFS_NSM_STAT)
		a->name = decode_name(d);
	else if (proc == NFS_NSM_NOTIFY)
		args_restarted(d, a);
	else if (proc != NFS_NSM_NULL)
		return false;
	return nfs_dec_ok(d);
}

enum nfs_nlm_status nfs_nlm_range(const struct nfs_nlm_lock *l, uint64_t *first, uint64_t *last)
{
	*first = l->offset;
	*last = UINT64_MAX;
	if (l->length && __builtin_add_overflow(l->offset, l->length - 1, last))
		return NFS_NLM_FBIG;
	return NFS_NLM_OK;
}

void nfs_nlm_res_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status)
{
	nfs_enc_bytes(e, cookie.p, cookie.len);
	nfs_enc_u32(e, status);
}

void nfs_nlm_test_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status,
			 const struct nfs_nlm_holder *h)
{
	nfs_nlm_res_encode(e, cookie, status);
	if (status != NFS_NLM_DENIED)
		return;
	nfs_enc_u32(e, h->exclusive);
	nfs_enc_u32(e, h->svid);
	nfs_enc_bytes(e, h->owner.p, h->owner.len);
	nfs_enc_u64(e, h->first);
	nfs_enc_u64(e, h->last == UINT64_MAX ? 0 : h->last - h->first + 1);
}

void nfs_nlm_share_encode(struct nfs_enc *e, struct nfs_bytes cookie, enum nfs_nlm_status status)
{
	nfs_nlm_res_encode(e, cookie, status);
	nfs_enc_u32(e, 0); /* sequence, of which the specification makes no use */
}

void nfs_nlm_granted_encode(struct nfs_enc *e, const struct nfs_nlm_args *a)
{
	const struct nfs_nlm_lock *l = &a->lock;

	nfs_enc_bytes(e, a->cookie.p, a->cookie.len);
	nfs_enc_u32(e, a->exclusive);
	nfs_enc_bytes(e, l->caller.p, l->caller.len);
	nfs_enc_bytes(e, l->file.p, l->file.len);
	nfs_enc_bytes(e, l->owner.p, l->owner.len);
	nfs_enc_u32(e, l->svid);
	nfs_enc_u64(e, l->offset);
	nfs_enc_u64(e, l->length);
}

bool nfs_nlm_granted_decode(struct nfs_dec *d, struct nfs_bytes *cookie,
			    enum nfs_nlm_status *status)
{
	*cookie = decode_netobj(d);
	*status = nfs_dec_enum(d, NFS_NLM_FAILED);
	return nfs_dec_ok(d);
}

void nfs_nsm_refused_encode(struct nfs_enc *e, uint32_t state)
{
	nfs_enc_u32(e, STAT_FAIL);
	nfs_enc_u32(e, state);
}

void nfs_nsm_notify_encode(struct nfs_enc *e, struct nfs_bytes name, uint32_t state)
{
	nfs_enc_bytes(e, name.p, name.len);
	nfs_enc_u32(e, state);
}
