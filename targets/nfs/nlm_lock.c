/* LOCK, TEST, UNLOCK, CANCEL (RFC 1813 appendix II). */
#include "targets/nfs/nlm_lock.h"

#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nlm_wait.h"

enum nfs_nlm_status nfs_nlm_set_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_where *w, struct nfs_bytes name,
				       uint64_t first, uint64_t last, const struct nfs_nlm_args *a)
{
	struct nfs4_held *h = nfs_nlm_held_locked(s, c, w, name);
	bool room;

	if (!h)
		h = nfs4_held_new_locked(s, c, w, name, NULL);
	if (!h) {
		nfs_nlm_host_put_locked(s, c);
		return NFS_NLM_DENIED_NOLOCKS;
	}
	h->nsm_state = a->state;
	room = nfs4_range_set_locked(s, h, first, last, a->exclusive, false);
	if (room)
		nfs_nlm_remember_locked(s, c);
	else
		nfs_nlm_held_put_locked(s, h);
	return room ? NFS_NLM_OK : NFS_NLM_DENIED_NOLOCKS;
}

static const struct nfs4_owner *find_owner(struct nfs4_state *s, const struct nfs_address *from,
					   struct nfs_bytes name)
{
	const struct nfs4_client *c = nfs_nlm_host_locked(s, from);

	return c ? nfs4_owner_find_locked(c, name, false) : NULL;
}

static enum nfs_nlm_status lock_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q,
				       struct nfs_bytes name, uint64_t first, uint64_t last,
				       bool monitored)
{
	enum nfs_nlm_status status = nfs_nlm_may_claim_locked(s, &q->from, q->args->reclaim);
	/* NM_LOCK does not wait (XNFS, NLM_NM_LOCK). */
	bool wait = q->args->block && monitored && s->stir.call, taken;
	struct nfs4_client *c;

	if (status)
		return status;
	taken = nfs4_in_the_way_locked(s, &q->where, find_owner(s, &q->from, name), first, last,
				       q->args->exclusive);
	if (taken && !wait)
		return NFS_NLM_DENIED;
	c = nfs_nlm_host_get_locked(s, q, monitored);
	if (!c)
		return NFS_NLM_DENIED_NOLOCKS;
	if (taken) {
		status = nfs_nlm_wait_locked(s, c, q, first, last);
		nfs_nlm_host_put_locked(s, c);
		return status;
	}
	status = nfs_nlm_set_locked(s, c, &q->where, name, first, last, q->args);
	/* A client that waits asks again now and then: it has been told now. */
	if (status == NFS_NLM_OK)
		nfs_nlm_answered_locked(s, q, first, last);
	return status;
}

enum nfs_nlm_status nfs_nlm_lock(struct nfs4_state *s, const struct nfs_nlm_ask *q, bool monitored,
				 struct nfs4_waiter *kept, bool *wait)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(&q->args->lock, &first, &last);
	const struct nfs4_client *c;
	struct nfs_nlm_name name;

	*wait = false;
	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	status = lock_locked(s, q, nfs_nlm_name_of(&q->args->lock, false, &name), first, last,
			     monitored);
	if (status == NFS_NLM_OK) {
		c = nfs_nlm_host_locked(s, &q->from);
		*wait = c && !nfs4_keep_has_locked(s, c->remembered_by) &&
			nfs4_keep_wait_locked(s, kept);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

static void tell(const struct nfs4_range *r, struct nfs_nlm_denied *out)
{
	const struct nfs4_owner *o = r->owner;
	bool host = o->client->host;
	struct nfs_bytes oh = host ? nfs_nlm_oh_of(o) : (struct nfs_bytes){o->name, o->len};

	out->holder = (struct nfs_nlm_holder){
	    .exclusive = r->write,
	    .svid = host ? vs_get_be32(o->name) : 0, /* NFSv4 has no processes */
	    .owner = {out->owner, VS_MIN(oh.len, NFS_NLM_NETOBJ_MAX)},
	    .first = r->first,
	    .last = r->last,
	};
	memcpy(out->owner, oh.p, out->holder.owner.len);
}

enum nfs_nlm_status nfs_nlm_test(struct nfs4_state *s, const struct nfs_nlm_ask *q,
				 struct nfs_nlm_denied *out)
{
	uint64_t first, last;
	const struct nfs_nlm_lock *l = &q->args->lock;
	enum nfs_nlm_status status = nfs_nlm_range(l, &first, &last);
	const struct nfs4_range *r = NULL;
	struct nfs_nlm_name name;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	if (nfs4_grace_on(s->grace))
		status = NFS_NLM_DENIED_GRACE_PERIOD;
	else
		r = nfs4_in_the_way_locked(
		    s, &q->where, find_owner(s, &q->from, nfs_nlm_name_of(l, false, &name)), first,
		    last, q->args->exclusive);
	if (r) {
		tell(r, out);
		status = NFS_NLM_DENIED;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs_nlm_status nfs_nlm_unlock(struct nfs4_state *s, const struct nfs_nlm_ask *q)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(&q->args->lock, &first, &last);
	struct nfs4_held *h;
	struct nfs_nlm_name name;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	nfs_nlm_unlocked_locked(s, q, first, last);
	h = nfs_nlm_held_locked(s, nfs_nlm_host_locked(s, &q->from), &q->where,
				nfs_nlm_name_of(&q->args->lock, false, &name));
	if (h && !nfs4_range_set_locked(s, h, first, last, false, true))
		status = NFS_NLM_DENIED_NOLOCKS;
	else if (h)
		nfs_nlm_held_put_locked(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs_nlm_status nfs_nlm_cancel(struct nfs4_state *s, const struct nfs_nlm_ask *q)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(&q->args->lock, &first, &last);

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	if (!nfs_nlm_cancel_locked(s, q, first, last))
		status = NFS_NLM_DENIED;
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}
