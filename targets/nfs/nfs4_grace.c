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
	unsigned left; /* not done */
	unsigned n;
	struct known known[];
};

int nfs4_grace_new(const struct nfs_bytes *owners, unsigned n, uint64_t now,
		   struct nfs4_grace **out)
{
	struct nfs4_grace *g = calloc(1, sizeof(*g) + n * sizeof(*g->known));

	if (!g)
		return VS_E_NOMEM;
	g->until_ns = now + NFS4_GRACE_NS;
	g->n = g->left = n;
	for (unsigned i = 0; i < n; i++) {
		g->known[i].len = owners[i].len;
		memcpy(g->known[i].owner, owners[i].p, owners[i].len);
	}
	*out = g;
	return 0;
}

void nfs4_grace_free(struct nfs4_grace *g)
{
	free(g);
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
	return nfs4_grace_on(g) && (!g->left || now >= g->until_ns);
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
