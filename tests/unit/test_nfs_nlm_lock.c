/* Locks of NFSv3: among themselves, against those of NFSv4, their bounds, and how they end. */
#include "tests/unit/nlm_scene.h"

static void among_themselves(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one), elsewhere = root_of(x->two);
	struct nfs_nlm_lock a = bytes_of("a", 1, 10, 10), b = bytes_of("a", 2, 19, 1);
	struct nfs_nlm_denied d;

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK); /* once more */
	assert_counts(s, 1, 1, 1);
	/* Another process, another name, another address are other owners. */
	assert_int_equal(lock_now(s, &one, &b, &w, false), NFS_NLM_DENIED);
	b = bytes_of("b", 1, 19, 1);
	assert_int_equal(lock_now(s, &one, &b, &w, false), NFS_NLM_DENIED);
	b = bytes_of("a", 1, 19, 1);
	assert_int_equal(lock_now(s, &two, &b, &w, false), NFS_NLM_DENIED);
	assert_counts(s, 1, 1, 1);
	assert_int_equal(look(s, &two, &b, &w, false, &d), NFS_NLM_DENIED);
	assert_true(d.holder.exclusive);
	assert_int_equal(d.holder.svid, 1);
	assert_int_equal(d.holder.owner.len, 2);
	assert_memory_equal(d.holder.owner.p, "oh", 2);
	assert_true(d.holder.first == 10 && d.holder.last == 19);
	assert_int_equal(look(s, &one, &a, &w, true, &d), NFS_NLM_OK);
	/* Beside it, and the same of another file */
	b.offset = 20;
	assert_int_equal(lock_now(s, &two, &b, &w, true), NFS_NLM_OK);
	b.offset = 10;
	assert_int_equal(lock_now(s, &two, &b, &elsewhere, true), NFS_NLM_OK);
	/* To shared: others may read */
	assert_int_equal(lock_now(s, &one, &a, &w, false), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &two, &b, &w, true), NFS_NLM_DENIED);
	assert_int_equal(lock_now(s, &two, &b, &w, false), NFS_NLM_OK);
	b.length = UINT64_MAX;
	assert_int_equal(lock_now(s, &two, &b, &w, false), NFS_NLM_FBIG);
	nfs4_state_free(s);
}

static void unlocking(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one);
	struct nfs_nlm_lock all = bytes_of("a", 1, 0, 0), middle = bytes_of("a", 1, 10, 10);
	struct nfs_nlm_lock other = bytes_of("b", 1, 9, 1);

	assert_int_equal(unlock(s, &one, &all, &w), NFS_NLM_OK); /* of nothing */
	assert_int_equal(lock_now(s, &one, &all, &w, true), NFS_NLM_OK);
	assert_int_equal(unlock(s, &two, &all, &w), NFS_NLM_OK); /* not his */
	assert_counts(s, 1, 1, 1);
	assert_int_equal(unlock(s, &one, &middle, &w), NFS_NLM_OK);
	assert_counts(s, 2, 1, 1);
	assert_int_equal(lock_now(s, &two, &other, &w, false), NFS_NLM_DENIED);
	other.offset = 20;
	assert_int_equal(lock_now(s, &two, &other, &w, false), NFS_NLM_DENIED);
	other.offset = 10;
	other.length = 10;
	assert_int_equal(lock_now(s, &two, &other, &w, true), NFS_NLM_OK);
	assert_counts(s, 3, 2, 2);
	assert_int_equal(unlock(s, &one, &all, &w), NFS_NLM_OK);
	assert_counts(s, 1, 1, 1);
	assert_int_equal(unlock(s, &two, &other, &w), NFS_NLM_OK);
	assert_counts(s, 0, 0, 0);
	nfs4_state_free(s);
}

static struct nfs4_client *client4(struct nfs4_state *s)
{
	const struct nfs4_args a = {.owner = text("client of NFSv4"), .verifier = 1};
	const struct nfs4_principal p = {1, 0};
	struct nfs4_exchanged e;

	assert_int_equal(nfs4_client_exchange(s, &a, p, &e), NFS4_ERR_NONE);
	return nfs4_client_find_locked(s, e.clientid);
}

static void against_version_4(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct nfs4_client *c = client4(s);
	const struct nfs4_where w = root_of(x->one);
	struct nfs4_args a = {.owner = text("owner of NFSv4"),
			      .type = NFS4_WRITE_LT,
			      .offset = 5,
			      .length = 10,
			      .fresh_owner = true};
	struct nfs_nlm_lock l = bytes_of("a", 7, 0, 6), longest = l;
	uint8_t big[NFS_NLM_NETOBJ_MAX] = {1};
	struct nfs4_stateid open, id;
	struct nfs4_denied denied;
	struct nfs_nlm_denied d;
	struct nfs4_had had;

	assert_int_equal(nfs4_share_open(s, c, &w, text("x"), 3, 0, &open, &had), NFS4_ERR_NONE);
	/* Version 3 first */
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_OK);
	id = open;
	assert_int_equal(nfs4_lock_set(s, c, &a, &w, &id, &denied), NFS4_ERR_DENIED);
	assert_int_equal(denied.offset, 0);
	assert_int_equal(denied.length, 6);
	assert_int_equal(denied.type, NFS4_READ_LT);
	assert_int_equal(nfs4_lock_test(s, c, &a, &w, &denied), NFS4_ERR_DENIED);
	/* An owner that is longer than one of version 4 */
	longest.owner = (struct nfs_bytes){big, sizeof(big)};
	assert_int_equal(unlock(s, &one, &l, &w), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &one, &longest, &w, false), NFS_NLM_OK);
	assert_int_equal(nfs4_lock_test(s, c, &a, &w, &denied), NFS4_ERR_DENIED);
	assert_int_equal(denied.owner_len, NFS4_OPAQUE_MAX);
	assert_int_equal(look(s, &two, &longest, &w, true, &d), NFS_NLM_DENIED);
	assert_int_equal(d.holder.owner.len, sizeof(big));
	assert_memory_equal(d.holder.owner.p, big, sizeof(big));
	assert_int_equal(unlock(s, &one, &longest, &w), NFS_NLM_OK);
	/* Version 4 first */
	assert_int_equal(nfs4_lock_set(s, c, &a, &w, &id, &denied), NFS4_ERR_NONE);
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_DENIED);
	assert_int_equal(look(s, &one, &l, &w, false, &d), NFS_NLM_DENIED);
	assert_int_equal(d.holder.svid, 0);
	assert_memory_equal(d.holder.owner.p, "owner of NFSv4", 14);
	assert_counts(s, 1, 2, 0);
	/* A client without a lease is in nobody's way; one of version 3 has none that could end. */
	clock_ns += NFS4_LEASE_NS + 1;
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_OK);
	assert_int_equal(s->nclients, 0);
	clock_ns += NFS4_LEASE_NS + 1;
	assert_int_equal(look(s, &two, &l, &w, true, &d), NFS_NLM_DENIED);
	nfs4_state_free(s);
}

/* A client that has restarted loses what it had, and nobody else does. */
static void restarts(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one), v = root_of(x->two);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 1), a2 = bytes_of("a", 2, 1, 1);
	const struct nfs_nlm_lock b = bytes_of("b", 1, 2, 1);

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &one, &a2, &v, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &one, &b, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &two, &a2, &w, true), NFS_NLM_OK);
	nfs_nlm_free(s, &one, text("nobody"), 0);
	assert_counts(s, 4, 4, 2);
	nfs_nlm_free(s, &one, text("a"), 0);
	assert_counts(s, 2, 2, 2);
	assert_int_equal(lock_now(s, &two, &b, &w, true), NFS_NLM_DENIED);
	assert_int_equal(lock_now(s, &one, &a2, &w, true), NFS_NLM_DENIED);
	nfs_nlm_free(s, &one, text(""), 0);
	assert_counts(s, 1, 1, 1);
	nfs_nlm_free(s, &one, text(""), 0); /* unknown by now */
	/* A share that goes */
	nfs4_share_forget(s, &w.store_id);
	assert_int_equal(s->nranges, 0);
	assert_int_equal(s->nheld, 0);
	nfs4_state_free(s);
}

static void grace(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock l = bytes_of("a", 1, 0, 1);
	struct nfs4_kept *known = calloc(1, sizeof(*known));
	struct nfs_nlm_denied d;

	known->n = 1;
	known->owners[0] = text("client of NFSv4");
	assert_int_equal(nfs4_grace_new(known, clock_ns, &s->grace), 0);
	free(known);
	assert_int_equal(lock_now(s, &one, &l, &w, true), NFS_NLM_DENIED_GRACE_PERIOD);
	assert_int_equal(look(s, &one, &l, &w, true, &d), NFS_NLM_DENIED_GRACE_PERIOD);
	assert_counts(s, 0, 0, 0);
	nfs4_grace_end(s->grace);
	assert_int_equal(lock_now(s, &one, &l, &w, true), NFS_NLM_OK);
	nfs4_state_free(s);
}

static struct nfs_address numbered(unsigned i)
{
	struct nfs_address a = {{0}};

	vs_put_be32(a.b, i);
	return a;
}

/* An address gets a quarter of what there is, whatever it calls itself; others still get theirs. */
static void bounds_of_an_address(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one);
	struct nfs_nlm_lock l = bytes_of("a", 0, 0, 1);
	unsigned n = 0;
	char name[16];

	while (n <= NFS4_CLIENT_HELD_MAX) {
		(void)snprintf(name, sizeof(name), "%u", n % 7);
		l.caller = text(name);
		l.svid = n;
		/* From the front of a sorted space each is alone; shared, so that none conflicts.
		 */
		if (lock_now(s, &one, &l, &w, false) != NFS_NLM_OK)
			break;
		n++;
	}
	assert_int_equal(n, NFS4_CLIENT_HELD_MAX);
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_DENIED_NOLOCKS);
	assert_int_equal(lock_now(s, &two, &l, &w, false), NFS_NLM_OK);
	assert_counts(s, n + 1, n + 1, 2);
	nfs4_state_free(s);
}

/* When all ranges are in use nothing is locked or left behind, and unlocking still works. */
static void bounds_of_ranges(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock all = bytes_of("a", 1, 0, 0), middle = bytes_of("a", 1, 5, 5);

	assert_int_equal(lock_now(s, &one, &all, &w, false), NFS_NLM_OK);
	s->nranges += NFS4_RANGES_MAX - 1;
	assert_int_equal(lock_now(s, &two, &all, &w, false), NFS_NLM_DENIED_NOLOCKS);
	assert_counts(s, NFS4_RANGES_MAX, 1, 1);
	assert_int_equal(unlock(s, &one, &middle, &w), NFS_NLM_OK);
	assert_counts(s, NFS4_RANGES_MAX + 1, 1, 1);
	s->nranges -= NFS4_RANGES_MAX - 1;
	nfs4_state_free(s);
}

/* ---- threads ---- */

#define THREADS 4u
#define ROUNDS 5000u

struct contender {
	struct nfs4_state *s;
	struct nfs4_where w;
	uint32_t svid;
	unsigned *inside; /* by the lock only */
	bool broken;
};

static void *contend(void *arg)
{
	struct contender *c = arg;
	const struct nfs_nlm_lock l = bytes_of("a", c->svid, 3, 1);
	const struct nfs_address *from = c->svid % 2 ? &one : &two;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (lock_now(c->s, from, &l, &c->w, true) != NFS_NLM_OK)
			continue;
		if (++*c->inside != 1)
			c->broken = true;
		--*c->inside;
		if (unlock(c->s, from, &l, &c->w) != NFS_NLM_OK)
			c->broken = true;
	}
	return NULL;
}

static void threads(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	struct contender c[THREADS];
	pthread_t thread[THREADS];
	unsigned inside = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		c[i] = (struct contender){s, root_of(x->one), i, &inside, false};
		assert_int_equal(pthread_create(&thread[i], NULL, contend, &c[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_false(c[i].broken);
	}
	assert_counts(s, 0, 0, 0);
	nfs4_state_free(s);
}

static void bounds_of_hosts(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = state_new();
	const struct nfs4_where w = root_of(x->one), v = root_of(x->two);
	const struct nfs_nlm_lock l = bytes_of("a", 1, 0, 0);
	struct nfs_address a;

	for (unsigned i = 0; i < NFS_NLM_HOSTS_MAX; i++) {
		a = numbered(i);
		assert_int_equal(lock_now(s, &a, &l, i % 2 ? &w : &v, false), NFS_NLM_OK);
	}
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_DENIED_NOLOCKS);
	assert_counts(s, NFS_NLM_HOSTS_MAX, NFS_NLM_HOSTS_MAX, NFS_NLM_HOSTS_MAX);
	/* Those whose locks went with a share make room. */
	nfs4_share_forget(s, &v.store_id);
	assert_int_equal(lock_now(s, &one, &l, &w, false), NFS_NLM_OK);
	assert_int_equal(s->nhosts, NFS_NLM_HOSTS_MAX / 2 + 1);
	nfs4_state_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(among_themselves),
	    cmocka_unit_test(unlocking),
	    cmocka_unit_test(against_version_4),
	    cmocka_unit_test(restarts),
	    cmocka_unit_test(grace),
	    cmocka_unit_test(bounds_of_hosts),
	    cmocka_unit_test(bounds_of_an_address),
	    cmocka_unit_test(bounds_of_ranges),
	    cmocka_unit_test(threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
