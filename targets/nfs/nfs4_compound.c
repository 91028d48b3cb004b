#include "targets/nfs/nfs4.h"

#define HEAD_BYTES 12u /* of a compound's results: status, length of the tag, number */
#define OP_BYTES 8u    /* of each result: number and status */
#define RPC_BYTES 24u  /* in front, which limits of sessions count */
/* With a long record in it, a connection's memory has room for this beside. */
#define ROOM_BESIDE_RECORD (96u << 10)
#define ROOM_MAX (NFS_RECORD_MAX - RPC_BYTES)

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

struct nfs4_client *nfs4_client_of(const struct nfs_call *call)
{
	return call->args.v4.ref.session->client;
}

static bool served_minor(uint32_t minor)
{
	return minor >= NFS4_MINOR_FIRST && minor <= NFS4_MINOR_LAST;
}

/* Whether the minor version has an operation of that number. */
static bool is_legal(const struct nfs4_compound *v, uint32_t op)
{
	return op >= NFS4_OP_ACCESS && op < (v->minor >= 2 ? NFS4_OPS : NFS4_OP_ALLOCATE);
}

static uint32_t room_for(uint32_t op, const struct nfs4_args *a)
{
	const struct nfs4_operation *o = &nfs4_operations[op];

	return OP_BYTES + o->room + (o->more_room ? o->more_room(a) : 0);
}

/* ---- one operation ---- */

int nfs4_submit(struct nfs_call *call)
{
	nfs_call_submit(call, nfs4_go_on);
	return NFS4_PENDING;
}

/* Whether the result surely fits into the reply and what the session allows. */
static enum nfs4_status check_room(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_session *x = v->ref.session;
	uint32_t room = room_for(v->op, &v->a) - OP_BYTES;
	uint32_t total = (uint32_t)(v->e.p - call->data.p) + room;

	if (v->e.bad || room > (size_t)(v->e.end - v->e.p) ||
	    (x && total + RPC_BYTES > x->fore.max_reply))
		return NFS4_ERR_REP_TOO_BIG;
	if (x && v->ref.cache && total + RPC_BYTES > x->fore.max_cached && v->nops > 1)
		return NFS4_ERR_REP_TOO_BIG_TO_CACHE;
	return NFS4_ERR_NONE;
}

/* Section 2.10.2: what may come first, and what only first. */
static enum nfs4_status check_order(const struct nfs4_compound *v)
{
	bool alone = nfs4_operations[v->op].flags & NFS4_ALONE;

	if (v->op == NFS4_OP_SEQUENCE)
		return v->done ? NFS4_ERR_SEQUENCE_POS : NFS4_ERR_NONE;
	if (v->ref.session)
		return NFS4_ERR_NONE;
	if (!alone || v->done)
		return NFS4_ERR_OP_NOT_IN_SESSION;
	return v->nops > 1 ? NFS4_ERR_NOT_ONLY_OP : NFS4_ERR_NONE;
}

static int start_op(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_operation *o = &nfs4_operations[v->op];
	enum nfs4_status status = check_order(v);

	if (v->uncached)
		return NFS4_ERR_RETRY_UNCACHED_REP;
	if (status)
		return status;
	if (!o->start)
		return NFS4_ERR_NOTSUPP;
	if (!nfs4_args_decode(v->op, &v->d, &v->a))
		return NFS4_ERR_BADXDR;
	status = check_room(call);
	if (status)
		return status;
	if (o->flags & NFS4_NEEDS_FH) {
		if (!v->cur.fh.set || (o->flags & NFS4_NEEDS_SAVED && !v->saved.fh.set))
			return NFS4_ERR_NOFILEHANDLE;
		status = nfs4_is_pseudo(&v->cur.fh) ? o->pseudo : NFS4_ERR_NONE;
		if (status == NFS4_ERR_NONE)
			status = nfs4_resolve(call, &v->cur.fh);
		if (status == NFS4_ERR_NONE && o->flags & NFS4_CHANGES && call->rule &&
		    call->rule->read_only)
			status = NFS4_ERR_ROFS;
		if (status)
			return status;
	}
	v->step = 0;
	return o->start(call);
}

static int begin_op(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	uint32_t op = nfs_dec_u32(&v->d);
	bool legal = !v->d.bad && is_legal(v, op);

	v->op = legal ? op : 0;
	v->keep = false;
	nfs_enc_u32(&v->e, legal ? op : NFS4_OP_ILLEGAL);
	nfs_enc_u32(&v->e, 0);
	v->body = v->e.p;
	if (v->d.bad)
		return NFS4_ERR_BADXDR;
	return legal ? start_op(call) : (int)NFS4_ERR_OP_ILLEGAL;
}

/* The operation is answered; whether there is another one to begin. */
static bool end_op(struct nfs_call *call, enum nfs4_status status)
{
	struct nfs4_compound *v = of(call);

	if (v->replayed)
		return false;
	VS_ASSERT(!v->e.bad);
	if (status && !v->keep)
		v->e.p = v->body;
	vs_put_be32(v->body - 4, status);
	v->done++;
	vs_put_be32(call->data.p, status);
	vs_put_be32(v->count, v->done);
	return status == NFS4_ERR_NONE && v->done < v->nops;
}

/* ---- the compound ---- */

static void answer(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	call->data_len = (uint32_t)(v->e.p - call->data.p);
	/* Before it is sent: the client may use the slot again as soon as it has the reply. */
	nfs4_session_done(nfs4_state_of(call), &v->ref, call->data.p, call->data_len);
	nfs_call_answer(call, &e);
}

static void go_on(struct nfs_call *call, int status)
{
	while (status != NFS4_PENDING) {
		if (!end_op(call, (enum nfs4_status)status)) {
			answer(call);
			return;
		}
		status = begin_op(call);
	}
}

void nfs4_go_on(struct nfs_call *call)
{
	go_on(call, nfs4_operations[of(call)->op].finish(call));
}

/* Bytes that the results take at most. */
static uint32_t room_for_all(struct nfs4_compound *v)
{
	uint32_t room = HEAD_BYTES + v->tag.len + NFS_XDR_PAD(v->tag.len) + NFS4_CACHED_MAX;
	struct nfs_dec d = v->d;

	for (uint32_t i = 0; i < v->nops && room < ROOM_MAX; i++) {
		uint32_t op = nfs_dec_u32(&d);

		if (d.bad || !is_legal(v, op) || !nfs4_operations[op].start ||
		    !nfs4_args_decode(op, &d, &v->a))
			break;
		room += room_for(op, &v->a);
	}
	return VS_MIN(room, ROOM_MAX);
}

static bool decode(struct nfs_call *call, struct nfs_dec *d)
{
	struct nfs4_compound *v = of(call);

	memset(v, 0, sizeof(*v));
	v->tag = nfs_dec_bytes(d, NFS4_TAG_MAX);
	v->minor = nfs_dec_u32(d);
	v->nops = nfs_dec_u32(d);
	v->d = *d;
	return !d->bad;
}

static bool start(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	uint32_t room = served_minor(v->minor) ? room_for_all(v) : NFS4_CACHED_MAX;

	if (call->mem.arena)
		room = VS_MIN(room, ROOM_BESIDE_RECORD);
	if (!nfs_call_memory(call, &call->data, room))
		return false;
	v->e = (struct nfs_enc){call->data.p, call->data.p + room, false};
	nfs_enc_u32(&v->e, NFS4_ERR_NONE);
	nfs_enc_bytes(&v->e, v->tag.p, v->tag.len);
	v->count = v->e.p;
	nfs_enc_u32(&v->e, 0);
	if (!served_minor(v->minor))
		vs_put_be32(call->data.p, NFS4_ERR_MINOR_VERS_MISMATCH);
	if (!v->nops || !served_minor(v->minor))
		answer(call);
	else
		go_on(call, begin_op(call));
	return true;
}

static bool decode_null(struct nfs_call *call, struct nfs_dec *d)
{
	(void)call;
	return nfs_dec_ok(d);
}

static bool start_null(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_call_answer(call, &e);
	return true;
}

static const struct nfs_procedure procedures[] = {
    {decode_null, start_null, false},
    {decode, start, false},
};

const struct nfs_version nfs4_version = {NFS4_VERSION, VS_ARRAY_LEN(procedures), procedures};
