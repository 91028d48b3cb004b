/* Who waits for locks of NFSv3: granting, telling, giving back, bounds. No thread calls anybody. */
#include "tests/unit/nlm_scene.h"

static unsigned stirred;

static void stir(void *arg)
{
	(void)arg;
	stirred++;
}

static struct nfs4_state *waiting_state(void)
{
	struct nfs4_state *s = state_new();

	s->stir.call = stir;
	return s;
}

/* What is to be told to whom; 0: nothing. */
static uint64_t next(struct nfs4_state *s, const struct nfs_address *client, uint32_t svid)
{
	struct nfs_nlm_args a = {0};
	struct nfs_nlm_tell t;
	struct nfs_dec d;

	nfs_nlm_settle_locked(s);
	if (!nfs_nlm_next_locked(s, &t))
		return 0;
	assert_memory_equal(&t.client, client, sizeof(*client));
	assert_memory_equal(&t.server, &ours, sizeof(ours));
	d = (struct nfs_dec){t.args, t.args + t.len, false};
	assert_true(nfs_nlm_args_decode(NFS_NLM_GRANTED, &d, &a));
	assert_int_equal(a.lock.svid, svid);
	assert_int_equal(a.lock.owner.len, 2);
	return t.id;
}

static bool nothing_due(struct nfs4_state *s)
{
	struct nfs_nlm_tell t;

	nfs_nlm_settle_locked(s);
	return !nfs_nlm_next_locked(s, &t);
}

static bool is_locked(struct nfs4_state *s, const struct nfs4_where *w)
{
	const struct nfs_nlm_lock all = bytes_of("looks", 99, 0, 0);
	struct nfs_nlm_denied d;

	return look(s, &one, &all, w, true, &d) == NFS_NLM_DENIED;
}

/* In the order of their coming, as far as none is in another's way. */
static void in_order(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 5, 10),
				  c = bytes_of("c", 3, 5, 1), far = bytes_of("d", 4, 100, 1);
	uint64_t id;

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &two, &b, &w, true), NFS_NLM_DENIED);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED); /* asks again */
	assert_int_equal(lock_or_wait(s, &one, &c, &w, true), NFS_NLM_BLOCKED);
	assert_int_equal(lock_or_wait(s, &one, &far, &w, true), NFS_NLM_OK);
	assert_int_equal(s->nwaiters, 2);
	assert_true(nothing_due(s));
	stirred = 0;
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	assert_true(stirred > 0);
	id = next(s, &two, 2);
	assert_true(id);
	assert_true(nothing_due(s)); /* it is being told; the other one still waits */
	nfs_nlm_told_locked(s, id, NFS_NLM_TOLD);
	assert_int_equal(s->nwaiters, 1);
	assert_true(nothing_due(s));
	assert_int_equal(unlock(s, &two, &b, &w), NFS_NLM_OK);
	id = next(s, &one, 3);
	assert_true(id);
	nfs_nlm_told_locked(s, id, NFS_NLM_TOLD);
	assert_int_equal(s->nwaiters, 0);
	assert_counts(s, 2, 2, 1);
	nfs4_state_free(s);
}

/* Those that share wait and are granted together. */
static void shared(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 0, 10),
				  c = bytes_of("c", 3, 0, 10);

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, false), NFS_NLM_BLOCKED);
	assert_int_equal(lock_or_wait(s, &two, &c, &w, false), NFS_NLM_BLOCKED);
	/* The holder lets others read. */
	assert_int_equal(lock_now(s, &one, &a, &w, false), NFS_NLM_OK);
	assert_true(next(s, &two, 2));
	assert_true(next(s, &two, 3));
	assert_counts(s, 3, 3, 2);
	nfs4_state_free(s);
}

/* What the client answers, or does not. */
static void answers(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 0, 10);
	uint64_t id;

	for (unsigned round = 0; round < 5; round++) {
		assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
		assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
		assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
		id = next(s, &two, 2);
		assert_true(id);
		switch (round) {
		case 0: /* it does not want it: it is given back */
			nfs_nlm_told_locked(s, id, NFS_NLM_UNWANTED);
			break;
		case 1: /* it may have taken it when it was told first */
			nfs_nlm_told_locked(s, id, NFS_NLM_UNSURE);
			assert_true(nothing_due(s));
			clock_ns += UINT64_C(1000000000);
			assert_int_equal(next(s, &two, 2), id);
			nfs_nlm_told_locked(s, id, NFS_NLM_UNWANTED);
			assert_int_equal(s->nwaiters, 0);
			assert_true(is_locked(s, &w));
			assert_int_equal(unlock(s, &two, &b, &w), NFS_NLM_OK);
			break;
		case 2: /* it cannot be reached at all */
			for (unsigned i = 1; i < NFS_NLM_TELL_MAX; i++) {
				nfs_nlm_told_locked(s, id, NFS_NLM_LATER);
				assert_true(is_locked(s, &w));
				clock_ns += UINT64_C(10000000000);
				assert_int_equal(next(s, &two, 2), id);
			}
			nfs_nlm_told_locked(s, id, NFS_NLM_LATER);
			break;
		case 3: /* it asks again meanwhile, and then says that it does not wait */
			assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_OK);
			assert_int_equal(s->nwaiters, 0);
			nfs_nlm_told_locked(s, id, NFS_NLM_UNWANTED);
			assert_true(is_locked(s, &w));
			assert_int_equal(unlock(s, &two, &b, &w), NFS_NLM_OK);
			break;
		default: /* it unlocks: it must have heard */
			assert_int_equal(unlock(s, &two, &b, &w), NFS_NLM_OK);
			nfs_nlm_told_locked(s, id, NFS_NLM_UNSURE);
			break;
		}
		assert_int_equal(s->nwaiters, 0);
		assert_false(is_locked(s, &w));
		assert_counts(s, 0, 0, 0);
	}
	nfs4_state_free(s);
}

static void cancelled(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 0, 10),
				  part = bytes_of("b", 2, 0, 5);
	uint64_t id;

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	/* Not what waits, not whose it is, not how */
	assert_int_equal(cancel(s, &two, &part, &w, true), NFS_NLM_DENIED);
	assert_int_equal(cancel(s, &one, &b, &w, true), NFS_NLM_DENIED);
	assert_int_equal(cancel(s, &two, &b, &w, false), NFS_NLM_DENIED);
	assert_int_equal(cancel(s, &two, &b, &w, true), NFS_NLM_OK);
	assert_int_equal(cancel(s, &two, &b, &w, true), NFS_NLM_DENIED);
	assert_counts(s, 1, 1, 1);
	/* Granted, and the call is under way */
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	id = next(s, &two, 2);
	assert_true(id);
	assert_int_equal(cancel(s, &two, &b, &w, true), NFS_NLM_OK);
	assert_false(is_locked(s, &w));
	nfs_nlm_told_locked(s, id, NFS_NLM_TOLD);
	assert_counts(s, 0, 0, 0);
	nfs4_state_free(s);
}

/* What it had before is not taken from it when it does not want more. */
static void more(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 0, 20);
	struct nfs_nlm_denied d;
	uint64_t id;

	assert_int_equal(lock_now(s, &one, &a, &w, false), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &two, &b, &w, false), NFS_NLM_OK);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	id = next(s, &two, 2);
	nfs_nlm_told_locked(s, id, NFS_NLM_UNWANTED);
	assert_int_equal(look(s, &one, &a, &w, true, &d), NFS_NLM_DENIED);
	nfs4_state_free(s);
}

/* Those that go take their waits along. */
static void goes(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one), v = root_of(x->two);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10), b = bytes_of("b", 2, 0, 10);

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	assert_int_equal(lock_now(s, &one, &a, &v, true), NFS_NLM_OK);
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	assert_int_equal(lock_or_wait(s, &two, &b, &v, true), NFS_NLM_BLOCKED);
	/* It says so of others; it says so once more, in the state that it waits in. */
	nfs_nlm_restarted(s, &two, text("a"), 5);
	assert_int_equal(s->nwaiters, 2);
	nfs4_share_forget(s, &v.store_id);
	assert_int_equal(s->nwaiters, 1);
	nfs_nlm_restarted(s, &two, text("b"), 7);
	assert_int_equal(s->nwaiters, 0);
	assert_int_equal(s->nhosts, 1);
	assert_true(is_locked(s, &w));
	/* Who locks has the lock no more when the server has told it nothing and it restarted. */
	assert_int_equal(lock_or_wait(s, &two, &b, &w, true), NFS_NLM_BLOCKED);
	nfs_nlm_restarted(s, &one, text("a"), 5); /* late: it got it since */
	assert_true(nothing_due(s));
	nfs_nlm_restarted(s, &one, text("a"), 7);
	assert_true(next(s, &two, 2));
	nfs4_state_free(s); /* with a call under way */
}

static void bounds(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 10);
	struct nfs_nlm_lock b = bytes_of("b", 0, 0, 10);
	unsigned n = 0;

	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_OK);
	for (unsigned host = 0; host < 8; host++) {
		struct nfs_address from = {{(uint8_t)(host + 1)}};
		unsigned here = 0;

		for (b.svid = 0; b.svid < 1000; b.svid++, here++)
			if (lock_or_wait(s, &from, &b, &w, true) != NFS_NLM_BLOCKED)
				break;
		assert_true(here == NFS_NLM_HOST_WAITERS_MAX || n == NFS_NLM_WAITERS_MAX);
		n += here;
	}
	assert_int_equal(n, NFS_NLM_WAITERS_MAX);
	assert_int_equal(s->nwaiters, n);
	/* Hosts that got no place are not there. */
	assert_int_equal(s->nhosts, 1 + NFS_NLM_WAITERS_MAX / NFS_NLM_HOST_WAITERS_MAX);
	nfs4_state_free(s);
}

/* ---- threads ---- */

#define THREADS 4u
#define ROUNDS 2000u

struct contender {
	struct nfs4_state *s;
	struct nfs4_where w;
	uint32_t svid;
	unsigned *inside; /* by the lock only */
	bool broken;
};

/*
 * Waits, asks again, sometimes cancels, and has the lock alone whenever it has heard so: by its own
 * question only, for what the callback says reaches nobody here.
 */
static void *contend(void *arg)
{
	struct contender *c = arg;
	const struct nfs_nlm_lock l = bytes_of("a", c->svid, 3, 1);
	const struct nfs_address *from = c->svid % 2 ? &one : &two;

	for (unsigned i = 0; i < ROUNDS; i++) {
		enum nfs_nlm_status got = lock_or_wait(c->s, from, &l, &c->w, true);

		for (unsigned again = 0; got == NFS_NLM_BLOCKED && again < 3; again++)
			got = lock_or_wait(c->s, from, &l, &c->w, true);
		if (got == NFS_NLM_BLOCKED) {
			(void)!cancel(c->s, from, &l, &c->w, true);
			continue;
		}
		if (got != NFS_NLM_OK || ++*c->inside != 1)
			c->broken = true;
		--*c->inside;
		if (unlock(c->s, from, &l, &c->w) != NFS_NLM_OK)
			c->broken = true;
	}
	return NULL;
}

struct teller {
	struct nfs4_state *s;
	atomic_bool stop;
};

/* Tells clients, who answer this or that. */
static void *tell(void *arg)
{
	struct teller *t = arg;
	struct nfs_nlm_tell what;
	unsigned n = 0;

	while (!atomic_load(&t->stop)) {
		bool any;

		(void)pthread_mutex_lock(&t->s->lock);
		nfs_nlm_settle_locked(t->s);
		any = nfs_nlm_next_locked(t->s, &what);
		(void)pthread_mutex_unlock(&t->s->lock);
		if (!any)
			continue;
		(void)pthread_mutex_lock(&t->s->lock);
		nfs_nlm_told_locked(t->s, what.id, n++ % 2 ? NFS_NLM_UNWANTED : NFS_NLM_LATER);
		(void)pthread_mutex_unlock(&t->s->lock);
	}
	return NULL;
}

static void threads(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = waiting_state();
	struct contender c[THREADS];
	struct teller t = {s, false};
	pthread_t thread[THREADS], teller;
	unsigned inside = 0;

	s->now = vs_now_ns;
	assert_int_equal(pthread_create(&teller, NULL, tell, &t), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		c[i] = (struct contender){s, root_of(x->one), i, &inside, false};
		assert_int_equal(pthread_create(&thread[i], NULL, contend, &c[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_false(c[i].broken);
	}
	atomic_store(&t.stop, true);
	assert_int_equal(pthread_join(teller, NULL), 0);
	assert_int_equal(s->nwaiters, 0);
	assert_counts(s, 0, 0, 0);
	nfs4_state_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_order),	 cmocka_unit_test(shared),  cmocka_unit_test(answers),
	    cmocka_unit_test(cancelled), cmocka_unit_test(more),    cmocka_unit_test(goes),
	    cmocka_unit_test(bounds),	 cmocka_unit_test(threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
