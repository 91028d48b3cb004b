#include "targets/nfs/mounts.h"

#include <string.h>

void nfs_mounts_init(struct nfs_mounts *m)
{
	(void)pthread_mutex_init(&m->lock, NULL);
	m->count = 0;
}

void nfs_mounts_destroy(struct nfs_mounts *m)
{
	(void)pthread_mutex_destroy(&m->lock);
}

static void remove_locked(struct nfs_mounts *m, const struct nfs_address *client, const char *share)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->count; i++) {
		const struct nfs_mounted *e = &m->list[i];

		if (nfs_address_equal(&e->client, client) &&
		    (!share || strcmp(e->share, share) == 0))
			continue;
		if (kept != i)
			m->list[kept] = *e;
		kept++;
	}
	m->count = kept;
}

void nfs_mounts_add(struct nfs_mounts *m, const struct nfs_address *client, const char *share)
{
	struct nfs_mounted *e;

	(void)pthread_mutex_lock(&m->lock);
	remove_locked(m, client, share);
	if (m->count == NFS_MOUNTS_MAX)
		memmove(m->list, m->list + 1, --m->count * sizeof(*m->list));
	e = &m->list[m->count++];
	e->client = *client;
	memset(e->share, 0, sizeof(e->share));
	memcpy(e->share, share, strnlen(share, sizeof(e->share) - 1));
	(void)pthread_mutex_unlock(&m->lock);
}

void nfs_mounts_remove(struct nfs_mounts *m, const struct nfs_address *client, const char *share)
{
	(void)pthread_mutex_lock(&m->lock);
	remove_locked(m, client, share);
	(void)pthread_mutex_unlock(&m->lock);
}

bool nfs_mounts_get(struct nfs_mounts *m, unsigned i, struct nfs_mounted *out)
{
	bool there;

	(void)pthread_mutex_lock(&m->lock);
	there = i < m->count;
	if (there)
		*out = m->list[i];
	(void)pthread_mutex_unlock(&m->lock);
	return there;
}
