/*
 * Locks of NFSv3: NLM version 4, and what its clients' NSM says. A lock that would have to wait is
 * denied. Procedures by message (NLM4_*_MSG, _RES) are not there: clients that come by TCP have no
 * need of them.
 */
#include "targets/nfs/nfs3.h"
#include "targets/nfs/nlm_lock.h"

/* NLM allows for more, but what is carried out once is answered from what the cache of duplicates
 * has room for. Clients use some ten bytes. */
#define COOKIE_MAX 256u
#define TEST_BYTES 2048u /* results of TEST: a cookie, an owner */

_Static_assert(NFS_REPLY_BYTES >= 64 + COOKIE_MAX, "a reply fits");
_Static_assert(TEST_BYTES >= 64 + COOKIE_MAX + NFS_NLM_NETOBJ_MAX, "results of TEST fit");

static struct nfs4_state *state_of(const struct nfs_call *call)
{
	return call->conn->worker->common->v4;
}

static bool answer_nothing(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_call_answer(call, &e);
	return true;
}

static void answer(struct nfs_call *call, enum nfs_nlm_status status,
		   const struct nfs_nlm_holder *holder)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	struct nfs_enc test = {call->data.p, call->data.p + TEST_BYTES, false};

	if (call->rpc.proc == NFS_NLM_TEST) {
		nfs_nlm_test_encode(&test, call->args.nlm.cookie, status, holder);
		VS_ASSERT(!test.bad);
		call->data_len = (uint32_t)(test.p - call->data.p);
	} else {
		nfs_nlm_res_encode(&e, call->args.nlm.cookie, status);
	}
	nfs_call_answer(call, &e);
}

static enum nfs_nlm_status status_from(enum nfs3_status status)
{
	switch (status) {
	case NFS3_ERR_NONE:
		return NFS_NLM_OK;
	case NFS3_ERR_STALE:
	case NFS3_ERR_BADHANDLE:
		return NFS_NLM_STALE_FH;
	case NFS3_ERR_ROFS:
		return NFS_NLM_ROFS;
	default:
		return NFS_NLM_FAILED;
	}
}

static void carry_out(struct nfs_call *call, const struct nfs4_where *w)
{
	const struct nfs_address *from = &call->conn->address;
	const struct nfs_nlm_args *a = &call->args.nlm;
	struct nfs4_state *s = state_of(call);
	struct nfs_nlm_denied denied;

	if (call->rpc.proc == NFS_NLM_TEST)
		answer(call, nfs_nlm_test(s, from, &a->lock, w, a->exclusive, &denied),
		       &denied.holder);
	else if (call->rpc.proc == NFS_NLM_UNLOCK)
		answer(call, nfs_nlm_unlock(s, from, &a->lock, w), NULL);
	else
		answer(call, nfs_nlm_lock(s, from, &a->lock, w, a->exclusive), NULL);
}

/* Who may neither read nor write a file, and does not own it, learns nothing of its locks. */
static bool may_lock(const struct nfs_call *call)
{
	const struct ds_req *r = &call->req;

	return call->rpc.proc == NFS_NLM_UNLOCK || r->access || r->attr.uid == call->cred.uid;
}

static void finish(struct nfs_call *call)
{
	const struct ds_req *r = &call->req;
	enum nfs_nlm_status status = status_from(nfs3_status_from(r->status, r->why));
	struct nfs4_where w = {call->served->store_id, r->file, call->served->store};

	/* What is locked once the share is being forgotten would never be. */
	if (status == NFS_NLM_OK && call->served->leaving)
		status = NFS_NLM_STALE_FH;
	if (status == NFS_NLM_OK && (r->attr.type != DS_REG || !may_lock(call)))
		status = NFS_NLM_FAILED;
	if (status)
		answer(call, status, NULL);
	else
		carry_out(call, &w);
}

static enum nfs3_status prepare(struct nfs_call *call)
{
	const struct nfs_nlm_args *a = &call->args.nlm;
	struct ds_req *r = &call->req;
	enum nfs3_status status;

	memset(r, 0, sizeof(*r));
	status = nfs3_resolve(call, a->lock.file, &call->served, &r->file);
	if (status)
		return status;
	if (a->exclusive && call->rule->read_only)
		return NFS3_ERR_ROFS;
	nfs_rule_squash(call->rule, &call->rpc.cred, &call->cred);
	r->op = DS_ACCESS;
	r->cred = &call->cred;
	r->access = DS_MAY_READ | DS_MAY_MODIFY;
	return NFS3_ERR_NONE;
}

static bool start(struct nfs_call *call)
{
	enum nfs3_status status;

	if (call->rpc.proc == NFS_NLM_TEST && !nfs_call_memory(call, &call->data, TEST_BYTES))
		return false;
	status = prepare(call);
	if (status)
		answer(call, status_from(status), NULL);
	else
		nfs_call_submit(call, finish);
	return true;
}

/* Nothing waits, so there is nothing to cancel: the lock was denied. */
static bool start_cancel(struct nfs_call *call)
{
	answer(call, NFS_NLM_DENIED, NULL);
	return true;
}

/* A client may call itself otherwise here than in its locks: then all of its address are meant. */
static bool start_free(struct nfs_call *call)
{
	const struct nfs_address *from = &call->conn->address;
	struct nfs_bytes name = call->args.nlm.name;

	if (!nfs_nlm_free(state_of(call), from, name) && name.len)
		(void)nfs_nlm_free(state_of(call), from, (struct nfs_bytes){NULL, 0});
	return answer_nothing(call);
}

static bool decode(struct nfs_call *call, struct nfs_dec *d)
{
	memset(&call->args.nlm, 0, sizeof(call->args.nlm));
	return nfs_nlm_args_decode(call->rpc.proc, d, &call->args.nlm) &&
	       call->args.nlm.cookie.len <= COOKIE_MAX;
}

static bool decode_nsm(struct nfs_call *call, struct nfs_dec *d)
{
	memset(&call->args.nlm, 0, sizeof(call->args.nlm));
	return nfs_nsm_args_decode(call->rpc.proc, d, &call->args.nlm);
}

static const struct nfs_procedure procedures[NFS_NLM_PROCS] = {
    [NFS_NLM_NULL] = {decode, answer_nothing, false},
    [NFS_NLM_TEST] = {decode, start, false},
    [NFS_NLM_LOCK] = {decode, start, true},
    [NFS_NLM_CANCEL] = {decode, start_cancel, false},
    [NFS_NLM_UNLOCK] = {decode, start, true},
    [NFS_NLM_NM_LOCK] = {decode, start, true},
    [NFS_NLM_FREE_ALL] = {decode, start_free, true},
};

static const struct nfs_procedure nsm_procedures[NFS_NSM_PROCS] = {
    [NFS_NSM_NULL] = {decode_nsm, answer_nothing, false},
    [NFS_NSM_NOTIFY] = {decode_nsm, start_free, true},
};

const struct nfs_version nfs_nlm4_version = {NFS_NLM_VERSION, NFS_NLM_PROCS, procedures};
const struct nfs_version nfs_nsm1_version = {NFS_NSM_VERSION, NFS_NSM_PROCS, nsm_procedures};
