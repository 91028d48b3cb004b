/* Stateids, files that are open, share reservations (RFC 8881 sections 8.2 and 9.7 to 9.12). */
#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nfs4_state.h"

#include <stdlib.h>
#include <xxhash.h>

/* ---- stateids: boot, index, generation ---- */

static const uint8_t zeros[NFS4_OTHER_BYTES];

enum nfs4_special nfs4_special(const struct nfs4_stateid *id)
{
	uint8_t ones[NFS4_OTHER_BYTES];

	memset(ones, 0xff, sizeof(ones));
	if (id->seqid == 0 && memcmp(id->other, zeros, sizeof(zeros)) == 0)
		return NFS4_STATEID_ANONYMOUS;
	if (id->seqid == UINT32_MAX && memcmp(id->other, ones, sizeof(ones)) == 0)
		return NFS4_STATEID_BYPASS;
	return NFS4_STATEID_REAL;
}

struct nfs4_stateid nfs4_held_stateid(const struct nfs4_state *s, const struct nfs4_held *h)
{
	struct nfs4_stateid id = {.seqid = h->seqid};

	vs_put_be32(id.other, s->boot);
	vs_put_be32(id.other + 4, h->index);
	vs_put_be32(id.other + 8, s->table[h->index].generation);
	return id;
}

enum nfs4_status nfs4_held_find_locked(struct nfs4_state *s, const struct nfs4_client *c,
				       const struct nfs4_stateid *id, struct nfs4_held **out)
{
	uint32_t index = vs_get_be32(id->other + 4);

	*out = NULL;
	if (vs_get_be32(id->other) != s->boot || index >= NFS4_HELD_MAX ||
	    vs_get_be32(id->other + 8) != s->table[index].generation || !s->table[index].held ||
	    s->table[index].held->client != c)
		return NFS4ERR_BAD_STATEID;
	*out = s->table[index].held;
	if (id->seqid > (*out)->seqid) /* 0: the newest there is */
		return NFS4ERR_BAD_STATEID;
	return id->seqid && id->seqid < (*out)->seqid ? NFS4ERR_OLD_STATEID : NFS4_OK;
}

/* ---- files ---- */

static struct nfs4_file **file_bucket(struct nfs4_state *s, const struct nfs4_where *w)
{
	return &s->files[XXH3_64bits_withSeed(&w->file, sizeof(w->file),
					      vs_get_be64(w->store_id.b)) %
			 NFS4_BUCKETS];
}

static bool is_file(const struct nfs4_file *f, const struct nfs4_where *w)
{
	return memcmp(&f->handle, &w->file, sizeof(w->file)) == 0 &&
	       memcmp(&f->store_id, &w->store_id, sizeof(w->store_id)) == 0;
}

struct nfs4_file *nfs4_file_find_locked(struct nfs4_state *s, const struct nfs4_where *w)
{
	struct nfs4_file *f = *file_bucket(s, w);

	while (f && !is_file(f, w))
		f = f->next;
	return f;
}

static struct nfs4_file *file_get(struct nfs4_state *s, const struct nfs4_where *w)
{
	struct nfs4_file *f = nfs4_file_find_locked(s, w);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f || ds_hold(w->store, w->file)) {
		free(f);
		return NULL;
	}
	f->store_id = w->store_id;
	f->handle = w->file;
	f->store = w->store;
	f->next = *file_bucket(s, w);
	*file_bucket(s, w) = f;
	return f;
}

static void file_put(struct nfs4_state *s, struct nfs4_file *f)
{
	const struct nfs4_where w = {f->store_id, f->handle, f->store};
	struct nfs4_file **link = file_bucket(s, &w);

	if (f->held)
		return;
	while (*link != f)
		link = &(*link)->next;
	*link = f->next;
	ds_release(f->store, f->handle);
	free(f);
}

/* ---- owners ---- */

static struct nfs4_owner **owner_bucket(struct nfs4_owner *const *buckets, struct nfs_bytes name)
{
	return (struct nfs4_owner **)(uintptr_t)buckets +
	       XXH3_64bits(name.p, name.len) % NFS4_OWNER_BUCKETS;
}

struct nfs4_owner *nfs4_owner_find_locked(const struct nfs4_client *c, struct nfs_bytes name,
					  bool locks)
{
	struct nfs4_owner *o = *owner_bucket(c->owners, name);

	while (o && !(o->locks == locks && o->len == name.len &&
		      memcmp(o->name, name.p, name.len) == 0))
		o = o->next;
	return o;
}

static struct nfs4_owner *owner_get(struct nfs4_client *c, struct nfs_bytes name, bool locks)
{
	struct nfs4_owner *o = nfs4_owner_find_locked(c, name, locks);

	if (!o) {
		o = calloc(1, sizeof(*o) + name.len);
		if (!o)
			return NULL;
		o->client = c;
		o->locks = locks;
		o->len = name.len;
		memcpy(o->name, name.p, name.len);
		o->next = *owner_bucket(c->owners, name);
		*owner_bucket(c->owners, name) = o;
	}
	o->refs++;
	return o;
}

static void owner_put(struct nfs4_owner *o)
{
	struct nfs4_owner **link =
	    owner_bucket(o->client->owners, (struct nfs_bytes){o->name, o->len});

	if (--o->refs)
		return;
	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	free(o);
}

/* ---- opens and lock states ---- */

static bool take_index(struct nfs4_state *s, struct nfs4_held *h)
{
	uint32_t i = s->free_head;

	if (i == NFS4_HELD_MAX || h->client->nheld == NFS4_CLIENT_HELD_MAX)
		return false;
	s->free_head = s->table[i].next_free;
	s->table[i].held = h;
	h->index = i;
	s->nheld++;
	h->client->nheld++;
	return true;
}

static void give_index(struct nfs4_state *s, struct nfs4_held *h)
{
	s->table[h->index].held = NULL;
	s->table[h->index].generation++;
	s->table[h->index].next_free = s->free_head;
	s->free_head = h->index;
	s->nheld--;
	h->client->nheld--;
}

struct nfs4_held *nfs4_held_new_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_where *w, struct nfs_bytes owner,
				       struct nfs4_held *open)
{
	struct nfs4_held *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->client = c;
	h->open = open;
	h->owner = owner_get(c, owner, open);
	h->file = h->owner ? file_get(s, w) : NULL;
	if (!h->file || !take_index(s, h)) {
		if (h->file)
			file_put(s, h->file);
		if (h->owner)
			owner_put(h->owner);
		free(h);
		return NULL;
	}
	h->of_client = c->held;
	if (c->held)
		c->held->before = h;
	c->held = h;
	h->of_file = h->file->held;
	h->file->held = h;
	return h;
}

static void drop_one(struct nfs4_state *s, struct nfs4_held *h)
{
	struct nfs4_held **link = h->before ? &h->before->of_client : &h->client->held;

	nfs4_ranges_drop_locked(s, h);
	*link = h->of_client;
	if (h->of_client)
		h->of_client->before = h->before;
	link = &h->file->held;
	while (*link != h)
		link = &(*link)->of_file;
	*link = h->of_file;
	give_index(s, h);
	file_put(s, h->file);
	owner_put(h->owner);
	free(h);
}

void nfs4_held_drop_locked(struct nfs4_state *s, struct nfs4_held *h)
{
	struct nfs4_held *x = h->file->held, *next;

	for (; x; x = next) {
		next = x->of_file;
		if (x->open == h)
			drop_one(s, x);
	}
	drop_one(s, h);
}

/* The open of somebody else that stands in the way; who is not there any more does not. */
static bool share_denied(struct nfs4_state *s, const struct nfs4_where *w,
			 const struct nfs4_held *self, uint32_t access, uint32_t deny)
{
	struct nfs4_file *f = nfs4_file_find_locked(s, w);
	struct nfs4_held *h = f ? f->held : NULL;

	while (h) {
		if (h == self || h->open || !((h->deny & access) || (h->access & deny))) {
			h = h->of_file;
			continue;
		}
		if (!nfs4_client_expired_locked(s, h->client))
			return true;
		nfs4_client_drop_locked(s, h->client);
		f = nfs4_file_find_locked(s, w);
		h = f ? f->held : NULL;
	}
	return false;
}

static struct nfs4_held *find_open(struct nfs4_state *s, const struct nfs4_client *c,
				   const struct nfs4_where *w, struct nfs_bytes owner)
{
	struct nfs4_file *f = nfs4_file_find_locked(s, w);

	for (struct nfs4_held *h = f ? f->held : NULL; h; h = h->of_file)
		if (!h->open && h->client == c && h->owner->len == owner.len &&
		    memcmp(h->owner->name, owner.p, owner.len) == 0)
			return h;
	return NULL;
}

static enum nfs4_status open_locked(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_where *w, struct nfs_bytes owner,
				    uint32_t access, uint32_t deny, struct nfs4_stateid *out)
{
	struct nfs4_held *h = find_open(s, c, w, owner);

	if (c->gone)
		return NFS4ERR_EXPIRED;
	if (share_denied(s, w, h, access, deny))
		return NFS4ERR_SHARE_DENIED;
	if (!h)
		h = nfs4_held_new_locked(s, c, w, owner, NULL);
	if (!h)
		return NFS4ERR_DELAY;
	h->access |= access;
	h->deny |= deny;
	h->seqid++;
	*out = nfs4_held_stateid(s, h);
	return NFS4_OK;
}

enum nfs4_status nfs4_share_open(struct nfs4_state *s, struct nfs4_client *c, const struct nfs4_where *w,
			   struct nfs_bytes owner, uint32_t access, uint32_t deny,
			   struct nfs4_stateid *out)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = open_locked(s, c, w, owner, access, deny, out);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

/* An open of w. */
static enum nfs4_status find_own(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id, const struct nfs4_where *w,
				 struct nfs4_held **h)
{
	enum nfs4_status status = nfs4_held_find_locked(s, c, id, h);

	if (status == NFS4_OK && ((*h)->open || !is_file((*h)->file, w)))
		status = NFS4ERR_BAD_STATEID;
	return status;
}

enum nfs4_status nfs4_share_downgrade(struct nfs4_state *s, struct nfs4_client *c,
				struct nfs4_stateid *id, const struct nfs4_where *w,
				uint32_t access, uint32_t deny)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = find_own(s, c, id, w, &h);
	if (status == NFS4_OK && (!access || access & ~h->access || deny & ~h->deny))
		status = NFS4ERR_INVAL;
	if (status == NFS4_OK) {
		h->access = access;
		h->deny = deny;
		h->seqid++;
		*id = nfs4_held_stateid(s, h);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_close(struct nfs4_state *s, struct nfs4_client *c,
			    const struct nfs4_stateid *id, const struct nfs4_where *w)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = find_own(s, c, id, w, &h);
	if (status == NFS4_OK)
		nfs4_held_drop_locked(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

static enum nfs4_status may_use_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_stateid *id, const struct nfs4_where *w,
				       uint32_t access)
{
	enum nfs4_special special = nfs4_special(id);
	struct nfs4_held *h;
	enum nfs4_status status;

	if (special == NFS4_STATEID_BYPASS && access == NFS4_SHARE_READ)
		return NFS4_OK;
	if (special != NFS4_STATEID_REAL && nfs4_grace_on(s->grace))
		return NFS4ERR_GRACE;
	if (special != NFS4_STATEID_REAL)
		return share_denied(s, w, NULL, access, 0) ? NFS4ERR_LOCKED : NFS4_OK;
	status = nfs4_held_find_locked(s, c, id, &h);
	if (status)
		return status;
	if (!is_file(h->file, w))
		return NFS4ERR_BAD_STATEID;
	/* Who has a file open for writing also reads it, to complete pages (section 18.22.3). */
	if (access == NFS4_SHARE_WRITE && !((h->open ? h->open : h)->access & NFS4_SHARE_WRITE))
		return NFS4ERR_OPENMODE;
	return NFS4_OK;
}

enum nfs4_status nfs4_share_may_use(struct nfs4_state *s, struct nfs4_client *c,
			      const struct nfs4_stateid *id, const struct nfs4_where *w,
			      uint32_t access)
{
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = may_use_locked(s, c, id, w, access);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_test(struct nfs4_state *s, struct nfs4_client *c,
				   const struct nfs4_stateid *id)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	if (nfs4_special(id) != NFS4_STATEID_REAL)
		return NFS4ERR_BAD_STATEID;
	(void)pthread_mutex_lock(&s->lock);
	status = nfs4_held_find_locked(s, c, id, &h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

enum nfs4_status nfs4_share_free(struct nfs4_state *s, struct nfs4_client *c,
				   const struct nfs4_stateid *id)
{
	struct nfs4_held *h;
	enum nfs4_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = nfs4_held_find_locked(s, c, id, &h);
	if (status == NFS4_OK && !h->open)
		status = NFS4ERR_LOCKS_HELD;
	for (struct nfs4_range *r = status ? NULL : h->file->ranges; r; r = r->next)
		if (r->held == h)
			status = NFS4ERR_LOCKS_HELD;
	if (status == NFS4_OK)
		nfs4_held_drop_locked(s, h);
	(void)pthread_mutex_unlock(&s->lock);
	return status;
}

void nfs4_share_forget(struct nfs4_state *s, const struct nfs_store_id *id)
{
	(void)pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < NFS4_HELD_MAX; i++) {
		struct nfs4_held *h = s->table[i].held;

		if (h && memcmp(&h->file->store_id, id, sizeof(*id)) == 0)
			nfs4_held_drop_locked(s, h->open ? h->open : h);
	}
	(void)pthread_mutex_unlock(&s->lock);
}
