#include "targets/nfs/nlm_lock.h"

#include "targets/nfs/nfs4_grace.h"

#include <stdlib.h>

/* An owner's name: svid, the length of caller_name, caller_name, oh. */
#define NAME_HEAD 8u

struct name {
	uint32_t len;
	uint8_t b[NAME_HEAD + NFS_NLM_NAME_MAX + NFS_NLM_NETOBJ_MAX];
};

static struct nfs_bytes name_of(const struct nfs_nlm_lock *l, struct name *to)
{
	struct nfs_enc e = {to->b, to->b + sizeof(to->b), false};
	uint8_t *caller, *oh;

	nfs_enc_u32(&e, l->svid);
	nfs_enc_u32(&e, l->caller.len);
	caller = nfs_enc_take(&e, l->caller.len);
	oh = nfs_enc_take(&e, l->owner.len);
	VS_ASSERT(caller && oh); /* the decoder's limits */
	if (l->caller.len)
		memcpy(caller, l->caller.p, l->caller.len);
	if (l->owner.len)
		memcpy(oh, l->owner.p, l->owner.len);
	to->len = (uint32_t)(e.p - to->b);
	return (struct nfs_bytes){to->b, to->len};
}

static struct nfs_bytes caller_of(const struct nfs4_owner *o)
{
	return (struct nfs_bytes){o->name + NAME_HEAD, vs_get_be32(o->name + 4)};
}

static struct nfs4_client *find_host(struct nfs4_state *s, const struct nfs_address *from)
{
	for (struct nfs4_client *c = s->hosts; c; c = c->next)
		if (nfs_address_equal(&c->address, from))
			return c;
	return NULL;
}

/* Hosts whose last lock went with a share. */
static void drop_unused(struct nfs4_state *s)
{
	struct nfs4_client *c = s->hosts, *next;

	for (; c; c = next) {
		next = c->next;
		if (!c->held)
			nfs4_client_drop_locked(s, c);
	}
}

static struct nfs4_client *get_host(struct nfs4_state *s, const struct nfs_address *from)
{
	struct nfs4_client *c = find_host(s, from);

	if (c)
		return c;
	if (s->nhosts == NFS_NLM_HOSTS_MAX)
		drop_unused(s);
	c = s->nhosts < NFS_NLM_HOSTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c)
		return NULL;
	c->host = true;
	c->address = *from;
	c->id = (uint64_t)s->boot << 32 | ++s->next_client;
	c->next = s->hosts;
	s->hosts = c;
	s->nhosts++;
	return c;
}

/* What an owner has locked of a file; NULL: nothing. */
static struct nfs4_held *find_held(struct nfs4_state *s, const struct nfs4_where *w,
				   const struct nfs4_owner *o)
{
	struct nfs4_file *f = o ? nfs4_file_find_locked(s, w) : NULL;

	for (struct nfs4_held *h = f ? f->held : NULL; h; h = h->of_file)
		if (h->owner == o)
			return h;
	return NULL;
}

static const struct nfs4_owner *find_owner(struct nfs4_state *s, const struct nfs_address *from,
					   struct nfs_bytes name)
{
	const struct nfs4_client *c = find_host(s, from);

	return c ? nfs4_owner_find_locked(c, name, false) : NULL;
}

static void drop_if_empty(struct nfs4_state *s, struct nfs4_held *h)
{
	struct nfs4_client *c = h->client;

	for (const struct nfs4_range *r = h->file->ranges; r; r = r->next)
		if (r->held == h)
			return;
	nfs4_held_drop_locked(s, h);
	if (!c->held)
		nfs4_client_drop_locked(s, c);
}

static enum nfs_nlm_status lock_locked(struct nfs4_state *s, const struct nfs_address *from,
				       struct nfs_bytes name, const struct nfs4_where *w,
				       uint64_t first, uint64_t last, bool exclusive)
{
	const struct nfs4_owner *o = find_owner(s, from, name);
	struct nfs4_client *c;
	struct nfs4_held *h;
	bool room;

	if (nfs4_grace_on(s->grace))
		return NFS_NLM_DENIED_GRACE_PERIOD;
	if (nfs4_in_the_way_locked(s, w, o, first, last, exclusive))
		return NFS_NLM_DENIED;
	h = find_held(s, w, o);
	c = h ? h->client : get_host(s, from);
	if (!c)
		return NFS_NLM_DENIED_NOLOCKS;
	if (!h)
		h = nfs4_held_new_locked(s, c, w, name, NULL);
	if (!h) {
		if (!c->held)
			nfs4_client_drop_locked(s, c);
		return NFS_NLM_DENIED_NOLOCKS;
	}
	room = nfs4_range_set_locked(s, h, first, last, exclusive, false);
	if (!room)
		drop_if_empty(s, h);
	return room ? NFS_NLM_OK : NFS_NLM_DENIED_NOLOCKS;
}

enum nfs_nlm_status nfs_nlm_lock(struct nfs4_state *s, const struct nfs_address *from,
				 const struct nfs_nlm_lock *l, const struct nfs4_where *w,
				 bool exclusive)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(l, &first, &last);
	struct name name;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	status = lock_locked(s, from, name_of(l, &name), w, first, last, exclusive);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

static void tell(const struct nfs4_range *r, struct nfs_nlm_denied *out)
{
	const struct nfs4_owner *o = r->owner;
	uint32_t skip = o->client->host ? NAME_HEAD + caller_of(o).len : 0;

	out->holder = (struct nfs_nlm_holder){
	    .exclusive = r->write,
	    .svid = o->client->host ? vs_get_be32(o->name) : 0, /* NFSv4 has no processes */
	    .owner = {out->owner, VS_MIN(o->len - skip, NFS_NLM_NETOBJ_MAX)},
	    .first = r->first,
	    .last = r->last,
	};
	memcpy(out->owner, o->name + skip, out->holder.owner.len);
}

enum nfs_nlm_status nfs_nlm_test(struct nfs4_state *s, const struct nfs_address *from,
				 const struct nfs_nlm_lock *l, const struct nfs4_where *w,
				 bool exclusive, struct nfs_nlm_denied *out)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(l, &first, &last);
	const struct nfs4_range *r = NULL;
	struct name name;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	if (nfs4_grace_on(s->grace))
		status = NFS_NLM_DENIED_GRACE_PERIOD;
	else
		r = nfs4_in_the_way_locked(s, w, find_owner(s, from, name_of(l, &name)), first,
					   last, exclusive);
	if (r) {
		tell(r, out);
		status = NFS_NLM_DENIED;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs_nlm_status nfs_nlm_unlock(struct nfs4_state *s, const struct nfs_address *from,
				   const struct nfs_nlm_lock *l, const struct nfs4_where *w)
{
	uint64_t first, last;
	enum nfs_nlm_status status = nfs_nlm_range(l, &first, &last);
	struct nfs4_held *h;
	struct name name;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	h = find_held(s, w, find_owner(s, from, name_of(l, &name)));
	if (h && !nfs4_range_set_locked(s, h, first, last, false, true))
		status = NFS_NLM_DENIED_NOLOCKS;
	else if (h)
		drop_if_empty(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

static bool is_of(const struct nfs4_held *h, struct nfs_bytes caller)
{
	struct nfs_bytes own = caller_of(h->owner);

	return !caller.len || (own.len == caller.len && memcmp(own.p, caller.p, caller.len) == 0);
}

bool nfs_nlm_free(struct nfs4_state *s, const struct nfs_address *from, struct nfs_bytes caller)
{
	struct nfs4_held *h, *next;
	struct nfs4_client *c;
	bool freed = false;

	(void)pthread_mutex_lock(&s->lock);
	c = find_host(s, from);
	for (h = c ? c->held : NULL; h; h = next) {
		next = h->of_client;
		if (!is_of(h, caller))
			continue;
		nfs4_held_drop_locked(s, h);
		freed = true;
	}
	if (c && !c->held)
		nfs4_client_drop_locked(s, c);
	(void)pthread_mutex_unlock(&s->lock);
	return freed;
}
