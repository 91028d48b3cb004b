/*
 * What the server remembers of clients of NFSv4: records of client owners, share reservations and
 * byte-range locks against models, leases, the grace period.
 */
#include "tests/unit/nfs4_state_scene.h"

#include "targets/nfs/nfs4_keep.h"

static struct nfs4_had had; /* by the last OPEN */

static const struct nfs4_principal root = {1, 0}, user = {1, 1000};

static enum nfs4_status exchange_as(struct nfs4_state *s, const char *owner, uint64_t verifier,
				    uint32_t flags, struct nfs4_principal p,
				    struct nfs4_exchanged *x)
{
	const struct nfs4_args a = {.owner = text(owner), .verifier = verifier, .flags = flags};

	return nfs4_client_exchange(s, &a, p, x);
}

static enum nfs4_status session_of(struct nfs4_state *s, const struct nfs4_exchanged *x,
				   struct nfs4_principal p, struct nfs4_created *c)
{
	const struct nfs4_channel ch = {0, 1 << 20, 1 << 20, 4096, 16, 8};
	const struct nfs4_args a = {
	    .clientid = x->clientid, .seqid = x->seqid, .fore = ch, .back = ch};

	return nfs4_session_create(s, &a, p, c);
}

/* A confirmed client that has said RECLAIM_COMPLETE. */
static struct nfs4_client *client(struct nfs4_state *s, const char *owner)
{
	struct nfs4_exchanged x;
	struct nfs4_created c;
	struct nfs4_client *found;

	assert_int_equal(exchange_as(s, owner, 1, 0, root, &x), NFS4_ERR_NONE);
	assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_NONE);
	found = nfs4_client_find_locked(s, x.clientid);
	assert_int_equal(nfs4_reclaimed_locked(s, found), NFS4_ERR_NONE);
	return found;
}

/* ---- records: section 18.35.4 ---- */

static void records(void **unused)
{
	struct nfs4_state *s = state_new();
	struct nfs4_exchanged a, b;
	struct nfs4_created c;

	(void)unused;
	/* New, and replaced while it is not confirmed */
	assert_int_equal(exchange_as(s, "o", 1, 0, root, &a), NFS4_ERR_NONE);
	assert_false(a.flags & NFS4_EXCHGID_CONFIRMED);
	assert_int_equal(exchange_as(s, "o", 1, 0, root, &b), NFS4_ERR_NONE);
	assert_true(a.clientid != b.clientid);
	assert_int_equal(session_of(s, &a, root, &c), NFS4_ERR_STALE_CLIENTID);
	assert_int_equal(session_of(s, &b, user, &c), NFS4_ERR_CLID_INUSE);
	assert_int_equal(session_of(s, &b, root, &c), NFS4_ERR_NONE);
	/* The same once more; updates */
	assert_int_equal(exchange_as(s, "o", 1, 0, root, &a), NFS4_ERR_NONE);
	assert_true(a.flags & NFS4_EXCHGID_CONFIRMED);
	assert_int_equal(a.clientid, b.clientid);
	assert_int_equal(a.seqid, 2);
	assert_int_equal(exchange_as(s, "o", 1, NFS4_EXCHGID_UPDATE, root, &a), NFS4_ERR_NONE);
	assert_int_equal(exchange_as(s, "o", 2, NFS4_EXCHGID_UPDATE, root, &a), NFS4_ERR_NOT_SAME);
	assert_int_equal(exchange_as(s, "o", 1, NFS4_EXCHGID_UPDATE, user, &a), NFS4_ERR_PERM);
	assert_int_equal(exchange_as(s, "p", 1, NFS4_EXCHGID_UPDATE, root, &a), NFS4_ERR_NOENT);
	assert_int_equal(exchange_as(s, "o", 1, 0x800, root, &a), NFS4_ERR_INVAL);
	/* Restarted: the old record goes when the new one is confirmed. */
	assert_int_equal(exchange_as(s, "o", 2, 0, root, &a), NFS4_ERR_NONE);
	assert_true(a.clientid != b.clientid);
	assert_int_equal(nfs4_session_bind(s, c.session), NFS4_ERR_NONE);
	assert_int_equal(session_of(s, &a, root, &c), NFS4_ERR_NONE);
	assert_null(nfs4_client_find_locked(s, b.clientid));
	assert_int_equal(s->nclients, 1);
	/* Somebody else with the same owner, who has no state in the way */
	assert_int_equal(exchange_as(s, "o", 2, 0, user, &b), NFS4_ERR_NONE);
	assert_null(nfs4_client_find_locked(s, a.clientid));
	nfs4_state_free(s);
}

static void collision(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct nfs4_client *c = client(s, "o");
	const struct nfs4_where w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one};
	struct nfs4_stateid id;
	struct nfs4_exchanged e;

	assert_int_equal(nfs4_share_open(s, c, &w, text("a"), 3, 0, &id, &had), NFS4_ERR_NONE);
	assert_int_equal(exchange_as(s, "o", 1, 0, user, &e), NFS4_ERR_CLID_INUSE);
	assert_int_equal(nfs4_client_destroy(s, c->id), NFS4_ERR_CLIENTID_BUSY);
	clock_ns += NFS4_LEASE_NS + 1;
	assert_int_equal(exchange_as(s, "o", 1, 0, user, &e), NFS4_ERR_NONE);
	assert_int_equal(s->nheld, 0);
	nfs4_state_free(s);
}

static void bounds(void **unused)
{
	struct nfs4_state *s = state_new();
	struct nfs4_exchanged x, first = {0};
	struct nfs4_created c;
	char name[32];

	(void)unused;
	assert_int_equal(exchange_as(s, "many", 1, 0, root, &x), NFS4_ERR_NONE);
	for (unsigned i = 0; i < NFS4_SESSIONS_MAX; i++, x.seqid++)
		assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_NONE);
	assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_DELAY);
	nfs4_client_drop_locked(s, nfs4_client_find_locked(s, x.clientid));
	assert_int_equal(s->nslots, 0);
	/* Who is not confirmed makes room, and nobody else does. */
	for (unsigned i = 0; i < NFS4_CLIENTS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "client %u", i);
		assert_int_equal(exchange_as(s, name, 1, 0, root, &x), NFS4_ERR_NONE);
		if (i == 0)
			first = x;
		if (i < 2)
			continue;
		assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_NONE);
		assert_true(c.fore.slots == 8);
	}
	assert_int_equal(exchange_as(s, "one more", 1, 0, root, &x), NFS4_ERR_NONE);
	assert_null(nfs4_client_find_locked(s, first.clientid));
	assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_NONE);
	assert_int_equal(exchange_as(s, "another", 1, 0, root, &x), NFS4_ERR_NONE);
	assert_int_equal(session_of(s, &x, root, &c), NFS4_ERR_NONE);
	assert_int_equal(exchange_as(s, "too many", 1, 0, root, &x), NFS4_ERR_DELAY);
	assert_true(s->nslots <= NFS4_SLOTS_ALL);
	clock_ns += NFS4_LEASE_NS + 1;
	assert_int_equal(exchange_as(s, "one more", 1, 0, root, &x), NFS4_ERR_NONE);
	assert_int_equal(s->nclients, 1);
	assert_int_equal(s->nslots, 0);
	nfs4_state_free(s);
}

/* ---- share reservations ---- */

/* Every pair of opens of two owners: denied exactly when one denies what the other does. */
static void shares(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct nfs4_client *a = client(s, "a"), *b = client(s, "b");
	const struct nfs4_where w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one};
	struct nfs4_stateid first, second, none = {0};

	for (unsigned i = 0; i < 3 * 4 * 3 * 4; i++) {
		uint32_t access = i % 3 + 1, deny = i / 3 % 4;
		uint32_t access2 = i / 12 % 3 + 1, deny2 = i / 36;
		bool denied = (deny & access2) || (access & deny2);

		assert_int_equal(nfs4_share_open(s, a, &w, text("x"), access, deny, &first, &had),
				 NFS4_ERR_NONE);
		assert_int_equal(
		    nfs4_share_open(s, b, &w, text("x"), access2, deny2, &second, &had),
		    denied ? NFS4_ERR_SHARE_DENIED : NFS4_ERR_NONE);
		for (uint32_t use = 1; use < 4; use++)
			assert_int_equal(nfs4_share_may_use(s, b, &none, &w, use),
					 use & (deny | (denied ? 0 : deny2)) ? NFS4_ERR_LOCKED
									     : NFS4_ERR_NONE);
		assert_int_equal(nfs4_share_may_use(s, a, &first, &w, NFS4_SHARE_WRITE),
				 access & NFS4_SHARE_WRITE ? NFS4_ERR_NONE : NFS4_ERR_OPENMODE);
		if (!denied)
			assert_int_equal(nfs4_share_close(s, b, &second, &w), NFS4_ERR_NONE);
		assert_int_equal(nfs4_share_close(s, a, &first, &w), NFS4_ERR_NONE);
	}
	assert_int_equal(s->nheld, 0);
	nfs4_state_free(s);
}

static void stateids(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct nfs4_client *a = client(s, "a"), *b = client(s, "b");
	const struct nfs4_where w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one};
	struct nfs4_where other = w;
	struct nfs4_stateid id, old, next;

	other.file.object++;
	assert_int_equal(nfs4_share_open(s, a, &w, text("x"), 1, 0, &id, &had), NFS4_ERR_NONE);
	assert_int_equal(id.seqid, 1);
	old = id;
	assert_int_equal(nfs4_share_open(s, a, &w, text("x"), 2, 0, &id, &had), NFS4_ERR_NONE);
	assert_int_equal(id.seqid, 2);
	assert_memory_equal(id.other, old.other, sizeof(id.other));
	assert_int_equal(nfs4_share_test(s, a, &old), NFS4_ERR_OLD_STATEID);
	/* One more that came to nothing leaves no trace. */
	assert_int_equal(nfs4_share_open(s, a, &w, text("x"), 1, 3, &next, &had), NFS4_ERR_NONE);
	nfs4_share_undo(s, a, &next, &had);
	assert_int_equal(nfs4_share_open(s, b, &w, text("x"), 3, 0, &next, &had), NFS4_ERR_NONE);
	nfs4_share_undo(s, b, &next, &had);
	assert_int_equal(s->nheld, 1);
	assert_int_equal(nfs4_share_test(s, a, &id), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_test(s, b, &id), NFS4_ERR_BAD_STATEID);
	assert_int_equal(nfs4_share_may_use(s, a, &id, &other, 1), NFS4_ERR_BAD_STATEID);
	old = id;
	old.seqid = 0; /* the newest */
	assert_int_equal(nfs4_share_may_use(s, a, &old, &w, 3), NFS4_ERR_NONE);
	id.seqid = 3;
	assert_int_equal(nfs4_share_test(s, a, &id), NFS4_ERR_BAD_STATEID);
	id.seqid = 2;
	assert_int_equal(nfs4_share_downgrade(s, a, &id, &w, 1, 1), NFS4_ERR_INVAL);
	assert_int_equal(nfs4_share_downgrade(s, a, &id, &w, 1, 0), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_may_use(s, a, &id, &w, 2), NFS4_ERR_OPENMODE);
	assert_int_equal(nfs4_share_downgrade(s, a, &id, &w, 2, 0), NFS4_ERR_INVAL);
	assert_int_equal(nfs4_share_free(s, a, &id), NFS4_ERR_LOCKS_HELD);
	assert_int_equal(nfs4_share_close(s, a, &id, &w), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_test(s, a, &id), NFS4_ERR_BAD_STATEID);
	/* The same place in the table again: the old one means nothing. */
	assert_int_equal(nfs4_share_open(s, a, &w, text("x"), 1, 0, &next, &had), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_test(s, a, &id), NFS4_ERR_BAD_STATEID);
	nfs4_share_forget(s, &w.store_id);
	assert_int_equal(nfs4_share_test(s, a, &next), NFS4_ERR_BAD_STATEID);
	assert_int_equal(s->nheld, 0);
	nfs4_state_free(s);
}

/* ---- locks against a model ---- */

enum { BYTES = 24, OWNERS = 4, STEPS = 20000 };

struct model {
	char held[OWNERS][BYTES]; /* 0, 'r', 'w'; the last byte stands for all behind it */
};

static bool model_conflict(const struct model *m, unsigned who, unsigned first, unsigned last,
			   bool write)
{
	for (unsigned o = 0; o < OWNERS; o++)
		for (unsigned i = first; i <= last && o != who; i++)
			if (m->held[o][i] == 'w' || (write && m->held[o][i]))
				return true;
	return false;
}

struct lockers {
	struct nfs4_state *s;
	struct nfs4_where w;
	struct nfs4_client *client[OWNERS];
	struct nfs4_stateid open[OWNERS], lock[OWNERS];
	bool has[OWNERS];
};

static const char *const owner_names[OWNERS] = {"a", "b", "a", "c"};

static struct nfs4_args range(unsigned who, unsigned first, unsigned last, bool write)
{
	return (struct nfs4_args){.owner = text(owner_names[who]),
				  .type = write ? NFS4_WRITE_LT : NFS4_READ_LT,
				  .offset = first,
				  .length = last == BYTES - 1 ? UINT64_MAX : last - first + 1};
}

static void check_denied(const struct model *m, unsigned who, const struct nfs4_denied *d,
			 const struct lockers *l)
{
	for (unsigned o = 0; o < OWNERS; o++) {
		if (o == who || l->client[o]->id != d->clientid ||
		    d->owner_len != strlen(owner_names[o]) ||
		    memcmp(d->owner, owner_names[o], d->owner_len) != 0)
			continue;
		for (uint64_t i = d->offset; i < BYTES && i - d->offset < d->length; i++)
			assert_int_equal(m->held[o][i], d->type == NFS4_WRITE_LT ? 'w' : 'r');
		return;
	}
	fail_msg("denied by nobody");
}

static void lock_step(struct lockers *l, struct model *m, unsigned what, unsigned who,
		      unsigned first, unsigned last, bool write)
{
	struct nfs4_args a = range(who, first, last, write);
	bool conflict = model_conflict(m, who, first, last, write);
	struct nfs4_denied denied;
	enum nfs4_status status;

	if (what == 0) {
		status = nfs4_lock_test(l->s, l->client[who], &a, &l->w, &denied);
		assert_int_equal(status, conflict ? NFS4_ERR_DENIED : NFS4_ERR_NONE);
		if (conflict)
			check_denied(m, who, &denied, l);
		return;
	}
	if (what == 1 && !l->has[who])
		return;
	if (what == 1) {
		assert_int_equal(nfs4_lock_unset(l->s, l->client[who], &a, &l->w, &l->lock[who]),
				 NFS4_ERR_NONE);
		memset(m->held[who] + first, 0, last - first + 1);
		return;
	}
	a.fresh_owner = !l->has[who];
	if (!l->has[who])
		l->lock[who] = l->open[who];
	status = nfs4_lock_set(l->s, l->client[who], &a, &l->w, &l->lock[who], &denied);
	assert_int_equal(status, conflict ? NFS4_ERR_DENIED : NFS4_ERR_NONE);
	if (conflict) {
		check_denied(m, who, &denied, l);
		return;
	}
	l->has[who] = true;
	memset(m->held[who] + first, write ? 'w' : 'r', last - first + 1);
}

/* As many ranges as the model has runs: they are merged and split as they should be. */
static unsigned runs(const struct model *m)
{
	unsigned n = 0;

	for (unsigned o = 0; o < OWNERS; o++)
		for (unsigned i = 0; i < BYTES; i++)
			n += m->held[o][i] && (!i || m->held[o][i - 1] != m->held[o][i]);
	return n;
}

static void locks(void **state)
{
	const struct scene *x = *state;
	const char *env = getenv("VSTORE_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 10) : (unsigned)vs_now_ns();
	struct lockers l = {.s = state_new(),
			    .w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one}};
	struct model m = {{{0}}};

	print_message("# VSTORE_SEED=%u\n", seed);
	srand(seed);
	l.client[0] = l.client[1] = client(l.s, "one");
	l.client[2] = l.client[3] = client(l.s, "two");
	for (unsigned i = 0; i < OWNERS; i++)
		assert_int_equal(nfs4_share_open(l.s, l.client[i], &l.w, text(owner_names[i]), 3, 0,
						 &l.open[i], &had),
				 NFS4_ERR_NONE);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned first = (unsigned)rand() % BYTES;
		unsigned last = first + (unsigned)rand() % (BYTES - first);

		lock_step(&l, &m, (unsigned)rand() % 4, (unsigned)rand() % OWNERS, first, last,
			  rand() % 2);
		assert_int_equal(l.s->nranges, runs(&m));
	}
	/* With an open its locks go. */
	assert_int_equal(nfs4_share_close(l.s, l.client[0], &l.open[0], &l.w), NFS4_ERR_NONE);
	memset(m.held[0], 0, BYTES);
	assert_int_equal(l.s->nranges, runs(&m));
	nfs4_state_free(l.s);
}

static void lock_rules(void **state)
{
	const struct scene *x = *state;
	struct lockers l = {.s = state_new(),
			    .w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one}};
	struct nfs4_client *c = client(l.s, "one");
	struct nfs4_args a = {.owner = text("a"), .type = NFS4_WRITE_LT, .length = 10};
	struct nfs4_stateid open, id;
	struct nfs4_denied denied;

	assert_int_equal(nfs4_share_open(l.s, c, &l.w, text("x"), 1, 0, &open, &had),
			 NFS4_ERR_NONE);
	id = open;
	a.fresh_owner = true;
	assert_int_equal(nfs4_lock_set(l.s, c, &a, &l.w, &id, &denied), NFS4_ERR_OPENMODE);
	assert_int_equal(l.s->nheld, 1); /* nothing was left behind */
	a.type = NFS4_READ_LT;
	a.length = 0;
	assert_int_equal(nfs4_lock_set(l.s, c, &a, &l.w, &id, &denied), NFS4_ERR_INVAL);
	a.offset = 3;
	a.length = UINT64_MAX - 1;
	assert_int_equal(nfs4_lock_set(l.s, c, &a, &l.w, &id, &denied), NFS4_ERR_INVAL);
	a.length = UINT64_MAX - 2; /* the last byte that there is */
	assert_int_equal(nfs4_lock_set(l.s, c, &a, &l.w, &id, &denied), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_free(l.s, c, &id), NFS4_ERR_LOCKS_HELD);
	assert_int_equal(nfs4_lock_unset(l.s, c, &a, &l.w, &open), NFS4_ERR_BAD_STATEID);
	assert_int_equal(nfs4_lock_unset(l.s, c, &a, &l.w, &id), NFS4_ERR_NONE);
	assert_int_equal(nfs4_share_free(l.s, c, &id), NFS4_ERR_NONE);
	assert_int_equal(l.s->nheld, 1);
	nfs4_state_free(l.s);
}

/* ---- leases ---- */

static void leases(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct nfs4_client *a = client(s, "a"), *b;
	const struct nfs4_where w = {nfs_store_id(ds_uuid(x->one)), ds_root, x->one};
	struct nfs4_stateid id, lock, other;
	struct nfs4_denied denied;
	struct nfs4_args range_a = {
	    .owner = text("l"), .type = NFS4_WRITE_LT, .length = 10, .fresh_owner = true};

	assert_int_equal(nfs4_share_open(s, a, &w, text("x"), 3, 0, &id, &had), NFS4_ERR_NONE);
	lock = id;
	assert_int_equal(nfs4_lock_set(s, a, &range_a, &w, &lock, &denied), NFS4_ERR_NONE);
	clock_ns += NFS4_LEASE_NS - 1;
	b = client(s, "b");
	assert_int_equal(nfs4_share_open(s, b, &w, text("x"), 3, 0, &other, &had), NFS4_ERR_NONE);
	lock = other;
	assert_int_equal(nfs4_lock_set(s, b, &range_a, &w, &lock, &denied), NFS4_ERR_DENIED);
	clock_ns += 2; /* a is not there any more */
	lock = other;
	assert_int_equal(nfs4_lock_set(s, b, &range_a, &w, &lock, &denied), NFS4_ERR_NONE);
	assert_int_equal(s->nclients, 1);
	assert_int_equal(nfs4_share_open(s, b, &w, text("x"), 1, 3, &other, &had), NFS4_ERR_NONE);
	clock_ns += NFS4_LEASE_NS;
	assert_int_equal(nfs4_share_open(s, client(s, "c"), &w, text("x"), 3, 0, &other, &had),
			 NFS4_ERR_NONE);
	assert_int_equal(s->nclients, 1);
	assert_int_equal(s->nranges, 0);
	nfs4_state_free(s);
}

/* ---- grace ---- */

struct kept {
	pthread_mutex_t lock;
	uint8_t bytes[NFS_KEPT_MAX];
	size_t len;
	unsigned saves;
};

static int save(void *arg, const uint8_t *bytes, size_t len, struct vs_error *err)
{
	struct kept *k = arg;

	(void)err;
	(void)pthread_mutex_lock(&k->lock);
	memcpy(k->bytes, bytes, len);
	k->len = len;
	k->saves++;
	(void)pthread_mutex_unlock(&k->lock);
	return 0;
}

static int load(void *arg, uint8_t *bytes, size_t max, size_t *len, struct vs_error *err)
{
	struct kept *k = arg;

	(void)err;
	assert_true(k->len <= max);
	memcpy(bytes, k->bytes, k->len);
	*len = k->len;
	return 0;
}

static struct nfs4_state *restart(struct nfs4_state *s, struct kept *k)
{
	const struct nfs_keeper keeper = {save, load, k};

	if (s)
		nfs4_keep_stop(s);
	nfs4_state_free(s);
	s = state_new();
	assert_int_equal(nfs4_keep_start(s, &keeper, NULL), 0);
	return s;
}

/* One that is to be remembered. */
static struct nfs4_client *come(struct nfs4_state *s, const char *owner, bool complete)
{
	struct nfs4_exchanged x;
	struct nfs4_created created;
	struct nfs4_client *c;

	assert_int_equal(exchange_as(s, owner, 1, 0, root, &x), NFS4_ERR_NONE);
	assert_int_equal(session_of(s, &x, root, &created), NFS4_ERR_NONE);
	c = nfs4_client_find_locked(s, x.clientid);
	(void)pthread_mutex_lock(&s->lock);
	if (complete) {
		assert_int_equal(nfs4_reclaimed_locked(s, c), NFS4_ERR_NONE);
		nfs4_keep_changed_locked(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return c;
}

static void wait_for_end(struct nfs4_state *s)
{
	bool on = true;

	while (on) {
		usleep(1000);
		(void)pthread_mutex_lock(&s->lock);
		on = nfs4_grace_on(s->grace);
		(void)pthread_mutex_unlock(&s->lock);
	}
}

static void grace(void **unused)
{
	struct kept *k = calloc(1, sizeof(*k));
	struct nfs4_state *s;
	struct nfs4_client *a, *b, *c;

	(void)unused;
	assert_int_equal(pthread_mutex_init(&k->lock, NULL), 0);
	s = restart(NULL, k);
	assert_false(nfs4_grace_on(s->grace)); /* nobody was here */
	a = come(s, "a", true);
	assert_int_equal(nfs4_may_claim(s, a, false), NFS4_ERR_NONE);
	assert_int_equal(nfs4_may_claim(s, a, true), NFS4_ERR_NO_GRACE);
	(void)come(s, "b", true);
	(void)come(s, "idle", false); /* had nothing */
	s = restart(s, k);
	assert_true(nfs4_grace_on(s->grace));
	a = come(s, "a", false);
	c = come(s, "c", true);
	assert_int_equal(nfs4_may_claim(s, a, true), NFS4_ERR_NONE);
	assert_int_equal(nfs4_may_claim(s, a, false), NFS4_ERR_GRACE);
	assert_int_equal(nfs4_may_claim(s, c, true), NFS4_ERR_NO_GRACE);
	assert_int_equal(nfs4_may_claim(s, c, false), NFS4_ERR_GRACE);
	/* Once more in the middle of it: all three may come back. */
	s = restart(s, k);
	a = come(s, "a", true);
	assert_int_equal(nfs4_may_claim(s, a, true), NFS4_ERR_NO_GRACE);
	b = come(s, "b", true);
	c = come(s, "c", false);
	assert_int_equal(nfs4_may_claim(s, b, false), NFS4_ERR_GRACE);
	assert_int_equal(nfs4_may_claim(s, c, true), NFS4_ERR_NONE);
	(void)pthread_mutex_lock(&s->lock);
	assert_int_equal(nfs4_reclaimed_locked(s, c), NFS4_ERR_NONE);
	nfs4_keep_changed_locked(s);
	(void)pthread_mutex_unlock(&s->lock);
	wait_for_end(s);
	assert_int_equal(nfs4_may_claim(s, b, false), NFS4_ERR_NONE);
	/* One that does not come back within the time is forgotten. */
	s = restart(s, k);
	(void)come(s, "a", true);
	(void)pthread_mutex_lock(&s->lock);
	clock_ns += NFS4_GRACE_NS;
	nfs4_keep_changed_locked(s);
	(void)pthread_mutex_unlock(&s->lock);
	wait_for_end(s);
	s = restart(s, k);
	assert_true(nfs4_grace_knows(s->grace, (const uint8_t *)"a", 1));
	assert_false(nfs4_grace_knows(s->grace, (const uint8_t *)"b", 1));
	nfs4_keep_stop(s);
	nfs4_state_free(s);
	/* A list that makes no sense means nobody. */
	k->bytes[k->len - 1] ^= 1;
	k->len--;
	s = restart(NULL, k);
	assert_false(nfs4_grace_on(s->grace));
	nfs4_keep_stop(s);
	nfs4_state_free(s);
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records),	  cmocka_unit_test(collision), cmocka_unit_test(bounds),
	    cmocka_unit_test(shares),	  cmocka_unit_test(stateids),  cmocka_unit_test(locks),
	    cmocka_unit_test(lock_rules), cmocka_unit_test(leases),    cmocka_unit_test(grace),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
