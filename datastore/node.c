#include "datastore/node.h"

#include "common/bytes.h"

#include <stdlib.h>

void ds_nodes_init(struct ds_nodes *all)
{
	*all = (struct ds_nodes){0};
	pthread_mutex_init(&all->lock, NULL);
}

void ds_nodes_destroy(struct ds_nodes *all)
{
	for (unsigned i = 0; i < DS_NODE_BUCKETS; i++) {
		while (all->bucket[i]) {
			struct ds_node *n = all->bucket[i];

			all->bucket[i] = n->chain;
			free(n);
		}
	}
	pthread_mutex_destroy(&all->lock);
}

static struct ds_node **place(struct ds_nodes *all, uint32_t object)
{
	struct ds_node **at = &all->bucket[object % DS_NODE_BUCKETS];

	while (*at && (*at)->object != object)
		at = &(*at)->chain;
	return at;
}

static bool used(const struct ds_node *n)
{
	return n->users || n->holds || n->orphan;
}

static void unkeep(struct ds_nodes *all, struct ds_node *n)
{
	*(n->newer ? &n->newer->older : &all->newest) = n->older;
	*(n->older ? &n->older->newer : &all->oldest) = n->newer;
	n->newer = n->older = NULL;
	all->kept--;
}

static void keep(struct ds_nodes *all, struct ds_node *n)
{
	n->newer = NULL;
	n->older = all->newest;
	*(all->newest ? &all->newest->newer : &all->oldest) = n;
	all->newest = n;
	all->kept++;
}

static void trim(struct ds_nodes *all)
{
	while (all->kept > DS_NODES_KEPT) {
		struct ds_node *old = all->oldest;

		unkeep(all, old);
		*place(all, old->object) = old->chain;
		free(old);
	}
}

static struct ds_node *get(struct ds_nodes *all, uint32_t object)
{
	struct ds_node **at = place(all, object), *n = *at;

	if (n) {
		if (!used(n))
			unkeep(all, n);
		return n;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->object = object;
	*at = n;
	return n;
}

struct ds_node *ds_node_get(struct ds_nodes *all, uint32_t object)
{
	struct ds_node *n;

	pthread_mutex_lock(&all->lock);
	n = get(all, object);
	if (n)
		n->users++;
	pthread_mutex_unlock(&all->lock);
	return n;
}

static void put(struct ds_nodes *all, struct ds_node *n)
{
	VS_ASSERT(n->users > 0);
	n->users--;
	if (!used(n))
		keep(all, n);
	trim(all);
}

void ds_node_put(struct ds_nodes *all, struct ds_node *n)
{
	pthread_mutex_lock(&all->lock);
	put(all, n);
	pthread_mutex_unlock(&all->lock);
}

static bool fits(const struct ds_node *n, const struct ds_wait *w)
{
	return !n->inside || (!n->alone && !w->alone);
}

static void enter(struct ds_node *n, const struct ds_wait *w)
{
	n->inside++;
	n->alone = w->alone;
}

static void granted(struct vs_post *p)
{
	struct ds_wait *w = p->arg;

	w->granted(w);
}

bool ds_node_enter(struct ds_nodes *all, struct ds_node *n, struct ds_wait *w)
{
	bool now;

	w->next = NULL;
	w->post.call = granted;
	w->post.arg = w;
	pthread_mutex_lock(&all->lock);
	now = !n->first && fits(n, w);
	if (now) {
		enter(n, w);
	} else {
		*(n->first ? &n->last->next : &n->first) = w;
		n->last = w;
	}
	pthread_mutex_unlock(&all->lock);
	return now;
}

static void leave(struct ds_node *n)
{
	n->inside--;
	while (n->first && fits(n, n->first)) {
		struct ds_wait *next = n->first;

		n->first = next->next;
		enter(n, next);
		vs_loop_post(next->loop, &next->post);
	}
}

void ds_node_leave(struct ds_nodes *all, struct ds_node *n, const struct ds_wait *w)
{
	pthread_mutex_lock(&all->lock);
	VS_ASSERT(n->inside > 0 && n->alone == w->alone);
	leave(n);
	pthread_mutex_unlock(&all->lock);
}

struct ds_node *ds_node_seize(struct ds_nodes *all, uint32_t object)
{
	struct ds_node *n;

	pthread_mutex_lock(&all->lock);
	n = *place(all, object);
	if (n && used(n))
		n = NULL;
	else
		n = get(all, object);
	if (n) {
		VS_ASSERT(!n->inside && !n->first);
		n->users = n->inside = 1;
		n->alone = n->seized = true;
	}
	pthread_mutex_unlock(&all->lock);
	return n;
}

void ds_node_yield(struct ds_nodes *all, struct ds_node *n)
{
	pthread_mutex_lock(&all->lock);
	VS_ASSERT(n->seized && n->inside == 1);
	n->seized = false;
	leave(n);
	put(all, n);
	pthread_mutex_unlock(&all->lock);
}

int ds_node_perm(struct ds_nodes *all, struct ds_node *n, uint32_t generation, struct ds_perm *out)
{
	int rc;

	pthread_mutex_lock(&all->lock);
	rc = !n->known ? VS_E_AGAIN : n->generation != generation ? VS_E_STALE : 0;
	*out = n->perm;
	pthread_mutex_unlock(&all->lock);
	return rc;
}

void ds_node_learn(struct ds_nodes *all, struct ds_node *n, uint32_t generation,
		   const struct ds_perm *perm)
{
	pthread_mutex_lock(&all->lock);
	VS_ASSERT(n->inside > 0);
	n->known = true;
	n->generation = generation;
	n->perm = *perm;
	pthread_mutex_unlock(&all->lock);
}

static void forget(struct ds_nodes *all, struct ds_node *n)
{
	bool was_used = used(n);

	n->known = n->orphan = n->listed = n->going = false;
	if (was_used && !used(n))
		keep(all, n);
}

void ds_nodes_forget(struct ds_nodes *all)
{
	pthread_mutex_lock(&all->lock);
	all->orphans = NULL;
	for (unsigned i = 0; i < DS_NODE_BUCKETS; i++)
		for (struct ds_node *n = all->bucket[i]; n; n = n->chain)
			forget(all, n);
	trim(all);
	pthread_mutex_unlock(&all->lock);
}

int ds_node_hold(struct ds_nodes *all, uint32_t object)
{
	struct ds_node *n;
	int rc;

	pthread_mutex_lock(&all->lock);
	n = get(all, object);
	rc = !n ? VS_E_NOMEM : n->seized ? VS_E_AGAIN : 0;
	if (rc == 0)
		n->holds++;
	pthread_mutex_unlock(&all->lock);
	return rc;
}

static void can_go(struct ds_nodes *all, struct ds_node *n)
{
	if (n->listed || n->going)
		return;
	n->listed = true;
	n->next_orphan = all->orphans;
	all->orphans = n;
}

bool ds_node_release(struct ds_nodes *all, uint32_t object)
{
	struct ds_node *n;
	bool now;

	pthread_mutex_lock(&all->lock);
	n = *place(all, object);
	VS_ASSERT(n && n->holds > 0);
	n->holds--;
	now = n->orphan && !n->holds;
	if (now)
		can_go(all, n);
	else if (!used(n))
		keep(all, n);
	trim(all);
	pthread_mutex_unlock(&all->lock);
	return now;
}

int ds_node_orphan(struct ds_nodes *all, uint32_t object)
{
	struct ds_node *n;

	pthread_mutex_lock(&all->lock);
	n = get(all, object);
	if (n && !n->orphan) {
		n->orphan = true;
		if (!n->holds)
			can_go(all, n);
	}
	pthread_mutex_unlock(&all->lock);
	return n ? 0 : VS_E_NOMEM;
}

/* One that was held again since it came on the list comes back with the last release. */
struct ds_node *ds_node_next_orphan(struct ds_nodes *all)
{
	struct ds_node *n;

	pthread_mutex_lock(&all->lock);
	do {
		n = all->orphans;
		if (n) {
			all->orphans = n->next_orphan;
			n->listed = false;
		}
	} while (n && n->holds);
	if (n) {
		n->users++;
		n->going = true;
	}
	pthread_mutex_unlock(&all->lock);
	return n;
}

void ds_node_apart(struct ds_nodes *all, struct ds_node *n)
{
	pthread_mutex_lock(&all->lock);
	VS_ASSERT(n->users > 0);
	n->orphan = n->going = false;
	pthread_mutex_unlock(&all->lock);
}
