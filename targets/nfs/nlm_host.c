/* Hosts: addresses that have locks of NFSv3 or wait for one, and what their restart does. */
#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nlm_lock.h"
#include "targets/nfs/nlm_wait.h"

#include <stdlib.h>

#define NAME_HEAD 8u
#define SHARE 0x80000000u /* in the length of caller_name: the owner of shares, not of locks */

struct nfs_bytes nfs_nlm_name_of(const struct nfs_nlm_lock *l, bool share, struct nfs_nlm_name *to)
{
	struct nfs_enc e = {to->b, to->b + sizeof(to->b), false};
	uint8_t *caller, *oh;

	nfs_enc_u32(&e, l->svid);
	nfs_enc_u32(&e, l->caller.len | (share ? SHARE : 0));
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

struct nfs_bytes nfs_nlm_caller_of(const struct nfs4_owner *o)
{
	return (struct nfs_bytes){o->name + NAME_HEAD, vs_get_be32(o->name + 4) & ~SHARE};
}

struct nfs_bytes nfs_nlm_oh_of(const struct nfs4_owner *o)
{
	uint32_t skip = NAME_HEAD + nfs_nlm_caller_of(o).len;

	return (struct nfs_bytes){o->name + skip, o->len - skip};
}

struct nfs4_client *nfs_nlm_host_locked(const struct nfs4_state *s, const struct nfs_address *a)
{
	for (struct nfs4_client *c = s->hosts; c; c = c->next)
		if (nfs_address_equal(&c->address, a))
			return c;
	return NULL;
}

static bool has_nothing(const struct nfs4_client *c)
{
	return !c->held && !c->waits;
}

static void drop_unused(struct nfs4_state *s, uint64_t since_ns)
{
	struct nfs4_client *c = s->hosts, *next;

	for (; c; c = next) {
		next = c->next;
		if (has_nothing(c) && s->now() - c->renewed_ns >= since_ns)
			nfs4_client_drop_locked(s, c);
	}
}

bool nfs_nlm_host_sweep_locked(struct nfs4_state *s)
{
	drop_unused(s, NFS_NLM_LINGER_NS);
	for (const struct nfs4_client *c = s->hosts; c; c = c->next)
		if (has_nothing(c))
			return true;
	return false;
}

void nfs_nlm_host_put_locked(struct nfs4_state *s, struct nfs4_client *c)
{
	if (!has_nothing(c))
		return;
	if (!c->listed) {
		nfs4_client_drop_locked(s, c);
		return;
	}
	c->renewed_ns = s->now();
	if (s->stir.call) /* it is to be swept */
		s->stir.call(s->stir.arg);
}

void nfs_nlm_remember_locked(struct nfs4_state *s, struct nfs4_client *c)
{
	if (!c->monitored || c->listed || !s->keep)
		return;
	nfs4_keep_changed_locked(s);
	c->remembered_by = nfs4_keep_number_locked(s);
}

struct nfs4_client *nfs_nlm_host_get_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q,
					    bool monitored)
{
	struct nfs4_client *c = nfs_nlm_host_locked(s, &q->from);

	if (!c) {
		if (s->nhosts == NFS_NLM_HOSTS_MAX)
			drop_unused(s, 0);
		c = s->nhosts < NFS_NLM_HOSTS_MAX ? calloc(1, sizeof(*c)) : NULL;
		if (!c)
			return NULL;
		c->host = true;
		c->address = q->from;
		c->id = (uint64_t)s->boot << 32 | ++s->next_client;
		c->next = s->hosts;
		s->hosts = c;
		s->nhosts++;
	}
	c->renewed_ns = s->now();
	if (monitored) {
		c->monitored = true;
		c->server = q->at;
	}
	return c;
}

struct nfs4_held *nfs_nlm_held_locked(struct nfs4_state *s, const struct nfs4_client *c,
				      const struct nfs4_where *w, struct nfs_bytes name)
{
	const struct nfs4_owner *o = c ? nfs4_owner_find_locked(c, name, false) : NULL;
	struct nfs4_file *f = o ? nfs4_file_find_locked(s, w) : NULL;

	for (struct nfs4_held *h = f ? f->held : NULL; h; h = h->of_file)
		if (h->owner == o)
			return h;
	return NULL;
}

void nfs_nlm_held_put_locked(struct nfs4_state *s, struct nfs4_held *h)
{
	struct nfs4_client *c = h->client;

	if (h->access || h->deny)
		return;
	for (const struct nfs4_range *r = h->file->ranges; r; r = r->next)
		if (r->held == h)
			return;
	nfs4_held_drop_locked(s, h);
	nfs_nlm_host_put_locked(s, c);
}

enum nfs_nlm_status nfs_nlm_may_claim_locked(struct nfs4_state *s, const struct nfs_address *from,
					     bool reclaim)
{
	bool on = nfs4_grace_on(s->grace);
	struct nfs4_grace_host *g = on && reclaim ? nfs4_grace_find_host(s->grace, from) : NULL;

	if (!reclaim)
		return on ? NFS_NLM_DENIED_GRACE_PERIOD : NFS_NLM_OK;
	/* Once others may lock, what a client had may be somebody else's. */
	if (!g || g->back)
		return NFS_NLM_DENIED;
	g->reclaimed_ns = s->now();
	return NFS_NLM_OK;
}

/* ---- restarts ---- */

static bool is_gone(const struct nfs4_held *h, struct nfs_bytes caller, uint32_t state)
{
	struct nfs_bytes own = nfs_nlm_caller_of(h->owner);

	if (state && h->nsm_state == state)
		return false;
	return !caller.len || (own.len == caller.len && memcmp(own.p, caller.p, caller.len) == 0);
}

static bool free_locked(struct nfs4_state *s, struct nfs4_client *c, struct nfs_bytes caller,
			uint32_t state)
{
	struct nfs4_held *h, *next;
	bool freed = nfs_nlm_forget_waits_locked(s, c, caller, state);

	for (h = c->held; h; h = next) {
		next = h->of_client;
		if (!is_gone(h, caller, state))
			continue;
		nfs4_held_drop_locked(s, h);
		freed = true;
	}
	return freed;
}

bool nfs_nlm_free(struct nfs4_state *s, const struct nfs_address *from, struct nfs_bytes caller,
		  uint32_t state)
{
	struct nfs4_client *c;
	bool freed = false;

	(void)pthread_mutex_lock(&s->lock);
	c = nfs_nlm_host_locked(s, from);
	if (c) {
		freed = free_locked(s, c, caller, state);
		nfs_nlm_host_put_locked(s, c);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return freed;
}

void nfs_nlm_restarted(struct nfs4_state *s, const struct nfs_address *from,
		       struct nfs_bytes caller, uint32_t state)
{
	const struct nfs4_client *c;
	struct nfs4_grace_host *g;

	if (!nfs_nlm_free(s, from, caller, state) && caller.len)
		(void)nfs_nlm_free(s, from, (struct nfs_bytes){NULL, 0}, state);
	(void)pthread_mutex_lock(&s->lock);
	c = nfs_nlm_host_locked(s, from);
	g = nfs4_grace_on(s->grace) ? nfs4_grace_find_host(s->grace, from) : NULL;
	if (g && !g->back && !(c && c->held)) {
		g->back = true;
		nfs4_keep_changed_locked(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
}
