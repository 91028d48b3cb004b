/* Operations of clients and sessions (RFC 8881 sections 18.33 to 18.37, 18.46, 18.50, 18.51). */
#include "targets/nfs/nfs4.h"
#include "targets/nfs/nfs4_grace.h"

#include <xxhash.h>

#define HASHED 1024u /* bytes of a request by which it is known again */

/* channel_dir_from_client4, channel_dir_from_server4 */
enum { CDFC4_FORE = 1, CDFC4_BACK = 2, CDFC4_FORE_OR_BOTH = 3, CDFC4_BACK_OR_BOTH = 7 };
enum { CDFS4_FORE = 1, CDFS4_BACK = 2 };

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

static struct nfs4_principal principal(const struct nfs_call *call)
{
	return (struct nfs4_principal){call->rpc.cred.flavor, call->rpc.cred.uid};
}

int nfs4_exchange_id(struct nfs_call *call)
{
	struct nfs4_state *s = nfs4_state_of(call);
	struct nfs_enc *e = &of(call)->e;
	struct nfs4_exchanged x;
	enum nfs4_status status;

	status = nfs4_client_exchange(s, &of(call)->a, principal(call), &x);
	if (status)
		return status;
	nfs_enc_u64(e, x.clientid);
	nfs_enc_u32(e, x.seqid);
	nfs_enc_u32(e, x.flags);
	nfs_enc_u32(e, 0); /* SP4_NONE */
	/* The same on all addresses: so clients may use several for one session. */
	nfs_enc_u64(e, 0);
	nfs_enc_bytes(e, s->server, sizeof(s->server));
	nfs_enc_bytes(e, s->server, sizeof(s->server));
	nfs_enc_u32(e, 0); /* no word about the implementation */
	return NFS4_ERR_NONE;
}

int nfs4_create_session(struct nfs_call *call)
{
	struct nfs_enc *e = &of(call)->e;
	struct nfs4_created c;
	enum nfs4_status status =
	    nfs4_session_create(nfs4_state_of(call), &of(call)->a, principal(call), &c);

	if (status)
		return status;
	nfs_enc_fixed(e, c.session, NFS4_SESSION_BYTES);
	nfs_enc_u32(e, c.seqid);
	nfs_enc_u32(e, c.flags);
	nfs4_channel_encode(e, &c.fore);
	nfs4_channel_encode(e, &c.back);
	return NFS4_ERR_NONE;
}

int nfs4_destroy_session(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_session *own = v->ref.session;

	/* Its own one only at the end (section 18.37.3). */
	if (own && memcmp(own->id, v->a.session, NFS4_SESSION_BYTES) == 0 && v->done + 1 < v->nops)
		return NFS4_ERR_NOT_ONLY_OP;
	return nfs4_session_destroy(nfs4_state_of(call), v->a.session, own);
}

int nfs4_destroy_clientid(struct nfs_call *call)
{
	return nfs4_client_destroy(nfs4_state_of(call), of(call)->a.clientid);
}

int nfs4_bind_conn_to_session(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs_enc *e = &of(call)->e;
	enum nfs4_status status = nfs4_session_bind(nfs4_state_of(call), a->session);

	if (status)
		return status;
	if (a->what != CDFC4_FORE && a->what != CDFC4_BACK && a->what != CDFC4_FORE_OR_BOTH &&
	    a->what != CDFC4_BACK_OR_BOTH)
		return NFS4_ERR_BADXDR;
	nfs_enc_fixed(e, a->session, NFS4_SESSION_BYTES);
	nfs_enc_u32(e, a->what == CDFC4_FORE || a->what == CDFC4_FORE_OR_BOTH ? CDFS4_FORE
									      : CDFS4_BACK);
	nfs_enc_u32(e, 0); /* no RDMA */
	return NFS4_ERR_NONE;
}

/* No callbacks are ever made: there is nothing to prepare for them. */
int nfs4_backchannel_ctl(struct nfs_call *call)
{
	(void)call;
	return NFS4_ERR_NONE;
}

/* ---- SEQUENCE ---- */

static void encode_sequence(struct nfs_call *call, const struct nfs4_sequenced *q)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs_enc *e = &of(call)->e;

	nfs_enc_fixed(e, a->session, NFS4_SESSION_BYTES);
	nfs_enc_u32(e, a->seqid);
	nfs_enc_u32(e, a->slot);
	nfs_enc_u32(e, q->highest);
	nfs_enc_u32(e, q->target);
	nfs_enc_u32(e, 0); /* sr_status_flags: all is well */
}

int nfs4_sequence(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	struct nfs4_sequenced q = {.status = NFS4_ERR_NONE};
	size_t left = nfs_dec_left(&v->d);
	/* Of what makes requests differ, not of all that a WRITE carries. */
	uint64_t hash = XXH3_64bits_withSeed(v->d.p, VS_MIN(left, HASHED), left);

	switch (nfs4_session_sequence(nfs4_state_of(call), &v->a, hash, v->nops, call->record_len,
				      &v->ref, &q)) {
	case NFS4_SEQ_ERROR:
		return q.status;
	case NFS4_SEQ_NEW:
		encode_sequence(call, &q);
		return NFS4_ERR_NONE;
	case NFS4_SEQ_REPLAY:
		break;
	}
	if (q.status) { /* what was answered is not known any more */
		encode_sequence(call, &q);
		v->uncached = true;
		return NFS4_ERR_NONE;
	}
	memcpy(call->data.p, q.reply, q.reply_len);
	v->e.p = call->data.p + q.reply_len;
	v->replayed = true;
	return NFS4_ERR_NONE;
}

/* ---- RECLAIM_COMPLETE, section 18.51 ---- */

static void kept(struct vs_post *post)
{
	struct nfs_call *call = post->arg;

	call->conn->inflight--;
	nfs_conn_dirty(call->conn);
	nfs4_go_on(call);
}

/* From here on the client may open files: it is remembered before it does. */
int nfs4_reclaim_complete_start(struct nfs_call *call)
{
	struct nfs4_state *s = nfs4_state_of(call);
	struct nfs4_waiter *w = &of(call)->waiter;
	bool wait = false;
	enum nfs4_status status;

	if (of(call)->a.one_fs)
		return of(call)->cur.fh.set ? NFS4_ERR_NONE : NFS4_ERR_NOFILEHANDLE;
	*w = (struct nfs4_waiter){.loop = call->conn->worker->loop,
				  .woken = {.call = kept, .arg = call}};
	call->conn->inflight++; /* before another thread may wake it */
	(void)pthread_mutex_lock(&s->lock);
	status = nfs4_reclaimed_locked(s, nfs4_client_of(call));
	if (status == NFS4_ERR_NONE) {
		nfs4_keep_changed_locked(s);
		wait = nfs4_keep_wait_locked(s, w);
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (wait)
		return NFS4_PENDING;
	call->conn->inflight--;
	return status;
}

int nfs4_reclaim_complete_finish(struct nfs_call *call)
{
	(void)call;
	return NFS4_ERR_NONE;
}
