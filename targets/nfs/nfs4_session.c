#include "targets/nfs/conn.h"
#include "targets/nfs/nfs4_state.h"

#include "common/secret.h"

#include <stdlib.h>

#define REQUEST_MIN 1024u /* smaller channels cannot carry a useful compound */

static struct nfs4_session **bucket(struct nfs4_state *s, const uint8_t *id)
{
	return &s->sessions[vs_get_be32(id) % NFS4_BUCKETS];
}

static struct nfs4_session *find_locked(struct nfs4_state *s, const uint8_t *id)
{
	struct nfs4_session *x = *bucket(s, id);

	while (x && memcmp(x->id, id, NFS4_SESSION_BYTES) != 0)
		x = x->next;
	return x;
}

static void unref_locked(struct nfs4_session *x)
{
	struct nfs4_client *c = x->client;

	if (--x->refs == 0 && x->gone) {
		for (unsigned i = 0; i < NFS4_SLOTS_MAX; i++)
			free(x->slot[i].reply);
		free(x);
	}
	nfs4_client_unref_locked(c);
}

static void ref_locked(struct nfs4_session *x)
{
	x->refs++;
	x->client->refs++;
}

void nfs4_session_drop_locked(struct nfs4_state *s, struct nfs4_session *x)
{
	struct nfs4_session **link = bucket(s, x->id);

	while (*link != x)
		link = &(*link)->next;
	*link = x->next;
	link = &x->client->sessions;
	while (*link != x)
		link = &(*link)->of_client;
	*link = x->of_client;
	x->client->nsessions--;
	s->nslots -= x->fore.slots;
	ref_locked(x);
	x->gone = true;
	unref_locked(x);
}

/* ---- CREATE_SESSION, section 18.36 ---- */

static void limit(const struct nfs4_state *s, struct nfs4_channel *c)
{
	uint32_t slots = s->nslots < NFS4_SLOTS_ALL / 2 ? NFS4_SLOTS_MAX : NFS4_SLOTS_FEW;

	c->pad = 0;
	c->max_request = VS_MIN(c->max_request, NFS_RECORD_MAX);
	c->max_reply = VS_MIN(c->max_reply, NFS_RECORD_MAX);
	c->max_cached = VS_MIN(c->max_cached, NFS4_CACHED_MAX);
	c->max_ops = VS_MIN(c->max_ops, NFS4_COMPOUND_MAX);
	c->slots = VS_MIN(c->slots, slots);
}

static enum nfs4_status make_locked(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_args *a, struct nfs4_created *out)
{
	struct nfs4_session *x;

	if (c->nsessions == NFS4_SESSIONS_MAX || s->nslots > NFS4_SLOTS_ALL - NFS4_SLOTS_MAX)
		return NFS4_ERR_DELAY;
	x = calloc(1, sizeof(*x));
	if (!x || vs_random(x->id + 8, 8)) {
		free(x);
		return NFS4_ERR_DELAY;
	}
	vs_put_be32(x->id, ++s->next_session);
	vs_put_be32(x->id + 4, (uint32_t)c->id);
	x->client = c;
	x->fore = a->fore;
	limit(s, &x->fore);
	s->nslots += x->fore.slots;
	x->next = *bucket(s, x->id);
	*bucket(s, x->id) = x;
	x->of_client = c->sessions;
	c->sessions = x;
	c->nsessions++;
	memcpy(out->session, x->id, NFS4_SESSION_BYTES);
	out->seqid = a->seqid;
	out->flags = 0; /* no callbacks are made, and nothing is kept on disk */
	out->fore = x->fore;
	out->back = a->back;
	return NFS4_ERR_NONE;
}

static enum nfs4_status create_locked(struct nfs4_state *s, const struct nfs4_args *a,
				      struct nfs4_principal p, struct nfs4_created *out)
{
	struct nfs4_client *c = nfs4_client_find_locked(s, a->clientid);

	if (!c)
		return NFS4_ERR_STALE_CLIENTID;
	if (a->seqid == c->create_seqid) {
		*out = c->created;
		return out->status;
	}
	if (a->seqid != c->create_seqid + 1)
		return NFS4_ERR_SEQ_MISORDERED;
	if (!c->confirmed && (c->principal.flavor != p.flavor || c->principal.uid != p.uid))
		return NFS4_ERR_CLID_INUSE;
	*out = (struct nfs4_created){0};
	if (a->flags & ~7u)
		out->status = NFS4_ERR_INVAL;
	else if (a->fore.max_request < REQUEST_MIN || a->fore.max_reply < REQUEST_MIN ||
		 !a->fore.max_ops || !a->fore.slots)
		out->status = NFS4_ERR_TOOSMALL;
	else
		out->status = make_locked(s, c, a, out);
	if (out->status == NFS4_ERR_DELAY)
		return out->status; /* it may be tried again as it is */
	c->create_seqid = a->seqid;
	c->created = *out;
	c->renewed_ns = s->now();
	if (out->status == NFS4_ERR_NONE && !c->confirmed)
		nfs4_client_confirm_locked(s, c);
	return out->status;
}

enum nfs4_status nfs4_session_create(struct nfs4_state *s, const struct nfs4_args *a,
				     struct nfs4_principal p, struct nfs4_created *out)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = create_locked(s, a, p, out);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_session_destroy(struct nfs4_state *s, const uint8_t *id,
				      const struct nfs4_session *own)
{
	enum nfs4_status status = NFS4_ERR_NONE;
	struct nfs4_session *x;

	(void)pthread_mutex_lock(&s->lock);
	x = find_locked(s, id);
	if (!x)
		status = NFS4_ERR_BADSESSION;
	else if (x->refs > (x == own))
		status = NFS4_ERR_DELAY; /* until its other requests have ended */
	else
		nfs4_session_drop_locked(s, x);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_session_bind(struct nfs4_state *s, const uint8_t *id)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = find_locked(s, id) ? NFS4_ERR_NONE : NFS4_ERR_BADSESSION;
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

/* ---- SEQUENCE, sections 2.10.6 and 18.46 ---- */

/* A request with the number of the one before it. */
static enum nfs4_verdict repeated(const struct nfs4_slot *t, uint64_t hash,
				  struct nfs4_sequenced *out)
{
	if (t->busy) {
		out->status = NFS4_ERR_DELAY;
		return NFS4_SEQ_ERROR;
	}
	if (t->hash != hash) {
		out->status = NFS4_ERR_SEQ_FALSE_RETRY;
		return NFS4_SEQ_ERROR;
	}
	if (t->cached) {
		memcpy(out->reply, t->reply, t->len);
		out->reply_len = t->len;
	} else {
		out->status = NFS4_ERR_RETRY_UNCACHED_REP; /* of the operation behind SEQUENCE */
		out->reply_len = 0;
	}
	return NFS4_SEQ_REPLAY;
}

static enum nfs4_status admit(struct nfs4_session *x, const struct nfs4_args *a, uint32_t nops,
			      uint32_t request)
{
	struct nfs4_slot *t = &x->slot[a->slot];

	if (nops > x->fore.max_ops)
		return NFS4_ERR_TOO_MANY_OPS;
	if (request > x->fore.max_request)
		return NFS4_ERR_REQ_TOO_BIG;
	if ((a->cache || nops == 1) && !t->reply) {
		t->reply = malloc(NFS4_CACHED_MAX);
		if (!t->reply)
			return NFS4_ERR_DELAY;
	}
	return NFS4_ERR_NONE;
}

static enum nfs4_verdict sequence_locked(struct nfs4_state *s, const struct nfs4_args *a,
					 uint64_t hash, uint32_t nops, uint32_t request,
					 struct nfs4_ref *ref, struct nfs4_sequenced *out)
{
	struct nfs4_session *x;
	struct nfs4_slot *t;

	nfs4_client_sweep_locked(s);
	x = find_locked(s, a->session);
	if (!x) {
		out->status = NFS4_ERR_BADSESSION;
		return NFS4_SEQ_ERROR;
	}
	x->client->renewed_ns = s->now();
	if (a->slot >= x->fore.slots) {
		out->status = NFS4_ERR_BADSLOT;
		return NFS4_SEQ_ERROR;
	}
	t = &x->slot[a->slot];
	out->highest = out->target = x->fore.slots - 1;
	if (a->seqid == t->seqid && (t->hash || t->busy))
		return repeated(t, hash, out);
	out->status = a->seqid != t->seqid + 1 ? NFS4_ERR_SEQ_MISORDERED
		      : t->busy		       ? NFS4_ERR_DELAY
					       : admit(x, a, nops, request);
	if (out->status)
		return NFS4_SEQ_ERROR;
	t->seqid = a->seqid;
	t->hash = hash;
	t->busy = true;
	t->cached = false;
	ref_locked(x);
	*ref = (struct nfs4_ref){x, a->slot, a->cache || nops == 1};
	return NFS4_SEQ_NEW;
}

enum nfs4_verdict nfs4_session_sequence(struct nfs4_state *s, const struct nfs4_args *a,
					uint64_t hash, uint32_t nops, uint32_t request,
					struct nfs4_ref *ref, struct nfs4_sequenced *out)
{
	enum nfs4_verdict verdict;

	out->status = NFS4_ERR_NONE;
	(void)pthread_mutex_lock(&s->lock);
	/* 0 marks a slot that was never used */
	verdict = sequence_locked(s, a, hash ? hash : 1, nops, request, ref, out);
	(void)pthread_mutex_unlock(&s->lock);
	return verdict;
}

void nfs4_session_done(struct nfs4_state *s, struct nfs4_ref *ref, const uint8_t *reply,
		       uint32_t len)
{
	struct nfs4_session *x = ref->session;
	struct nfs4_slot *t;

	if (!x)
		return;
	(void)pthread_mutex_lock(&s->lock);
	t = &x->slot[ref->slot];
	t->busy = false;
	t->cached = ref->cache && len <= NFS4_CACHED_MAX;
	if (t->cached) {
		memcpy(t->reply, reply, len);
		t->len = len;
	}
	x->client->renewed_ns = s->now();
	unref_locked(x);
	(void)pthread_mutex_unlock(&s->lock);
	ref->session = NULL;
}
