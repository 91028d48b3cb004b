/* Stateids and what they stand for: files, owners, opens and lock states (RFC 8881 section 8.2). */
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
		return NFS4_ERR_BAD_STATEID;
	*out = s->table[index].held;
	if (id->seqid > (*out)->seqid) /* 0: the newest there is */
		return NFS4_ERR_BAD_STATEID;
	return id->seqid && id->seqid < (*out)->seqid ? NFS4_ERR_OLD_STATEID : NFS4_ERR_NONE;
}

/* ---- files ---- */

static struct nfs4_file **file_bucket(struct nfs4_state *s, const struct nfs4_where *w)
{
	return &s->files[XXH3_64bits_withSeed(&w->file, sizeof(w->file),
					      vs_get_be64(w->store_id.b)) %
			 NFS4_BUCKETS];
}

bool nfs4_file_is(const struct nfs4_file *f, const struct nfs4_where *w)
{
	return memcmp(&f->handle, &w->file, sizeof(w->file)) == 0 &&
	       memcmp(&f->store_id, &w->store_id, sizeof(w->store_id)) == 0;
}

struct nfs4_file *nfs4_file_find_locked(struct nfs4_state *s, const struct nfs4_where *w)
{
	struct nfs4_file *f = *file_bucket(s, w);

	while (f && !nfs4_file_is(f, w))
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

	while (o &&
	       !(o->locks == locks && o->len == name.len && memcmp(o->name, name.p, name.len) == 0))
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
