#include "targets/nfs/nfs4_grace.h"

#include <stdlib.h>

struct known {
	uint32_t len;
	bool done; /* has said RECLAIM_COMPLETE */
	uint8_t owner[NFS4_OPAQUE_MAX];
};

struct nfs4_grace {
	uint64_t until_ns;
	bool over;
	unsigned left; /* of NFSv4, not done */
	unsigned nhosts;
	struct nfs4_grace_host *hosts;
	unsigned n;
	struct known known[];
};

int nfs4_grace_new(const struct nfs4_kept *kept, uint64_t now, struct nfs4_grace **out)
{
	struct nfs4_grace *g = calloc(1, sizeof(*g) + kept->n * sizeof(*g->known));

	if (g && kept->nhosts)
		g->hosts = calloc(kept->nhosts, sizeof(*g->hosts));
	if (!g || (kept->nhosts && !g->hosts)) {
		free(g);
		return VS_E_NOMEM;
	}
	g->until_ns = now + NFS4_GRACE_NS;
	g->n = g->left = kept->n;
	for (unsigned i = 0; i < kept->n; i++) {
		g->known[i].len = kept->owners[i].len;
		memcpy(g->known[i].owner, kept->owners[i].p, kept->owners[i].len);
	}
	g->nhosts = kept->nhosts;
	for (unsigned i = 0; i < kept->nhosts; i++)
		g->hosts[i].kept = kept->hosts[i];
	*out = g;
	return 0;
}

void nfs4_grace_free(struct nfs4_grace *g)
{
	if (g)
		free(g->hosts);
	free(g);
}

struct nfs4_grace_host *nfs4_grace_host(const struct nfs4_grace *g, unsigned i)
{
	return g && i < g->nhosts ? &g->hosts[i] : NULL;
}

struct nfs4_grace_host *nfs4_grace_find_host(const struct nfs4_grace *g,
					     const struct nfs_address *a)
{
	struct nfs4_grace_host *h;

	for (unsigned i = 0; (h = nfs4_grace_host(g, i)); i++)
		if (nfs_address_equal(&h->kept.client, a))
			return h;
	return NULL;
}

static bool host_done(const struct nfs4_grace_host *h, uint64_t now)
{
	if (h->back)
		return true;
	if (h->reclaimed_ns)
		return now - h->reclaimed_ns >= NFS4_GRACE_QUIET_NS;
	return h->answered_ns && now - h->answered_ns >= NFS4_GRACE_SILENT_NS;
}

static bool all_done(const struct nfs4_grace *g, uint64_t now)
{
	for (unsigned i = 0; i < g->nhosts; i++)
		if (!host_done(&g->hosts[i], now))
			return false;
	return !g->left;
}

static const struct known *find(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len)
{
	for (unsigned i = 0; g && i < g->n; i++)
		if (g->known[i].len == len && memcmp(g->known[i].owner, owner, len) == 0)
			return &g->known[i];
	return NULL;
}

bool nfs4_grace_knows(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len)
{
	return find(g, owner, len);
}

bool nfs4_grace_on(const struct nfs4_grace *g)
{
	return g && !g->over;
}

bool nfs4_grace_due(const struct nfs4_grace *g, uint64_t now)
{
	return nfs4_grace_on(g) && (now >= g->until_ns || all_done(g, now));
}

void nfs4_grace_end(struct nfs4_grace *g)
{
	g->over = true;
}

bool nfs4_grace_left(const struct nfs4_grace *g, unsigned *i, struct nfs_bytes *owner)
{
	if (!nfs4_grace_on(g))
		return false;
	while (*i < g->n && g->known[*i].done)
		++*i;
	if (*i == g->n)
		return false;
	*owner = (struct nfs_bytes){g->known[*i].owner, g->known[*i].len};
	++*i;
	return true;
}

static enum nfs4_status may_claim_locked(const struct nfs4_state *s, const struct nfs4_client *c,
					 bool reclaim)
{
	bool on = nfs4_grace_on(s->grace);

	if (reclaim)
		return on && c->remembered && !c->reclaimed ? NFS4_ERR_NONE : NFS4_ERR_NO_GRACE;
	return on || !c->reclaimed ? NFS4_ERR_GRACE : NFS4_ERR_NONE;
}

enum nfs4_status nfs4_may_claim(struct nfs4_state *s, const struct nfs4_client *c, bool reclaim)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = may_claim_locked(s, c, reclaim);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_reclaimed_locked(struct nfs4_state *s, struct nfs4_client *c)
{
	struct known *k = (struct known *)(uintptr_t)find(s->grace, c->owner, c->owner_len);

	if (c->reclaimed)
		return NFS4_ERR_COMPLETE_ALREADY;
	c->reclaimed = true;
	if (k && !k->done) {
		k->done = true;
		s->grace->left--;
	}
	return NFS4_ERR_NONE;
}
