#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nfs4_keep.h"
#include "targets/nfs/nlm_wait.h"

#include "common/loop.h"
#include "common/secret.h"

#include <stdlib.h>

#define SWEEP_NS UINT64_C(10000000000)

int nfs4_state_new(const uint8_t server[16], struct nfs4_state **out)
{
	struct nfs4_state *s = calloc(1, sizeof(*s));

	if (s)
		s->table = calloc(NFS4_HELD_MAX, sizeof(*s->table));
	if (!s || !s->table || vs_random(&s->boot, sizeof(s->boot))) {
		free(s ? s->table : NULL);
		free(s);
		return VS_E_NOMEM;
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	memcpy(s->server, server, sizeof(s->server));
	s->now = vs_now_ns;
	s->nsm_state = 1;
	for (uint32_t i = 0; i < NFS4_HELD_MAX; i++)
		s->table[i].next_free = i + 1;
	*out = s;
	return 0;
}

void nfs4_state_free(struct nfs4_state *s)
{
	if (!s)
		return;
	while (s->clients)
		nfs4_client_drop_locked(s, s->clients);
	while (s->hosts)
		nfs4_client_drop_locked(s, s->hosts);
	nfs4_grace_free(s->grace);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->table);
	free(s);
}

static bool same_principal(struct nfs4_principal a, struct nfs4_principal b)
{
	return a.flavor == b.flavor && a.uid == b.uid;
}

struct nfs4_client *nfs4_client_find_locked(struct nfs4_state *s, uint64_t id)
{
	for (struct nfs4_client *c = s->clients; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static struct nfs4_client *find_owner(struct nfs4_state *s, struct nfs_bytes owner, bool confirmed)
{
	for (struct nfs4_client *c = s->clients; c; c = c->next)
		if (c->confirmed == confirmed && c->owner_len == owner.len &&
		    memcmp(c->owner, owner.p, owner.len) == 0)
			return c;
	return NULL;
}

bool nfs4_client_expired_locked(const struct nfs4_state *s, const struct nfs4_client *c)
{
	return !c->host && c->refs == 0 && s->now() - c->renewed_ns > NFS4_LEASE_NS;
}

static void free_if_unused(struct nfs4_client *c)
{
	if (c->gone && c->refs == 0)
		free(c);
}

void nfs4_client_drop_locked(struct nfs4_state *s, struct nfs4_client *c)
{
	struct nfs4_client **link = c->host ? &s->hosts : &s->clients;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	if (c->host)
		s->nhosts--;
	else
		s->nclients--;
	c->refs++; /* sessions that go must not free it meanwhile */
	c->gone = true;
	if (c->reclaimed || c->listed)
		nfs4_keep_changed_locked(s);
	if (c->waits)
		nfs_nlm_forget_host_locked(s, c);
	while (c->held)
		nfs4_held_drop_locked(s, c->held->open ? c->held->open : c->held);
	while (c->sessions)
		nfs4_session_drop_locked(s, c->sessions);
	nfs4_client_unref_locked(c);
}

void nfs4_client_unref_locked(struct nfs4_client *c)
{
	c->refs--;
	free_if_unused(c);
}

static void sweep_locked(struct nfs4_state *s)
{
	struct nfs4_client *c = s->clients, *next;

	s->swept_ns = s->now();
	for (; c; c = next) {
		next = c->next;
		if (nfs4_client_expired_locked(s, c))
			nfs4_client_drop_locked(s, c);
	}
}

void nfs4_client_sweep_locked(struct nfs4_state *s)
{
	if (s->now() - s->swept_ns > SWEEP_NS)
		sweep_locked(s);
}

/* The oldest that is not confirmed makes room: whoever is real comes again. */
static void drop_unconfirmed(struct nfs4_state *s)
{
	struct nfs4_client *oldest = NULL;

	for (struct nfs4_client *c = s->clients; c; c = c->next)
		if (!c->confirmed && c->refs == 0 &&
		    (!oldest || c->renewed_ns <= oldest->renewed_ns))
			oldest = c;
	if (oldest)
		nfs4_client_drop_locked(s, oldest);
}

static enum nfs4_status add_locked(struct nfs4_state *s, const struct nfs4_args *a,
				   struct nfs4_principal p, struct nfs4_exchanged *out)
{
	struct nfs4_client *c;

	if (s->nclients == NFS4_CLIENTS_MAX)
		sweep_locked(s);
	if (s->nclients == NFS4_CLIENTS_MAX)
		drop_unconfirmed(s);
	if (s->nclients == NFS4_CLIENTS_MAX)
		return NFS4_ERR_DELAY;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NFS4_ERR_DELAY;
	c->id = (uint64_t)s->boot << 32 | ++s->next_client;
	c->verifier = a->verifier;
	c->principal = p;
	c->owner_len = a->owner.len;
	memcpy(c->owner, a->owner.p, a->owner.len);
	c->renewed_ns = s->now();
	c->created.status = NFS4_ERR_SEQ_MISORDERED; /* there is nothing to repeat */
	c->remembered = nfs4_grace_knows(s->grace, c->owner, c->owner_len);
	c->next = s->clients;
	s->clients = c;
	s->nclients++;
	*out = (struct nfs4_exchanged){c->id, 1, NFS4_EXCHGID_NON_PNFS};
	return NFS4_ERR_NONE;
}

static struct nfs4_exchanged known(struct nfs4_client *c)
{
	return (struct nfs4_exchanged){c->id, c->create_seqid + 1,
				       NFS4_EXCHGID_NON_PNFS | NFS4_EXCHGID_CONFIRMED};
}

/* Section 18.35.4, cases 6 to 9. */
static enum nfs4_status update(struct nfs4_client *c, const struct nfs4_args *a,
			       struct nfs4_principal p, struct nfs4_exchanged *out)
{
	if (!c)
		return NFS4_ERR_NOENT;
	if (c->verifier != a->verifier)
		return NFS4_ERR_NOT_SAME;
	if (!same_principal(c->principal, p))
		return NFS4_ERR_PERM;
	*out = known(c);
	return NFS4_ERR_NONE;
}

/* Section 18.35.4, cases 1 to 5. */
static enum nfs4_status exchange_locked(struct nfs4_state *s, const struct nfs4_args *a,
					struct nfs4_principal p, struct nfs4_exchanged *out)
{
	struct nfs4_client *c = find_owner(s, a->owner, true);
	struct nfs4_client *fresh = find_owner(s, a->owner, false);

	if (a->flags & NFS4_EXCHGID_UPDATE)
		return update(c, a, p, out);
	if (c && !same_principal(c->principal, p)) {
		if (c->refs || (c->held && !nfs4_client_expired_locked(s, c)))
			return NFS4_ERR_CLID_INUSE;
		nfs4_client_drop_locked(s, c);
		c = NULL;
	}
	if (fresh)
		nfs4_client_drop_locked(s, fresh);
	if (c && c->verifier == a->verifier) {
		c->renewed_ns = s->now();
		*out = known(c);
		return NFS4_ERR_NONE;
	}
	/* One that has restarted keeps its old record until the new one is confirmed. */
	return add_locked(s, a, p, out);
}

enum nfs4_status nfs4_client_exchange(struct nfs4_state *s, const struct nfs4_args *a,
				      struct nfs4_principal p, struct nfs4_exchanged *out)
{
	enum nfs4_status status;

	if (a->flags & ~NFS4_EXCHGID_ARGS || a->protect || !a->owner.len)
		return NFS4_ERR_INVAL;
	(void)pthread_mutex_lock(&s->lock);
	nfs4_client_sweep_locked(s);
	status = exchange_locked(s, a, p, out);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

void nfs4_client_confirm_locked(struct nfs4_state *s, struct nfs4_client *c)
{
	struct nfs4_client *old = find_owner(s, (struct nfs_bytes){c->owner, c->owner_len}, true);

	if (old)
		nfs4_client_drop_locked(s, old);
	c->confirmed = true;
}

enum nfs4_status nfs4_client_destroy(struct nfs4_state *s, uint64_t id)
{
	enum nfs4_status status = NFS4_ERR_NONE;
	struct nfs4_client *c;

	(void)pthread_mutex_lock(&s->lock);
	c = nfs4_client_find_locked(s, id);
	if (!c)
		status = NFS4_ERR_STALE_CLIENTID;
	else if (c->sessions || c->held || c->refs)
		status = NFS4_ERR_CLIENTID_BUSY;
	else
		nfs4_client_drop_locked(s, c);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}
