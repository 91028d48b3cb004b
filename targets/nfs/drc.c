#include "targets/nfs/drc.h"

#include "common/bytes.h"
#include "common/secret.h"

#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

struct key {
	struct nfs_address from;
	uint32_t xid;
	uint32_t len;
	uint64_t sum;
};

struct nfs_drc_entry {
	struct key key;
	struct nfs_drc_entry *chain;	     /* of its bucket */
	struct nfs_drc_entry *older, *newer; /* of those answered, or free */
	struct nfs_drc_wait *wait;	     /* while under way */
	bool used, under_way;
	uint32_t len;
	uint8_t reply[NFS_DRC_REPLY_MAX];
};

/*
 * Invariant: an entry is in the list from oldest to newest unless it is under way, and in the chain
 * of its bucket if it is used.
 */
struct nfs_drc {
	pthread_mutex_t lock;
	uint64_t seed; /* so that no client can make calls with the checksum of another's */
	unsigned buckets;
	struct nfs_drc_entry **bucket;
	struct nfs_drc_entry *entries, *oldest, *newest;
};

static void append(struct nfs_drc *d, struct nfs_drc_entry *e)
{
	e->newer = NULL;
	e->older = d->newest;
	if (d->newest)
		d->newest->newer = e;
	else
		d->oldest = e;
	d->newest = e;
}

static void take_out(struct nfs_drc *d, struct nfs_drc_entry *e)
{
	if (e->older)
		e->older->newer = e->newer;
	else
		d->oldest = e->newer;
	if (e->newer)
		e->newer->older = e->older;
	else
		d->newest = e->older;
}

int nfs_drc_new(unsigned entries, struct nfs_drc **out)
{
	struct nfs_drc *d = calloc(1, sizeof(*d));

	if (!d)
		return VS_E_NOMEM;
	(void)pthread_mutex_init(&d->lock, NULL);
	d->buckets = 2 * entries + 1;
	d->bucket = calloc(d->buckets, sizeof(struct nfs_drc_entry *));
	d->entries = calloc(entries, sizeof(*d->entries));
	if (!d->bucket || !d->entries || vs_random(&d->seed, sizeof(d->seed))) {
		nfs_drc_free(d);
		return VS_E_NOMEM;
	}
	for (unsigned i = 0; i < entries; i++)
		append(d, &d->entries[i]);
	*out = d;
	return 0;
}

void nfs_drc_free(struct nfs_drc *d)
{
	if (!d)
		return;
	(void)pthread_mutex_destroy(&d->lock);
	free(d->entries);
	free(d->bucket);
	free(d);
}

static bool same(const struct key *a, const struct key *b)
{
	return a->sum == b->sum && a->xid == b->xid && a->len == b->len &&
	       nfs_address_equal(&a->from, &b->from);
}

/* The link that leads to the entry of a key, or the end of its chain. */
static struct nfs_drc_entry **find(struct nfs_drc *d, const struct key *k)
{
	struct nfs_drc_entry **link = &d->bucket[k->sum % d->buckets];

	while (*link && !same(&(*link)->key, k))
		link = &(*link)->chain;
	return link;
}

static struct nfs_drc_entry *take_oldest(struct nfs_drc *d)
{
	struct nfs_drc_entry *e = d->oldest;

	if (!e)
		return NULL;
	take_out(d, e);
	if (e->used)
		*find(d, &e->key) = e->chain;
	e->used = false;
	return e;
}

static struct nfs_drc_entry *enter(struct nfs_drc *d, const struct key *k)
{
	struct nfs_drc_entry *e = take_oldest(d), **link;

	if (!e)
		return NULL;
	link = find(d, k);
	e->key = *k;
	e->chain = NULL;
	e->wait = NULL;
	e->used = e->under_way = true;
	*link = e;
	return e;
}

static void copy_reply(struct nfs_drc_wait *w, const struct nfs_drc_entry *e)
{
	w->len = e->len;
	memcpy(w->reply, e->reply, e->len);
}

enum nfs_drc_verdict nfs_drc_begin(struct nfs_drc *d, const struct nfs_address *from, uint32_t xid,
				   const void *call, size_t len, struct nfs_drc_wait *wait,
				   struct nfs_drc_entry **entry)
{
	const struct key k = {*from, xid, (uint32_t)len, XXH3_64bits_withSeed(call, len, d->seed)};
	enum nfs_drc_verdict verdict;
	struct nfs_drc_entry *e;

	(void)pthread_mutex_lock(&d->lock);
	e = *find(d, &k);
	if (!e) {
		*entry = enter(d, &k);
		verdict = NFS_DRC_NEW;
	} else if (!e->under_way) {
		copy_reply(wait, e);
		verdict = NFS_DRC_SEEN;
	} else if (e->wait) {
		verdict = NFS_DRC_DROP;
	} else {
		e->wait = wait;
		verdict = NFS_DRC_WAIT;
	}
	(void)pthread_mutex_unlock(&d->lock);
	return verdict;
}

void nfs_drc_done(struct nfs_drc *d, struct nfs_drc_entry *e, const void *reply, uint32_t len)
{
	struct nfs_drc_wait *w;

	if (!e)
		return;
	VS_ASSERT(len <= NFS_DRC_REPLY_MAX);
	(void)pthread_mutex_lock(&d->lock);
	e->len = len;
	memcpy(e->reply, reply, len);
	e->under_way = false;
	append(d, e);
	w = e->wait;
	e->wait = NULL;
	if (w)
		copy_reply(w, e);
	(void)pthread_mutex_unlock(&d->lock);
	if (w)
		vs_loop_post(w->loop, &w->woken);
}
