/* Opens and their share reservations (RFC 8881 sections 9.7 to 9.12), and who may use bytes. */
#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nfs4_state.h"
#include "targets/nfs/nlm_wait.h"

bool nfs4_share_denied_locked(struct nfs4_state *s, const struct nfs4_where *w,
			      const struct nfs4_held *self, uint32_t access, uint32_t deny)
{
	struct nfs4_file *f = nfs4_file_find_locked(s, w);
	struct nfs4_held *h = f ? f->held : NULL;

	while (h) {
		if (h == self || h->open || !((h->deny & access) || (h->access & deny))) {
			h = h->of_file;
			continue;
		}
		if (!nfs4_client_expired_locked(s, h->client))
			return true;
		nfs4_client_drop_locked(s, h->client);
		f = nfs4_file_find_locked(s, w);
		h = f ? f->held : NULL;
	}
	return false;
}

static struct nfs4_held *find_open(struct nfs4_state *s, const struct nfs4_client *c,
				   const struct nfs4_where *w, struct nfs_bytes owner)
{
	struct nfs4_file *f = nfs4_file_find_locked(s, w);

	for (struct nfs4_held *h = f ? f->held : NULL; h; h = h->of_file)
		if (!h->open && h->client == c && h->owner->len == owner.len &&
		    memcmp(h->owner->name, owner.p, owner.len) == 0)
			return h;
	return NULL;
}

static enum nfs4_status open_locked(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_where *w, struct nfs_bytes owner,
				    uint32_t access, uint32_t deny, struct nfs4_stateid *out,
				    struct nfs4_had *had)
{
	struct nfs4_held *h = find_open(s, c, w, owner);

	if (c->gone)
		return NFS4_ERR_EXPIRED;
	if (nfs4_share_denied_locked(s, w, h, access, deny))
		return NFS4_ERR_SHARE_DENIED;
	if (!h)
		h = nfs4_held_new_locked(s, c, w, owner, NULL);
	if (!h)
		return NFS4_ERR_DELAY;
	*had = (struct nfs4_had){h->access, h->deny};
	h->access |= access;
	h->deny |= deny;
	h->seqid++;
	*out = nfs4_held_stateid(s, h);
	return NFS4_ERR_NONE;
}

enum nfs4_status nfs4_share_open(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_where *w, struct nfs_bytes owner,
				 uint32_t access, uint32_t deny, struct nfs4_stateid *out,
				 struct nfs4_had *had)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = open_locked(s, c, w, owner, access, deny, out, had);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

void nfs4_share_undo(struct nfs4_state *s, struct nfs4_client *c, const struct nfs4_stateid *id,
		     const struct nfs4_had *had)
{
	struct nfs4_held *h;

	(void)pthread_mutex_lock(&s->lock);
	if (nfs4_held_find_locked(s, c, id, &h) == NFS4_ERR_NONE) {
		if (h->seqid == 1) {
			nfs4_held_drop_locked(s, h);
		} else {
			h->access = had->access;
			h->deny = had->deny;
			h->seqid--;
		}
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* An open of w. */
static enum nfs4_status find_own(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id, const struct nfs4_where *w,
				 struct nfs4_held **h)
{
	enum nfs4_status status = nfs4_held_find_locked(s, c, id, h);

	if (status == NFS4_ERR_NONE && ((*h)->open || !nfs4_file_is((*h)->file, w)))
		status = NFS4_ERR_BAD_STATEID;
	return status;
}

enum nfs4_status nfs4_share_downgrade(struct nfs4_state *s, struct nfs4_client *c,
				      struct nfs4_stateid *id, const struct nfs4_where *w,
				      uint32_t access, uint32_t deny)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = find_own(s, c, id, w, &h);
	if (status == NFS4_ERR_NONE && (!access || access & ~h->access || deny & ~h->deny))
		status = NFS4_ERR_INVAL;
	if (status == NFS4_ERR_NONE) {
		h->access = access;
		h->deny = deny;
		h->seqid++;
		*id = nfs4_held_stateid(s, h);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_close(struct nfs4_state *s, struct nfs4_client *c,
				  const struct nfs4_stateid *id, const struct nfs4_where *w)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = find_own(s, c, id, w, &h);
	if (status == NFS4_ERR_NONE)
		nfs4_held_drop_locked(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

static enum nfs4_status may_use_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_stateid *id, const struct nfs4_where *w,
				       uint32_t access)
{
	enum nfs4_special special = nfs4_special(id);
	struct nfs4_held *h;
	enum nfs4_status status;

	if (special == NFS4_STATEID_BYPASS && access == NFS4_SHARE_READ)
		return NFS4_ERR_NONE;
	if (special != NFS4_STATEID_REAL && nfs4_grace_on(s->grace))
		return NFS4_ERR_GRACE;
	if (special != NFS4_STATEID_REAL)
		return nfs4_share_denied_locked(s, w, NULL, access, 0) ? NFS4_ERR_LOCKED
								       : NFS4_ERR_NONE;
	status = nfs4_held_find_locked(s, c, id, &h);
	if (status)
		return status;
	if (!nfs4_file_is(h->file, w))
		return NFS4_ERR_BAD_STATEID;
	/* Who has a file open for writing also reads it, to complete pages (section 18.22.3). */
	if (access == NFS4_SHARE_WRITE && !((h->open ? h->open : h)->access & NFS4_SHARE_WRITE))
		return NFS4_ERR_OPENMODE;
	return NFS4_ERR_NONE;
}

enum nfs4_status nfs4_share_may_use(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_stateid *id, const struct nfs4_where *w,
				    uint32_t access)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = may_use_locked(s, c, id, w, access);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_test(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	if (nfs4_special(id) != NFS4_STATEID_REAL)
		return NFS4_ERR_BAD_STATEID;
	(void)pthread_mutex_lock(&s->lock);
	status = nfs4_held_find_locked(s, c, id, &h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_free(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = nfs4_held_find_locked(s, c, id, &h);
	if (status == NFS4_ERR_NONE && !h->open)
		status = NFS4_ERR_LOCKS_HELD;
	for (struct nfs4_range *r = status ? NULL : h->file->ranges; r; r = r->next)
		if (r->held == h)
			status = NFS4_ERR_LOCKS_HELD;
	if (status == NFS4_ERR_NONE)
		nfs4_held_drop_locked(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

void nfs4_share_forget(struct nfs4_state *s, const struct nfs_store_id *id)
{
	(void)pthread_mutex_lock(&s->lock);
	nfs_nlm_forget_store_locked(s, id);
	for (uint32_t i = 0; i < NFS4_HELD_MAX; i++) {
		struct nfs4_held *h = s->table[i].held;

		if (h && memcmp(&h->file->store_id, id, sizeof(*id)) == 0)
			nfs4_held_drop_locked(s, h->open ? h->open : h);
	}
	(void)pthread_mutex_unlock(&s->lock);
}
