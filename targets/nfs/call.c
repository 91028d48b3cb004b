#include "targets/nfs/program.h"

#include "common/log.h"

static const struct nfs_version *const nfs_versions[] = {&nfs3_version, &nfs4_version};
static const struct nfs_version *const mount_versions[] = {&nfs_mount3_version};
static const struct nfs_version *const nlm_versions[] = {&nfs_nlm4_version};
static const struct nfs_version *const nsm_versions[] = {&nfs_nsm1_version};

static const struct nfs_version *const portmap_versions[] = {
    &nfs_portmap2_version, &nfs_rpcbind3_version, &nfs_rpcbind4_version};

static const struct nfs_program programs[] = {
    {NFS3_PROG, VS_ARRAY_LEN(nfs_versions), nfs_versions},
    {NFS_MOUNT_PROG, VS_ARRAY_LEN(mount_versions), mount_versions},
    {NFS_NLM_PROG, VS_ARRAY_LEN(nlm_versions), nlm_versions},
    {NFS_NSM_PROG, VS_ARRAY_LEN(nsm_versions), nsm_versions},
    {NFS_PORTMAP_PROG, VS_ARRAY_LEN(portmap_versions), portmap_versions},
};

const struct nfs_program *nfs_program_at(size_t i)
{
	return i < VS_ARRAY_LEN(programs) ? &programs[i] : NULL;
}

struct nfs_call *nfs_call_take(struct nfs_conn *c)
{
	struct nfs_call *call = c->free_calls;

	if (call)
		c->free_calls = call->next;
	else if (c->fresh < NFS_CALLS)
		call = &c->calls[c->fresh++];
	else
		return NULL;
	call->conn = c;
	call->served = NULL;
	call->once = NULL;
	call->record = call->head;
	call->record_len = 0;
	call->record_room = NFS_HEAD_BYTES;
	call->mem.arena = call->data.arena = NULL;
	call->data.p = NULL;
	call->data_len = 0;
	return call;
}

static void give_memory(struct nfs_mem *m)
{
	if (m->arena)
		vs_arena_give(m->arena, m->p, m->len);
	m->arena = NULL;
}

void nfs_call_give(struct nfs_call *call)
{
	struct nfs_conn *c = call->conn;

	give_memory(&call->mem);
	give_memory(&call->data);
	call->next = c->free_calls;
	c->free_calls = call;
}

/* Its own first: while that is in use, something comes back that lets it go on. */
bool nfs_call_memory(struct nfs_call *call, struct nfs_mem *m, size_t len)
{
	struct vs_arena *own = &call->conn->arena, *shared = &call->conn->worker->shared;

	m->len = len;
	m->p = vs_arena_take(own, len);
	m->arena = own;
	if (m->p)
		return true;
	m->p = vs_arena_take(shared, len);
	m->arena = m->p ? shared : NULL;
	return m->p;
}

struct nfs_enc nfs_call_reply(struct nfs_call *call, enum nfs_rpc_accept stat)
{
	struct nfs_enc e = {call->reply, call->reply + sizeof(call->reply), false};

	nfs_rpc_accepted(&e, call->rpc.xid, stat);
	return e;
}

void nfs_call_answer(struct nfs_call *call, const struct nfs_enc *e)
{
	uint32_t data = call->data_len + NFS_XDR_PAD(call->data_len);

	VS_ASSERT(!e->bad);
	call->reply_len = (uint32_t)(e->p - call->reply);
	nfs_rpc_mark(call->reply, call->reply_len - NFS_RPC_MARK_BYTES + data);
	/* Also when the client is gone: it will ask again on another connection. */
	nfs_drc_done(call->conn->worker->common->drc, call->once, call->reply, call->reply_len);
	nfs_conn_send(call->conn, call);
}

static void refuse(struct nfs_call *call, enum nfs_rpc_accept stat)
{
	struct nfs_enc e = nfs_call_reply(call, stat);

	nfs_call_answer(call, &e);
}

/* The version that is asked for; NULL: the call was answered with what is wrong. */
static const struct nfs_version *find_version(struct nfs_call *call)
{
	const struct nfs_program *p = NULL;
	struct nfs_enc e = {call->reply, call->reply + sizeof(call->reply), false};

	for (size_t i = 0; i < VS_ARRAY_LEN(programs); i++)
		if (programs[i].number == call->rpc.prog &&
		    (programs[i].number == NFS_PORTMAP_PROG) == call->conn->portmap)
			p = &programs[i];
	if (!p) {
		refuse(call, NFS_RPC_PROG_UNAVAIL);
		return NULL;
	}
	for (uint32_t i = 0; i < p->nversions; i++)
		if (p->versions[i]->version == call->rpc.vers)
			return p->versions[i];
	nfs_rpc_prog_mismatch(&e, call->rpc.xid, p->versions[0]->version,
			      p->versions[p->nversions - 1]->version);
	nfs_call_answer(call, &e);
	return NULL;
}

static void repeated(struct nfs_call *call)
{
	memcpy(call->reply, call->wait.reply, call->wait.len);
	call->reply_len = call->wait.len;
	nfs_conn_send(call->conn, call);
}

static void woken(struct vs_post *post)
{
	struct nfs_call *call = post->arg;

	call->conn->inflight--;
	nfs_conn_dirty(call->conn);
	repeated(call);
}

/* Whether the call is to be carried out: it is not one that was sent before. */
static bool first_time(struct nfs_call *call)
{
	struct nfs_conn *c = call->conn;

	call->wait.loop = c->worker->loop;
	call->wait.woken = (struct vs_post){.call = woken, .arg = call};
	c->inflight++; /* before another thread may wake it */
	switch (nfs_drc_begin(c->worker->common->drc, &c->address, call->rpc.xid, call->record,
			      call->record_len, &call->wait, &call->once)) {
	case NFS_DRC_WAIT:
		return false;
	case NFS_DRC_NEW:
		c->inflight--;
		return true;
	case NFS_DRC_SEEN:
		c->inflight--;
		repeated(call);
		return false;
	case NFS_DRC_DROP:
		c->inflight--;
		nfs_call_give(call);
		return false;
	}
	return false;
}

static bool carry_out(struct nfs_call *call, struct nfs_dec *d)
{
	const struct nfs_version *v = find_version(call);
	const struct nfs_procedure *p;

	if (!v)
		return true;
	if (call->rpc.proc >= v->nprocedures || !v->procedures[call->rpc.proc].decode) {
		refuse(call, NFS_RPC_PROC_UNAVAIL);
		return true;
	}
	p = &v->procedures[call->rpc.proc];
	if (!p->decode(call, d)) {
		refuse(call, NFS_RPC_GARBAGE_ARGS);
		return true;
	}
	if (!p->once)
		return p->start(call);
	/* Such a procedure needs no memory: it could not be begun a second time. */
	if (first_time(call)) {
		bool started = p->start(call);

		VS_ASSERT(started);
	}
	return true;
}

bool nfs_call_start(struct nfs_call *call)
{
	struct nfs_dec d = {call->record, call->record + call->record_len, false};
	struct nfs_enc e = {call->reply, call->reply + sizeof(call->reply), false};
	struct nfs_conn *c = call->conn;
	enum nfs_rpc_auth why;

	switch (nfs_rpc_decode(&d, &call->rpc, &why)) {
	case NFS_RPC_CALL:
		return carry_out(call, &d);
	case NFS_RPC_MISMATCH:
		nfs_rpc_mismatch(&e, call->rpc.xid);
		break;
	case NFS_RPC_DENIED:
		nfs_rpc_denied(&e, call->rpc.xid, why);
		break;
	case NFS_RPC_BAD:
		vs_debug("nfs: %s was disconnected: it sent what is no RPC call", c->peer);
		nfs_call_give(call);
		nfs_conn_kill(c);
		return true;
	}
	nfs_call_answer(call, &e);
	return true;
}

static void request_done(struct ds_req *req)
{
	struct nfs_call *call = req->arg;
	struct nfs_served *s = call->served;
	struct nfs_conn *c = call->conn;

	c->inflight--;
	nfs_conn_dirty(c);
	if (--s->inflight == 0 && s->leaving)
		c->worker->unused(c->worker);
	call->finish(call);
}

void nfs_call_submit(struct nfs_call *call, void (*finish)(struct nfs_call *call))
{
	call->finish = finish;
	call->req.done = request_done;
	call->req.arg = call;
	call->conn->inflight++;
	call->served->inflight++;
	ds_submit(call->served->client, &call->req);
}
