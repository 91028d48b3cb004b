/*
 * OPEN (RFC 8881 section 18.16): the file is found or made, the datastore says whether the caller
 * may use it so, and then it is opened among all the others that have it open.
 */
#include "targets/nfs/nfs4.h"
#include "targets/nfs/nfs4_grace.h"

#define RESULT_LOCKTYPE_POSIX 4u
#define RESULT_PRESERVE_UNLINKED 8u

/* open_delegation_type4, why_no_delegation4 */
enum { DELEGATE_NONE = 0, DELEGATE_NONE_EXT = 3 };
enum { WND4_NOT_WANTED = 0, WND4_RESOURCE = 2, WND4_CANCELLED = 7 };

enum step { FIND, MAKE, JUDGE, CUT };

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

/* ---- the result ---- */

/* Delegations are never given; who asked is told so. */
static void put_delegation(struct nfs_call *call)
{
	struct nfs_enc *e = &of(call)->e;
	uint32_t want = of(call)->a.access & NFS4_WANT_MASK;

	if (!want) {
		nfs_enc_u32(e, DELEGATE_NONE);
		return;
	}
	nfs_enc_u32(e, DELEGATE_NONE_EXT);
	if (want == NFS4_WANT_NONE || want == NFS4_WANT_CANCEL) {
		nfs_enc_u32(e, want == NFS4_WANT_NONE ? WND4_NOT_WANTED : WND4_CANCELLED);
		return;
	}
	nfs_enc_u32(e, WND4_RESOURCE);
	nfs_enc_u32(e, 0); /* and it will not be told when there are some */
}

static int opened(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const uint32_t flags = RESULT_LOCKTYPE_POSIX | RESULT_PRESERVE_UNLINKED;

	nfs4_place_set(call, &v->where.store_id, v->where.file);
	nfs4_place_stateid(call, &v->opened);
	nfs4_stateid_encode(&v->e, &v->opened);
	nfs4_change_encode(&v->e, &v->before, &v->after);
	nfs_enc_u32(&v->e, flags);
	nfs4_bitmap_encode(&v->e, &v->set);
	put_delegation(call);
	return NFS4_ERR_NONE;
}

/* ---- the steps ---- */

/* UNCHECKED with a size, of a file that was there: it is cut after nobody objected to the open. */
static int cut(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);

	v->step = CUT;
	call->req.op = DS_SETATTR;
	call->req.file = v->where.file;
	call->req.set = v->wanted;
	call->req.set.what = DS_SET_SIZE;
	call->req.owner_may = v->created;
	call->req.guarded = false;
	return nfs4_submit(call);
}

static int admit(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_args *a = &v->a;
	enum nfs4_status status =
	    nfs4_share_open(nfs4_state_of(call), nfs4_client_of(call), &v->where, a->owner,
			    a->access & NFS4_SHARE_BOTH, a->deny, &v->opened, &v->had);

	if (status)
		return status;
	if (v->wanted.what & DS_SET_SIZE)
		return cut(call);
	return opened(call);
}

/* Only regular files are opened. */
static enum nfs4_status check_type(enum ds_type type)
{
	switch (type) {
	case DS_REG:
		return NFS4_ERR_NONE;
	case DS_DIR:
		return NFS4_ERR_ISDIR;
	case DS_LNK:
		return NFS4_ERR_SYMLINK;
	default:
		return NFS4_ERR_WRONG_TYPE;
	}
}

/* Whether this is a file that can be opened, and, if the caller has not just made it, may be. */
static int judge(struct nfs_call *call, const struct ds_attr *a)
{
	struct nfs4_compound *v = of(call);
	uint32_t access = v->a.access & NFS4_SHARE_BOTH, want = 0;
	enum nfs4_status status = check_type(a->type);

	if (status)
		return status;
	v->where = (struct nfs4_where){call->served->store_id, a->handle, call->served->store};
	if (v->created)
		return admit(call);
	if (access & NFS4_SHARE_READ)
		want |= DS_MAY_READ | DS_MAY_EXECUTE;
	if (access & NFS4_SHARE_WRITE || v->wanted.what & DS_SET_SIZE)
		want |= DS_MAY_MODIFY;
	v->step = JUDGE;
	call->req.op = DS_ACCESS;
	call->req.file = a->handle;
	call->req.access = want;
	return nfs4_submit(call);
}

static int judged(struct nfs_call *call)
{
	uint32_t may = call->req.access, access = of(call)->a.access;
	enum nfs4_status status = nfs4_answered(call);

	if (status == NFS4_ERR_NONE) /* with CLAIM_FH and CLAIM_PREVIOUS it was not known yet */
		status = check_type(call->req.attr.type);
	if (status)
		return status;
	/* What may be executed may be read: clients read programs to run them. */
	if (access & NFS4_SHARE_READ && !(may & (DS_MAY_READ | DS_MAY_EXECUTE)))
		return NFS4_ERR_ACCESS;
	if ((access & NFS4_SHARE_WRITE || of(call)->wanted.what & DS_SET_SIZE) &&
	    !(may & DS_MAY_MODIFY))
		return NFS4_ERR_ACCESS;
	return admit(call);
}

static int found(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status)
		return status;
	of(call)->before = of(call)->after = call->req.after;
	return judge(call, &call->req.attr);
}

static int made(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	enum nfs4_status status = nfs4_answered(call);

	if (status)
		return status;
	v->before = call->req.before;
	v->after = call->req.after;
	/* An EXCLUSIVE that is repeated finds what it has made. */
	v->created = call->req.created || v->a.how == DS_EXCLUSIVE;
	if (!v->created)
		v->wanted.what &= v->wanted.size ? 0 : DS_SET_SIZE;
	v->set = nfs4_attrs_set_mask(v->wanted.what);
	if (v->created && !v->wanted.size)
		v->wanted.what &= ~DS_SET_SIZE;
	return judge(call, &call->req.attr);
}

int nfs4_open_finish(struct nfs_call *call)
{
	static int (*const steps[])(struct nfs_call *
				    call) = {[FIND] = found, [MAKE] = made, [JUDGE] = judged};
	enum nfs4_status status;

	if (of(call)->step != CUT)
		return steps[of(call)->step](call);
	status = nfs4_answered(call);
	if (status == NFS4_ERR_NONE)
		return opened(call);
	nfs4_share_undo(nfs4_state_of(call), nfs4_client_of(call), &of(call)->opened,
			&of(call)->had);
	return status;
}

/* ---- what is asked for ---- */

static enum nfs4_status check(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	uint32_t access = a->access & NFS4_SHARE_BOTH;

	if (!access || a->access & ~NFS4_SHARE_FLAGS || a->deny > NFS4_SHARE_BOTH)
		return NFS4_ERR_INVAL;
	if (a->claim == NFS4_CLAIM_PREVIOUS ? a->create : a->create && a->claim != NFS4_CLAIM_NULL)
		return NFS4_ERR_INVAL;
	if (a->claim != NFS4_CLAIM_NULL && a->claim != NFS4_CLAIM_FH &&
	    a->claim != NFS4_CLAIM_PREVIOUS)
		return NFS4_ERR_RECLAIM_BAD; /* of delegations, which are never given */
	if (call->rule && call->rule->read_only && (access & NFS4_SHARE_WRITE || a->create))
		return NFS4_ERR_ROFS;
	return nfs4_may_claim(nfs4_state_of(call), nfs4_client_of(call),
			      a->claim == NFS4_CLAIM_PREVIOUS);
}

static int make(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	enum nfs4_status status = nfs4_attrs_set_decode(&v->a.attrs, v->minor >= 2, &v->wanted);

	if (status)
		return status;
	v->step = MAKE;
	call->req.op = DS_CREATE;
	call->req.type = DS_REG;
	call->req.how = v->a.how;
	call->req.verifier = v->a.verifier;
	call->req.set = v->wanted;
	call->req.set.what &= ~DS_SET_SIZE;
	return nfs4_submit(call);
}

int nfs4_open_start(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	enum nfs4_status status = check(call);

	if (status)
		return status;
	v->before.type = v->after.type = DS_NONE;
	v->created = false;
	v->wanted.what = 0;
	v->set = (struct nfs4_bitmap){{0}, false};
	if (v->a.claim != NFS4_CLAIM_NULL) {
		if (!call->served)
			return NFS4_ERR_ISDIR;
		return judge(call, &(struct ds_attr){.type = DS_REG, .handle = call->req.file});
	}
	status = nfs4_name(call);
	if (status)
		return status;
	if (!call->served) /* all that is here are directories, and none is made */
		return v->a.create ? NFS4_ERR_ROFS : NFS4_ERR_ISDIR;
	if (v->a.create)
		return make(call);
	v->step = FIND;
	call->req.op = DS_LOOKUP;
	return nfs4_submit(call);
}
