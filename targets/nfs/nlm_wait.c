#include "targets/nfs/nlm_wait.h"

#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define AT_ONCE 4u /* calls of one host */

struct nfs_nlm_waiter {
	struct nfs_nlm_waiter *next;
	uint64_t id;
	struct nfs4_client *host;
	struct nfs4_where where;
	struct nfs_address server;
	struct nfs_nlm_args args; /* what it points to is in bytes */
	uint64_t first, last;
	bool granted;
	bool busy;   /* a call is under way */
	bool unsure; /* it may know already */
	bool had;    /* the owner had some of the bytes before */
	unsigned attempts;
	uint64_t next_ns;
	uint8_t bytes[];
};

static bool same_bytes(struct nfs_bytes a, struct nfs_bytes b)
{
	return a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0);
}

static bool same_where(const struct nfs4_where *a, const struct nfs4_where *b)
{
	return memcmp(&a->file, &b->file, sizeof(a->file)) == 0 &&
	       memcmp(&a->store_id, &b->store_id, sizeof(a->store_id)) == 0;
}

static bool is_owner(const struct nfs_nlm_waiter *w, const struct nfs_nlm_ask *q)
{
	const struct nfs_nlm_lock *a = &w->args.lock, *b = &q->args->lock;

	return a->svid == b->svid && same_bytes(a->owner, b->owner) &&
	       same_bytes(a->caller, b->caller) && same_where(&w->where, &q->where) &&
	       nfs_address_equal(&w->host->address, &q->from);
}

/* The link to the waiter that q speaks of, or to the end. */
static struct nfs_nlm_waiter **find(struct nfs4_state *s, const struct nfs_nlm_ask *q,
				    uint64_t first, uint64_t last)
{
	struct nfs_nlm_waiter **link = &s->waiters;

	while (*link && !((*link)->first == first && (*link)->last == last &&
			  (*link)->args.exclusive == q->args->exclusive && is_owner(*link, q)))
		link = &(*link)->next;
	return link;
}

static void drop(struct nfs4_state *s, struct nfs_nlm_waiter **link)
{
	struct nfs_nlm_waiter *w = *link;

	*link = w->next;
	s->nwaiters--;
	w->host->waits--;
	free(w);
}

/* ---- waiting ---- */

static struct nfs_bytes keep_bytes(uint8_t **to, struct nfs_bytes from)
{
	struct nfs_bytes kept = {*to, from.len};

	if (from.len)
		memcpy(*to, from.p, from.len);
	*to += from.len;
	return kept;
}

static struct nfs_nlm_waiter *waiter_new(const struct nfs_nlm_ask *q)
{
	const struct nfs_nlm_lock *l = &q->args->lock;
	struct nfs_nlm_waiter *w =
	    calloc(1, sizeof(*w) + l->caller.len + l->file.len + l->owner.len);
	uint8_t *to;

	if (!w)
		return NULL;
	w->where = q->where;
	w->server = q->at;
	w->args = *q->args;
	w->args.cookie = w->args.name = (struct nfs_bytes){NULL, 0};
	to = w->bytes;
	w->args.lock.caller = keep_bytes(&to, l->caller);
	w->args.lock.file = keep_bytes(&to, l->file);
	w->args.lock.owner = keep_bytes(&to, l->owner);
	return w;
}

enum nfs_nlm_status nfs_nlm_wait_locked(struct nfs4_state *s, struct nfs4_client *host,
					const struct nfs_nlm_ask *q, uint64_t first, uint64_t last)
{
	struct nfs_nlm_waiter **end = find(s, q, first, last), *w;

	if (*end)
		return NFS_NLM_BLOCKED;
	if (s->nwaiters == NFS_NLM_WAITERS_MAX || host->waits == NFS_NLM_HOST_WAITERS_MAX)
		return NFS_NLM_DENIED_NOLOCKS;
	w = waiter_new(q);
	if (!w)
		return NFS_NLM_DENIED_NOLOCKS;
	w->id = ++s->next_waiter;
	w->host = host;
	w->first = first;
	w->last = last;
	*end = w;
	s->nwaiters++;
	host->waits++;
	s->stir.call(s->stir.arg);
	return NFS_NLM_BLOCKED;
}

void nfs_nlm_answered_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			     uint64_t last)
{
	struct nfs_nlm_waiter **link = find(s, q, first, last);

	if (*link)
		drop(s, link);
}

/* What was granted and nobody knows of. */
static void take_back(struct nfs4_state *s, struct nfs_nlm_waiter *w)
{
	struct nfs_nlm_name name;
	struct nfs4_held *h = nfs_nlm_held_locked(s, w->host, &w->where,
						  nfs_nlm_name_of(&w->args.lock, false, &name));

	/* Without memory it stays: until its client unlocks, or restarts. */
	if (h && nfs4_range_set_locked(s, h, w->first, w->last, false, true))
		nfs_nlm_held_put_locked(s, h);
}

/* Its host stays: it is put by who calls. */
static void give_up(struct nfs4_state *s, struct nfs_nlm_waiter **link)
{
	struct nfs4_client *host = (*link)->host;

	if ((*link)->granted && !(*link)->had)
		take_back(s, *link); /* a waiter holds its host */
	drop(s, link);
	nfs_nlm_host_put_locked(s, host);
}

bool nfs_nlm_cancel_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			   uint64_t last)
{
	struct nfs_nlm_waiter **link = find(s, q, first, last);

	if (!*link)
		return false;
	give_up(s, link);
	return true;
}

void nfs_nlm_unlocked_locked(struct nfs4_state *s, const struct nfs_nlm_ask *q, uint64_t first,
			     uint64_t last)
{
	struct nfs_nlm_waiter **link = &s->waiters, *w;

	while ((w = *link)) {
		if (w->granted && w->first <= last && first <= w->last && is_owner(w, q))
			drop(s, link);
		else
			link = &w->next;
	}
}

bool nfs_nlm_forget_waits_locked(struct nfs4_state *s, struct nfs4_client *host,
				 struct nfs_bytes caller, uint32_t state)
{
	struct nfs_nlm_waiter **link = &s->waiters, *w;
	bool any = false;

	while ((w = *link)) {
		if (w->host != host || (state && w->args.state == state) ||
		    (caller.len && !same_bytes(caller, w->args.lock.caller))) {
			link = &w->next;
			continue;
		}
		drop(s, link);
		any = true;
	}
	return any;
}

void nfs_nlm_forget_host_locked(struct nfs4_state *s, struct nfs4_client *host)
{
	(void)nfs_nlm_forget_waits_locked(s, host, (struct nfs_bytes){NULL, 0}, 0);
}

void nfs_nlm_forget_store_locked(struct nfs4_state *s, const struct nfs_store_id *id)
{
	struct nfs_nlm_waiter **link = &s->waiters, *w;

	while ((w = *link)) {
		if (memcmp(&w->where.store_id, id, sizeof(*id)) == 0)
			drop(s, link);
		else
			link = &w->next;
	}
}

/* ---- granting ---- */

static bool has_some(struct nfs4_state *s, const struct nfs_nlm_waiter *w, struct nfs_bytes name)
{
	const struct nfs4_held *h = nfs_nlm_held_locked(s, w->host, &w->where, name);

	for (const struct nfs4_range *r = h ? h->file->ranges : NULL; r; r = r->next)
		if (r->held == h && r->first <= w->last && w->first <= r->last)
			return true;
	return false;
}

static void try_grant(struct nfs4_state *s, struct nfs_nlm_waiter *w)
{
	struct nfs_nlm_name buf;
	struct nfs_bytes name = nfs_nlm_name_of(&w->args.lock, false, &buf);
	const struct nfs4_owner *o = nfs4_owner_find_locked(w->host, name, false);

	if (nfs4_in_the_way_locked(s, &w->where, o, w->first, w->last, w->args.exclusive))
		return;
	w->had = has_some(s, w, name);
	/* When there is no room it goes on waiting. */
	w->granted = nfs_nlm_set_locked(s, w->host, &w->where, name, w->first, w->last, &w->args) ==
		     NFS_NLM_OK;
	w->attempts = 0;
	w->next_ns = 0;
}

void nfs_nlm_settle_locked(struct nfs4_state *s)
{
	for (struct nfs_nlm_waiter *w = s->waiters; w; w = w->next)
		if (!w->granted)
			try_grant(s, w);
}

/* ---- telling ---- */

static unsigned calls_of(const struct nfs4_state *s, const struct nfs4_client *host)
{
	unsigned n = 0;

	for (const struct nfs_nlm_waiter *w = s->waiters; w; w = w->next)
		n += w->host == host && w->busy;
	return n;
}

bool nfs_nlm_next_locked(struct nfs4_state *s, struct nfs_nlm_tell *out)
{
	struct nfs_enc e = {out->args, out->args + sizeof(out->args), false};
	struct nfs_nlm_waiter *w = s->waiters;
	uint8_t cookie[8];

	while (w &&
	       !(w->granted && !w->busy && s->now() >= w->next_ns &&
		 nfs4_keep_has_locked(s, w->host->remembered_by) && calls_of(s, w->host) < AT_ONCE))
		w = w->next;
	if (!w)
		return false;
	w->busy = true;
	w->attempts++;
	out->id = w->id;
	out->client = w->host->address;
	out->server = w->server;
	vs_put_be64(cookie, w->id);
	w->args.cookie = (struct nfs_bytes){cookie, sizeof(cookie)};
	nfs_nlm_granted_encode(&e, &w->args);
	w->args.cookie = (struct nfs_bytes){NULL, 0};
	VS_ASSERT(!e.bad); /* the decoder's limits */
	out->len = (uint32_t)(e.p - out->args);
	return true;
}

/* After 1 s, 2 s, 4 s, 8 s, then each 10 s. */
static void again(struct nfs4_state *s, struct nfs_nlm_waiter *w)
{
	uint64_t pause = w->attempts < 5 ? SECOND_NS << (w->attempts - 1) : 10 * SECOND_NS;

	w->next_ns = s->now() + pause;
}

void nfs_nlm_told_locked(struct nfs4_state *s, uint64_t id, enum nfs_nlm_told how)
{
	struct nfs_nlm_waiter **link = &s->waiters, *w;
	struct nfs4_client *host;

	while ((w = *link) && w->id != id)
		link = &w->next;
	if (!w) /* it was told otherwise, or does not wait any more */
		return;
	w->busy = false;
	w->unsure |= how == NFS_NLM_UNSURE;
	if (how > NFS_NLM_UNWANTED && w->attempts < NFS_NLM_TELL_MAX) {
		again(s, w);
		return;
	}
	/*
	 * A client that took the lock when it was told the first time, and whose answer was lost,
	 * knows nothing of it the second time: it says DENIED, and has the lock. So one that may
	 * have heard of the lock keeps it.
	 */
	host = w->host;
	if (how == NFS_NLM_TOLD || w->unsure) {
		drop(s, link);
		nfs_nlm_host_put_locked(s, host);
	} else {
		give_up(s, link);
	}
}
