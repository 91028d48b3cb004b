/*
 * Locks of NFSv3: NLM version 4, and what its clients' NSM says. Procedures by message (NLM4_*_MSG,
 * _RES) are not there: clients that come by TCP have no need of them.
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

static void encode_test(struct nfs_call *call, enum nfs_nlm_status status,
			const struct nfs_nlm_holder *holder)
{
	struct nfs_enc e = {call->data.p, call->data.p + TEST_BYTES, false};

	nfs_nlm_test_encode(&e, call->args.nlm.cookie, status, holder);
	VS_ASSERT(!e.bad);
	call->data_len = (uint32_t)(e.p - call->data.p);
}

static void answer(struct nfs_call *call, enum nfs_nlm_status status,
		   const struct nfs_nlm_holder *holder)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	struct nfs_bytes cookie = call->args.nlm.cookie;

	if (call->rpc.proc == NFS_NLM_TEST)
		encode_test(call, status, holder);
	else if (call->rpc.proc == NFS_NLM_SHARE || call->rpc.proc == NFS_NLM_UNSHARE)
		nfs_nlm_share_encode(&e, cookie, status);
	else
		nfs_nlm_res_encode(&e, cookie, status);
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

/* ---- what is done to the table ---- */

static void kept(struct vs_post *post)
{
	struct nfs_call *call = post->arg;

	call->conn->inflight--;
	nfs_conn_dirty(call->conn);
	answer(call, call->args.nlm_status, NULL);
}

static void do_lock(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	bool wait;

	call->args.kept = (struct nfs4_waiter){.loop = call->conn->worker->loop,
					       .woken = {.call = kept, .arg = call}};
	call->conn->inflight++; /* before another thread may wake it */
	call->args.nlm_status = nfs_nlm_lock(state_of(call), q, call->rpc.proc == NFS_NLM_LOCK,
					     &call->args.kept, &wait);
	if (wait)
		return;
	call->conn->inflight--;
	answer(call, call->args.nlm_status, NULL);
}

static void do_test(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	struct nfs_nlm_denied denied;

	answer(call, nfs_nlm_test(state_of(call), q, &denied), &denied.holder);
}

static void do_unlock(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	answer(call, nfs_nlm_unlock(state_of(call), q), NULL);
}

static void do_cancel(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	answer(call, nfs_nlm_cancel(state_of(call), q), NULL);
}

static void do_share(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	answer(call, nfs_nlm_share(state_of(call), q), NULL);
}

static void do_unshare(struct nfs_call *call, struct nfs_nlm_ask *q)
{
	answer(call, nfs_nlm_unshare(state_of(call), q), NULL);
}

struct action {
	bool frees; /* whoever may not use the file any more may do it still */
	void (*run)(struct nfs_call *call, struct nfs_nlm_ask *q);
};

static const struct action actions[NFS_NLM_PROCS] = {
    [NFS_NLM_TEST] = {false, do_test},	  [NFS_NLM_LOCK] = {false, do_lock},
    [NFS_NLM_CANCEL] = {true, do_cancel}, [NFS_NLM_UNLOCK] = {true, do_unlock},
    [NFS_NLM_SHARE] = {false, do_share},  [NFS_NLM_UNSHARE] = {true, do_unshare},
    [NFS_NLM_NM_LOCK] = {false, do_lock},
};

static void carry_out(struct nfs_call *call)
{
	struct nfs_nlm_ask q = {
	    .from = call->conn->address,
	    .at = call->conn->local.address,
	    .args = &call->args.nlm,
	    .where = {call->served->store_id, call->req.file, call->served->store},
	};

	actions[call->rpc.proc].run(call, &q);
}

/* Who may neither read nor write a file, and does not own it, learns nothing of its locks. */
static bool may_lock(const struct nfs_call *call)
{
	const struct ds_req *r = &call->req;

	return actions[call->rpc.proc].frees || r->access || r->attr.uid == call->cred.uid;
}

static void finish(struct nfs_call *call)
{
	const struct ds_req *r = &call->req;
	enum nfs_nlm_status status = status_from(nfs3_status_from(r->status, r->why));

	/* What is locked once the share is being forgotten would never be. */
	if (status == NFS_NLM_OK && call->served->leaving)
		status = NFS_NLM_STALE_FH;
	if (status == NFS_NLM_OK && (r->attr.type != DS_REG || !may_lock(call)))
		status = NFS_NLM_FAILED;
	if (status)
		answer(call, status, NULL);
	else
		carry_out(call);
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
	if (call->rule->read_only && !actions[call->rpc.proc].frees &&
	    (a->exclusive || a->mode || a->access & NFS4_SHARE_WRITE))
		return NFS3_ERR_ROFS; /* who may only read keeps nobody from anything */
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

static bool start_free(struct nfs_call *call)
{
	/* What a client says of its state here is of no use: many say 0. */
	(void)nfs_nlm_free(state_of(call), &call->conn->address, call->args.nlm.name, 0);
	return answer_nothing(call);
}

static bool start_notify(struct nfs_call *call)
{
	const struct nfs_nlm_args *a = &call->args.nlm;

	nfs_nlm_restarted(state_of(call), &call->conn->address, a->name, a->state);
	return answer_nothing(call);
}

/* Nobody is monitored for others: whoever has locks here is, without asking. */
static bool start_stat(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_nsm_refused_encode(&e, state_of(call)->nsm_state);
	nfs_call_answer(call, &e);
	return true;
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
    [NFS_NLM_NULL] = {decode, answer_nothing, false}, [NFS_NLM_TEST] = {decode, start, false},
    [NFS_NLM_LOCK] = {decode, start, true},	      [NFS_NLM_CANCEL] = {decode, start, true},
    [NFS_NLM_UNLOCK] = {decode, start, true},	      [NFS_NLM_SHARE] = {decode, start, true},
    [NFS_NLM_UNSHARE] = {decode, start, true},	      [NFS_NLM_NM_LOCK] = {decode, start, true},
    [NFS_NLM_FREE_ALL] = {decode, start_free, true},
};

static const struct nfs_procedure nsm_procedures[NFS_NSM_PROCS] = {
    [NFS_NSM_NULL] = {decode_nsm, answer_nothing, false},
    [NFS_NSM_STAT] = {decode_nsm, start_stat, false},
    [NFS_NSM_NOTIFY] = {decode_nsm, start_notify, true},
};

const struct nfs_version nfs_nlm4_version = {NFS_NLM_VERSION, NFS_NLM_PROCS, procedures};
const struct nfs_version nfs_nsm1_version = {NFS_NSM_VERSION, NFS_NSM_PROCS, nsm_procedures};
