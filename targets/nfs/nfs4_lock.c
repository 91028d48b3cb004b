/* Byte-range locks of clients (RFC 8881 sections 18.10 to 18.12). */
#include "targets/nfs/nfs4_state.h"

#include <stdlib.h>

void nfs4_freed_locked(struct nfs4_state *s)
{
	if (s->waiters && s->stir.call)
		s->stir.call(s->stir.arg);
}

void nfs4_ranges_drop_locked(struct nfs4_state *s, struct nfs4_held *h)
{
	struct nfs4_range **link = &h->file->ranges, *r;

	while ((r = *link)) {
		if (r->held != h) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		s->nranges--;
		h->client->nranges--;
		free(r);
	}
	nfs4_freed_locked(s);
}

/* The range that is asked for. */
static enum nfs4_status range_of(const struct nfs4_args *a, uint64_t *first, uint64_t *last)
{
	*first = a->offset;
	*last = UINT64_MAX;
	if (!a->length)
		return NFS4_ERR_INVAL;
	if (a->length == UINT64_MAX)
		return NFS4_ERR_NONE;
	if (__builtin_add_overflow(a->offset, a->length - 1, last))
		return NFS4_ERR_INVAL;
	return NFS4_ERR_NONE;
}

static bool is_write(const struct nfs4_args *a)
{
	return a->type == NFS4_WRITE_LT || a->type == NFS4_WRITEW_LT;
}

static void tell(const struct nfs4_range *r, struct nfs4_denied *out)
{
	const struct nfs4_owner *o = r->owner;

	out->offset = r->first;
	out->length = r->last == UINT64_MAX ? UINT64_MAX : r->last - r->first + 1;
	out->type = r->write ? NFS4_WRITE_LT : NFS4_READ_LT;
	out->clientid = o->client->id;
	out->owner_len = VS_MIN(o->len, NFS4_OPAQUE_MAX); /* those of NLM may be longer */
	memcpy(out->owner, o->name, out->owner_len);
}

struct nfs4_range *nfs4_in_the_way_locked(struct nfs4_state *s, const struct nfs4_where *w,
					  const void *owner, uint64_t first, uint64_t last,
					  bool write)
{
	for (;;) {
		struct nfs4_file *f = nfs4_file_find_locked(s, w);
		struct nfs4_range *r =
		    f ? nfs4_range_conflict(f->ranges, owner, first, last, write) : NULL;
		struct nfs4_client *c = r ? ((const struct nfs4_owner *)r->owner)->client : NULL;

		if (!r || !nfs4_client_expired_locked(s, c))
			return r;
		nfs4_client_drop_locked(s, c);
	}
}

static bool in_the_way(struct nfs4_state *s, const struct nfs4_where *w, const void *owner,
		       const struct nfs4_args *a, struct nfs4_denied *out)
{
	const struct nfs4_range *r;
	uint64_t first, last;

	(void)range_of(a, &first, &last);
	r = nfs4_in_the_way_locked(s, w, owner, first, last, is_write(a));
	if (r)
		tell(r, out);
	return r;
}

/* The lock state of an owner and an open, made if need be. */
static struct nfs4_held *lock_state(struct nfs4_state *s, struct nfs4_held *open,
				    const struct nfs4_where *w, struct nfs_bytes owner)
{
	for (struct nfs4_held *h = open->file->held; h; h = h->of_file)
		if (h->open == open && h->owner->len == owner.len &&
		    memcmp(h->owner->name, owner.p, owner.len) == 0)
			return h;
	return nfs4_held_new_locked(s, open->client, w, owner, open);
}

/* lock_stateid or open_stateid must be one of this client, of this file, and of that kind. */
static enum nfs4_status find_state(struct nfs4_state *s, struct nfs4_client *c,
				   const struct nfs4_stateid *id, const struct nfs4_where *w,
				   bool lock, struct nfs4_held **out)
{
	enum nfs4_status status = nfs4_held_find_locked(s, c, id, out);

	if (status == NFS4_ERR_NONE && (lock != !!(*out)->open || !nfs4_file_is((*out)->file, w)))
		status = NFS4_ERR_BAD_STATEID;
	return status;
}

bool nfs4_range_set_locked(struct nfs4_state *s, struct nfs4_held *h, uint64_t first, uint64_t last,
			   bool write, bool unlock)
{
	struct nfs4_range *want = malloc(sizeof(*want)), *spare = malloc(sizeof(*spare));
	unsigned most = unlock ? 2 : 1; /* unlocking may split, and should work when all is full */
	struct nfs4_range *unused, *next;
	int grown;

	if (!want || !spare || (unsigned)(s->nranges + 2) > most * NFS4_RANGES_MAX ||
	    h->client->nranges + 2 > most * NFS4_CLIENT_RANGES_MAX) {
		free(want);
		free(spare);
		return false;
	}
	*want = (struct nfs4_range){
	    .owner = h->owner, .held = h, .first = first, .last = last, .write = write};
	grown = nfs4_range_set(&h->file->ranges, want, spare, unlock, &unused);
	s->nranges += (unsigned)grown;
	h->client->nranges += (unsigned)grown;
	for (; unused; unused = next) {
		next = unused->next;
		free(unused);
	}
	h->seqid++;
	if (unlock || !write)
		nfs4_freed_locked(s);
	return true;
}

static enum nfs4_status set_range(struct nfs4_state *s, struct nfs4_held *h,
				  const struct nfs4_args *a, bool unlock)
{
	uint64_t first, last;

	(void)range_of(a, &first, &last);
	return nfs4_range_set_locked(s, h, first, last, is_write(a), unlock) ? NFS4_ERR_NONE
									     : NFS4_ERR_DELAY;
}

static enum nfs4_status lock_locked(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_args *a, const struct nfs4_where *w,
				    struct nfs4_stateid *id, struct nfs4_denied *denied)
{
	struct nfs4_held *h, *open;
	enum nfs4_status status = find_state(s, c, id, w, !a->fresh_owner, &h);

	if (status)
		return status;
	open = h->open ? h->open : h;
	if (!(open->access & (is_write(a) ? NFS4_SHARE_WRITE : NFS4_SHARE_READ)))
		return NFS4_ERR_OPENMODE;
	if (a->fresh_owner)
		h = lock_state(s, open, w, a->owner);
	if (!h)
		return NFS4_ERR_DELAY;
	if (in_the_way(s, w, h->owner, a, denied))
		status = NFS4_ERR_DENIED;
	else
		status = set_range(s, h, a, false);
	if (status == NFS4_ERR_NONE)
		*id = nfs4_held_stateid(s, h);
	else if (!h->seqid) /* made for nothing */
		nfs4_held_drop_locked(s, h);
	return status;
}

enum nfs4_status nfs4_lock_set(struct nfs4_state *s, struct nfs4_client *c,
			       const struct nfs4_args *a, const struct nfs4_where *w,
			       struct nfs4_stateid *id, struct nfs4_denied *denied)
{
	uint64_t first, last;
	enum nfs4_status status = range_of(a, &first, &last);

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	status = c->gone ? NFS4_ERR_EXPIRED : lock_locked(s, c, a, w, id, denied);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_lock_test(struct nfs4_state *s, struct nfs4_client *c,
				const struct nfs4_args *a, const struct nfs4_where *w,
				struct nfs4_denied *denied)
{
	uint64_t first, last;
	enum nfs4_status status = range_of(a, &first, &last);

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	if (in_the_way(s, w, nfs4_owner_find_locked(c, a->owner, true), a, denied))
		status = NFS4_ERR_DENIED;
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_lock_unset(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_args *a, const struct nfs4_where *w,
				 struct nfs4_stateid *id)
{
	uint64_t first, last;
	enum nfs4_status status = range_of(a, &first, &last);
	struct nfs4_held *h;

	if (status)
		return status;
	(void)pthread_mutex_lock(&s->lock);
	status = find_state(s, c, id, w, true, &h);
	if (status == NFS4_ERR_NONE)
		status = set_range(s, h, a, true);
	if (status == NFS4_ERR_NONE)
		*id = nfs4_held_stateid(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}
