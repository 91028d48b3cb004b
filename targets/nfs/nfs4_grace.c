#include "targets/nfs/nfs4_grace.h"

#include <stdlib.h>

struct known {
	uint32_t len;
	bool done;
	uint8_t owner[NFS4_OPAQUE_MAX];
};

struct nfs4_grace {
	uint64_t until_ns;
	unsigned left; /* that have not said RECLAIM_COMPLETE */
	unsigned n;
	struct known known[];
};

void nfs4_grace_free(struct nfs4_grace *g)
{
	free(g);
}

static struct known *find(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len)
{
	for (unsigned i = 0; g && i < g->n; i++)
		if (g->known[i].len == len && memcmp(g->known[i].owner, owner, len) == 0)
			return (struct known *)(uintptr_t)&g->known[i];
	return NULL;
}

bool nfs4_grace_knows(const struct nfs4_grace *g, const uint8_t *owner, uint32_t len)
{
	return find(g, owner, len);
}

bool nfs4_grace_on(const struct nfs4_grace *g, uint64_t now)
{
	return g && g->left && now < g->until_ns;
}

void nfs4_grace_done(struct nfs4_grace *g, const uint8_t *owner, uint32_t len)
{
	struct known *k = find(g, owner, len);

	if (!k || k->done)
		return;
	k->done = true;
	g->left--;
}

static enum nfs4_status may_claim_locked(const struct nfs4_state *s, const struct nfs4_client *c,
					 bool reclaim)
{
	bool on = nfs4_grace_on(s->grace, s->now());

	if (reclaim)
		return on && c->remembered && !c->reclaimed ? NFS4_OK : NFS4ERR_NO_GRACE;
	return on || !c->reclaimed ? NFS4ERR_GRACE : NFS4_OK;
}

enum nfs4_status nfs4_may_claim(struct nfs4_state *s, const struct nfs4_client *c, bool reclaim)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = may_claim_locked(s, c, reclaim);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_reclaimed(struct nfs4_state *s, struct nfs4_client *c, bool one_fs)
{
	enum nfs4_status status = NFS4_OK;

	if (one_fs)
		return NFS4_OK;
	(void)pthread_mutex_lock(&s->lock);
	if (c->reclaimed)
		status = NFS4ERR_COMPLETE_ALREADY;
	c->reclaimed = true;
	nfs4_grace_done(s->grace, c->owner, c->owner_len);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}
