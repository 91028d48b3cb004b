/*
 * SHARE and UNSHARE (RFC 1813 appendix II): a file that is reserved for reading or
 * writing, as those that DOS opens. An open of NFSv4 in all but its stateid.
 */
#include "targets/nfs/nlm_lock.h"

static enum nfs_nlm_status share_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q,
					struct nfs_bytes name)
{
	const struct nfs_nlm_args *a = q->args;
	enum nfs_nlm_status status = nfs_nlm_may_claim_locked(s, &q->from, a->reclaim);
	struct nfs4_client *c = nfs_nlm_host_locked(s, &q->from);
	struct nfs4_held *h = nfs_nlm_held_locked(s, c, &q->where, name);

	if (status)
		return status;
	if (nfs4_share_denied_locked(s, &q->where, h, a->access, a->mode))
		return NFS_NLM_DENIED;
	if (!a->access && !a->mode) { /* reserves nothing */
		if (h)
			nfs4_held_drop_locked(s, h);
		if (c)
			nfs_nlm_host_put_locked(s, c);
		return NFS_NLM_OK;
	}
	c = nfs_nlm_host_get_locked(s, q, false);
	if (!h && c)
		h = nfs4_held_new_locked(s, c, &q->where, name, NULL);
	if (!h) {
		if (c)
			nfs_nlm_host_put_locked(s, c);
		return NFS_NLM_DENIED_NOLOCKS;
	}
	/* fsh4_mode and fsh4_access are bits for reading and writing, as those of NFSv4. */
	h->access = a->access;
	h->deny = a->mode;
	return NFS_NLM_OK;
}

enum nfs_nlm_status nfs_nlm_share(struct nfs4_state *s, const struct nfs_nlm_ask *q)
{
	enum nfs_nlm_status status;
	struct nfs_nlm_name name;

	(void)pthread_mutex_lock(&s->lock);
	status = share_locked(s, q, nfs_nlm_name_of(&q->args->lock, true, &name));
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs_nlm_status nfs_nlm_unshare(struct nfs4_state *s, const struct nfs_nlm_ask *q)
{
	struct nfs_nlm_name name;
	struct nfs4_client *c;
	struct nfs4_held *h;

	(void)pthread_mutex_lock(&s->lock);
	c = nfs_nlm_host_locked(s, &q->from);
	h = nfs_nlm_held_locked(s, c, &q->where, nfs_nlm_name_of(&q->args->lock, true, &name));
	if (h) {
		nfs4_held_drop_locked(s, h);
		nfs_nlm_host_put_locked(s, c);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NFS_NLM_OK;
}
